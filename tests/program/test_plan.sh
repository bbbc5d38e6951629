#!/bin/sh
# --plan: what a run takes is told before it, and the memory it told is what the run takes.
. "$(dirname "$0")/lib.sh"
shapes=$source_dir/models/shapes-t2v
run_file=$golden/model/pipeline_unipc.safetensors

run 0 generate -m "$shapes" --prompt 'a red circle' --size 64x64 --frames 17 --plan -o x.mp4
shows '64x64, 17 frames: 80 tokens, 25 steps'
shows 'memory '
shows 'time '
ok 'nothing is written' "$(test ! -e x.mp4 && test ! -e x.mp4.resume; echo $?)"
run 0 generate -m "$shapes" --prompt 'a red circle' --size 1280x720 --frames 81 --plan
shows '75600 tokens'
fails 2 'needs -m' generate --plan
fails 2 '--prompt' generate -m "$shapes" --plan

# mib FILE WORD: the size that follows WORD in the file, in MiB
mib() {
    sed -n "s/^$2 *\([0-9.]*\) \([KMG]iB\).*/\1 \2/p" "$1" |
        awk '{ print $1 * ($2 == "KiB" ? 1 / 1024 : $2 == "GiB" ? 1024 : 1) }'
}

# What the library allocates is exact; the program adds what it cannot count, which tests do not judge.
for size in 64x64 160x96 256x256; do
    video="-m $shapes --size $size --frames 9 --steps 2 --seed 1"
    # shellcheck disable=SC2086  # a list of words
    run 0 generate $video --prompt 'a red circle' --plan
    planned=$(mib out memory)
    # shellcheck disable=SC2086
    run 0 generate $video --prompt 'a red circle' -o "$size.mp4"
    held=$(sed -n 's/^took .*peak memory \([0-9.]*\) MiB .*/\1/p' err)
    ok "$size: planned $planned MiB for the process, the library held $held MiB" \
        "$(echo "$planned $held" | awk '{ exit !($1 >= $2 && $1 < $2 * 1.1 + 40) }'; echo $?)"
done
finish
