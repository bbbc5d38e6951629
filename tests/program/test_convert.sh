#!/bin/sh
# wan convert, and the folders that it writes in the other commands.
. "$(dirname "$0")/lib.sh"
ti2v=$golden/model/tiny-ti2v

run 0 convert -m "$ti2v" -o a --to mlx
grep -q 'a is written' err
ok 'convert says what it wrote' $?
for f in wan_model_mlx.safetensors t5_encoder_mlx.safetensors vae_mlx.safetensors config.json google/umt5-xxl/tokenizer.json; do
    ok "$f is written" "$(test -s a/$f; echo $?)"
done
run 0 inspect a
grep -q '331,392 parameters' out && grep -q 'ti2v, 96 wide, 2 heads of 48' out && grep -q 'no problems found' out
ok 'a converted folder is whole' $?
run 0 inspect a/wan_model_mlx.safetensors --forward 48,4,32,32
cp out of_mlx
grep -q 'output \[48, 4, 32, 32\], from .* to .*, mean .*, standard deviation' out
ok 'a converted transformer runs' $?
run 0 inspect "$ti2v" --forward 48,4,32,32
[ "$(grep forward out)" = "$(grep forward of_mlx)" ]
ok 'and gives what the official one does' $?

# a whole run: the same frames
video() {
    run 0 generate -m "$1" --prompt 'a red kite' --size 64x64 --frames 5 --steps 2 --seed 5 -q --save-latents "$2.safetensors" \
        -o "$2_%d.png"
}
run 0 convert -m "$ti2v" -o v --to mlx-video -q
ok '--quiet is quiet' "$(test ! -s err; echo $?)"
video "$ti2v" one
video v two
"$tensors" compare one.safetensors latent two.safetensors latent 0 >/dev/null
ok 'latents are those of the official files' $?

# quantised, and what a run of it takes
run 0 convert -m "$tiny" -o q --to mlx-video --type bf16 --quantize 4 --group-size 32
run 0 inspect q
grep -q '838,144 parameters, 96 tensors, BF16, 30 in 4-bit groups' out
ok 'quantised matrices count as what they stand for' $?
run 0 inspect q --json
grep -q '"parameters": 838144' out
ok 'in JSON too' $?
run 0 generate -m q --context "$golden/model/pipeline_unipc.safetensors" --size 48x32 --frames 5 --steps 1 --seed 1 -o q.png \
    --frames 1
grep -q 'quantised; .* of memory' err
ok 'a run says what unpacking takes' $?

# what is wrong is said, and nothing is left or lost
fails 2 'needs a model' convert -m "$ti2v" -o new
fails 2 "--to 'onnx'" convert -m "$ti2v" -o new --to onnx
fails 2 "--type 'i8'" convert -m "$ti2v" -o new --to mlx --type i8
fails 2 '--quantize' convert -m "$ti2v" -o new --to mlx --quantize 5
fails 2 'with --quantize only' convert -m "$ti2v" -o new --to mlx --group-size 32
fails 2 'do not make groups of 64' convert -m "$ti2v" -o new --to mlx --quantize 4
fails 1 'nothere' convert -m nothere -o new --to mlx
fails 1 'a is there already' convert -m "$ti2v" -o a --to mlx
fails 1 'cannot write' convert -m "$ti2v" -o no/such/folder --to mlx
head -c 5000 a/vae_mlx.safetensors >cut.safetensors
fails 1 'cut.safetensors' convert -m cut.safetensors -o new --to mlx-video
(
    trap '' XFSZ
    ulimit -f 100
    "$wan" convert -q -m "$ti2v" -o new --to mlx >out 2>err
)
ok 'a full disk is a failure' "$(test $? = 1; echo $?)"
grep -q '^wan: .*cannot write' err
ok 'and one sentence' $?
ok 'nothing is left' "$(test -z "$(ls -d new* 2>/dev/null)"; echo $?)"
run 0 inspect a
finish
