#!/usr/bin/env bash
# Serves the digits block by the Triton Inference Server 2.51 (the binary that PyPI's nvidia-pytriton
# carries) in its Python backend, without a GPU, until it is told to stop.
# usage: serve.sh WORK_FOLDER GRPC_PORT      WORK_FOLDER keeps the installation (some 700 MB)
set -euo pipefail
work=$(realpath -m "$1")
port=$2
here=$(cd "$(dirname "$0")" && pwd)
weights=$(realpath "$here/../../models/digits/1/weights.safetensors")

mkdir -p "$work"
if [[ ! -x $work/venv/bin/python ]]; then
  python3 -m venv "$work/venv"
  "$work/venv/bin/pip" install --quiet nvidia-pytriton==0.7.0 safetensors==0.4.5
fi
ask() { "$work/venv/bin/python" -c "import sys, sysconfig; print($1)"; }
site=$(ask 'sysconfig.get_path("purelib")')
version=$(ask '"%d.%d" % sys.version_info[:2]')
triton=$site/pytriton/tritonserver
stub=$triton/python_backend_stubs/$version/triton_python_backend_stub
if [[ ! -e $stub ]]; then
  echo "serve.sh: expected a Python that Triton's backend knows, found $version" >&2
  exit 2
fi
cp -f "$stub" "$triton/backends/python/"

rm -rf "$work/models"
mkdir -p "$work/models/digits/1"
cat >"$work/models/digits/config.pbtxt" <<CONFIG
name: "digits"
backend: "python"
max_batch_size: 256
input [ { name: "x" data_type: TYPE_FP32 dims: [ 64 ] } ]
output [ { name: "logits" data_type: TYPE_FP32 dims: [ 10 ] } ]
dynamic_batching { }
instance_group [ { kind: KIND_CPU count: 1 } ]
parameters { key: "weights" value: { string_value: "$weights" } }
CONFIG
{ printf 'import sys; sys.path.insert(0, "%s")\n' "$site"; cat "$here/digits_model.py"; } \
  >"$work/models/digits/1/model.py"

LD_LIBRARY_PATH=$(ask 'sysconfig.get_config_var("LIBDIR")') OPENBLAS_NUM_THREADS=1 \
  exec "$triton/bin/tritonserver" --model-repository="$work/models" \
  --backend-directory="$triton/backends" --allow-http=false --allow-metrics=false \
  --grpc-address=127.0.0.1 --grpc-port="$port"
