#!/bin/sh
# --from-latents: the VAE alone makes of saved latents the frames that the whole run made.
. "$(dirname "$0")/lib.sh"
run_file=$golden/model/pipeline_unipc.safetensors
small="-m $tiny --context $run_file --size 48x32 --frames 5 --steps 2 --seed 7"

# shellcheck disable=SC2086  # a list of words
run 0 generate $small --prompt 'a kite' --fps 8 -o f%d.png --save-latents l.safetensors
mkdir whole && mv f*.png whole
run 0 generate -m "$tiny" --from-latents l.safetensors -o f%d.png
ok 'no state is kept' "$(test ! -e f%d.png.resume; echo $?)"
# pictures carry remarks, which differ: so their frames as a video
for d in whole .; do ffmpeg -v error -i "$d/f%d.png" -f rawvideo -pix_fmt rgb24 - >"$(basename $d | tr . d).rgb" </dev/null; done
ok 'there are frames' "$(test "$(wc -c <whole.rgb)" = $((48 * 32 * 3 * 5)); echo $?)"
same 'the same frames' whole.rgb d.rgb

# what the file says of itself
run 0 generate -m "$tiny" --from-latents l.safetensors -o v.mp4
grep -q '48x32, 5 frames, 8 frames a second' err
ok "the frame rate is the file's" $?
ffprobe -v error -show_entries format_tags -of default=nw=1 v.mp4 >probe
grep -q 'decoded from l.safetensors; size 48x32; frames 5; vae f32x; .*latents of wan .*seed 7' probe
ok "the comment tells of both: $(cat probe)" $?
grep -q 'description=a kite' probe
ok 'and the prompt is there' $?
run 0 generate -m "$tiny" --from-latents l.safetensors --fps 12 -o v.mp4
grep -q '12 frames a second' err
ok '--fps is stronger' $?
# latents of elsewhere say nothing
"$tensors" make plain.safetensors latent F32 16,1,3,2 rand:1
run 0 generate -m "$tiny" --from-latents plain.safetensors -o p.png
ffprobe -v error -show_entries stream=width,height -of csv=p=0 p.png | grep -qx 16,24
ok 'any latents will do' $?
# a seed that is not there is in no default name
mkdir names && cd names || exit 1
run 0 generate -m "$tiny" --from-latents ../plain.safetensors
ok "a name without a seed: $(echo *)" "$(test "$(echo *.mp4)" = wan.mp4; echo $?)"
cd .. || exit 1

# no transformer, no text encoder: neither needed, nor looked at
mkdir vae
cp "$tiny/Wan2.1_VAE.pth" vae
run 0 generate -m vae --from-latents l.safetensors -o a.mp4
run 0 generate -m vae/Wan2.1_VAE.pth --from-latents l.safetensors -o b.mp4
same 'a folder and its VAE do the same' a.mp4 b.mp4
cp -R "$tiny" broken
chmod -R u+w broken
for f in broken/*.safetensors broken/models_t5*; do echo nonsense >"$f"; done
run 0 generate -m broken --from-latents l.safetensors -o c.mp4
fails 1 'broken' generate -m broken --prompt x -o c.mp4

# what it would take
run 0 generate -m vae --from-latents l.safetensors --plan
shows '48x32, 5 frames'
shows 'time    about'
grep -q 'text\|step [0-9]' out
ok 'of decoding alone' "$(test $? = 1; echo $?)"

# files that will not do, each said
echo old >old.mp4
bad() {
    text=$1
    shift
    "$tensors" make bad.safetensors "$@"
    fails 1 "$text" generate -m "$tiny" --from-latents bad.safetensors -o old.mp4
    grep -q bad.safetensors err
    ok "the file is named: $(cat err)" $?
}
bad "'latent' is missing" x F32 16,1,2,2 rand:1
bad '3 axes, expected 4' latent F32 16,1,2 rand:1
bad 'expected F32' latent I64 16,1,2,2 rand:1
bad '48 channels, the VAE' latent F32 48,1,2,2 rand:1
bad 'no video that can be made' latent F32 16,0,2,2 rand:1
bad 'no video that can be made' latent F32 16,1,1,4000 rand:1
"$tensors" make bad.safetensors latent F32 16,1,1,1 0,1,nan,3,4,5,6,7,8,9,10,11,12,13,14,15
fails 4 'not a finite number, element 2' generate -m "$tiny" --from-latents bad.safetensors -o old.mp4
"$tensors" make bad.safetensors latent F32 16,1,1,1 0,1,2,3,4,5,6,7,8,9,10,11,12,13,14,-inf
fails 4 'element 15' generate -m "$tiny" --from-latents bad.safetensors -o old.mp4
fails 1 nothere generate -m "$tiny" --from-latents nothere -o old.mp4
fails 1 '48x32' generate -m "$tiny" --from-latents l.safetensors --size 64x32 -o old.mp4
fails 1 '5 frames' generate -m "$tiny" --from-latents l.safetensors --frames 9 -o old.mp4
ok 'the old file stays' "$(test "$(cat old.mp4)" = old; echo $?)"
rm broken/Wan2.1_VAE.pth
fails 1 'VAE' generate -m broken --from-latents l.safetensors -o d.mp4

# options that have no part in it
for o in '--steps 3' '--seed 1' '--image x.png' '--noise l.safetensors' '--save-latents m.safetensors' '--guidance 2' \
    '--context x' '--resume-from x' '--resume' '--seeds 1-2' '--prompts x' '--negative x'; do
    # shellcheck disable=SC2086  # two words
    fails 2 'only decodes' generate -m "$tiny" --from-latents l.safetensors $o -o d.mp4
done
finish
