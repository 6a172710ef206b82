#!/usr/bin/env python3
"""peer_train.py: PyTorch's side of the training rows: a worker that answers one JSON line for each on its stdin.

    bench/peer_train.py FOLDER TEXTS.tsv THREADS

A plain loop gets its best: sdpa attention, fused AdamW, batches padded beforehand to their own longest text. Batches are shuffled,
as Trainer's are by default, or gathered by length. They come in an order in which any few that follow each other are short and
long ones alike, so that a unit of few steps speaks for all.

    {"order": "shuffled", "bf16": false, "seconds": S}   steps until S seconds are over: {"tokens": N, "seconds": s}, N without padding
    {"logits": true}                                     of the first text, without dropout: {"logits": [...]}
"""
import contextlib
import pathlib
import sys
import time

import torch
import transformers
from transformers import AutoModelForSequenceClassification

from peer_torch import CLIP, LEARNING_RATE, WEIGHT_DECAY, make_batches, pad
from worker import read_ids, serve

BATCH = 32
GOLDEN = 0.6180339887498949


def read_classes(path):
    return [int(line.rpartition("\tclass")[2]) for line in path.read_text(encoding="utf-8").splitlines()[1:]]


def spread(batches):
    """By tokens, then in steps of the golden section."""
    rest, found = sorted(batches, key=lambda batch: batch[1]), []
    for i in range(len(rest)):
        found.append(rest.pop(int(i * GOLDEN % 1 * len(rest))))
    return found


class Worker:
    def __init__(self, folder, path):
        self.texts = list(zip(read_ids(folder, path), read_classes(path), strict=True))
        self.model = AutoModelForSequenceClassification.from_pretrained(folder, attn_implementation="sdpa",
                                                                       dtype=torch.float32)
        decayed = [p for p in self.model.parameters() if p.dim() > 1]
        others = [p for p in self.model.parameters() if p.dim() <= 1]
        self.optimizer = torch.optim.AdamW([{"params": decayed}, {"params": others, "weight_decay": 0.0}],
                                           lr=LEARNING_RATE, weight_decay=WEIGHT_DECAY, fused=True)
        self.batches = {"shuffled": spread(make_batches(self.texts, BATCH, False, False)),
                        "by length": spread(make_batches(self.texts, BATCH, True, False))}
        self.taken = dict.fromkeys(self.batches, 0)

    def step(self, batch, bf16):
        with torch.autocast("cpu", torch.bfloat16) if bf16 else contextlib.nullcontext():
            loss = self.model(**batch).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(self.model.parameters(), CLIP)
        self.optimizer.step()
        self.optimizer.zero_grad(set_to_none=True)
        loss.item()

    def train(self, order, bf16, seconds):
        self.model.train()
        tokens, since = 0, time.perf_counter()
        while time.perf_counter() - since < seconds:
            batch, count = self.batches[order][self.taken[order] % len(self.batches[order])]
            self.taken[order] += 1
            self.step(batch, bf16)
            tokens += count
        return {"tokens": tokens, "seconds": time.perf_counter() - since}

    @torch.inference_mode()
    def logits(self):
        self.model.eval()
        batch, _ = pad(self.texts[:1], False)
        return {"logits": self.model(**batch).logits[0].tolist()}

    def answer(self, request):
        return self.logits() if "logits" in request else self.train(**request)


def main():
    if len(sys.argv) != 4:
        sys.exit("usage: peer_train.py FOLDER TEXTS.tsv THREADS")
    transformers.logging.set_verbosity_error()
    torch.set_num_threads(int(sys.argv[3]))
    torch.manual_seed(1)
    serve(lambda: Worker(*map(pathlib.Path, sys.argv[1:3])).answer)


if __name__ == "__main__":
    main()
