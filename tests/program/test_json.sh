#!/bin/sh
# --json: lines that a JSON parser takes, with the fields of docs/usage.md, and the exit codes.
. "$(dirname "$0")/lib.sh"
run_file=$golden/model/pipeline_unipc.safetensors
shapes=$source_dir/models/shapes-t2v
small="-m $tiny --context $run_file --size 48x32 --frames 5 --steps 2"

# lines FILE [N]: JSON lines, N of them
lines() {
    n=$("$json" lines "$1" 2>why)
    ok "$1 is JSON lines: $(cat why)" $?
    [ $# = 1 ] || ok "$1 has $2 lines: $n" "$(test "$n" = "$2"; echo $?)"
}

# gone CODE STATUS TEXT ARGUMENTS…: it fails with CODE, and the last line of standard error says so
gone() {
    code=$1 status=$2 text=$3
    shift 3
    run "$code" "$@"
    lines err
    is err -1 error.status "$status"
    is err -1 error.exit "$code"
    value err -1 error.message | grep -qF -e "$text"
    ok "wan $*: the message mentions '$text': $(value err -1 error.message)" $?
}

# a video
# shellcheck disable=SC2086  # a list of words
run 0 generate $small --seed 9223372036854775807 --guidance 3,4 --json -o a.mp4 --save-latents l.safetensors
lines out 1
lines err
is out 1 output a.mp4
is out 1 latents l.safetensors
is out 1 seed 9223372036854775807
is out 1 params.size '[48,32]'
is out 1 params.guidance '[3,4]'
is out 1 params.steps 2
is out 1 params.frames 5
is out 1 params.solver unipc
is out 1 params.context "$run_file"
is out 1 params.image null
is out 1 params.strict false
run 0 generate --help
sed -n 's/^ .*--\([a-z0-9-]*\).*/\1/p' out | sort -u >all
# shellcheck disable=SC2086
run 0 generate $small --seed 1 --json -o a.mp4
for o in $(cat all); do
    case " model high low t5 vae tokenizer model-type output plan resume prompts seeds no-cache device isa threads max-memory json quiet verbose trace help like preview profile profile-trace " in
    *" $o "*) continue ;;
    esac
    value out 1 "params.$o" >/dev/null
    ok "params has $o" $?
done
for k in total text image denoise decode; do
    value out 1 seconds.$k | awk '{ exit !($1 >= 0) }'
    ok "seconds.$k is a time: $(value out 1 seconds.$k)" $?
done
ok 'the stages are in the whole' "$(echo "$(value out 1 seconds.total) $(value out 1 seconds.denoise) $(value out 1 seconds.decode)" | awk '{ exit !($1 >= $2 + $3 && $3 > 0) }'; echo $?)"
ok 'the memory is in the process' "$(echo "$(value out 1 memory.peak) $(value out 1 memory.resident)" | awk '{ exit !($1 > 0 && $2 > $1) }'; echo $?)"
is err 1 run.output a.mp4
is err 1 run.seed 1
is err 1 run.params.steps 2
# progress, in order
grep '"progress"' err >progress
is progress 1 progress.stage text
is progress -1 progress.stage decode
is progress -1 progress.step 2
is progress -1 progress.steps 2
is progress 1 progress.seconds_left null
for k in seconds memory; do
    value progress -1 progress.$k | awk '{ exit !($1 > 0) }'
    ok "progress.$k" $?
done
for i in 0 1 2; do grep -q "\"stage\": \"denoise\", \"step\": $i, \"steps\": 2" progress; ok "step $i is told" $?; done
# quiet
# shellcheck disable=SC2086
run 0 generate $small --seed 1 --json --quiet -o a.mp4
lines out 1
ok 'quiet is quiet' "$(test ! -s err; echo $?)"

# names that are not UTF-8, and text with everything in it
name=$(printf 'b\377"\\\n\001\302\205.mp4')
# shellcheck disable=SC2086
if run 0 generate $small --seed 1 --json --prompt "$(printf 'caf\303\251 "x"\\\ttab')" -o "$name" && [ -e "$name" ]; then
    lines out 1
    lines err
    is out 1 output "$(printf 'b\357\277\275"\\\n\001\302\205.mp4')"
    is out 1 params.prompt "$(printf 'caf\303\251 "x"\\\ttab')"
