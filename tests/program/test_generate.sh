#!/bin/sh
# wan generate from prompt or context to a file.
. "$(dirname "$0")/lib.sh"
run_file=$golden/model/pipeline_unipc.safetensors
# small ARGUMENTS…: options of a run of seconds
small="-m $tiny --context $run_file --size 48x32 --frames 5 --steps 2"

# gen CODE ARGUMENTS…
gen() {
    code=$1
    shift
    # shellcheck disable=SC2086  # a list of words
    run "$code" generate $small "$@"
}

# a video file, and what ffprobe makes of it
gen 0 --seed 7 -o a.mp4
grep -q 'wrote *a.mp4' err
ok 'the end says what was written' $?
grep -q 'peak memory' err
ok 'and the memory' $?
head -c 12 a.mp4 | grep -q ftyp
ok 'it is an MP4 file' $?
if command -v ffprobe >/dev/null 2>&1; then
    ffprobe -v error -count_frames -select_streams v -of default=nw=1 \
        -show_entries stream=codec_name,width,height,pix_fmt,r_frame_rate,nb_read_frames,color_space a.mp4 >probe 2>&1
    for want in codec_name=h264 width=48 height=32 pix_fmt=yuv420p r_frame_rate=16/1 nb_read_frames=5 color_space=bt709; do
        grep -qx $want probe
        ok "ffprobe says $want: $(tr '\n' ' ' <probe)" $?
    done
fi

# the other kinds of file that move
gen 0 --seed 7 -o a.webm
head -c 4 a.webm | od -An -tx1 | grep -q '1a 45 df a3'
ok 'a .webm is a WebM file' $?
if command -v ffprobe >/dev/null 2>&1; then
    ffprobe -v error -count_frames -select_streams v -of default=nw=1 \
        -show_entries stream=codec_name,width,height,pix_fmt,r_frame_rate,nb_read_frames,color_space:format_tags \
        a.webm >probe 2>&1
    for want in width=48 height=32 pix_fmt=yuv420p r_frame_rate=16/1 nb_read_frames=5 color_space=bt709; do
        grep -qx $want probe
        ok "ffprobe says $want of a .webm: $(tr '\n' ' ' <probe)" $?
    done
    grep -q 'COMMENT=wan .*seed 7' probe
    ok 'a .webm carries the parameters' $?
fi
gen 0 --seed 7 -o a.webp
ok 'a .webp is a WebP file' "$(test "$(head -c 4 a.webp)$(head -c 16 a.webp | tail -c 8)" = RIFFWEBPVP8X; echo $?)"
ok 'with five frames' "$(test "$(grep -ao ANMF a.webp | wc -l)" = 5; echo $?)"
grep -aq 'wan .*seed 7' a.webp
ok 'a .webp carries the parameters' $?
for kind in webm webp; do
    gen 0 --seed 7 --threads 1 -o b.$kind
    same "the same seed gives the same bytes ($kind)" a.$kind b.$kind
done
gen 0 --seed 7 --crf 40 -o b.webm
gen 0 --seed 7 --crf 40 -o b.webp
for kind in webm webp; do
    ok "--crf counts ($kind)" "$(test "$(wc -c <b.$kind)" -lt "$(wc -c <a.$kind)"; echo $?)"
done

# repeatable: the seed, the number of threads
gen 0 --seed 7 -o b.mp4
same 'the same seed gives the same bytes' a.mp4 b.mp4
gen 0 --seed 7 -o b.mp4 --threads 1
same 'one thread gives the same bytes' a.mp4 b.mp4
gen 0 --seed 7 -o b.mp4 --threads 3
same 'three threads give the same bytes' a.mp4 b.mp4
gen 0 --base_seed=7 --save_file b.mp4 --sample_steps 2 --sample_solver unipc
same 'official names mean the same' a.mp4 b.mp4
gen 0 --seed 8 -o b.mp4
cmp -s a.mp4 b.mp4
ok 'another seed gives another video' "$(test $? = 1; echo $?)"

# the latents against PyTorch, from the same noise
for solver in unipc dpm; do
    f=$golden/model/pipeline_$solver.safetensors
    args=$(head -c 4096 "$f" | tr -c '[:print:]' ' ' | sed -n 's/.*"args": *"\([^"]*\)".*/\1/p')
    ok "$f tells its arguments" "$(test -n "$args"; echo $?)"
    # shellcheck disable=SC2086  # a list of words
    run 0 generate -m "$tiny" --noise "$f" --context "$f" $args --precision f32 --save-latents l.safetensors
    ok 'with latents alone nothing is decoded' "$(test "$(echo *.mp4)" = 'a.mp4 b.mp4'; echo $?)"
    "$tensors" list l.safetensors >listed
    grep -qx 'latent F32 16,2,4,6' listed
    ok "the latents: $(cat listed)" $?
    # with the last of the samples x [N, 16, 2, 4, 6]
    check "latents agree with PyTorch ($solver)" "$tensors" compare l.safetensors latent "$f" x 1e-3
done

