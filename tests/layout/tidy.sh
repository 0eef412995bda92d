#!/usr/bin/env bash
# clang-tidy, and with it clang's own warnings, over every source that the build compiles.
# usage: tidy.sh BUILD_DIR [PATTERN]
set -uo pipefail
cd "$(dirname "$0")/../.."
build=$1
pattern=${2:-"$PWD/(client|deploy|kernels|server|tests)/.*\.cc$"}
run-clang-tidy -quiet -j "$(nproc)" -p "$build" -extra-arg=-Wthread-safety \
  -extra-arg=-Wzero-as-null-pointer-constant \
  -extra-arg=-Wno-unknown-warning-option "$pattern" 2>&1 |
  grep -Ev '^(clang-tidy|[0-9]+ warnings? (generated|treated)|Suppressed|Use -header-filter)'
exit "${PIPESTATUS[0]}"
