#!/bin/sh
# Several videos from one command: each is the one that a command of its own makes.
. "$(dirname "$0")/lib.sh"
shapes=$source_dir/models/shapes-t2v
run_file=$golden/model/pipeline_unipc.safetensors
shape="-m $shapes --size 32x32 --frames 5 --steps 2"

# prompts: CRLF, comments, empty lines, a byte-order mark, no line end at the end
printf '\357\273\277a red circle moves to the right\r\n# not this\r\n\r\n  \r\na blue square &amp; more, with a name that is longer than fifty characters\r\n\303\251t\303\251' >prompts.txt
mkdir d
# shellcheck disable=SC2086  # a list of words
run 0 generate $shape --prompts prompts.txt --seeds 1,3-4 -o d
ls d >names
cat >want <<'EOF'
0001_a_red_circle_moves_to_the_right_1.mp4
0002_a_red_circle_moves_to_the_right_3.mp4
0003_a_red_circle_moves_to_the_right_4.mp4
0004_a_blue_square_&amp;_more,_with_a_name_that_is_long_1.mp4
0005_a_blue_square_&amp;_more,_with_a_name_that_is_long_3.mp4
0006_a_blue_square_&amp;_more,_with_a_name_that_is_long_4.mp4
EOF
printf '0007_\303\251t\303\251_1.mp4\n0008_\303\251t\303\251_3.mp4\n0009_\303\251t\303\251_4.mp4\n' >>want
same "names: $(cat names)" names want
grep -q '^video 9 of 9' err
ok 'they are counted' $?
# each against a run of its own, with and without what the batch kept on disk
i=0
for p in 'a red circle moves to the right' 'a blue square &amp; more, with a name that is longer than fifty characters' \
    "$(printf '\303\251t\303\251')"; do
    for s in 1 3 4; do
        i=$((i + 1))
        [ $((i % 2)) = 0 ] && cache=--no-cache || cache=
        # shellcheck disable=SC2086
        run 0 generate $shape --prompt "$p" --seed $s -o one.mp4 $cache
        same "video $i is that of its own run" one.mp4 d/000${i}_*.mp4
    done
