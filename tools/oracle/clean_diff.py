#!/usr/bin/env python3
"""Clean many made-up strings with `wan` and with ftfy, and show where the two differ.

    tools/oracle/clean_diff.py [--wan build/cli/wan] [--n 200000] [--seed 1]

Needs ftfy 6.3.1. Code points that are newer than this Python's Unicode are left out: their normal forms differ.
"""
import argparse
import html
import json
import re
import subprocess
import sys
import tempfile
import unicodedata
from pathlib import Path

import ftfy

from mojibake_strings import mojibake_strings
from text_strings import random_strings

ROOT = Path(__file__).resolve().parents[2]
BATCH = 20000


def official(text):
    """basic_clean and whitespace_clean of the official wan/modules/tokenizers.py."""
    text = html.unescape(html.unescape(ftfy.fix_text(text))).strip()
    return re.sub(r"\s+", " ", text).strip()


def usable(text):
    return not any(unicodedata.category(c) in ("Cs", "Cn") and not 0xFDD0 <= ord(c) < 0xFDF0 and ord(c) & 0xFFFE != 0xFFFE for c in text)


def cleaned(wan, strings):
    with tempfile.NamedTemporaryFile("w", suffix=".jsonl") as f:
        f.write("".join(json.dumps(s) + "\n" for s in strings))
        f.flush()
        run = subprocess.run([wan, "eval", "tokenize", "--tokenizer", ROOT / "tests/golden/text/tiny.json", "--jsonl", f.name], stdout=subprocess.PIPE, check=True)
    return [json.loads(line)["clean"] for line in run.stdout.split(b"\n")[:-1]]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--wan", default=ROOT / "build/cli/wan")
    parser.add_argument("--n", type=int, default=200000)
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args()
    assert ftfy.__version__ == "6.3.1"
    done = bad = changed = 0
    for seed in range(args.seed, args.seed + -(-args.n // BATCH)):
        strings = [s for s in [*mojibake_strings(BATCH * 9 // 10, seed), *random_strings(BATCH // 10, seed)] if usable(s)]
        got = cleaned(args.wan, strings)
        assert len(got) == len(strings)
        for s, g in zip(strings, got):
            want = official(s)
            changed += ftfy.fix_encoding(s) != s
            if g != want:
                bad += 1
                if bad <= 20:
                    print(f"{ascii(s)}\n  wan  {ascii(g)}\n  ftfy {ascii(want)}")
        done += len(strings)
        print(f"{done} strings, {changed} of them with mojibake that ftfy repairs, {bad} differ", flush=True)
    return bad > 0


if __name__ == "__main__":
    sys.exit(main())
