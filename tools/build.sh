#!/bin/sh
# Builds everything in build/, after installing what that needs. Quiet unless there is something to do.
set -eu
cd "$(dirname "$0")/.."
tools/install-deps.sh
if [ ! -f build/build.ninja ]; then
    echo "Setting up build/"
    mkdir -p build
    tools/install-mlx.sh build/mlx
    meson setup build >build/setup.log 2>&1 || { cat build/setup.log >&2; exit 1; }
fi
echo "Building"
ninja -C build >build/build.log 2>&1 || { tail -n 40 build/build.log >&2; exit 1; }
