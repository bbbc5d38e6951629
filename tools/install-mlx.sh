#!/bin/sh
# Fetches MLX into the folder given, for the device mlx: with pip, the version and the hashes of mlx-requirements.txt.
# The device is optional, so a failure is one sentence and no error. Does nothing, and says nothing, when it is there.
set -eu
[ $# = 1 ] || { echo "usage: $0 FOLDER" >&2; exit 2; }
folder=$1
wanted=$(dirname "$0")/mlx-requirements.txt

if [ -d "$folder/mlx/include" ] && cmp -s "$wanted" "$folder/requirements.txt"; then exit 0; fi
case $(uname -s)-$(uname -m) in
    Linux-x86_64 | Linux-aarch64 | Darwin-arm64) ;;
    *) exit 0 ;; # MLX has nothing for this machine
esac

# Why MLX is not there, and that this is no reason to stop.
without() {
    echo "Building without the device mlx: $1"
    rm -rf "$folder"
    exit 0
}

python3 -m pip --version >/dev/null 2>&1 || without "python3 has no pip to fetch MLX with"
echo "Fetching MLX for the device mlx"
rm -rf "$folder"
mkdir -p "$folder"
python3 -m pip install --quiet --disable-pip-version-check --retries 1 --timeout 20 --target "$folder" --no-deps \
    --only-binary :all: --require-hashes -r "$wanted" >"$folder.log" 2>&1 ||
    without "pip cannot fetch MLX, see $folder.log"
[ -d "$folder/mlx/include" ] || without "there is no MLX for this system"
cp "$wanted" "$folder/requirements.txt"
