#!/usr/bin/env python3
"""Write tests/golden/text: small tokenizers, and what the official code makes of hard strings.

    tools/oracle/text.py --wan21 CHECKOUT [tests/golden/text]

CHECKOUT is one of the official Wan2.1 or Wan2.2 repository: its wan/modules/tokenizers.py cleans the strings. Needs
ftfy 6.3.1, regex, sentencepiece 0.2, tokenizers 0.21, transformers 4.51.3 (newer ones give other ids), torch not.

strings.jsonl, one object a line: "text"; "clean"; "ids": those of the cleaned text for each tokenizer; "raw": those of
"text" itself, where that differs. mojibake.jsonl: only "text" and "clean".
"""
import argparse
import importlib.util
import io
import json
import logging
import random
import shutil
import tempfile
import unicodedata
from pathlib import Path

import ftfy
import sentencepiece
import tokenizers
import transformers
from transformers import AutoTokenizer, T5Tokenizer, T5TokenizerFast

from mojibake_strings import CORNERS, mojibake_strings
from text_strings import SENTENCES, all_strings

MAX_IDS = 512

# Rewrite rules of a small charsmap: single characters, sequences that a grapheme cluster cuts through, deletions.
RULES = {"Ａ": "A", "Ｂ": "B", "ﬁ": "fi", "e\u0301": "é", "n\u0303": "ñ", "\u200b": " ", "\u3000": " ", "\t": " ", "\n": " ", "…": "...",
         "①": "1", "\u0301": "", "\u00ad": "", "か\u3099": "が", "ﾊﾟ": "パ", "\u1100\u1161": "가", "𝓐": "A", "ABC": "abc", "€": "EUR", "ß": "ss", "ab": "AB", "！": "!"}


def train(folder, name, **options):
    """A Unigram model on the sentences, cut and mixed for more statistics."""
    rng = random.Random(7)
    lines = list(SENTENCES) * 3
    for _ in range(600):
        line = rng.choice(SENTENCES)
        words = line.split() if " " in line else list(line)
        at = rng.randrange(len(words))
        lines.append((" " if " " in line else "").join(words[at:at + rng.randint(2, 12)]))
    model = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(lines), model_writer=model, model_type="unigram", pad_id=0, eos_id=1, bos_id=2, unk_id=3,
        hard_vocab_limit=False, num_threads=1, minloglevel=2, input_sentence_size=0, **options)
    path = folder / name / "spiece.model"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(model.getvalue())
    return path


def convert(spiece, extra_ids, **options):
    fast = T5TokenizerFast(vocab_file=str(spiece), extra_ids=extra_ids, from_slow=True, **options)
    fast.save_pretrained(spiece.parent)
    (spiece.parent / "special_tokens_map.json").unlink()
    compact(spiece.parent / "tokenizer.json")


def compact(path):
    path.write_text(json.dumps(json.loads(path.read_text()), ensure_ascii=False, separators=(",", ":")))


def added(id, content, **flags):
    token = dict(id=id, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False, special=False)
    return token | flags


def special_first(vocab, extra):
    return [added(i, vocab[i][0], special=True) for i in range(4)] + extra


