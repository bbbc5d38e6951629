#!/bin/sh
# wan eval: the contract of docs/eval.md, against PyTorch's results where there are any.
. "$(dirname "$0")/lib.sh"
model=$golden/model

# The options that a golden file was made with.
golden_args() {
    head -c 4096 "$1" | tr -c '[:print:]' ' ' | sed -n 's/.*"args": *"\([^"]*\)".*/\1/p'
}

# agrees PART FILE RESULT NAME TOLERANCE [OPTIONS…]: RESULT of the part on FILE is NAME of FILE.
agrees() {
    part=$1 file=$2 result=$3 name=$4 tolerance=$5
    shift 5
    rm -f o.safetensors
    # shellcheck disable=SC2046  # a list of words
    run 0 eval "$part" -i "$file" -o o.safetensors $(golden_args "$file") "$@"
    check "$part on $(basename "$file") $* agrees" \
        "$tensors" compare o.safetensors "$result" "$file" "$name" "$tolerance"
}

# operations
for f in "$model"/attention_*.safetensors; do
    agrees attention "$f" out out 1e-5 --precision f32
    agrees attention "$f" out out 1e-5 --precision f32 --device ref
done
for f in "$model"/rope_*.safetensors; do agrees rope "$f" x out 1e-6; done
for f in "$model"/rmsnorm*.safetensors; do agrees rmsnorm "$f" x out 1e-5; done
for f in "$model"/sinusoid*.safetensors; do agrees sinusoid "$f" embedding embedding 1e-6; done

# parts of a model
for f in "$model"/t5_*.safetensors; do agrees t5 "$f" context context 1e-4 -m "$tiny" --precision f32; done
agrees t5 "$model/t5_7.safetensors" context context 1e-3 -m "$tiny"
for f in "$model"/dit_main.safetensors "$model"/dit_odd.safetensors "$model"/dit_tokens.safetensors; do
    agrees dit "$f" v v 1e-4 -m "$tiny" --precision f32
    agrees dit "$f" v v_bf16 3e-2 -m "$tiny" --precision bf16
done
agrees dit "$model/dit_text32_13.safetensors" v v 1e-4 -m "$model/tiny-t2v-text32" --precision f32
agrees vae.decode "$model/vae21_decode_2_1x2.safetensors" video video 1e-4 -m "$tiny" --precision f32
agrees vae.encode "$model/vae21_encode_5_8x16.safetensors" latent latent 1e-4 -m "$tiny" --precision f32

# intermediates
agrees dit "$model/dit_main.safetensors" v v 1e-4 -m "$tiny" --precision f32 --dump d.safetensors
for n in patch block.0 block.1 block.2 head; do
    check "the dump has $n" "$tensors" compare d.safetensors $n "$model/dit_main.safetensors" $n 1e-4
done

# each operation is told, and one is told for each product
run 0 eval dit -m "$tiny" -i "$model/dit_main.safetensors" -o t.safetensors --trace
grep -Eq '^linear +[0-9.]+ ms  \[[0-9, ]+\] (BF16|F32)$' err
ok '--trace tells of products' $?

# the device mlx, in builds that have it
if "$wan" eval noise --seed 1 --shape 4 -o m.safetensors --device mlx 2>mlx.err; then
    agrees dit "$model/dit_main.safetensors" v v 1e-4 -m "$tiny" --precision f32 --device mlx
    agrees vae.decode "$model/vae21_decode_2_1x2.safetensors" video video 1e-4 -m "$tiny" --precision f32 --device mlx
    run 0 eval noise --seed 1 --shape 4 -o m.safetensors --device mlx --isa cpu
    fails 2 "no 'avx2' here" eval noise --seed 1 --shape 4 -o m.safetensors --device mlx --isa avx2
else
    grep -q "device 'mlx' is not in this build; it has: ref, cpu$" mlx.err
    ok "a build without mlx says so: $(cat mlx.err)" $?
fi

# any number of threads, the same bytes
run 0 eval dit -m "$tiny" -i "$model/dit_main.safetensors" -o one.safetensors --threads 1
run 0 eval dit -m "$tiny" -i "$model/dit_main.safetensors" -o two.safetensors --threads 2
same 'one thread and two give the same bytes' one.safetensors two.safetensors