done
# without guidance there is no negative prompt to encode
# shellcheck disable=SC2086
run 0 generate $shape --guidance 1 --prompts prompts.txt --seed 1 -o 'g{index}.mp4' --no-cache
# shellcheck disable=SC2086
run 0 generate $shape --guidance 1 --prompt 'a red circle moves to the right' --seed 1 -o one.mp4 --no-cache
same 'without guidance too' one.mp4 g0001.mp4
# from standard input; names by placeholders; latents beside
# shellcheck disable=SC2086
printf 'a red circle\na red ring\n' | "$wan" generate $shape --prompts - --seed 2 -o '{{{prompt}}}_{seed}.webp' --save-latents 'l{index}.safetensors' 2>err
ok "from standard input: $(tail -n 1 err)" $?
ok "names: $(ls)" "$(test -s '{a_red_circle}}_2.webp' && test -s '{a_red_ring}}_2.webp' && test -s l0001.safetensors && test -s l0002.safetensors; echo $?)"
# latents alone; a folder that ends with a slash; seeds alone; a seed for each
small="-m $tiny --context $run_file --size 48x32 --frames 5 --steps 2"
mkdir s
# shellcheck disable=SC2086
run 0 generate $small --seeds 5-6 --save-latents s/
ok "latents alone: $(ls s)" "$(test "$(echo s/*)" = 's/0001_5.safetensors s/0002_6.safetensors'; echo $?)"
# shellcheck disable=SC2086
run 0 generate $small --seed 6 --save-latents one.safetensors
same 'and the same' one.safetensors s/0002_6.safetensors
# shellcheck disable=SC2086
run 0 generate $shape --prompts prompts.txt -o 'r{index}.mp4' --no-cache
ok 'a seed at random for each' "$(test "$(grep -c 'seed .*chosen at random' err)" = 3; echo $?)"
# pictures
mkdir p
# shellcheck disable=SC2086
run 0 generate $small --seeds 1-2 -o 'p/{seed}_%d.png'
ok "picture sequences: $(ls p)" "$(test "$(ls p | wc -l)" = 10; echo $?)"
# a plan of all
# shellcheck disable=SC2086
run 0 generate $shape --prompts prompts.txt --seeds 1-3 -o d --plan
shows 'videos  9, about'

# refused before anything is computed
before=$(ls -R | cksum)
# refused TEXT ARGUMENTS…
refused() {
    text=$1
    shift
    # shellcheck disable=SC2086
    fails 2 "$text" generate $shape "$@"
}
refused 'two videos would be x.mp4' --prompts prompts.txt -o x.mp4
refused 'two videos would be 1.mp4' --prompts prompts.txt --seeds 1,2 -o '{seed}.mp4'
refused 'two videos would be l.safetensors' --prompts prompts.txt -o 'x{index}.mp4' --save-latents l.safetensors
refused '{seed} needs --seed' --prompts prompts.txt -o '{seed}.mp4'
refused 'there is no {name}' --prompts prompts.txt -o '{name}.mp4'
refused 'there is no {index' --prompts prompts.txt -o '{index.mp4'
refused 'several videos need -o' --prompts prompts.txt
refused 'either --prompt or' --prompts prompts.txt --prompt x -o d
refused 'either --seed or' --prompt x --seeds 1-2 --seed 1 -o d
refused 'either --noise or' --prompt x --seeds 1-2 --noise n.safetensors -o d
refused 'either --context or' --prompts prompts.txt --context n.safetensors -o d
refused 'for one video' --prompt x --seeds 1-2 --resume-from s -o d
for s in '' 1- -1 1-2-3 x 1,,2 1, 2-1 99999999999999999999 0x1 '1 2'; do refused '--seeds takes' --prompt x "--seeds=$s" -o d; done
refused 'more than 10000' --prompt x --seeds 1-20000 -o d
refused 'ends with none of' --prompt x --seeds 1-2 -o 'd/{index}.avi'
# files of prompts that will not do
# bad TEXT: with the file bad.txt
bad() {
    # shellcheck disable=SC2086
    fails 1 "$1" generate $shape --prompts bad.txt -o d
}
: >bad.txt
bad 'no prompt in it'
printf '# one\n\n' >bad.txt
bad 'no prompt in it'
printf 'one\ntwo \377\n' >bad.txt
bad 'line 2 is not UTF-8'
printf 'one\n\355\240\200\n' >bad.txt
bad 'line 2 is not UTF-8'
printf 'one\ntw\000o\n' >bad.txt
bad 'line 2 holds a zero byte'
{ echo one; head -c 1100000 /dev/zero | tr '\0' x; } >bad.txt
bad 'line 2 is longer than 1 MiB'
rm bad.txt
bad 'cannot open bad.txt'
fails 1 'no/such' generate -m "$shapes" --prompts prompts.txt -o 'no/such/{index}.mp4'
ok 'nothing was written' "$(test "$before" = "$(ls -R | cksum)"; echo $?)"

# stopped and gone on with: what is there stays as it is, the one that was stopped goes on, the rest is made
long="generate -m $tiny --context $run_file --size 64x64 --frames 9 --steps 60 --seeds 1-3"
mkdir whole part
# shellcheck disable=SC2086
run 0 $long -o whole/
# shellcheck disable=SC2086
"$wan" $long -o part/ >out 2>err </dev/null &
pid=$!
for _ in $(seq 600); do
    [ -s part/0002_2.mp4.resume ] && break
    sleep 0.02
done
kill -KILL $pid 2>/dev/null
wait $pid 2>/dev/null
ok "killed in the second: $(ls part)" "$(test -s part/0001_1.mp4 && test -s part/0002_2.mp4.resume && test ! -e part/0002_2.mp4; echo $?)"
cp part/0002_2.mp4.resume state
stat -c %i part/0001_1.mp4 >inode 2>/dev/null
# shellcheck disable=SC2086
run 0 $long -o part/ --resume
grep -q 'part/0001_1.mp4 is there already' err && grep -q 'going on after step' err
ok 'it says what it does' $?
stat -c %i part/0001_1.mp4 >inode2 2>/dev/null
same 'the first is left alone' inode inode2
for v in whole/*; do same "$(basename "$v") is the same" "$v" "part/$(basename "$v")"; done
ok "no state stays: $(ls part)" "$(test -z "$(ls part | grep 'resume$')"; echo $?)"
# shellcheck disable=SC2086
run 0 $long -o part/ --resume
ok 'nothing is left to do' "$(test "$(grep -c 'is there already' err)" = 3 && ! grep -q denoise err; echo $?)"

# one that goes wrong is named, and the others are made
rm part/0002_2.mp4 part/0003_3.mp4
n=$(od -An -tu4 -N4 state | tr -d ' ')
nans() { head -c 4096 /dev/zero | tr '\0' '\377'; } # -NaN
cp state part/0002_2.mp4.resume
nans | dd of=part/0002_2.mp4.resume bs=1 seek=$((n + 8)) conv=notrunc 2>/dev/null
# shellcheck disable=SC2086
run 4 $long -o part/ --resume
grep -q '^wan: part/0002_2.mp4: .*not a finite number' err
ok "the one is named: $(grep '^wan:' err)" $?
same 'the next is made' whole/0003_3.mp4 part/0003_3.mp4
grep -q '1 of 3 videos failed' err
ok 'and it says how many failed' $?
# what every video would meet stops all: another option than the state's
rm part/0003_3.mp4
cp state part/0002_2.mp4.resume
# shellcheck disable=SC2086
run 1 $long -o part/ --resume --shift 3
grep -q '^wan: part/0002_2.mp4: .*--shift 5, and this run has 3' err
ok "the state does not fit: $(grep '^wan:' err)" $?
ok 'the rest was not begun' "$(test ! -e part/0003_3.mp4; echo $?)"

# an interrupt
# shellcheck disable=SC2086
"$wan" $long --steps 5000 -o part/ --resume >out 2>err </dev/null &
pid=$!
rm -f part/0002_2.mp4.resume
for _ in $(seq 600); do
    [ -s part/0002_2.mp4.resume ] && break
    sleep 0.02
done
kill -INT $pid
wait $pid
code=$?
ok "an interrupt stops all with 130 (it was $code)" "$(test $code = 130; echo $?)"
grep -q 'same command with --resume' err && grep -q '^wan: part/0002_2.mp4: interrupted' err
ok "and it says how to go on: $(tail -n 2 err)" $?
finish
