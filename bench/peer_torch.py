#!/usr/bin/env python3
"""peer_torch.py: what bertft is held against: transformers on PyTorch, on the same card, with the same weights and texts.

    bench/peer_torch.py FOLDER [--device cuda|cpu] [--batch N]... [--steps N] [--passes N]

FOLDER is material.py's. Prints one JSON object. Speeds are in real tokens a second, padding not counted; each is the median of
windows of ten steps, or of passes over all texts, after a first one that warms up.

PyTorch gets its best: sdpa attention, fused AdamW, batches padded and pinned beforehand, no wait inside a window. It trains
in bf16 twice: by autocast over fp32 weights, which is what Trainer's bf16=True does and what bertft's bf16 is, and with bf16
weights and moments, which is faster and less exact. Batches are shuffled, as Trainer does by default, or gathered by length.
"""
import argparse
import contextlib
import json
import pathlib
import random
import statistics
import sys
import time

import torch
import transformers
from transformers import AutoModelForSequenceClassification

WINDOW = 10            # steps between looks at the clock, and steps before the first
CHUNK = 50             # gathering by length: batches that are sorted together
LEARNING_RATE, WEIGHT_DECAY, CLIP = 2e-5, 0.01, 1.0
MATRIX = 8192


# ---- Texts and batches ----

def read_texts(folder):
    """[(ids, label)]: each word of material.py is one token."""
    id_of = {word: i for i, word in enumerate((folder / "model/vocab.txt").read_text().split("\n"))}
    texts = []
    for line in (folder / "texts.tsv").read_text().splitlines()[1:]:
        text, label = line.split("\t")
        ids = [id_of["[CLS]"], *(id_of[word] for word in text.split()), id_of["[SEP]"]]
        texts.append((ids, int(label.removeprefix("class"))))
    return texts


def pad(texts, pin):
    length = max(len(ids) for ids, _ in texts)
    batch = {"input_ids": torch.zeros(len(texts), length, dtype=torch.long),
             "attention_mask": torch.zeros(len(texts), length, dtype=torch.long),
             "labels": torch.tensor([label for _, label in texts])}
    for i, (ids, _) in enumerate(texts):
        batch["input_ids"][i, :len(ids)] = torch.tensor(ids)
        batch["attention_mask"][i, :len(ids)] = 1
    tokens = sum(len(ids) for ids, _ in texts)
    return {name: tensor.pin_memory() if pin else tensor for name, tensor in batch.items()}, tokens


def cut(texts, size):
    return [texts[i:i + size] for i in range(0, len(texts), size)]


def make_batches(texts, size, by_length, pin):
    """Whole batches only, and as many of them as there are texts for."""
    draw = random.Random(1)
    texts = draw.sample(texts, len(texts))
    if by_length:
        texts = [text for part in cut(texts, CHUNK * size) for text in sorted(part, key=lambda t: -len(t[0]))]
    groups = [group for group in cut(texts, size) if len(group) == size]
    draw.shuffle(groups)
    return [pad(group, pin) for group in groups]


def to_device(batch, device):
    return {name: tensor.to(device, non_blocking=True) for name, tensor in batch.items()}


def wait(device):
    if device.type == "cuda":
        torch.cuda.synchronize(device)


# ---- Training ----

def train(model, batches, device, autocast, steps):
    """Tokens a second: the median of windows."""
    decayed = [p for p in model.parameters() if p.dim() > 1]
    others = [p for p in model.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW([{"params": decayed}, {"params": others, "weight_decay": 0.0}], lr=LEARNING_RATE,
                                  weight_decay=WEIGHT_DECAY, fused=True)
    context = torch.autocast(device.type, torch.bfloat16) if autocast else contextlib.nullcontext()
    model.train()
    window = min(WINDOW, steps)
    speeds, tokens, since = [], 0, 0.0
    for step in range(window + steps):
        if step % window == 0:
            wait(device)
            tokens, since = 0, time.perf_counter()
        batch, count = batches[step % len(batches)]
        tokens += count
        with context:
            loss = model(**to_device(batch, device)).loss
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), CLIP)
        optimizer.step()
        optimizer.zero_grad(set_to_none=True)
        if step % window == window - 1:
            loss.item()
            speeds.append(tokens / (time.perf_counter() - since))
    return statistics.median(speeds[1:])


# ---- Inference ----

@torch.inference_mode()
def infer(model, batches, device, passes):
    model.eval()
    speeds = []
    for index in range(1 + passes):
        wait(device)
        since = time.perf_counter()
        logits = []
        for batch, _ in batches:
            inputs = to_device(batch, device)
            logits.append(model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits)
        torch.cat(logits).cpu()
        if index > 0:
            speeds.append(sum(count for _, count in batches) / (time.perf_counter() - since))
    return statistics.median(speeds)


@torch.inference_mode()
def first_logits(model, texts, device):
    """Of the first text in fp32, to hold against bertft's."""
    model.eval()
    batch, _ = pad(texts[:1], False)
    inputs = to_device(batch, device)
    return model(input_ids=inputs["input_ids"], attention_mask=inputs["attention_mask"]).logits[0].cpu().tolist()


# ---- All of it ----

def matrix_rate(device):
    """Operations a second of a large bf16 product: what this card really reaches."""
    if device.type != "cuda":
        return None
    a, b = (torch.randn(MATRIX, MATRIX, device=device, dtype=torch.bfloat16) for _ in range(2))
    for repeats in (3, 20):
        wait(device)
        since = time.perf_counter()
        for _ in range(repeats):
            torch.mm(a, b)
        wait(device)
    return repeats * 2 * MATRIX**3 / (time.perf_counter() - since)


def measured(what, *arguments):
    """Its speed, or why there is none."""
    try:
        return what(*arguments)
    except torch.OutOfMemoryError:
        torch.cuda.empty_cache()
        return "out of memory"


def open_model(folder, device, bf16):
    model = AutoModelForSequenceClassification.from_pretrained(folder / "model", attn_implementation="sdpa")
    return model.to(device, torch.bfloat16 if bf16 else torch.float32)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--batch", type=int, action="append", help="texts a batch; may stand several times")
    parser.add_argument("--steps", type=int, default=40)
    parser.add_argument("--passes", type=int, default=3)
    options = parser.parse_args()
    transformers.logging.set_verbosity_error()
    device = torch.device(options.device)
    texts = read_texts(options.folder)
    result = {"torch": torch.__version__, "transformers": transformers.__version__,
              "device": torch.cuda.get_device_name(device) if device.type == "cuda" else "cpu",
              "matrix_flops": matrix_rate(device), "train": {}, "infer": {}}
    for weights in ("autocast", "bf16 weights"):
        model = open_model(options.folder, device, weights == "bf16 weights")
        if weights == "autocast":
            result["logits"] = first_logits(model, texts, device)
        for size in options.batch or [32]:
            for order in ("shuffled", "by length"):
                batches = make_batches(texts, size, order == "by length", device.type == "cuda")
                if not batches:
                    sys.exit(f"peer_torch.py: {len(texts)} texts are no batch of {size}")
                name = f"{weights}, {order}"
                if weights == "bf16 weights":
                    result["infer"].setdefault(size, {})[name] = measured(infer, model, batches, device, options.passes)
                speed = measured(train, model, batches, device, weights == "autocast", options.steps)
                result["train"].setdefault(size, {})[name] = speed
        del model
    print(json.dumps(result))


if __name__ == "__main__":
    main()