# noise (spec: torch.randn of seed 42) and schedules (the official lists)
run 0 eval noise --seed 42 --shape 20 --rng torch-cpu -o n.safetensors
run 0 eval noise --seed 42 --shape 16,2,3,4 -o n4.safetensors
"$tensors" list n4.safetensors >listed
grep -qx "noise F32 16,2,3,4" listed
ok "the shape of noise: $(cat listed)" $?
tail -c 80 n.safetensors | od -An -v -tf4 | tr -s ' \n' '\n' | grep . | head -n 4 |
    awk 'BEGIN { split("1.92692 1.48728 0.90072 -2.10552", w) } { d = $1 - w[NR]; if (d < -1e-5 || d > 1e-5) bad = 1 }
         END { exit NR != 4 || bad }'
ok 'seed 42 is the seed 42 of PyTorch' $?
for r in torch-cuda torch-cuda:132 torch-cuda:108:2048; do
    run 0 eval noise --seed 42 --shape 16,1,2,2 --rng $r -o c.safetensors
done
# schedule SOLVER STEPS SHIFT FIRST… : the first timesteps
schedule() {
    solver=$1 steps=$2 shift=$3
    shift 3
    run 0 eval schedule --solver "$solver" --steps "$steps" --shift "$shift"
    tr -d ' \n' <out | sed 's/.*"timesteps":\[\([^]]*\).*/\1/; s/\.0*\(,\|$\)/\1/g' >t
    [ "$(tr ',' '\n' <t | grep -c .)" = "$steps" ] && grep -q "^$1" t
    ok "timesteps of $solver $steps $shift: $(cat t)" $?
    sigmas=$(tr -d ' \n' <out | sed 's/.*"sigmas":\[\([^]]*\).*/\1/' | tr ',' '\n' | grep -c .)
    [ "$sigmas" = $((steps + 1)) ]
    ok "sigmas of $solver $steps $shift" $?
}
schedule unipc 50 5 '999,995,991,987,982,978,973,968,'
schedule unipc 16 12 '999,994,988,981,972,963,952,938,922,903,877,844,799,734,631,444$'
schedule dpm++ 4 5 '1000,937,833,625$'
schedule dpm++ 16 12 '1000,994,988,981,972,963,952,939,923,903,878,845,800,734,631,444$'
schedule euler 2 1 '1000,500$'

# solve: the toy problem v = 0.8 x - 0.35 cos(x (1 + 0.25 i)), whose samples are known
# solve SOLVER STEPS SHIFT TIMES-SIX-DIGITS: X holds the known samples, one a step
solve() {
    v=$(printf '0.75,-1.25,2.0 %s' "$4" | tr ' ' '\n' | head -n "$2" | awk -F, '{
        for (k = 1; k <= 3; k++)
            printf "%s%.9f", (NR + k > 2 ? "," : ""), 0.8 * $k - 0.35 * cos($k * (1 + 0.25 * (NR - 1))) }')
    "$tensors" make in.safetensors x F32 3 0.75,-1.25,2.0 v F32 "$2,3" "$v"
    "$tensors" make known.safetensors x F32 "$2,3" "$(echo "$4" | tr ' ' ',')"
    run 0 eval solve --solver "$1" --steps "$2" --shift "$3" -i in.safetensors -o o.safetensors
    check "solve $1" "$tensors" compare o.safetensors x known.safetensors x 1e-6
}
solve unipc 5 5 '0.733614206,-1.19709587,1.91682708 0.706589997,-1.13162482,1.79015195 0.660498619,-1.04343796,1.59613395 0.579143941,-0.90113306,1.27558732 0.399800837,-0.545434475,0.547537923'
solve dpm++ 3 1 '0.635363698,-0.879879117,1.41811621 0.547699451,-0.592309415,1.01656234 0.48110649,-0.360789657,0.75083828'

# tokenize, against Hugging Face tokenizers
texts=$golden/text
for t in first nmt first/spiece.model nmt/spiece.model old.json chain.json; do
    # {"text":"…","clean":"…","ids":{"first":[…],"nmt":[…]}}, where the ids are those of the text as it is: so
    # only strings that cleaning does not change
    grep -E '^\{"text":("([^"\\]|\\.)*"),"clean":\1,' "$texts/strings.jsonl" | grep -F "\"$t\":[" >strings
    sed -E 's/^\{"text":("([^"\\]|\\.)*"),.*/\1/' strings >texts.jsonl
    sed "s|.*\"$t\":\[\([^]]*\)\].*|\1|" strings >want
    run 0 eval tokenize --tokenizer "$texts/$t" --jsonl texts.jsonl
    sed 's/.*"ids": *\[\([^]]*\)\]}$/\1/' out | tr -d ' ' >got
    [ "$(wc -l <want)" -gt 100 ]
    ok "there are strings for $t" $?
    same "ids of $(wc -l <want) strings by $t" want got
