#!/bin/sh
# Interrupts, and a model file that becomes shorter while it is in use.
. "$(dirname "$0")/lib.sh"
run_file=$golden/model/pipeline_unipc.safetensors

# start MODEL: a run of minutes in the background, denoising when this returns
start() {
    rm -f err # of the run before: its lines must not be taken for this one's
    "$wan" generate -m "$1" --context "$run_file" --size 64x64 --frames 17 --steps 5000 --seed 1 -o cut.mp4 \
        --save-latents cut.safetensors >out 2>err &
    pid=$!
    rm -f cut.mp4.resume
    for _ in $(seq 300); do
        [ -s cut.mp4.resume ] && return # a step is done
        kill -0 $pid 2>/dev/null || break
        sleep 0.1
    done
    ok "the run began: $(tail -n 1 err)" 1
}

for sig in INT TERM; do
    start "$tiny"
    before=$(date +%s)
    kill -s $sig $pid
    wait $pid
    code=$?
    ok "$sig ends the run with 130 (it was $code)" "$(test $code = 130; echo $?)"
    ok "within a second or two" "$(test $(($(date +%s) - before)) -le 2; echo $?)"
    ok "only the state is left: $(ls -A)" "$(test "$(find . -name '*cut*')" = ./cut.mp4.resume; echo $?)"
    grep -q -e '--resume' err
    ok 'and it says how to go on' $?
    grep -q '^wan: interrupted' err
    ok 'and it says so' $?
done

# Killed without warning, then gone on with: what an undisturbed run gives, and no state left.
long="generate -m $tiny --context $run_file --size 64x64 --frames 9 --steps 60"
# shellcheck disable=SC2086  # a list of words
long() {
    "$wan" $long "$@" >out 2>err </dev/null
}
long --seed 1 -o whole.mp4 --save-latents whole.safetensors
ok "the whole run: $(tail -n 1 err)" $?
# shellcheck disable=SC2086
"$wan" $long --seed 1 -o part.mp4 --save-latents part.safetensors >out 2>err </dev/null &
pid=$!
for _ in $(seq 300); do
    [ -s part.mp4.resume ] && break
    sleep 0.02
done
kill -KILL $pid 2>/dev/null
wait $pid 2>/dev/null
ok 'killed in between' "$(test -s part.mp4.resume && test ! -e part.mp4; echo $?)"
long --seed 2 -o part.mp4 --save-latents part.safetensors --resume
ok 'another seed does not go on' "$(test $? = 1; echo $?)"
grep -q -e '--seed 1' err
ok "and it says why: $(tail -n 1 err)" $?
long -o part.mp4 --save-latents part.safetensors --resume
ok "it goes on: $(tail -n 1 err)" $?
grep -q 'going on after step' err
ok 'and says so' $?
same 'the same latents' whole.safetensors part.safetensors
same 'the same video' whole.mp4 part.mp4
ok 'no state stays' "$(test ! -e part.mp4.resume; echo $?)"
long --seed 1 -o part.mp4 --resume
ok 'nothing to go on with: anew' $?

# Shorter while mapped: the program ends with a sentence that names the file.
mkdir m
cp -R "$tiny"/. m/
chmod -R u+w m
start m
for f in m/*.safetensors; do : >"$f"; done
for _ in $(seq 100); do
    kill -0 $pid 2>/dev/null || break
    sleep 0.1
done
kill $pid 2>/dev/null
wait $pid
code=$?
ok "a file cut short ends the run with 1 (it was $code): $(tail -n 1 err)" "$(test $code = 1; echo $?)"
grep -q 'wan: .*made shorter' err
ok 'and says why' $?
if [ -r /proc/self/maps ]; then
    grep -q 'm/diffusion_pytorch_model' err
    ok 'and names the file' $?
fi
ok 'no video' "$(test ! -e cut.mp4; echo $?)"
finish
