#!/bin/sh
# The manual page and the completions have every option that the program has, and the shells take them.
. "$(dirname "$0")/lib.sh"
docs=$(dirname "$wan")

run 0 --help
commands=$(sed -n 's/^  wan \([a-z]*\) .*/\1/p' out)
for c in $commands; do
    run 0 $c --help
    sed -n 's/^ .*--\([a-z0-9-]*\).*/\1/p' out | sort -u | grep -v '^$' >options.$c
    # each command's part of a file, then its options
    sed -n "/^\.SH WAN $(echo $c | tr a-z A-Z)\$/,/^\.SH WAN/p; /^\.SH OPTIONS/,\$p" "$docs/wan.1" | sed 's/\\-/-/g; s/\\f[BRI]//g' >man.$c
    sed -n "/^    $c)/,/^        esac/s/options='\(.*\)'/ \1 /p" "$docs/wan.bash" >bash.$c
    sed -n "/^    $c)/,/;;/p" "$docs/_wan" >zsh.$c
    grep "from $c'" "$docs/wan.fish" >fish.$c
    while read -r o; do
        grep -qE -e "--$o( |\$)" man.$c && grep -q -e " --$o " bash.$c && grep -qE -e "--$o[[}]" zsh.$c && grep -q -e " -l $o " fish.$c
        ok "--$o of wan $c is in the manual page and in the completions" $?
    done <options.$c
done

if command -v man >/dev/null 2>&1 && command -v groff >/dev/null 2>&1; then
    man --warnings -l -Tascii "$docs/wan.1" >page 2>warnings && [ ! -s warnings ]
    ok 'groff has no warning for the manual page' $?
fi
for shell in zsh fish; do
    command -v $shell >/dev/null 2>&1 || continue
    $shell -n "$docs/$([ $shell = zsh ] && echo _wan || echo wan.fish)"
    ok "$shell takes its completions" $?
done

if command -v bash >/dev/null 2>&1; then
    # complete WORD...: what bash would offer for the last word
    complete() {
        bash -c '. "$0"; compopt() { :; }; COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); _wan; printf "%s\n" "${COMPREPLY[@]}"' "$docs/wan.bash" "$@"
    }
    echo >a.safetensors
    [ "$(complete wan ge)" = generate ]
    ok 'bash completes a command' $?
    [ "$(complete wan generate --sol)" = --solver ]
    ok 'bash completes an option' $?
    [ "$(complete wan generate --solver d)" = dpm++ ]
    ok 'bash completes a choice' $?
    [ "$(complete wan eval dit -i a.s)" = a.safetensors ]
    ok 'bash completes a file' $?
    [ "$(complete wan eval vae.e)" = vae.encode ]
    ok 'bash completes a part' $?
    [ -z "$(complete wan generate --steps '')" ]
    ok 'bash offers nothing for a number' $?
fi
finish
