#!/bin/sh
# Commands, options, help, exit codes.
. "$(dirname "$0")/lib.sh"

run 0 --version
shows 'wan 0.'
run 0 --help
commands=$(sed -n 's/^  wan \([a-z]*\) .*/\1/p' out)
for c in generate inspect convert eval bench; do shows "wan $c "; done
for c in $commands; do
    run 0 $c --help
    shows --threads
    cp out help.$c
    run 0 $c -h
    same "wan $c -h is --help" help.$c out
done
fails 2 'give a command'
fails 2 'did you mean generate?' generat
fails 2 "no command 'frobnicate'" frobnicate

# names: hyphens and underscores alike, official names, nearest
fails 2 'did you mean --steps?' generate --setps 5
fails 2 'did you mean --save-latents?' generate --save_latent x
fails 2 'unknown option --wibblewobble' generate --wibblewobble
fails 2 'unknown option -x' generate -x
fails 2 'unknown option -model' generate -model x
fails 2 'unknown option --m' generate --m x
fails 2 "does not know what to do with 'extra'" generate extra
for o in ckpt_dir save_file prompt size; do fails 2 'needs a value' generate --$o; done
for o in frame_num frame-num frames sample_steps steps base_seed seed; do
    fails 2 'takes a whole number' generate --$o many
    fails 2 'takes a whole number' generate --$o=1.5
    fails 2 'takes a whole number' generate --$o ''
done
for o in sample_shift sample_guide_scale guidance fps; do
    for v in nan inf 0x10 1e 5x ''; do fails 2 "not '$v'" generate --$o "$v"; done
done
for v in 64 64x x64 64x64x64 64,64 '64 x 64' 64x64.5; do fails 2 'takes WIDTHxHEIGHT' generate --size "$v"; done
fails 2 'needs a value' generate --prompt
fails 2 'needs a value' generate --prompt --steps 5
fails 2 'takes no value' generate --strict=1

# bounds
fails 2 '--steps must be between 1' generate --steps 0
fails 2 '--steps must be between 1' generate --steps=-3
fails 2 '--steps' generate --steps 99999999999999999999
fails 2 '--frames must be between 1' generate --frames 0
fails 2 '--size must be between' generate --size 0x64
fails 2 '--size must be between' generate --size '64*9999999'
fails 2 '--fps must be between' generate --fps 0
fails 2 '--threads must be between' generate --threads -1
for v in '' x GiB 8Gi 8G 8PiB -1 -1GiB 8GiBs '8 GiB 1' 0x10 nan inf 1e30 9999999999TB; do
    fails 2 'takes a size such as 8GiB' generate --max-memory="$v"
done
for v in 0 1 100000000 8GiB 8gib 500MB '1.5 GiB' 2TB 64KiB 1e9 7b; do
    fails 2 'needs -m' generate --prompt x --max-memory "$v"
done
fails 2 '--crf must be between' generate --crf 99

# what is needed, and what is not there yet
fails 2 'needs -m' generate --prompt 'a kite'
fails 2 '--prompt' generate -m x
fails 2 '--prompt is empty' generate -m x --prompt ''
fails 2 '--prompt is empty' generate -m x --prompt '  '
fails 2 'needs -m' generate --plan
fails 2 '--resume needs' generate -m x --prompt x --resume
fails 2 'from text alone' generate -m "$tiny" --prompt x --image x.png
fails 2 'must be t2v' generate -m "$tiny" --prompt x --model-type i3v
run 0 generate --help
fails 2 'needs a file or folder' inspect
fails 2 '--forward takes C,F,H,W' inspect "$tiny" --forward 1,2,3
fails 2 '--precision must be' inspect "$tiny" --precision f16
fails 2 '--precision must be' bench --precision f16
fails 2 'WIDTHxHEIGHT' bench --size big

# devices
run 2 eval noise --seed 1 --shape 4 -o n.safetensors --device toaster
run 2 eval noise --seed 1 --shape 4 -o n.safetensors --isa pentium
ok 'no file after a failure' "$(test ! -e n.safetensors; echo $?)"

# standard output that cannot be written
if [ -e /dev/full ]; then
    "$wan" --version >/dev/full 2>err
    ok 'a full disk is noticed' "$(test $? = 1; echo $?)"
    grep -q 'cannot write standard output' err
    ok 'and said' $?
fi
finish
