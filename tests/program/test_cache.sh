#!/bin/sh
# Encoded prompts on disk: the same bytes with and without, by two runs at once, and with anything in the folder.
. "$(dirname "$0")/lib.sh"
shapes=$source_dir/models/shapes-t2v
# video OUTPUT ARGUMENTS…: its latents, which prompts decide to the last bit
video() {
    to=$1
    shift
    run 0 generate -m "$shapes" --size 32x32 --frames 1 --steps 2 --seed 7 --prompt 'a red circle' --save-latents "$to" "$@"
}

video none.safetensors --no-cache
ok 'without a cache there is none' "$(test ! -e "$XDG_CACHE_HOME"; echo $?)"
video first.safetensors
cache=$XDG_CACHE_HOME/wan
n=$(ls "$cache" | wc -l)
ok "prompt and negative prompt are kept: $(ls "$cache")" "$(test "$n" = 2; echo $?)"
video second.safetensors
same 'the same without a cache' none.safetensors first.safetensors
same 'and from it' none.safetensors second.safetensors
ok 'nothing is added' "$(test "$(ls "$cache" | wc -l)" = 2; echo $?)"
ok 'no text is in it' "$(grep -q circle "$cache"/*; test $? = 1; echo $?)"

# found by what the bits depend on
video other.safetensors --t5-precision f32
ok 'another precision has its own' "$(test "$(ls "$cache" | wc -l)" = 4; echo $?)"
video other.safetensors --isa portable
ok 'another instruction set too' "$(test "$(ls "$cache" | wc -l)" = 6; echo $?)"
run 0 generate -m "$shapes" --size 32x32 --frames 1 --steps 1 --seed 7 --prompt 'a blue square' --save-latents o.safetensors
ok 'a negative prompt is shared' "$(test "$(ls "$cache" | wc -l)" = 7; echo $?)"
# ways of writing that the encoder does not see
run 0 generate -m "$shapes" --size 32x32 --frames 1 --steps 1 --seed 7 --prompt '  a  blue&nbsp;square ' --save-latents p.safetensors
ok 'a text that cleans to the same is the same' "$(test "$(ls "$cache" | wc -l)" = 7; echo $?)"
check 'with the same latents' "$tensors" compare o.safetensors latent p.safetensors latent 0

# damage of every kind is noticed and repaired
cp -R "$cache" good
for damage in 'echo nonsense' ':' 'head -c 100 good/NAME' 'tail -c +2 good/NAME' \
    "sed 's/\"digest\":\"./\"digest\":\"x/' good/NAME" "sed 's/\"maker\":\"./\"maker\":\"x/' good/NAME" \
    'head -c $(($(wc -c <good/NAME) - 1)) good/NAME; printf x'; do
    for f in "$cache"/*; do
        name=$(basename "$f")
        eval "$(echo "$damage" | sed "s/NAME/$name/g")" >"$f"
    done
    video damaged.safetensors
    same "after damage ($damage) the same" none.safetensors damaged.safetensors
    grep -q 'encoded anew' err
    ok "and it is said: $(head -n 1 err)" $?
    video repaired.safetensors
    grep -q 'encoded anew' err
    ok 'once' "$(test $? = 1; echo $?)"
    same 'and then from the cache' none.safetensors repaired.safetensors
done

# several at once, on a folder that is not there yet
rm -rf "$XDG_CACHE_HOME"
for i in 1 2 3 4; do
    "$wan" generate -m "$shapes" --size 32x32 --frames 1 --steps 2 --seed 7 --prompt 'a red circle' \
        --save-latents at_once$i.safetensors >out$i 2>err$i &
done
wait
for i in 1 2 3 4; do
    same "run $i of four at once" none.safetensors at_once$i.safetensors
    ! grep -q 'anew\|not kept' err$i
    ok "run $i says nothing: $(cat err$i)" $?
done
ok "they leave two files: $(ls "$cache")" "$(test "$(ls "$cache" | wc -l)" = 2; echo $?)"

# folders that cannot be
echo file >"$work/file"
for folder in "$work/file" "$work/file/below" /proc/nothere; do
    video unusable.safetensors --cache "$folder"
    same "with $folder the same" none.safetensors unusable.safetensors
    ok "it is said once ($folder): $(grep 'not kept' err)" "$(test "$(grep -c 'not kept' err)" = 1; echo $?)"
done
if [ "$(id -u)" != 0 ]; then
    mkdir locked && chmod a-w locked
    video unusable.safetensors --cache locked
    grep -q 'not kept' err
    ok 'a folder that may not be written is said' $?
fi
# no room for a single byte: only the cache, since latents go to a file that may be longer
if mkdir full 2>/dev/null && mount -t tmpfs -o size=4k tmpfs full 2>/dev/null; then
    head -c 4096 /dev/zero >full/zeros
    video unusable.safetensors --cache full
    umount full
    same 'with a full disk the same' none.safetensors unusable.safetensors
    grep -q 'not kept' err
    ok 'and it is said' $?
fi

# where it is
unset XDG_CACHE_HOME
HOME=$work/home
export HOME
video home.safetensors
if [ "$(uname)" = Darwin ]; then place=Library/Caches; else place=.cache; fi
ok "in the home folder: $(find home)" "$(test "$(ls home/$place/wan | wc -l)" = 2; echo $?)"
XDG_CACHE_HOME=relative
export XDG_CACHE_HOME
video home.safetensors
ok 'a relative XDG_CACHE_HOME counts for nothing' "$(test ! -e relative; echo $?)"
unset HOME XDG_CACHE_HOME
video homeless.safetensors
same 'without a home too' none.safetensors homeless.safetensors
XDG_CACHE_HOME=$work.cache
export XDG_CACHE_HOME

# a plan computes nothing, and keeps nothing
run 0 generate -m "$shapes" --size 32x32 --frames 1 --steps 2 --prompt 'a green ring' --plan --cache planned
ok 'a plan keeps nothing' "$(test ! -e planned; echo $?)"
video planned.safetensors --cache "$work/planned"
same 'and spoils nothing' none.safetensors planned.safetensors
finish
