#!/bin/sh
# Bad input files: each a clear sentence that names the file, exit code 1, nothing written.
. "$(dirname "$0")/lib.sh"

# bad TEXT FILE: a weight file that must be refused: as a file of tensors, by inspect and as input of a part
bad() {
    "$tensors" list "$2" >out 2>&1
    ok "reading $2 ($1) is refused" "$(test $? = 2; echo $?)"
    fails 1 "$1" inspect "$2"
    fails 1 "$1" eval rope -i "$2" -o y.safetensors
}
fails 1 'nothere' inspect nothere
fails 1 'nothere' generate -m nothere --prompt 'a kite' -o y.mp4
: >empty.safetensors
bad empty.safetensors empty.safetensors
printf 'hello, world, this is no weight file at all' >text.safetensors
bad text.safetensors text.safetensors
header good.safetensors '{"x":{"dtype":"F32","shape":[1,4,1,8],"data_offsets":[0,128]},"grid_sizes":{"dtype":"I64","shape":[1,3],"data_offsets":[128,152]}}' 152
check 'a good file is read' "$tensors" list good.safetensors
fails 1 good.safetensors inspect good.safetensors # good, but no model

# truncated: at every kind of place
full=$(wc -c <good.safetensors)
for n in 1 7 8 9 60 $((full - 153)) $((full - 152)) $((full - 1)); do
    head -c "$n" good.safetensors >cut.safetensors
    bad cut.safetensors cut.safetensors
done

# headers that lie
lie() {
    header lie.safetensors "$@"
    bad lie.safetensors lie.safetensors
}
lie '{"x":{"dtype":"F32","shape":[1,4,1,8],"data_offsets":[0,124]}}' 128
lie '{"x":{"dtype":"F32","shape":[1,4,1,8],"data_offsets":[0,256]}}' 128
lie '{"x":{"dtype":"F32","shape":[1,4,1,8],"data_offsets":[128,0]}}' 128
lie '{"x":{"dtype":"F32","shape":[4294967296,4294967296],"data_offsets":[0,128]}}' 128
lie '{"x":{"dtype":"F32","shape":[-1,4],"data_offsets":[0,128]}}' 128
lie '{"x":{"dtype":"F32","shape":[1,2,3,4,5,6,7,8,9,1,1,1,1,1],"data_offsets":[0,128]}}' 128
lie '{"x":{"dtype":"Q99","shape":[32],"data_offsets":[0,128]}}' 128
lie '{"x":{"dtype":"F32","shape":[32]}}' 128
lie '{"x":{"dtype":"F32","shape":"32","data_offsets":[0,128]}}' 128
lie '{"x":{"dtype":"F32","shape":[32],"data_offsets":[0,128]},"y":{"dtype":"F32","shape":[32],"data_offsets":[64,192]}}' 192
lie '{"x":{"dtype":"F32","shape":[32],"data_offsets":[0,128]},"x":{"dtype":"F32","shape":[32],"data_offsets":[0,128]}}' 128
lie '{"x":[1,2,3' 128
lie '[]' 128
{ printf '\377\377\377\377\377\377\377\177'; head -c 200 /dev/zero; } >huge.safetensors
bad huge.safetensors huge.safetensors

# a pickle that would run a command when PyTorch opened it
mkdir -p hostile/archive
printf '\200\002cos\nsystem\nX\016\000\000\000touch pwned.tmp\205R.' >hostile/archive/data.pkl
printf 'PK\003\004garbage that is no archive' >broken.pth
bad broken.pth broken.pth
if command -v zip >/dev/null 2>&1; then
    (cd hostile && zip -q0r ../hostile.pth archive)
    bad hostile.pth hostile.pth
fi
cp hostile/archive/data.pkl bare.pth
bad bare.pth bare.pth
ok 'no command was run' "$(test ! -e pwned.tmp; echo $?)"

# a model with something wrong inside
# broken NAME: a fresh copy of the small model in m/
broken() {
    rm -rf m
    mkdir m
    cp -R "$tiny"/. m/
    chmod -R u+w m
}
# generate_fails TEXT: this model cannot be used, and nothing is left behind
generate_fails() {
    fails 1 "$1" generate -m m --context "$golden/model/pipeline_unipc.safetensors" --size 48x32 --frames 5 --steps 1 \
        --seed 1 -o y.mp4
    rm -f y.mp4.resume # of steps done before the VAE was looked at
    ok "nothing is written ($1)" "$(test -z "$(ls -- *.mp4* .*.mp4* 2>/dev/null)"; echo $?)"
}
shard=diffusion_pytorch_model-00002-of-00002.safetensors
broken
rm m/$shard
generate_fails $shard
broken
head -c 5000 "$tiny/$shard" >m/$shard
generate_fails $shard
broken
rm m/config.json
run 1 generate -m m --prompt x -o y.mp4
grep -q 'm' err
ok 'a model without config.json is refused or understood, with a sentence' $?
broken
echo '{"dim": 128, ' >m/config.json
generate_fails config.json
broken
sed 's/"num_heads": 2/"num_heads": 3/' "$tiny/config.json" >m/config.json
generate_fails heads
broken
sed 's/"dim": 128/"dim": 256/' "$tiny/config.json" >m/config.json
generate_fails ''
broken
sed 's/"num_layers": 3/"num_layers": 4/' "$tiny/config.json" >m/config.json
generate_fails num_layers
broken
sed 's/"num_layers": 3/"num_layers": 1000000000/' "$tiny/config.json" >m/config.json
generate_fails ''
broken
sed 's/block/BLOCK/' "$tiny/diffusion_pytorch_model.safetensors.index.json" >m/diffusion_pytorch_model.safetensors.index.json
run 1 generate -m m --context "$golden/model/pipeline_unipc.safetensors" --size 48x32 --frames 5 --steps 1 -o y.mp4
broken
sed 's/"BF16"/"F8XX"/; s/"F32"/"F8X"/' "$tiny/$shard" >m/$shard
generate_fails $shard
broken
rm m/Wan2.1_VAE.pth
generate_fails VAE
broken
head -c 3000 "$tiny/Wan2.1_VAE.pth" >m/Wan2.1_VAE.pth
generate_fails Wan2.1_VAE.pth
broken
run 0 inspect m
cp out whole
run 0 inspect m --json
tr -d ' \n' <out | grep -q '^{.*}$'
ok 'inspect --json prints an object' $?
rm m/models_t5_umt5-xxl-enc-bf16.pth
"$wan" inspect m >out 2>err
cmp -s out whole
ok 'inspect tells a missing text encoder' "$(test $? != 0; echo $?)"
finish