done
run 0 eval tokenize --tokenizer "$texts/nmt/tokenizer.json" --text 'a red kite'
cp out one
run 0 eval tokenize -m "$texts/nmt" --text 'a red kite'
same 'a folder and its file are the same tokenizer' one out
printf '"a red kite"\n' >one.jsonl
run 0 eval tokenize -m "$texts/nmt" --jsonl one.jsonl
same 'a text and a line are the same' one out
printf '"a red kite"\n"unfinished\n' >one.jsonl
run 1 eval tokenize -m "$texts/nmt" --jsonl one.jsonl
grep -q 'line 2' err
ok 'a bad line is named' $?
printf '[1]\n' >one.jsonl
fails 1 'not a JSON string' eval tokenize -m "$texts/nmt" --jsonl one.jsonl
fails 1 nothere eval tokenize -m "$texts/nmt" --jsonl nothere
fails 1 nothere eval tokenize --tokenizer nothere --text x

# usage
fails 2 'needs the name of a part' eval
fails 2 'did you mean vae.decode?' eval vae-decode
fails 2 'not available yet' eval clip -m "$tiny" -i x -o y
fails 2 '--size' eval image --image x.png --task i2v -o y
fails 2 '--task' eval image --image x.png --size 64x64 -o y
fails 2 "--task 'x'" eval image --image x.png --task x --size 64x64 -o y
fails 1 nothere.png eval image --image nothere.png --task i2v --size 64x64 -o y
fails 2 'needs -i' eval attention -o y
fails 2 'needs -o' eval attention -i x
fails 2 'needs -m' eval dit -i x -o y
fails 2 'unknown option --eps' eval rope --eps 1
fails 2 '--window takes' eval attention --window 1
fails 2 '--shape takes' eval noise --seed 1 --shape 4,0 -o y
fails 2 '--shape' eval noise --seed 1 -o y
fails 2 '--seed' eval noise --shape 4 -o y
fails 2 'torch' eval noise --seed 1 --shape 4 --rng dice -o y
fails 2 'heun' eval schedule --solver heun --steps 4 --shift 1
fails 2 '--steps' eval schedule --solver unipc --steps 0 --shift 1
fails 2 '--shift' eval schedule --solver unipc --steps 4
fails 2 '--expert' eval dit -m "$tiny" --expert middle -i x -o y
fails 2 '--precision must be' eval rope --precision half -i x -o y
fails 2 'either --text' eval tokenize -m "$tiny"

# files that lack something
fails 1 'nothere.safetensors' eval rope -i nothere.safetensors -o y
"$tensors" make in.safetensors x F32 1,4,1,8 rand:1
fails 1 'grid_sizes' eval rope -i in.safetensors -o y
"$tensors" make in.safetensors x F32 4,8 rand:1 grid_sizes I64 1,3 1,2,2
fails 1 'x' eval rope -i in.safetensors -o y
"$tensors" make in.safetensors x F32 1,4,1,8 rand:1 grid_sizes I64 1,3 1,3,2
fails 1 '' eval rope -i in.safetensors -o y
"$tensors" make in.safetensors x F32 2,8 rand:1 weight F32 7 rand:2
fails 1 'weight' eval rmsnorm -i in.safetensors -o y
"$tensors" make in.safetensors ids F32 3 1,2,3
fails 1 'ids' eval t5 -m "$tiny" -i in.safetensors -o y
"$tensors" make in.safetensors ids I64 2 3,99999999
fails 1 '99999999' eval t5 -m "$tiny" -i in.safetensors -o y
"$tensors" make in.safetensors x F32 7,1,4,4 rand:1 t F32 1 500 context F32 2,64 rand:2
fails 1 'x' eval dit -m "$tiny" -i in.safetensors -o y
fails 1 '--expert' eval dit -m "$tiny" --expert high -i "$model/dit_main.safetensors" -o y
ok 'no output after failures' "$(test ! -e y; echo $?)"

# output that cannot be written
fails 1 'no/such/folder' eval noise --seed 1 --shape 4 -o no/such/folder/y
finish
