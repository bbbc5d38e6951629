#!/bin/sh
# --like: a run is repeated from the metadata of what it made, byte for byte.
. "$(dirname "$0")/lib.sh"
shapes=$source_dir/models/shapes-t2v
gen() {
    code=$1
    shift
    run "$code" generate -m "$shapes" "$@"
}
options='--size 32x32 --frames 5 --steps 2 --seed 7 --shift 4.3 --guidance 2.1 --fps 12.5 --solver dpm++ --crf 21'
text='a red & "blue" <circle>; seed 3
moves — nach rechts'

for kind in mp4 webm webp png; do
    if [ $kind = png ]; then more='--frames 1'; else more=''; fi
    # shellcheck disable=SC2086
    gen 0 $options $more --prompt "$text" --negative 'a; seed 9; b & <c>' -o a.$kind
    [ -e a.$kind ] || continue
    gen 0 --like a.$kind -o b.$kind
    same "$kind: the same file" a.$kind b.$kind
    gen 0 --like a.$kind --seed 8 -o c.$kind
    cmp -s a.$kind c.$kind
    ok "$kind: an option given wins" $((! $?))
    gen 0 --like a.$kind --steps 2 --precision f32 --plan
    shows '32x32'
done

# every precision, the random number generator, and the model's own defaults
gen 0 --prompt 'a green square' --frames 5 --size 32x32 --steps 1 --precision f32 --rng torch-cuda:80:1024 --seed 11 -o a.webp
gen 0 --like a.webp -o b.webp
same 'f32 and another generator' a.webp b.webp
gen 0 --prompt 'a green square' --frames 5 --size 32x32 --steps 1 -o a.webp
gen 0 --like a.webp -o b.webp
same 'a seed chosen at random' a.webp b.webp

# files go by name, and their content is looked at
cp "$golden/model/pipeline_unipc.safetensors" 'noise;a%.safetensors'
run 0 generate -m "$tiny" --noise 'noise;a%.safetensors' --context "$golden/model/pipeline_unipc.safetensors" \
    --size 48x32 --frames 5 --steps 1 -o a.webp
cp "$golden/model/pipeline_unipc.safetensors" .
run 0 generate -m "$tiny" --like a.webp -o b.webp
same 'noise and context from files' a.webp b.webp
grep -q 'will not be the same' err
ok 'no warning' $((! $?))
"$tensors" make 'noise;a%.safetensors' noise F32 16,2,4,6 rand:1
run 0 generate -m "$tiny" --like a.webp -o b.webp
grep -q 'another image, noise or context' err
ok 'other noise is a warning' $?
run 0 generate -m "$shapes" --like c.webp -o b.webp --seed 1
grep -q 'other weights' err
ok 'the same weights are no warning' $((! $?))
cp -r "$shapes" other && chmod -R u+w other
dd if="$shapes/diffusion_pytorch_model.safetensors" of=other/diffusion_pytorch_model.safetensors bs=1000 skip=500 \
    seek=1000 count=1000 conv=notrunc 2>/dev/null
run 0 generate -m other --like c.webp -o b.webp
grep -q 'c.webp was made with other weights' err
ok 'other weights are a warning' $?

# what is no such file
fails 2 'needs -m' generate --like a.webp
: >empty
head -c 200 a.webp >cut.webp
head -c 60 a.png >cut.png
echo 'no video at all' >text.mp4
for f in missing empty cut.png text.mp4 "$source_dir/README.md"; do fails 1 "$f" generate -m "$shapes" --like "$f"; done
fails 1 'cut off' generate -m "$shapes" --like cut.webp
fails 1 'holds no parameters' generate -m "$shapes" --like "$golden/media/portrait.png"
for change in 's/steps 2/steps x/' 's/steps 2/steps 0/' 's/size 32x32/size 32y32/' 's/guidance 2.1/guidance 2,,/' 's/shift 4.3/shift nan/' \
    's/solver dpm/solver xyz/' 's/rng torch/rng torch_x/' 's/frames 5/frames -/'; do
    sed "$change" a.mp4 >bad.mp4
    cmp -s a.mp4 bad.mp4
    ok "$change changes the file" $((! $?))
    code=1
    case $change in *solver* | *rng*) code=2 ;; esac
    run $code generate -m "$shapes" --like bad.mp4 --plan
    ok "one sentence: $(cat err)" "$(test "$(grep -c '^wan: ' err)" = 1; echo $?)"
done
finish
