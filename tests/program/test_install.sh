#!/bin/sh
# What is installed can be used: examples/minimal.c is built with nothing but pkg-config, and run.
# Called as: test_install.sh MESON BUILD_DIR SOURCE_DIR CC…, with a C++ compiler in CXX
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
    cp "$work/h.c" "$work/h.cpp"
    # shellcheck disable=SC2086  # lists of words
    $CXX -std=c++17 -Wall -Wextra -Werror -pedantic "$work/h.cpp" -o "$work/h" $flags || fail "$h.h does not compile alone as C++"
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
for f in man/man1/wan.1 bash-completion/completions/wan.bash zsh/site-functions/_wan fish/vendor_completions.d/wan.fish; do
    [ -n "$(find "$work/root" -path "*/$f" -size +1k)" ] || [ ! -e "$build/cli/wan.1" ] || fail "$f is not installed"
done
echo 'installed, built and run'
