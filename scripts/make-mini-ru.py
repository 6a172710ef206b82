#!/usr/bin/env python3
"""Makes checkpoints/mini-ru, the small BERT that a fresh clone trains with.

    python scripts/make-mini-ru.py        (needs torch, transformers, tokenizers)

The vocabulary is learnt from the training split of support-ru and the sample dialogues, which may ship. The trainer
of the tokenizers library breaks ties by the order of a hash table, so two trainings differ in a few pieces: a
vocab.txt that is there already is therefore kept; remove it to train a new one. The weights follow from SEED.
"""

import json
from pathlib import Path

import torch
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, trainers
from transformers import BertConfig, BertModel, BertTokenizer

ROOT = Path(__file__).resolve().parent.parent
FOLDER = ROOT / "checkpoints" / "mini-ru"
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
SEED = 2026
CONFIG = {
    "hidden_size": 128,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 512,
    "max_position_embeddings": 512,
    "initializer_range": 0.05,  # more than the usual 0.02: untrained weights learn faster from it
}


def texts():
    rows = (ROOT / "data/support-ru/train.tsv").read_text(encoding="utf-8").splitlines()[1:]
    yield from (row.split("\t")[0] for row in rows)
    yield from (ROOT / "data/dialogs.txt").read_text(encoding="utf-8").splitlines()


def train_vocabulary(path):
    tokenizer = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.BertNormalizer(lowercase=True, strip_accents=False)  # й and ё stay letters
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=6000, min_frequency=2, special_tokens=SPECIAL, show_progress=False)
    tokenizer.train_from_iterator(texts(), trainer)
    vocab = sorted(tokenizer.get_vocab().items(), key=lambda item: item[1])
    path.write_text("".join(token + "\n" for token, _ in vocab), encoding="utf-8")


def main():
    FOLDER.mkdir(parents=True, exist_ok=True)
    vocab = FOLDER / "vocab.txt"
    if not vocab.exists():
        train_vocabulary(vocab)
    size = len(vocab.read_text(encoding="utf-8").splitlines())

    tokenizer = BertTokenizer(vocab=str(vocab), do_lower_case=True, strip_accents=False, model_max_length=512)
    tokenizer.save_pretrained(FOLDER)

    torch.manual_seed(SEED)
    model = BertModel(BertConfig(vocab_size=size, **CONFIG))
    model.to(torch.bfloat16).save_pretrained(FOLDER)
    path = FOLDER / "config.json"  # half the bytes on file, but whoever opens it shall compute in float32
    config = json.loads(path.read_text(encoding="utf-8")) | {"dtype": "float32"}
    path.write_text(json.dumps(config, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()
