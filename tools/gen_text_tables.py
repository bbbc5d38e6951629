#!/usr/bin/env python3
"""Write src/text/tables.c: HTML5 entities and the character fixes of ftfy, from Python's own tables.

    tools/gen_text_tables.py > src/text/tables.c

The output depends on the Unicode version of the Python that runs it (unicodedata.unidata_version, named in its
first line): only compatibility forms in U+FF01..U+FFEF and upper case of named entities, stable since Unicode 3.2.
"""
import html
import html.entities
import sys
import unicodedata


def c_string(s):
    return '"' + s + '"'


def cps(s, n):
    values = [ord(c) for c in s]
    assert 1 <= len(values) <= n, s
    return "{" + ", ".join(f"0x{v:x}" for v in values) + "}"


def uppercase_entities():
    """Names that some databases shouted: &EACUTE; for &Eacute; where the upper-case form means nothing else."""
    out = {}
    for name, text in html.entities.html5.items():
        if name.endswith(";") and name == name.lower():
            upper = name.upper()
            if html.unescape("&" + upper) == "&" + upper:
                out[upper] = text.upper()
    return out


def character_fixes():
    fixes = {}
    for byte in range(0x80, 0xA0):  # C1 controls: what windows-1252 has there
        try:
            fixes[byte] = bytes([byte]).decode("windows-1252")
        except UnicodeDecodeError:
            pass
    latin = list(range(0xFB00, 0xFB07)) + [0x132, 0x133, 0x149] + list(range(0x1C4, 0x1CD)) + [0x1F1, 0x1F2, 0x1F3]
    for c in latin:  # one level of compatibility decomposition: U+01C4 keeps its caron letter
        parts = unicodedata.decomposition(chr(c)).split()
        assert parts[0] == "<compat>", hex(c)
        fixes[c] = "".join(chr(int(p, 16)) for p in parts[1:])
    fixes[0x3000] = " "
    for c in range(0xFF01, 0xFFF0):
        nfkc = unicodedata.normalize("NFKC", chr(c))
        if nfkc != chr(c):
            fixes[c] = nfkc
    for c in [0x2BC] + list(range(0x2018, 0x201C)):
        fixes[c] = "'"
    for c in range(0x201C, 0x2020):
        fixes[c] = '"'
    # Fixes run one after another: the outcome of one may be the input of the next (a C1 quote becomes straight).
    for c, text in list(fixes.items()):
        fixes[c] = "".join(fixes.get(ord(t), t) for t in text)
    return fixes


def table(name, doc, rows):
    print(f"/* {doc} */\nconst struct wn_entity {name}[] = {{")
    for key in sorted(rows):
        print(f"    {{{c_string(key)}, {cps(rows[key], 3)}}},")
    print("};")
    print(f"const size_t {name.replace('wn_', 'wn_n_')} = sizeof {name} / sizeof *{name};\n")


def main():
    print(f"/* Written by tools/gen_text_tables.py (Unicode {unicodedata.unidata_version}); do not edit. */")
    print('#include "text/tables.h"\n')
    print("/* clang-format off */")
    table("wn_html5_entities", "Sorted bytewise.", html.entities.html5)
    table("wn_upper_entities", "Sorted bytewise; none is in the table above.", uppercase_entities())
    fixes = character_fixes()
    print("/* Sorted by code point. */\nconst struct wn_char_fix wn_char_fixes[] = {")
    for c in sorted(fixes):
        print(f"    {{0x{c:x}, {cps(fixes[c], 3)}}},")
    print("};\nconst size_t wn_n_char_fixes = sizeof wn_char_fixes / sizeof *wn_char_fixes;")
    print("/* clang-format on */")


if __name__ == "__main__":
    sys.exit(main())
