#!/bin/sh
# Builds the operations and their checker for arm64 and runs it at every level, in an emulated processor: shows that the
# numbers are right, says nothing of speed. About an hour of processor time. Arguments: operations, if not all of them.
set -eu
cd "$(dirname "$0")/.."
build='build-arm64'
for tool in aarch64-linux-gnu-gcc aarch64-linux-gnu-g++ qemu-aarch64-static; do
    command -v $tool >/dev/null && continue
    echo "$tool is missing; on Debian: apt install gcc-aarch64-linux-gnu g++-aarch64-linux-gnu qemu-user-static" >&2
    exit 1
done
if [ ! -f $build/build.ninja ]; then
    meson setup $build --cross-file tools/arm64-linux-gnu.ini -Dkernels_only=true -Dmlx=disabled
fi
ninja -C $build

check() {
    qemu-aarch64-static -cpu max -L /usr/aarch64-linux-gnu $build/tests/kernels/wan-check "$@"
}
# shellcheck disable=SC2046  # a list of words
[ $# -gt 0 ] || set -- $(check --list --isa portable | cut -d ' ' -f 1 | uniq)
failed=
for isa in portable neon neonbf16; do
    for op in "$@"; do
        echo "$isa $op:"
        check --isa $isa --op "$op" || failed="$failed $isa/$op" # a level that is not there counts as failed
    done
done
[ -z "$failed" ] || { echo "failed:$failed" >&2; exit 1; }
