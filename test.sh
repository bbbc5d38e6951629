#!/bin/sh
# Builds everything and runs all tests. Arguments go to `meson test`, for example: ./test.sh --suite program
set -eu
cd "$(dirname "$0")"
tools/build.sh

log=build/test.log
rm -f build/test.failed
{ meson test -C build --print-errorlogs "$@" 2>&1 || touch build/test.failed; } | tee $log

# "Ok:   12" in the summary of meson
count() {
    n=$(sed -n "s/^ *$1: *\([0-9][0-9]*\) *\$/\1/p" $log | tail -n 1)
    echo "${n:-0}"
}
passed=$(($(count Ok) + $(count 'Expected Fail')))
failed=$(($(count Fail) + $(count 'Unexpected Pass') + $(count Timeout)))
skipped=$(count Skipped)
[ -e build/test.failed ] && [ $failed = 0 ] && failed=1 # meson itself failed
echo "$passed passed, $failed failed, $skipped skipped"
[ $failed = 0 ] && [ $passed -gt 0 ]
