#!/usr/bin/env python3
"""Macro-F1 on GoEmotions in Ekman's classes: bertft and a plain transformers loop, the same recipe, MiniLM.

    python tests/parity/quality.py --shared ../shared [--build build]        (an hour of two cores)

3 epochs, batches of 32, lr 5e-5 linear with 10 % warm-up, weight decay 0.01, length 64, rows with one label only.
"""

import gzip
import json
import math
import random
import sys
import time

import torch
from common import EKMAN, ROOT, Checks, arguments, bertft, ekman_folder, minilm, padded
from sklearn.metrics import f1_score
from torch.nn import functional
from transformers import AutoTokenizer, BertModel, get_scheduler

EPOCHS, BATCH, LR, WARMUP, DECAY, LENGTH, SEED = 3, 32, 5e-5, 0.1, 0.01, 64, 42


def read(path, tokenizer):
    """(ids, label) of the rows with one label."""
    with gzip.open(path, "rt", encoding="utf-8", newline="\n") as file:
        rows = [line.rstrip("\r\n").split("\t") for line in file]
    rows = [(row[0], int(row[1])) for row in rows if "," not in row[1]]
    ids = tokenizer([text for text, _ in rows], truncation=True, max_length=LENGTH)["input_ids"]
    return [(i, label) for i, (_, label) in zip(ids, rows, strict=True)]


class Classifier(torch.nn.Module):
    """Dropout and a linear layer on the CLS row, as bertft's own head."""

    def __init__(self):
        super().__init__()
        self.encoder = BertModel.from_pretrained(minilm(), dtype=torch.float32, add_pooling_layer=False)
        self.dropout = torch.nn.Dropout(self.encoder.config.hidden_dropout_prob)
        self.linear = torch.nn.Linear(self.encoder.config.hidden_size, len(EKMAN))
        torch.nn.init.normal_(self.linear.weight, 0, 0.02)
        torch.nn.init.zeros_(self.linear.bias)

    def forward(self, rows):
        return self.linear(self.dropout(self.encoder(**padded(rows)).last_hidden_state[:, 0]))


def answers(model, data):
    """Classes, computed by length so that little is padded."""
    model.eval()
    order = sorted(range(len(data)), key=lambda i: len(data[i][0]))
    classes = [0] * len(data)
    with torch.no_grad():
        for first in range(0, len(data), 64):
            part = order[first:first + 64]
            for i, answer in zip(part, model([data[i][0] for i in part]).argmax(dim=1).tolist()):
                classes[i] = answer
    return classes


def macro_f1(model, data):
    return f1_score([label for _, label in data], answers(model, data), average="macro")


def train_with_transformers(folder):
    """Test macro-F1 of the epoch that is best on the validation set, as bertft chooses it."""
    torch.manual_seed(SEED)
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    train, valid, test = (read(folder / name, tokenizer)
                          for name in ("train.tsv.gz", "dev.tsv.gz", "test-head70.tsv.gz"))
    model = Classifier()
    parameters = list(model.parameters())
    optimizer = torch.optim.AdamW([{"params": [p for p in parameters if p.dim() > 1], "weight_decay": DECAY},
                                   {"params": [p for p in parameters if p.dim() == 1], "weight_decay": 0.0}], lr=LR)
    total = EPOCHS * math.ceil(len(train) / BATCH)
    scheduler = get_scheduler("linear", optimizer, math.ceil(WARMUP * total), total)
    draw, best = random.Random(SEED), (-1.0, -1.0)
    for epoch in range(EPOCHS):
        model.train()
        draw.shuffle(train)
        for first in range(0, len(train), BATCH):
            ids, labels = zip(*train[first:first + BATCH])
            loss = functional.cross_entropy(model(ids), torch.tensor(labels))
            optimizer.zero_grad()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(parameters, 1.0)
            optimizer.step()
            scheduler.step()
        scores = macro_f1(model, valid), macro_f1(model, test)
        best = max(best, scores)
        print(f"transformers, epoch {epoch + 1}: macro-F1 {scores[0]:.4f} valid, {scores[1]:.4f} test", flush=True)
    return best[1]


def train_with_bertft(options, folder):
    run = options.work / "quality-run"
    bertft(options, "train", ROOT / "configs/goemotions-ekman.yaml", "--overwrite", "MODEL.WEIGHTS", minilm(),
           "MODEL.HEAD", "linear", "DATA.TRAIN", folder / "train.tsv.gz", "DATA.VALID", folder / "dev.tsv.gz",
           "DATA.TEST", folder / "test-head70.tsv.gz", "DATA.MAX_LENGTH", LENGTH, "TRAIN.EPOCHS", EPOCHS,
           "TRAIN.BATCH_SIZE", BATCH, "TRAIN.METRIC", "f1_macro", "OPTIM.LR", LR, "OPTIM.WEIGHT_DECAY", DECAY,
           "SCHEDULER.NAME", "linear", "SCHEDULER.WARMUP", WARMUP, "SEED", SEED, "OUTPUT_DIR", run)
    return json.loads(bertft(options, "eval", run, "--json"))["f1_macro"]


def main():
    options, checks = arguments(__doc__), Checks()
    folder = ekman_folder(options)
    if not (folder / "train.tsv.gz").exists():
        sys.exit(f"{folder}: GoEmotions is not here; --shared names the folder with data/goemotions-en")
    scores = {}
    for name, work in (("bertft", lambda: train_with_bertft(options, folder)),
                       ("transformers", lambda: train_with_transformers(folder))):
        start = time.monotonic()
        scores[name] = work()
        print(f"{name}: macro-F1 {scores[name]:.4f} on test-head70, {time.monotonic() - start:.0f} s", flush=True)
    checks.within("macro-F1 below transformers", scores["transformers"] - scores["bertft"], 0.01)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
