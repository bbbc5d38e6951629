#!/bin/sh
# Builds wan and makes a short video with the small model that comes with this repository.
set -eu
cd "$(dirname "$0")"
tools/build.sh

prompt="a red circle moves to the right on a blue background"
mkdir -p out
echo "Generating: \"$prompt\""
build/cli/wan generate -m models/shapes-t2v --prompt "$prompt" --seed 7 -o out/demo.mp4
echo
echo "The video is out/demo.mp4: one second, 64x64 pixels, $prompt."
