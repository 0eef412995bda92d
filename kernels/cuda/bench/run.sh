#!/bin/bash
# Builds the benchmark on a GPU machine and runs plans: run.sh OUT PLAN...
# The plan `profile` runs under ncu, `sanitize` under each tool of compute-sanitizer.
# Leaves in OUT an archive of logs, records, and what the card is and did meanwhile. COMMIT names the
# tree where git cannot; GPU, the card if it is not the first, with CUDA_VISIBLE_DEVICES. Needs nvcc
# 12.8 or newer.
set -u
root=$(cd "$(dirname "$0")/../../.." && pwd)
out=$1
shift
work=$(mktemp -d)
cd "$root" || exit 1
arch=$(nvidia-smi -i "${GPU:-0}" --query-gpu=compute_cap --format=csv,noheader | tr -d .)
[ "$arch" = 90 ] && arch=90a
program=$(mktemp -d)/gemm_bench
kernels/cuda/bench/build.sh "$program" "$arch" || exit 1
nvidia-smi -i "${GPU:-0}" --query-gpu=timestamp,name,driver_version,clocks.sm,power.draw,temperature.gpu \
  --format=csv,noheader -lms 500 >"$work/card.csv" &
monitor=$!
status=0
for plan in "$@"; do
  name=$(basename "$plan" .plan)
  case $name in
    profile) runs=("ncu --profile-from-start off --clock-control none --set detailed") ;;
    sanitize)
      runs=()
      # initcheck must see who wrote what the kernels read: no filter.
      for tool in memcheck racecheck synccheck; do
        runs+=("compute-sanitizer --tool $tool --kernel-name kernel_substring=mlpserve_gemm")
      done
      runs+=("compute-sanitizer --tool initcheck")
      ;;
    *) runs=("") ;;
  esac
  for run in "${runs[@]}"; do
    echo "== $name $run"
    # shellcheck disable=SC2086
    timeout "${PLAN_SECONDS:-150}" $run stdbuf -oL "$program" . "$plan" "$work/$name.jsonl" \
      >>"$work/$name.log" 2>&1
    code=$?
    echo "exit $code"
    [ $code -eq 0 ] || status=1
  done
  case $name in
    *check | sanitize) grep -vE "^ok|^=+ +(at|in|by|Host|Saved|$)" "$work/$name.log" | head -40 ;;
    profile) grep -E "Context|Duration|Throughput" "$work/$name.log" | cut -c1-150 ;;
    *) cut -c1-190 "$work/$name.log" ;;
  esac
done
kill $monitor
nvidia-smi -i "${GPU:-0}" --query-gpu=name,driver_version,power.limit,clocks.max.sm --format=csv,noheader,nounits |
  awk -F', ' -v date="$(date -u +%F)" -v commit="${COMMIT:-$(git rev-parse --short HEAD 2>/dev/null || echo unknown)}" \
    -v cuda="$(nvcc --version | sed -n 's/.*release \([0-9.]*\).*/\1/p')" \
    '{printf "{\"op\": \"machine\", \"gpu\": \"%s\", \"driver\": \"%s\", \"power_limit_w\": %s, ", $1, $2, $3;
      printf "\"max_sm_mhz\": %s, \"cuda\": \"%s\", \"date\": \"%s\", \"commit\": \"%s\"}\n", $4, cuda, date, commit}' \
    >"$work/machine.jsonl"
tar -C "$work" -czf "$out/results.tgz" .
exit $status
