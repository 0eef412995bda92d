#!/usr/bin/env bash
# Fails if clang-format would change one of our sources, and names it.
set -euo pipefail
cd "$(dirname "$0")/../.."
find client deploy kernels server tests -name '*.h' -o -name '*.cc' -o -name '*.cuh' -o -name '*.cu' |
  sort | xargs clang-format --dry-run -Werror --style=file
