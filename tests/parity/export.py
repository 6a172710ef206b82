#!/usr/bin/env python3
"""What `bertft export` writes opens in transformers as it is and gives the answers of `bertft predict`.

    python tests/parity/export.py [--build build]
"""

import json
import shutil
import sys

import torch
from common import ROOT, Checks, arguments, bertft
from transformers import AutoModelForSequenceClassification, AutoTokenizer

TEXTS = ["Где мой заказ?! Уже три дня жду, никто не отвечает...", "спасибо, всё хорошо", "?", "боюсь, что деньги пропали",
         "Ёлки, ну наконец-то всё работает — 10 из 10 :)", "the order is late again"]
CASES = [("mini-ru", ROOT / "checkpoints/mini-ru", "linear"), ("mini-ru", ROOT / "checkpoints/mini-ru", "pooler"),
         ("a tiny BERT", ROOT / "tests/golden/bert", "linear"),
         ("a tiny DistilBERT", ROOT / "tests/golden/distilbert", "linear"),
         ("a tiny DistilBERT", ROOT / "tests/golden/distilbert", "pooler")]


def our_answers(options, folder):
    lines = bertft(options, "predict", "-m", folder, "--lines", "--format", "jsonl", "--scores", "raw",
                   text="".join(text + "\n" for text in TEXTS))
    rows = [json.loads(line) for line in lines.splitlines()]
    assert [row["text"] for row in rows] == TEXTS
    return [row["scores"] for row in rows], [row["label"] for row in rows]


def their_answers(folder):
    tokenizer = AutoTokenizer.from_pretrained(folder)
    model = AutoModelForSequenceClassification.from_pretrained(folder).eval()
    with torch.no_grad():
        logits = [model(**tokenizer(text, return_tensors="pt", truncation=True)).logits[0] for text in TEXTS]
    names = model.config.id2label
    return ([{names[i]: value.item() for i, value in enumerate(row)} for row in logits],
            [names[row.argmax().item()] for row in logits])


def main():
    options, checks = arguments(__doc__), Checks()
    run, exported = options.work / "export-run", options.work / "exported"
    for name, weights, head in CASES:
        bertft(options, "train", ROOT / "configs/params.yaml", "--overwrite", "MODEL.WEIGHTS", weights, "MODEL.HEAD", head,
               "DATA.MAX_LENGTH", 40, "TRAIN.MAX_STEPS", 40, "OUTPUT_DIR", run)
        shutil.rmtree(exported, ignore_errors=True)
        bertft(options, "export", run, exported)
        (ours, our_labels), (theirs, their_labels) = our_answers(options, run), their_answers(exported)
        assert our_labels == their_labels, (our_labels, their_labels)
        apart = max(abs(a[label] - b[label]) for a, b in zip(ours, theirs, strict=True) for label in b)
        checks.within(f"{name}, {head} head: logits of the exported model", apart, 2e-5)
        (again, _) = our_answers(options, exported)
        apart = max(abs(a[label] - b[label]) for a, b in zip(ours, again, strict=True) for label in b)
        checks.within(f"{name}, {head} head: the exported model read back by bertft", apart, 2e-5)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