def build_fixtures(out):
    """The tokenizers by name: a loader's arguments."""
    nmt = train(out, "nmt", vocab_size=900, byte_fallback=True, character_coverage=0.995)
    convert(nmt, 300, legacy=True)
    plain = train(out, "first", vocab_size=700, normalization_rule_name="identity", user_defined_symbols=["<|star|>", "<extra_id_0>"],
                  byte_fallback=True, character_coverage=0.99)
    convert(plain, 100, legacy=False)

    with tempfile.TemporaryDirectory() as tmp:
        tsv = Path(tmp) / "rules.tsv"
        tsv.write_text("".join(" ".join(f"{ord(c):X}" for c in a) + "\t" + " ".join(f"{ord(c):X}" for c in b) + "\n" for a, b in RULES.items()))
        rules = train(out, "old", vocab_size=500, normalization_rule_tsv=str(tsv), character_coverage=0.98)
    convert(rules, 10, legacy=True)
    old = json.loads((rules.parent / "tokenizer.json").read_text())
    # what transformers before 4.40 wrote
    old["normalizer"] = {"type": "Sequence", "normalizers": [old["normalizer"]["normalizers"][0], {"type": "Replace", "pattern": {"Regex": " {2,}"}, "content": " "}]}
    old["pre_tokenizer"] = {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "▁", "add_prefix_space": True}]}
    shutil.rmtree(rules.parent)
    write(out / "old.json", old)

    new = json.loads(json.dumps(old))
    new["pre_tokenizer"] = {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "never", "split": False}
    new["normalizer"] = {"type": "Sequence", "normalizers": [
        {"type": "Nmt"}, {"type": "NFKC"}, {"type": "Replace", "pattern": {"String": "cat"}, "content": "dog"},
        {"type": "Replace", "pattern": {"Regex": "-+"}, "content": "-"}, {"type": "Strip", "strip_left": True, "strip_right": True}]}
    n = len(new["model"]["vocab"])
    new["added_tokens"] = special_first(new["model"]["vocab"], [
        added(n, "TAGW", single_word=True), added(n + 1, "[TAG]", lstrip=True, rstrip=True), added(n + 2, "ﬁ oﬃce", normalized=True),
        added(n + 3, "夏日", lstrip=True), added(n + 4, "beach", normalized=True, single_word=True, rstrip=True)])
    write(out / "chain.json", new)

    bytes_ = json.loads((plain.parent / "tokenizer.json").read_text())
    bytes_["model"]["byte_fallback"] = True
    bytes_["normalizer"] = {"type": "NFC"}
    bytes_["post_processor"] = {"type": "TemplateProcessing", "single": [{"SpecialToken": {"id": "<s>", "type_id": 0}}, {"Sequence": {"id": "A", "type_id": 0}}, {"SpecialToken": {"id": "</s>", "type_id": 0}}],
                                "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
                                "special_tokens": {"<s>": {"id": "<s>", "ids": [2, 0], "tokens": ["<s>", "<pad>"]}, "</s>": {"id": "</s>", "ids": [1], "tokens": ["</s>"]}}}
    write(out / "bytes.json", bytes_)

    bare = json.loads(json.dumps(old))
    bare.update(normalizer=None, pre_tokenizer={"type": "WhitespaceSplit"}, post_processor=None, added_tokens=[])
    write(out / "bare.json", bare)
    build_tiny(out, old)


def serde_float(text):
    """How Rust's serde_json reads a decimal fraction: not to the nearest double."""
    whole, fraction = text.lstrip("-").split(".")
    return float(int(whole + fraction)) / 10.0 ** len(fraction)


def tie_score():
    """s so that two pieces of s / 2 are better than one of s for serde_json, and equal for who reads correctly."""
    rng = random.Random(5)
    while True:
        s = -rng.uniform(4, 16)
        if serde_float(repr(s)) > -s and serde_float(repr(s / 2)) == -s / 2:
            return s


def build_tiny(out, old):
    """Small enough to fail each of its allocations in turn; has something of everything."""
    tie = tie_score()
    pieces = [["<pad>", 0.0], ["</s>", 0.0], ["<s>", 0.0], ["<unk>", 0.0], ["▁", -2.5], ["▁the", -3.0], ["a", -4.0], ["c", -4.5], ["at", -5.0], ["cat", -7.25],
              ["▁a", -4.25], ["e", -4.0], ["t", -3.75], ["<0x41>", -9], ["猫", -6.5e0], ["zq", tie], ["z", tie / 2], ["q", tie / 2], ["\u00e9\"\\", -60E-1], ["at", -4.75]]
    old["model"]["vocab"] = pieces
    old["normalizer"]["normalizers"].append({"type": "Replace", "pattern": {"Regex": "~{3,}"}, "content": "~"})
    old["normalizer"]["normalizers"].append({"type": "Prepend", "prepend": "c"})
    old["pre_tokenizer"]["pretokenizers"] = [{"type": "WhitespaceSplit"}, {"type": "Sequence", "pretokenizers": [{"type": "Metaspace", "replacement": "▁", "prepend_scheme": "first", "split": True}]}]
    old["added_tokens"] = special_first(pieces, [added(20, "[TAG]", lstrip=True), added(21, "beach", normalized=True, single_word=True, rstrip=True)])
    write(out / "tiny.json", old)


