#!/bin/sh
# What is installed can be used: examples/minimal.c is built with nothing but pkg-config, and run.
# Called as: test_install.sh MESON BUILD_DIR SOURCE_DIR CC…
set -u
meson=$1 build=$2 source_dir=$3
shift 3
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
fail() { echo "FAILED: $*"; exit 1; }

"$meson" install -C "$build" --no-rebuild --quiet --destdir "$work/root" >"$work/log" 2>&1 || { cat "$work/log"; fail install; }
pc=$(find "$work/root" -name wan.pc)
[ -n "$pc" ] || fail 'no wan.pc is installed'
PKG_CONFIG_PATH=$(dirname "$pc")
PKG_CONFIG_SYSROOT_DIR=$work/root
export PKG_CONFIG_PATH
flags=$(PKG_CONFIG_SYSROOT_DIR=$PKG_CONFIG_SYSROOT_DIR pkg-config --cflags --libs wan) || fail 'pkg-config'
# shellcheck disable=SC2086  # a list of words
"$@" -std=c11 -Wall "$source_dir/examples/minimal.c" -o "$work/minimal" $flags || fail "compiling with: $flags"
for h in wan parts status; do
    printf '#include <wan/%s.h>\nint main(void) { return 0; }\n' $h >"$work/h.c"
    # shellcheck disable=SC2086  # a list of words
    "$@" -std=c11 -Wall -Werror -pedantic "$work/h.c" -o "$work/h" $flags || fail "$h.h does not compile alone"
done
lib=$(dirname "$(find "$work/root" -name 'libwan.so*' -o -name 'libwan*.dylib' | head -n 1)")
LD_LIBRARY_PATH=$lib DYLD_LIBRARY_PATH=$lib
export LD_LIBRARY_PATH DYLD_LIBRARY_PATH
"$work/minimal" 2>/dev/null
[ $? = 2 ] || fail 'minimal without arguments'
"$work/minimal" "$work/nothere" 'a kite' "$work/a.mp4" 2>"$work/err"
{ [ $? = 1 ] && grep -q nothere "$work/err"; } || fail "minimal with a wrong model: $(cat "$work/err")"
bin=$(find "$work/root" -name wan -type f -perm -u+x)
"$bin" --version | grep -q '^wan [0-9]' || fail 'the installed program does not run'
model=$source_dir/models/shapes-t2v
# the example takes the model's own size: only where the model says one is that a matter of seconds
if head -c 4096 "$model"/diffusion_pytorch_model.safetensors 2>/dev/null | LC_ALL=C grep -aq 'wan\.size'; then
    "$work/minimal" "$model" 'a red circle moves to the right on a blue background' "$work/a.mp4" || fail 'minimal'
    [ -s "$work/a.mp4" ] || fail 'minimal wrote nothing'
fi
# nothing but wan_* is exported
if command -v nm >/dev/null 2>&1; then
    so=$(find "$lib" -type f -name 'libwan*' | head -n 1)
    others=$(nm -D --defined-only "$so" 2>/dev/null | awk '$2 ~ /[TDBRVW]/ && $3 !~ /^wan_/ { print $3 }' | grep -v '^_' | head -n 5)
    [ -z "$others" ] || fail "exported besides wan_*: $others"
fi
echo 'installed, built and run'
