#!/bin/sh
# The documents name every option and part that there is, and the program has every option that they name.
. "$(dirname "$0")/lib.sh"

run 0 --help
commands=$(sed -n 's/^  wan \([a-z]*\) .*/\1/p' out)
for c in $commands; do
    run 0 $c --help
    sed -n 's/^ .*--\([a-z0-9-]*\).*/\1/p' out | sort -u | grep -v '^$' >options.$c
    [ -s options.$c ]
    ok "wan $c has options" $?
    while read -r o; do
        grep -qE -e "\`--${o}[ \`]" "$source_dir/docs/usage.md" "$source_dir/docs/eval.md"
        ok "docs/usage.md or docs/eval.md describes --$o of wan $c" $?
    done <options.$c
done
cat options.* | sort -u >options
# names with an underscore are the official ones
grep -ohE -e '`--[a-z][a-z0-9_-]*' "$source_dir/docs/usage.md" | sed 's/`--//' | grep -v _ | sort -u >named
echo version >>options
[ -s named ]
ok 'docs/usage.md names options' $?
while read -r o; do
    grep -qx -e "$o" options
    ok "--$o of docs/usage.md is an option" $?
done <named

run 0 eval --help
sed -n '/^Parts:/,/^$/s/^  \([a-z][a-z0-9.]*\) .*/\1/p' out >parts
[ "$(wc -l <parts)" -ge 12 ]
ok 'wan eval --help lists parts' $?
while read -r p; do
    grep -q "^| \`$p\`" "$source_dir/docs/eval.md"
    ok "docs/eval.md describes $p" $?
done <parts

# links between documents lead somewhere
for f in README.md $(cd "$source_dir" && echo docs/*.md); do
    (cd "$source_dir" && grep -oE '\]\([^)#:]+' "$f" | sed 's/^](//' | grep -v '^http') >links || true
    while read -r l; do
        [ -e "$source_dir/$(dirname "$f")/$l" ]
        ok "$f links to $l" $?
    done <links
done
finish
