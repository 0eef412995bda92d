#!/usr/bin/env bash
# mlpserve-bench as a program: exit codes, one line for what is wrong, a table and records on a
# processor. usage: mlpserve_bench_test.sh MLPSERVE_BENCH
set -uo pipefail
bench=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failures=0

fail() {
  echo "FAILED: $1" >&2
  cat "$work/out" "$work/err" >&2
  failures=$((failures + 1))
}

# expect CODE TEXT ARGUMENT...: the exit code, and one line of stderr that holds the text.
expect() {
  local code=$1 text=$2 found
  shift 2
  "$bench" "$@" >"$work/out" 2>"$work/err"
  found=$?
  [ "$found" -eq "$code" ] || fail "expected exit code $code, found $found: $*"
  grep -qF -- "$text" "$work/err" || fail "expected \"$text\": $*"
  [ "$(wc -l <"$work/err")" -eq 1 ] || fail "expected one line: $*"
}

cpu=(kernels --backend cpu --cpu-threads 1 --seconds 0.001 --n 32 --k 32)
expect 2 "--m: expected" "${cpu[@]}" --m 0
expect 2 "--m: expected" "${cpu[@]}" --m -3
expect 2 "--dtype: expected bf16" "${cpu[@]}" --dtype int8
expect 2 "--ops: expected a list of ops" "${cpu[@]}" --ops '{}'
expect 2 "--variants: expected chosen" "${cpu[@]}" --variants nothing
expect 2 "--json: expected a file" "${cpu[@]}" --json "$work/missing/records.jsonl"
expect 2 "--plan: expected a file" "${cpu[@]}" --plan "$work/missing.plan"
echo "check m=1 rows=2" >"$work/wrong.plan"
expect 2 "wrong.plan, line 1: expected one of m=" "${cpu[@]}" --plan "$work/wrong.plan"
expect 2 "--mode: expected a GPU to profile on" "${cpu[@]}" --m 1 --mode profile
expect 2 "MiB of memory" kernels --backend cpu --n 16777216 --k 16777216
# No GPU, no driver or no build with CUDA: all the same here.
CUDA_VISIBLE_DEVICES='' expect 2 "--backend cuda: " kernels --m 1 --n 32 --k 32

"$bench" "${cpu[@]}" --m 1,3 --dtype bf16,tf32 --layers 2 --json "$work/records.jsonl" \
  >"$work/out" 2>"$work/err" || fail "expected exit code 0"
grep -q "12 figures, 12 right outputs, 0 wrong outputs" "$work/out" || fail "expected 12 figures"
[ "$(grep -c '"ms":' "$work/records.jsonl")" -eq 12 ] || fail "expected 12 records with ms"

echo "check m=1,5 n=33 k=65 dtype=bf16,fp32 epilogue=gelu,batch_norm" >"$work/a.plan"
"$bench" "${cpu[@]}" --plan "$work/a.plan" >"$work/out" 2>"$work/err" || fail "expected exit code 0"
grep -q "^0 figures, 8 right outputs, 0 wrong outputs" "$work/out" || fail "expected 8 right outputs"
CUDA_VISIBLE_DEVICES='' "$bench" kernels --plan "$work/a.plan" --list >"$work/out" 2>"$work/err" || fail "expected exit code 0"
grep -q "^fp32 scale_batchnorm_eval 5 x 33 x 65$" "$work/out" || fail "expected the problems' names"
grep -q "^8 problems$" "$work/out" || fail "expected 8 problems"
# One value near zero is held to its bound, not to its size.
"$bench" kernels --backend cpu --cpu-threads 1 --mode check --m 1 --n 1 --k 65 --dtype bf16,fp16,tf32,fp32 \
  --epilogue linear,gelu,sigmoid,batch_norm >"$work/out" 2>"$work/err" || fail "expected exit code 0"
exit $((failures > 0))
