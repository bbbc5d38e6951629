#!/bin/sh
# The library exports what symbols.txt lists, no more and no less, and each of them is in a header.
# Called as: test_symbols.sh LIBWAN SOURCE_DIR. After an intended change: nm -D --defined-only LIBWAN | awk '{ print $3 }' | sort
set -eu
lib=$1 source_dir=$2
command -v nm >/dev/null 2>&1 || exit 77
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
LC_ALL=C
export LC_ALL
nm -D --defined-only "$lib" | awk '{ print $3 }' | sort >"$work/exported"
sort "$source_dir/tests/program/symbols.txt" >"$work/listed"
cat "$source_dir"/include/wan/*.h | grep -oE '\bwan_[a-z0-9_]+\(' | tr -d '(' | sort -u >"$work/declared"
diff "$work/listed" "$work/exported" >"$work/diff" || { echo 'FAILED: listed (<) and exported (>) symbols differ:'; cat "$work/diff"; exit 1; }
comm -23 "$work/exported" "$work/declared" >"$work/undeclared"
[ ! -s "$work/undeclared" ] || { echo 'FAILED: exported, and in no header:'; cat "$work/undeclared"; exit 1; }
echo "$(wc -l <"$work/exported") symbols"
