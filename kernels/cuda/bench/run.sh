#!/bin/bash
# Builds the benchmark on a GPU machine and runs plans: run.sh OUT PLAN...
# Leaves in OUT a log, the records and what the card did meanwhile. Needs nvcc 12.8 or newer.
set -u
root=$(cd "$(dirname "$0")/../../.." && pwd)
out=$1
shift
cd "$root" || exit 1
nvcc -O2 -std=c++20 -gencode=arch=compute_90a,code=sm_90a -I. kernels/cuda/bench/*.cc \
  kernels/cuda/bench/arithmetic.cu kernels/cuda/wgmma_launch.cc -lcublasLt -lnvrtc \
  -o /tmp/gemm_bench || exit 1
nvidia-smi --query-gpu=timestamp,name,driver_version,clocks.sm,power.draw,temperature.gpu \
  --format=csv,noheader -lms 500 >"$out/card.csv" &
monitor=$!
status=0
for plan in "$@"; do
  name=$(basename "$plan" .plan)
  timeout "${PLAN_SECONDS:-150}" stdbuf -oL /tmp/gemm_bench . "$plan" "$out/$name.jsonl" >"$out/$name.log" 2>&1
  code=$?
  echo "== $name: exit $code"
  if [ "$name" = check ]; then
    grep -v "^ok" "$out/$name.log" | head -40
    grep -c "^ok" "$out/$name.log"
  else
    cut -c1-190 "$out/$name.log"
  fi
  [ $code -eq 0 ] || status=1
done
kill $monitor
exit $status
