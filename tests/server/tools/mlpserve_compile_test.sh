#!/bin/sh
# mlpserve-compile fills a cache, and finds everything in it the second time.
# usage: mlpserve_compile_test.sh PROGRAM MODEL_REPOSITORY    exit code 77: there is no NVRTC here
set -eu
cache=$(mktemp -d)
trap 'rm -rf "$cache"' EXIT
compile() { "$1" --model-repository "$2" --kernel-cache "$cache" --arch "$3" 2>&1; }

first=$(compile "$1" "$2" 89,90a) || { echo "$first"; case $first in *"no NVRTC"*) exit 77 ;; *) exit 1 ;; esac; }
echo "first: $first"
case $first in "0 kernels compiled"*) echo "expected some kernels to be compiled"; exit 1 ;; esac
second=$(compile "$1" "$2" 89,90a)
echo "second: $second"
case $second in "0 kernels compiled, "*" known already, 0 failed") ;; *) exit 1 ;; esac
if unknown=$(compile "$1" "$2" 1); then echo "expected --arch 1 to be refused"; exit 1; fi
case $unknown in *"--arch"*'found "1"'*) ;; *) echo "$unknown"; exit 1 ;; esac