fi
gone 1 WAN_EIO "$(printf 'no\357\277\275')" generate -m "$(printf 'no\377')" --prompt x --json -o a.mp4
gone 2 WAN_EINVAL "$(printf '\357\277\275')" generate "$(printf -- '--\377')" --json
mkdir "$(printf 'm\377"')"
cp "$tiny"/*.json "$tiny"/*.safetensors "$(printf 'm\377"')"
echo nonsense >"$(printf 'm\377"')/Wan2.1_VAE.pth"
run 1 inspect "$(printf 'm\377"')" --json
lines out 1
lines err
is out 1 path "$(printf 'm\357\277\275"')"
is err -1 error.status WAN_EFORMAT

# latents decoded: what is not known is null
run 0 generate -m "$tiny" --from-latents l.safetensors --json -o d.mp4
lines out 1
is out 1 seed null
is out 1 params.guidance '[null,null]'
is out 1 params.steps 0
is out 1 params.size '[48,32]'

# several
# shellcheck disable=SC2086
run 0 generate $small --seeds 3-4 --json -o 's{seed}.mp4'
lines out 2
lines err
is out 1 output s3.mp4
is out 2 output s4.mp4
is out 2 seed 4
grep '"progress"' err >progress
is progress -1 progress.output s4.mp4

# a plan
run 0 generate -m "$shapes" --prompt 'a kite' --size 64x64 --frames 17 --plan --json -o x.mp4
lines out 1
lines err
is out 1 plan.width 64
is out 1 plan.frames 17
is out 1 plan.steps 25
is out 1 plan.tokens 80
is out 1 plan.videos 1
for k in flops.text flops.step flops.decode memory.peak memory.mapped seconds.total seconds.step; do
    value out 1 plan.$k | awk '{ exit !($1 > 0) }'
    ok "plan.$k: $(value out 1 plan.$k)" $?
done

# the other commands
run 0 inspect "$tiny" --json
lines out 1
is out 1 problems '[]'
run 0 inspect "$tiny" --json --forward 16,1,4,4
lines out 2
is out 2 forward.output '[16,1,4,4]'
run 0 eval rope -i "$golden/model/rope_64.safetensors" -o r.safetensors --json
lines out 1
is out 1 part rope
is out 1 output r.safetensors
is out 1 dump null
run 0 eval schedule --solver euler --steps 2 --shift 1 --json
"$json" get out 1 timesteps >/dev/null
ok 'a schedule is JSON anyway' $?
run 0 eval noise --seed 1 --shape 4 -o n.safetensors
ok 'without --json a part says nothing' "$(test ! -s out && test ! -s err; echo $?)"
run 0 bench --json
lines out 1
value out 1 peak.f32_flops | awk '{ exit !($1 > 0) }'
ok 'bench' $?

# failures, wherever they are noticed
gone 2 WAN_EINVAL 'did you mean --steps?' generate --json --setps 5
gone 2 WAN_EINVAL 'did you mean --steps?' generate --setps 5 --json
gone 2 WAN_EINVAL 'needs -m' generate --json
gone 2 WAN_EINVAL "'x'" inspect --json --forward 1,2 x x
gone 2 WAN_EINVAL 'toaster' eval noise --seed 1 --shape 4 -o n.safetensors --device toaster --json
gone 2 WAN_EINVAL 'a.avi' generate -m "$tiny" --prompt x --json -o a.avi
gone 1 WAN_EIO 'no/such' generate -m "$tiny" --prompt x --json -o no/such/a.mp4
gone 1 WAN_EIO nothere inspect nothere --json
echo nonsense >bad.safetensors
gone 1 WAN_EFORMAT bad.safetensors eval rope -i bad.safetensors -o y --json
gone 1 WAN_EFORMAT bad.safetensors generate -m "$tiny" --from-latents bad.safetensors --json -o y.mp4
"$tensors" make nan.safetensors latent F32 16,1,1,1 0,1,nan,3,4,5,6,7,8,9,10,11,12,13,14,15
gone 4 WAN_ENUMERIC 'finite' generate -m "$tiny" --from-latents nan.safetensors --json -o y.mp4
ok 'no result after a failure' "$(test ! -s out; echo $?)"
# not enough memory: more than any machine has
gone 3 WAN_ENOMEM 'memory' generate -m "$tiny" --context "$run_file" --size 16384x16384 --frames 4093 --steps 1 --seed 1 --json -o y.mp4
# wan eval has 1 for that; where the address space can be bounded, which sanitizers do not bear
if (ulimit -v 2000000 && "$wan" --version) >/dev/null 2>&1; then
    (ulimit -v 2000000 && "$wan" eval noise --seed 1 --shape 1000000000 -o y.safetensors --json) >out 2>err
    ok 'wan eval without memory: 1' "$(test $? = 1; echo $?)"
    is err -1 error.status WAN_ENOMEM
    is err -1 error.exit 1
fi
# in text the same codes
fails 4 'finite' generate -m "$tiny" --from-latents nan.safetensors -o y.mp4
fails 3 'memory' generate -m "$tiny" --context "$run_file" --size 16384x16384 --frames 4093 --steps 1 --seed 1 -o y.mp4
# interrupted
# shellcheck disable=SC2086
"$wan" generate $small --steps 5000 --seed 1 --json -o cut.mp4 >out 2>err </dev/null &
pid=$!
for _ in $(seq 300); do
    [ -s cut.mp4.resume ] && break
    sleep 0.05
done
kill -INT $pid
wait $pid
code=$?
ok "interrupted: 130 (it was $code)" "$(test $code = 130; echo $?)"
lines err
is err -1 error.status WAN_ECANCELED
is err -1 error.exit 130
# a file that becomes shorter while it is mapped
mkdir m
cp -R "$tiny"/. m/
chmod -R u+w m
rm -f cut.mp4.resume
"$wan" generate -m m --context "$run_file" --size 48x32 --frames 5 --steps 5000 --seed 1 --json -o cut.mp4 >out 2>err </dev/null &
pid=$!
for _ in $(seq 300); do
    [ -s cut.mp4.resume ] && break
    sleep 0.05
done
for f in m/*.safetensors; do : >"$f"; done
wait $pid
code=$?
ok "cut short: 1 (it was $code)" "$(test $code = 1; echo $?)"
grep -v '^$' err >err2
lines err2
is err2 -1 error.status WAN_EIO
is err2 -1 error.exit 1
finish