# pictures
mkdir -p p
gen 0 --seed 7 -o p/f_%03d.png
names=$(cd p && echo *)
ok "five pictures: $names" "$(test "$names" = 'f_000.png f_001.png f_002.png f_003.png f_004.png'; echo $?)"
head -c 8 p/f_001.png | od -An -tx1 | grep -q '89 50 4e 47 0d 0a 1a 0a'
ok 'a picture is a PNG file' $?
run 0 generate -m "$tiny" --context "$run_file" --size 48x32 --steps 1 --seed 7 -o one.png
ok 'one picture' "$(test -s one.png; echo $?)"
run 0 generate -m "$tiny" --context "$run_file" --size 48x32 --frames 1 --steps 1 --seed 7 -o one.webp
grep -aq VP8L one.webp
ok 'one lossless picture' $?
gen 0 --seed 7 -o p/f_%d.webp
ok 'five WebP pictures' "$(test "$(echo p/*.webp)" = 'p/f_0.webp p/f_1.webp p/f_2.webp p/f_3.webp p/f_4.webp'; echo $?)"
rm p/*.webp
gen 2 -o two.png
grep -q 'frame' err
ok 'five frames are not one picture' $?
gen 2 -o f_%s.png
gen 2 -o f_%d_%d.png

# names: never over a file that was not asked for
mkdir -p names && cd names || exit 1
gen 0 --seed 9
gen 0 --seed 9
ok "two names: $(echo *.mp4)" "$(test "$(echo *.mp4)" = 'wan_9.mp4 wan_9_2.mp4'; echo $?)"
cd .. || exit 1

# sizes that the model cannot take
gen 0 --seed 7 --frames 6 --size 50x30 -o c.mp4
grep -q '48x32' err && grep -q '50x30' err
ok 'a moved size is said' $?
gen 2 --seed 7 --size 50x30 --strict -o d.mp4
grep -q -e '--size' err
ok '--strict makes it an error' $?
gen 2 --seed 7 --frames 6 --strict -o d.mp4
fails 2 '--solver' generate -m "$tiny" --prompt x --solver heun -o d.mp4
fails 2 '--rng' generate -m "$tiny" --prompt x --rng dice -o d.mp4
fails 2 'precision' generate -m "$tiny" --prompt x --vae-precision half -o d.mp4
ok 'nothing is written by failures' "$(test ! -e d.mp4; echo $?)"

# outputs that cannot be
echo old >old.mp4
fails 2 '.mp4' generate -m "$tiny" --prompt x -o a.avi
fails 2 '.webm' generate -m "$tiny" --prompt x -o a.gif
fails 1 'no/such' generate -m "$tiny" --prompt x -o no/such/folder/a.webm
fails 1 'no/such' generate -m "$tiny" --prompt x -o no/such/folder/a.mp4
fails 2 'is a folder' generate -m "$tiny" --prompt x -o names
fails 2 'is a folder' generate -m "$tiny" --prompt x -o p/
fails 1 'no/such' generate -m "$tiny" --prompt x --save-latents no/such/l.safetensors
fails 1 'nothere' generate -m "$tiny" --context nothere --seed 1 -o old.mp4
"$tensors" make wrong.safetensors noise F32 16,2,4,5 rand:1
gen 1 --noise wrong.safetensors -o old.mp4
grep -q noise err
ok 'wrong noise is named' $?
"$tensors" make wrong.safetensors context F32 3,63 rand:1 context_null F32 3,63 rand:1
fails 1 'context' generate -m "$tiny" --context wrong.safetensors --size 48x32 --frames 5 -o old.mp4
ok 'the old file stays' "$(test "$(cat old.mp4)" = old; echo $?)"

# a first image, two experts, and what the file says of them
i2v=$golden/model/tiny-i2v-a14b
image="--context $golden/model/pipeline_i2v_a14b.safetensors --image $golden/model/picture_rgb.png"
# shellcheck disable=SC2086  # a list of words
run 0 generate -m "$i2v" $image --size 32x64 --frames 5 --steps 2 --seed 3 --guidance 3,4 -o i.mp4
grep -q 'the area of 32x64 in the aspect of picture_rgb.png' err
ok 'the size that the image gives is said' $?
ffprobe -v error -show_entries format_tags=comment -of csv i.mp4 | grep -q 'guidance 3,4; solver unipc; seed 3'
ok 'both guidances and the image are in the metadata' $?
fails 2 'needs the first frame' generate -m "$i2v" --prompt x -o d.mp4

# --quiet is quiet
gen 0 --seed 7 --quiet -o e.mp4
ok "--quiet says nothing: $(head -n 1 err)" "$(test ! -s err; echo $?)"

# the small model that comes along, from a prompt
shapes=$source_dir/models/shapes-t2v
if [ -d "$shapes" ]; then
    prompt='a red circle moves to the right on a blue background'
    shape="-m $shapes --size 64x64 --frames 17 --steps 2 --seed 7"
    # shellcheck disable=SC2086  # a list of words
    run 0 generate $shape --prompt "$prompt" -o s.mp4
    # shellcheck disable=SC2086
    echo "$prompt" | "$wan" generate $shape --prompt - -o t.mp4 2>err
    same 'a prompt from standard input is the same' s.mp4 t.mp4
    run 0 generate --help -m "$shapes"
    shows 'default: unipc'
fi
finish
