#!/bin/sh
# wan generate --profile and --profile-trace.
. "$(dirname "$0")/lib.sh"
run_file=$golden/model/pipeline_unipc.safetensors
gen() { # CODE OPTION VALUE OPTION VALUE
    run "$1" generate -m "$tiny" --context "$run_file" --size 48x32 --frames 5 --steps 2 --seed 7 "$2" "$3" "$4" "$5"
}

gen 0 -o a.mp4 --profile-trace trace.json
run 0 generate -m "$tiny" --context "$run_file" --size 48x32 --frames 5 --steps 2 --seed 7 -o b.mp4 --profile
same 'what is measured is computed in the same way' a.mp4 b.mp4
ok 'nothing on standard output' "$(test ! -s out; echo $?)"

# the table: both stages, each row with calls, seconds, share; shares of a stage add up to 100
for word in '^denoise .*calls' '^decode .*calls' '^  linear [0-9]* -> [0-9]*, bf16 ' '^  conv 3x3x3 [0-9 ->]*, f32x ' \
    '^  attention ' '^  norm ' '^  everything else '; do
    grep -q "$word" err
    ok "the table has '$word'" $?
done
awk '/^denoise / {on = 1; next} /^decode / {on = 0}
     on && /^  / {$0 = substr($0, 43); for (i = 1; i <= NF; i++) if ($i == "%") {sum += $(i - 1); break}}
     END {exit !(sum > 98.5 && sum < 101.5)}' err
ok "the shares of a stage add up: $(grep -c '^  ' err) rows" $?
# in each of two steps every block attends to the video once and to the text once, both passes together
blocks=$(grep -o '"num_layers": *[0-9]*' "$tiny/config.json" | grep -o '[0-9]*$')
calls=$(awk '/^denoise / {on = 1} /^decode / {on = 0} on && /^  attention/ {split(substr($0, 43), f, " "); n += f[1]}
             END {print n}' err)
ok "calls are counted: $calls attentions in two steps of $blocks blocks" "$(test "$calls" = $((4 * blocks)); echo $?)"

# the trace: one JSON object, a span for each stage and each operation
if command -v python3 >/dev/null 2>&1; then
    check 'the trace is JSON whose operations lie within their stages' python3 - <<'PY'
import json
events = json.load(open('trace.json'))['traceEvents']
stage = {e['name']: e for e in events if e['tid'] == 1}
assert set(stage) >= {'denoise', 'decode'}, stage
ops = [e for e in events if e['tid'] == 2]
assert len(ops) > 50
for e in ops:
    s = stage[e['cat']]
    assert e['ph'] == 'X' and e['dur'] >= 0
    assert s['ts'] - 1 <= e['ts'] and e['ts'] + e['dur'] <= s['ts'] + s['dur'] + 1, (e, s)
PY
fi
run 1 generate -m "$tiny" --context "$run_file" --size 48x32 --frames 5 --steps 2 --seed 7 -o c.mp4 \
    --profile-trace none/trace.json
same 'a trace that cannot be written costs nothing of the video' a.mp4 c.mp4
grep -q 'none/trace.json' err
ok 'and says which' $?
finish
