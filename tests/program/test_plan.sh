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

# --max-memory: the same frames from less, or a sentence that says what would fit
video="-m $shapes --size 32x320 --frames 9 --steps 1 --seed 1"
# shellcheck disable=SC2086
run 0 generate $video --prompt 'a red circle' -o whole.webp
for share in 90 70; do
    # shellcheck disable=SC2086
    run 0 generate $video --prompt 'a red circle' --plan
    limit=$(mib out memory | awk "{ print int(\$1 * $share / 100 * 1048576) }")
    # shellcheck disable=SC2086
    run 0 generate $video --prompt 'a red circle' --plan --max-memory "$limit"
    shows 'the video decoded in'
    # shellcheck disable=SC2086
    run 0 generate $video --prompt 'a red circle' -o strips.webp --max-memory "$limit"
    grep -q 'is decoded in [0-9]* strips' err
    ok "$share %: strips are said" $?
    same "$share %: the same file" whole.webp strips.webp
    held=$(sed -n 's/^took .*peak memory \([0-9.]*\) MiB .*/\1/p' err)
    ok "$share %: the library held $held MiB of $limit bytes" "$(echo "$held $limit" | awk '{ exit !($1 * 1048576 <= $2) }'; echo $?)"
done
run 0 generate -m "$shapes" --prompt x --size 160x160 --frames 9 --plan --max-memory 8GiB
grep -q strips out
ok 'no strips where there is room' "$(test $? = 1; echo $?)"
for command in --plan '-o refused.mp4'; do
    # shellcheck disable=SC2086
    fails 3 '--max-memory 20.0 MiB: this run needs at least' generate -m "$shapes" --prompt x --size 128x640 --frames 17 --max-memory 20MiB $command
    grep -q '(128x640, 17 frames); [0-9]*x[0-9]* with 17 frames' err
    ok 'a size that would fit is said' $?
done
ok 'nothing is written' "$(test ! -e refused.mp4 && test ! -e refused.mp4.resume; echo $?)"
size=$(sed -n 's/.*frames); \([0-9x]*\) with .*/\1/p' err)
run 0 generate -m "$shapes" --prompt x --size "$size" --frames 17 --plan --max-memory 20MiB
fails 3 'no size of video would fit' generate -m "$shapes" --prompt x --frames 5 --plan --max-memory 1MiB
fails 1 'is not known' generate -m "$shapes" --prompt x --device ref --max-memory 1GiB -o x.png

# the device mlx, in builds that have it: what cannot fit is refused (test_mlx looks at the numbers)
if "$wan" eval noise --seed 1 --shape 4 -o m.safetensors --device mlx 2>/dev/null; then
    for command in --plan '-o refused.mp4'; do
        # shellcheck disable=SC2086
        fails 3 '--max-memory 2.0 MiB: this run needs at least' generate -m "$shapes" --prompt x --size 64x64 --frames 9 \
            --device mlx --max-memory 2MiB $command
    done
fi
finish
