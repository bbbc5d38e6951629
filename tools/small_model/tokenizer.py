"""Stage 0: a small SentencePiece Unigram tokenizer in the layout of google/umt5-xxl.

It knows the captions, common English and all printable ASCII; anything else becomes one <unk> per run.
"""

import io
import itertools
import json
import os

import sentencepiece
from tokenizers import Regex, Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from sentencepiece import sentencepiece_model_pb2 as pb

import shapes

VOCAB = 480
SPECIAL = {"pad_token": "<pad>", "eos_token": "</s>", "bos_token": "<s>", "unk_token": "<unk>"}
HERE = os.path.dirname(os.path.abspath(__file__))


def corpus():
    with open(f"{HERE}/english.txt", encoding="utf-8") as f:
        yield from [line.strip() for line in f] * 2
    pairs = itertools.permutations(shapes.COLOURS, 2)
    for (c, b), s, motion, t in itertools.product(pairs, shapes.SHAPES, shapes.MOTIONS.values(), shapes.TEMPLATES[:4]):
        yield t.format(c=c, s=s, b=b, verb=motion[3][0], ing=motion[3][1])


def train_pieces():
    """The SentencePiece model file as bytes."""
    out = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=corpus(), model_writer=out, vocab_size=VOCAB, model_type="unigram",
        character_coverage=1.0, required_chars="".join(map(chr, range(33, 127))), num_threads=1,
        pad_id=0, eos_id=1, bos_id=2, unk_id=3, pad_piece="<pad>", minloglevel=2)
    return out.getvalue()


def fast_tokenizer(model):
    """The same model in the form of tokenizer.json, with the parts a converted T5 tokenizer has."""
    t = Tokenizer(models.Unigram([(p.piece, p.score) for p in model.pieces], unk_id=3))
    t.normalizer = normalizers.Sequence([
        normalizers.Precompiled(model.normalizer_spec.precompiled_charsmap),
        normalizers.Replace(Regex(" {2,}"), " ")])
    t.pre_tokenizer = pre_tokenizers.Metaspace("\u2581", prepend_scheme="always")
    t.decoder = decoders.Metaspace("\u2581", prepend_scheme="always")
    t.post_processor = processors.TemplateProcessing("$A </s>", "$A </s> $B </s>", [("</s>", 1)])
    t.add_special_tokens(list(SPECIAL.values()))
    return t


def make(folder):
    os.makedirs(folder, exist_ok=True)
    data = train_pieces()
    with open(f"{folder}/spiece.model", "wb") as f:
        f.write(data)
    fast_tokenizer(pb.ModelProto.FromString(data)).save(f"{folder}/tokenizer.json")
    write_json(f"{folder}/special_tokens_map.json", SPECIAL)
    write_json(f"{folder}/tokenizer_config.json", {
        **SPECIAL, "tokenizer_class": "PreTrainedTokenizerFast", "model_max_length": 512, 
        "additional_special_tokens": [], "clean_up_tokenization_spaces": False, "legacy": False})


def write_json(path, value):
    with open(path, "w", encoding="utf-8") as f:
        json.dump(value, f, indent=2)
        f.write("\n")
