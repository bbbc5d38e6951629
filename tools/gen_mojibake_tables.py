#!/usr/bin/env python3
"""Write src/text/mojibake_tables.c: what src/text/mojibake.c knows of characters, from the installed ftfy and codecs.

    tools/gen_mojibake_tables.py > src/text/mojibake_tables.c

Needs ftfy 6.3.1. Three facts are taken from it by calling it: in which of its encodings a character can be written
and as which byte; whether a character, so written, begins or continues a UTF-8 sequence; and which sequences of
characters it takes for a sign of mojibake. The latter come as a regular expression without loops; its alternatives are
spelled out, and the characters that no alternative tells apart form one class.
"""
import re._constants as op
import re._parser as parser
import sys

import ftfy
from ftfy import badness, chardata

# The ones that no rule names need no entry: their class follows from what Python thinks of them.
UNLISTED = {"other": "\U0001f600", "word": "\u4e00", "space": "\u2000"}
CLUES = ["utf8_first_of_2", "utf8_first_of_3", "utf8_first_of_4", "utf8_continuation", "utf8_continuation_strict"]
CATEGORY = {
    op.CATEGORY_SPACE: str.isspace,
    op.CATEGORY_WORD: lambda c: c.isalnum() or c == "_",
}


def accepts(item):
    """The predicate that one item of a parsed expression is: a function of a character."""
    kind, value = item
    if kind is op.LITERAL:
        return lambda c: ord(c) == value
    if kind is op.NOT_LITERAL:
        return lambda c: ord(c) != value
    if kind is op.RANGE:
        return lambda c: value[0] <= ord(c) <= value[1]
    if kind is op.CATEGORY:
        return CATEGORY[value]
    if kind is op.ANY:
        return lambda c: c != "\n"
    assert kind is op.IN, kind
    negate = value[0][0] is op.NEGATE
    parts = [accepts(v) for v in value[negate:]]
    return lambda c: any(p(c) for p in parts) != negate


def sequences(items):
    """All the sequences of predicates that a parsed alternative stands for, and whether it is tied to the start."""
    anchored = items[0] == (op.AT, op.AT_BEGINNING)
    out = [[]]
    for item in items[anchored:]:
        if item[0] is op.MAX_REPEAT:
            low, high, what = item[1]
            assert (low, high, len(what)) == (0, 1, 1)
            out = out + [s + [accepts(what[0])] for s in out]
        else:
            out = [s + [accepts(item)] for s in out]
    return [(s, anchored) for s in out]


def all_rules():
    (kind, (_, branches)), = parser.parse(badness.BADNESS_RE.pattern, badness.BADNESS_RE.flags)
    assert kind is op.BRANCH
    return [s for b in branches for s in sequences(list(b))]


def clue_sets():
    return [{c for c in map(chr, range(0x10000)) if accepts(parser.parse(f"[{chardata.UTF8_CLUES[k]}]")[0])(c)} for k in CLUES]


def named(rules):
    """The characters that a rule mentions: those for which some rule decides otherwise than for their like."""
    out = set()
    for c in map(chr, range(0x80, 0x10000)):
        like = UNLISTED["space" if c.isspace() else "word" if c.isalnum() else "other"]
        if any(f(c) != f(like) for s, _ in rules for f in s):
            out.add(c)
    return out


def encoded(c, encoding):
    """The byte for a character above ASCII, or 0."""
    if not chardata.possible_encoding(c, encoding):
        return 0
    byte, = c.encode(encoding)
    return byte


def grouped(values, per_line=12):
    values = list(values)
    return ",\n".join("    " + ", ".join(values[i:i + per_line]) for i in range(0, len(values), per_line))


def main():
    assert ftfy.__version__ == "6.3.1"
    rules, clues = all_rules(), clue_sets()
    encodings = chardata.CHARMAP_ENCODINGS
    assert len(rules) <= 64
    listed = named(rules) | {c for s in clues for c in s if ord(c) >= 0x80}
    listed |= {c for c in map(chr, range(0x80, 0x10000)) if not 0xD800 <= ord(c) < 0xE000 and any(encoded(c, e) for e in encodings)}
    depth = max(len(s) for s, _ in rules)

    # A class is the set of places that accept its characters.
    def places(c):
        return tuple(tuple(f(c) for f in s) for s, _ in rules)

    classes = {}
    of = {c: classes.setdefault(places(c), len(classes)) for c in [*UNLISTED.values(), *map(chr, range(0x80)), *sorted(listed)]}
    # what mojibake_tables.h says
    assert [of[c] for c in UNLISTED.values()] == [0, 1, 2] and len(classes) == 78 and depth == 7 and len(encodings) == 10

    print("/* Written by tools/gen_mojibake_tables.py (ftfy 6.3.1); do not edit. */")
    print('#include "text/mojibake_tables.h"\n')
    print("/* clang-format off */")
    print(f"const uint8_t wn_mojibake_ascii[128] = {{\n{grouped((str(of[chr(i)]) for i in range(128)), 24)}}};\n")
    print("/* Sorted by code point. */\nconst struct wn_mojibake_char wn_mojibake_chars[] = {")
    for c in sorted(listed):
        clue = sum((c in s) << i for i, s in enumerate(clues))
        print(f"    {{0x{ord(c):x}, {of[c]}, {clue}, {{{', '.join(str(encoded(c, e)) for e in encodings)}}}}},")
    print("};\nconst size_t wn_n_mojibake_chars = sizeof wn_mojibake_chars / sizeof *wn_mojibake_chars;\n")
    print(f"const uint64_t wn_mojibake_rules[WN_MOJIBAKE_DEPTH][WN_N_MOJIBAKE_KINDS] = {{")
    members = {k: next(c for c in of if of[c] == k) for k in classes.values()}
    for i in range(depth):
        row = (sum((len(s) > i and s[i](members[k])) << r for r, (s, _) in enumerate(rules)) for k in range(len(classes)))
        print("  {\n" + grouped((f"0x{v:x}" for v in row), 8) + "},")
    print("};")
    ends = (f"0x{sum((len(s) == i + 1) << r for r, (s, _) in enumerate(rules)):x}" for i in range(depth))
    print(f"const uint64_t wn_mojibake_ends[WN_MOJIBAKE_DEPTH] = {{{', '.join(ends)}}};")
    print(f"const uint64_t wn_mojibake_anchored = 0x{sum(anchored << r for r, (_, anchored) in enumerate(rules)):x};")
    print("/* clang-format on */")


if __name__ == "__main__":
    sys.exit(main())
