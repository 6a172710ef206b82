#!/usr/bin/env python3
"""A hundred training steps on real batches against PyTorch, with dense AdamW over all and with deferred embedding rows.

    python tests/parity/steps.py [--build build] [--shared ../shared]

`bertft train` trains MiniLM with a linear head, dropout 0; model_probe tells which samples each step took; PyTorch takes the same.
"""

import json
import math
import sys

import torch
from common import EKMAN, ROOT, Checks, arguments, bertft, ekman_folder, minilm, padded, run
from models import with_classifier
from safetensors.torch import load_file
from torch.nn import functional
from transformers import get_scheduler

STEPS, BATCH, LR, WARMUP, DECAY, CLIP = 100, 32, 5e-5, 10, 0.01, 1.0
SAMPLE_LABELS = ["anger", "fear", "joy", "no_emotion", "sadness", "surprise"]


def prepare(options):
    """The configuration, and a copy of MiniLM with a classifier for the data's labels; returns both and the model."""
    folder = ekman_folder(options)
    real = (folder / "train.tsv.gz").exists()
    labels = EKMAN if real else SAMPLE_LABELS
    weights, model = with_classifier(options, minilm(), "linear", len(labels))
    config = json.loads((weights / "config.json").read_text())
    config |= {"id2label": dict(enumerate(labels)), "label2id": {label: i for i, label in enumerate(labels)}}
    (weights / "config.json").write_text(json.dumps(config))
    for name in ("vocab.txt", "tokenizer.json", "tokenizer_config.json"):
        (weights / name).write_bytes((minilm() / name).read_bytes())
    if real:
        base = ROOT / "configs/goemotions-ekman.yaml"
        data = {"TRAIN": str(folder / "train.tsv.gz"), "VALID": str(folder / "dev.tsv.gz"), "TEST": None}
    else:
        base = ROOT / "configs/params.yaml"
        data = {"LABELS": labels}
    config = {"_BASE_": str(base), "MODEL": {"WEIGHTS": str(weights), "HEAD": "linear", "DROPOUT": 0.0},
              "DATA": data | {"MAX_LENGTH": 64},
              "TRAIN": {"MAX_STEPS": STEPS, "BATCH_SIZE": BATCH, "LOG_EVERY": 1, "EVAL_EVERY": STEPS},
              "OPTIM": {"LR": LR, "WEIGHT_DECAY": DECAY, "CLIP": CLIP},
              "SCHEDULER": {"NAME": "linear", "WARMUP": WARMUP}}
    path = options.work / "steps.yaml"
    path.write_text(json.dumps(config))  # JSON is YAML
    return path, model


def train_with_torch(model, batches):
    """The plain loop; returns the losses, the final weights, and the sum of the learning rates."""
    model.eval()  # dropout 0
    parameters = {n: p for n, p in model.named_parameters() if not n.startswith("bert.pooler.")}
    groups = [{"params": [p for p in parameters.values() if p.dim() > 1], "weight_decay": DECAY},
              {"params": [p for p in parameters.values() if p.dim() == 1], "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, lr=LR)
    scheduler = get_scheduler("linear", optimizer, num_warmup_steps=WARMUP, num_training_steps=STEPS)
    losses, rates = [], 0.0
    for samples in batches:
        states = model.bert(**padded([sample["ids"] for sample in samples])).last_hidden_state
        loss = functional.cross_entropy(model.classifier(states[:, 0]),
                                        torch.tensor([sample["target"] for sample in samples]))
        optimizer.zero_grad()
        loss.backward()
        torch.nn.utils.clip_grad_norm_(parameters.values(), CLIP)
        rates += optimizer.param_groups[0]["lr"]
        optimizer.step()
        scheduler.step()
        losses.append(loss.item())
    return losses, {name: parameter.detach() for name, parameter in parameters.items()}, rates


def check_run(options, checks, name, config, pairs, expected):
    losses, weights, rates = expected
    folder = options.work / "steps-run"
    bertft(options, "train", config, "--overwrite", "OUTPUT_DIR", folder, *pairs)
    logged = [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]
    ours = [line["loss"] for line in logged if "lr" in line]
    assert len(ours) == STEPS, len(ours)
    checks.within(f"{name}: {STEPS} losses", max(abs(a - b) for a, b in zip(ours, losses)), 2e-3)

    tensors = load_file(folder / "model.safetensors")
    assert tensors.keys() == weights.keys(), tensors.keys() ^ weights.keys()
    difference = {n: tensors[n].double() - weights[n].double() for n in weights}
    total = math.sqrt(sum(d.square().sum().item() for d in difference.values()))
    scale = math.sqrt(sum(w.double().square().sum().item() for w in weights.values()))
    checks.within(f"{name}: final weights, relative in total norm", total / scale, 1e-3)
    # Adam divides a gradient by its own size: where that is rounding noise its sign is chance, and two runs part by at
    # most twice the sum of the learning rates. Only the noise of zero gradients, that of key biases, comes near.
    furthest = max(d.abs().max().item() for d in difference.values())
    checks.within(f"{name}: furthest single weight", furthest, 2 * rates)
    spread = max((d.square().mean().sqrt().item(), n) for n, d in difference.items() if not n.endswith("key.bias"))
    checks.within(f"{name}: root mean square of the worst tensor ({spread[1]})", spread[0], 0.1 * rates)
    return tensors


def main():
    options, checks = arguments(__doc__), Checks()
    config, model = prepare(options)
    batches = run(options.build / "tests/model_probe", "batches", config, "OUTPUT_DIR", options.work / "steps-run")
    expected = train_with_torch(model, [json.loads(line) for line in batches.splitlines()])
    dense = check_run(options, checks, "dense", config, ["OPTIM.DENSE_EMBEDDINGS", "true"], expected)
    deferred = check_run(options, checks, "deferred", config, [], expected)
    apart = math.sqrt(sum((dense[n].double() - deferred[n].double()).square().sum().item() for n in dense))
    scale = math.sqrt(sum(tensor.double().square().sum().item() for tensor in dense.values()))
    checks.within("dense and deferred, one rounding a step", apart / scale, STEPS * 2.0 ** -24)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
