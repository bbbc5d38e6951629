# Sourced by every script here. Called as: script WAN TENSORS SOURCE_DIR JSON
# shellcheck shell=sh
# shellcheck disable=SC2034  # used by the scripts
set -u
LC_ALL=C
export LC_ALL
# a path that stays right after `cd`
absolute() {
    case $1 in /*) echo "$1" ;; *) echo "$PWD/$1" ;; esac
}
wan=$(absolute "$1") tensors=$(absolute "$2") source_dir=$3 json=$(absolute "$4")
golden=$source_dir/tests/golden
tiny=$golden/model/tiny-t2v
work=$(mktemp -d)
XDG_CACHE_HOME=$work.cache # never what this machine has
export XDG_CACHE_HOME
trap 'rm -rf "$work" "$work.cache"' EXIT
cd "$work" || exit 1
n_checks=0 n_failed=0

# ok NAME STATUS: one check, passed when STATUS is 0.
ok() {
    n_checks=$((n_checks + 1))
    if [ "$2" = 0 ]; then return; fi
    n_failed=$((n_failed + 1))
    echo "FAILED: $1"
}

# check NAME COMMAND…: the command succeeds.
check() {
    name=$1
    shift
    "$@" >check.out 2>&1
    code=$?
    ok "$name" $code
    [ $code = 0 ] || cat check.out
}

# run CODE ARGUMENTS…: wan exits with CODE; its output is in files `out` and `err`.
run() {
    want=$1
    shift
    "$wan" "$@" >out 2>err </dev/null
    code=$?
    [ $code = "$want" ]
    ok "wan $* exits with $want (it was $code)" $?
    [ $code = "$want" ] || head -n 5 err
}

# fails CODE TEXT ARGUMENTS…: likewise, with one sentence on standard error that contains TEXT and nothing on
# standard output.
fails() {
    text=$2
    code=$1
    shift 2
    run "$code" "$@"
    [ "$(grep -c '^wan: ' err)" = 1 ] && tail -n 1 err | grep -q '^wan: '
    ok "wan $* says one sentence, last: $(tail -n 3 err)" $?
    grep -qF -e "$text" err
    ok "wan $* mentions '$text': $(tail -n 1 err)" $?
}

# shows TEXT: the output of the last run contains it.
shows() {
    grep -qF -e "$1" out
    ok "the output contains '$1': $(head -n 5 out)" $?
}

# value FILE LINE PATH: what stands there in a file of JSON lines
value() {
    "$json" get "$@" 2>/dev/null
}

# is FILE LINE PATH VALUE: and it is that
is() {
    got=$(value "$1" "$2" "$3")
    [ "$got" = "$4" ]
    ok "$3 of line $2 of $1 is '$4': '$got'" $?
}

# same NAME A B: two files with the same bytes.
same() {
    cmp -s "$2" "$3"
    ok "$1" $?
}

# header FILE JSON [BYTES]: a safetensors file with this header and so many zero bytes of data.
header() {
    length=${#2}
    {
        # shellcheck disable=SC2059  # octal escapes are the point
        printf "$(printf '\\%03o\\%03o' $((length % 256)) $((length / 256)))\000\000\000\000\000\000%s" "$2"
        head -c "${3:-0}" /dev/zero
    } >"$1"
}

# The end of every script.
finish() {
    echo "$n_checks checks, $n_failed failed"
    [ $n_failed = 0 ] && [ $n_checks -gt 0 ]
    exit
}