def write(path, tokenizer):
    path.write_text(json.dumps(tokenizer, ensure_ascii=False, separators=(",", ":")))


def from_file(path):
    tokenizer = tokenizers.Tokenizer.from_file(str(path))
    tokenizer.enable_truncation(MAX_IDS)
    return lambda text: tokenizer.encode(text).ids


def from_folder(path):
    return from_transformers(AutoTokenizer.from_pretrained(str(path)))


def from_spiece(path, extra_ids):
    """What the model file alone gives, without the tokens that tokenizer_config.json adds."""
    return from_transformers(T5Tokenizer(str(path), extra_ids=extra_ids, legacy=True))


def from_transformers(tokenizer):
    return lambda text: tokenizer(text, truncation=True, max_length=MAX_IDS).input_ids


def encoders(out):
    return {"nmt": from_folder(out / "nmt"), "nmt/spiece.model": from_spiece(out / "nmt/spiece.model", 300),

            "first": from_folder(out / "first"), "first/spiece.model": from_spiece(out / "first/spiece.model", 100),
            "old.json": from_file(out / "old.json"), "chain.json": from_file(out / "chain.json"),
            "bytes.json": from_file(out / "bytes.json"), "bare.json": from_file(out / "bare.json"),
            "tiny.json": from_file(out / "tiny.json")}


def official(checkout):
    spec = importlib.util.spec_from_file_location("wan_tokenizers", Path(checkout) / "wan/modules/tokenizers.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def write_lines(path, rows):
    # LF only: the strings have other line breaks in them, escaped or not
    path.write_bytes("".join(json.dumps(row, ensure_ascii=False, separators=(",", ":")) + "\n" for row in rows).encode())


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--wan21", required=True)
    parser.add_argument("out", type=Path, nargs="?", default=Path(__file__).resolve().parents[2] / "tests/golden/text")
    args = parser.parse_args()
    logging.disable(logging.WARNING)
    assert transformers.__version__ == "4.51.3" and tokenizers.__version__.startswith("0.21.") and ftfy.__version__ == "6.3.1"
    shutil.rmtree(args.out, ignore_errors=True)
    args.out.mkdir(parents=True)
    build_fixtures(args.out)
    encode, wan = encoders(args.out), official(args.wan21)
    lines = []
    for text in all_strings():
        clean = wan.whitespace_clean(wan.basic_clean(text))
        row = {"text": text, "clean": clean}
        row["ids"] = {name: f(clean) for name, f in encode.items()}
        if text != clean:
            row["raw"] = {name: f(text) for name, f in encode.items()}
        lines.append(row)
    write_lines(args.out / "strings.jsonl", lines)
    lines = []
    for text in dict.fromkeys([*CORNERS, *mojibake_strings(2600, seed=7)]):
        assert not any(unicodedata.category(c) == "Cs" for c in text)
        lines.append({"text": text, "clean": wan.whitespace_clean(wan.basic_clean(text))})
    write_lines(args.out / "mojibake.jsonl", lines)
    repaired = sum(ftfy.fix_encoding(row["text"]) != row["text"] for row in lines)
    print(len(lines), "of mojibake,", repaired, "of them repaired; Unicode", unicodedata.unidata_version)


if __name__ == "__main__":
    main()
