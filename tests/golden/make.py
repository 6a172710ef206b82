#!/usr/bin/env python3
"""Writes the golden fixtures: tiny random models, and what transformers and PyTorch make of them.

    HF_HUB_OFFLINE=1 python tests/golden/make.py          (needs torch, transformers, safetensors)

Everything is computed in float64 from the float32 weights of model.safetensors, so that the expected values carry
no rounding of their own beyond that of being stored as float32 (tensors) or printed in full (JSON). README.md beside
this file describes the layout.
"""

import copy
import gzip
import json
import math
import shutil
from pathlib import Path

import torch
from safetensors.torch import save_file
from torch.nn import functional
from transformers import (BertConfig, BertForMaskedLM, BertForSequenceClassification, BertTokenizer, DistilBertConfig,
                          DistilBertForMaskedLM, DistilBertForSequenceClassification, get_scheduler)

HERE = Path(__file__).resolve().parent
LABELS = ["anger", "fear", "радость", "грусть", "no_emotion"]
TEXTS = [
    "не работает оплата, верните деньги!",
    "спасибо",
    "Где мой заказ? уже три дня жду, никто не отвечает... ok",
    "боюсь, что деньги пропали",
    "the order is late again",
    "Ёлки, ну наконец-то всё работает! спасибо, очень рад: 10 из 10",
    "?",
    "верните",
    "мой заказ пропал, жаль",
    "is my order late?",
    "ну что за день",
    "Всё хорошо, спасибо - жду",
]
TARGETS = [0, 2, 0, 1, 3, 2, 4, 0, 3, 4, 3, 2]
CLASS_WEIGHTS = [0.5, 2.0, 1.0, 1.5, 0.75]
POSITIVE_WEIGHTS = [1.0, 3.0, 0.5, 2.0, 1.25]
SMOOTHING = 0.1
BATCH = 7  # samples of the one batch behind `hidden`, logits and gradients
STEPS, STEP_SAMPLES, WARMUP, LR, DECAY, CLIP = 10, 4, 2, 2e-3, 0.01, 1.0
ACCUMULATED = [3, 2]  # samples of each micro-batch in the accumulating run

WORDS = """не работает верни ##те день ##ги спасибо мой заказ жду никто ответ ##ает ##ют что ну за все хорош ##о
the order is late again my ok уже три очень рад боюсь пропал""".split()


def vocabulary():
    letters = [chr(c) for c in range(ord("а"), ord("я") + 1)]
    return ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *".,!?-:10", *letters, *("##" + c for c in letters), *WORDS]


def randomize(model, generator):
    """Biases and LayerNorm parameters too, or their gradients and places would go unnoticed."""
    for name, parameter in model.named_parameters():
        noise = torch.randn(parameter.shape, generator=generator)
        if "LayerNorm.weight" in name or "layer_norm.weight" in name:
            parameter.data = 1 + 0.2 * noise
        else:
            parameter.data = 0.2 * noise


def bert(size):
    config = BertConfig(
        vocab_size=size, hidden_size=20, num_hidden_layers=3, num_attention_heads=4, intermediate_size=28,
        max_position_embeddings=40, type_vocab_size=2, hidden_dropout_prob=0.0, attention_probs_dropout_prob=0.0,
        layer_norm_eps=1e-6, initializer_range=0.2)
    return config, BertForSequenceClassification, True


def distilbert(size):
    config = DistilBertConfig(
        vocab_size=size, dim=20, n_layers=2, n_heads=4, hidden_dim=28, max_position_embeddings=40, dropout=0.0,
        attention_dropout=0.0, seq_classif_dropout=0.0, initializer_range=0.2)
    return config, DistilBertForSequenceClassification, False


def write_folder(folder, factory, seed, masked=None):
    """The model folder; returns its tokenizer and the model in float64. `masked`: the class of a masked language model, for one."""
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    vocab = vocabulary()
    (folder / "vocab.txt").write_text("".join(token + "\n" for token in vocab), encoding="utf-8")
    config, model_class, lowercase = factory(len(vocab))
    if masked is None:
        config.id2label = dict(enumerate(LABELS))
        config.label2id = {label: index for index, label in enumerate(LABELS)}
        config.problem_type = "single_label_classification"
    config._attn_implementation = "eager"
    tokenizer = BertTokenizer(vocab=str(folder / "vocab.txt"), do_lower_case=lowercase, model_max_length=40)
    tokenizer.save_pretrained(folder)
    model = (masked or model_class)(config)
    randomize(model, torch.Generator().manual_seed(seed))
    model.save_pretrained(folder)
    (folder / "vocab.txt").write_text("".join(token + "\n" for token in vocab), encoding="utf-8")
    return tokenizer, model.double().eval()


class Head:
    """Logits of one of the three heads on the same weights: `pooler` is the model's own."""

    def __init__(self, model, kind):
        self.model, self.kind = model, kind

    def parameters(self):
        """(name, parameter) of the tensors that take part: an unused pooler is not updated."""
        unused = () if self.kind == "pooler" else ("bert.pooler.", "pre_classifier.")
        return [(n, p) for n, p in self.model.named_parameters() if not n.startswith(unused or "-")]

    def logits(self, ids):
        length = max(map(len, ids))
        padded = torch.tensor([row + [0] * (length - len(row)) for row in ids])
        mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in ids])
        if self.kind == "pooler":
            return self.model(input_ids=padded, attention_mask=mask).logits
        hidden = self.hidden(padded, mask)
        if self.kind == "linear":
            return self.model.classifier(hidden[:, 0])
        weights = (mask / mask.sum(dim=1, keepdim=True)).unsqueeze(-1)
        return self.model.classifier((hidden * weights).sum(dim=1))

    def hidden(self, padded, mask):
        return self.model.base_model(input_ids=padded, attention_mask=mask).last_hidden_state


def gradients(head, ids, targets):
    head.model.zero_grad()
    loss = functional.cross_entropy(head.logits(ids), torch.tensor(targets))
    loss.backward()
    return loss.item(), {name: parameter.grad.clone() for name, parameter in head.parameters()}


def train(model, kind, ids, micro_batches, class_weights, smoothing):
    """Ten steps of AdamW, as the design fixes them; returns what happened and the final weights.

    The loss of a step is that of its whole accumulated batch; its micro-batches add up to it."""
    head = Head(copy.deepcopy(model), kind)
    decay = [p for n, p in head.parameters() if p.dim() > 1]
    plain = [p for n, p in head.parameters() if p.dim() <= 1]
    optimizer = torch.optim.AdamW([{"params": decay, "weight_decay": DECAY}, {"params": plain, "weight_decay": 0.0}],
                                  lr=LR, betas=(0.9, 0.999), eps=1e-8)
    scheduler = get_scheduler("linear", optimizer, num_warmup_steps=WARMUP, num_training_steps=STEPS)
    weight = None if class_weights is None else torch.tensor(class_weights, dtype=torch.float64)
    steps, place = [], 0
    for _ in range(STEPS):
        batches = []
        for size in micro_batches:
            batches.append([(place + i) % len(TEXTS) for i in range(size)])
            place += size
        total = sum((weight[TARGETS[s]].item() if weight is not None else 1.0) for b in batches for s in b)
        optimizer.zero_grad()
        loss = 0.0
        for batch in batches:
            share = functional.cross_entropy(
                head.logits([ids[s] for s in batch]), torch.tensor([TARGETS[s] for s in batch]), weight=weight,
                label_smoothing=smoothing, reduction="sum") / total
            share.backward()
            loss += share.item()
        lr = optimizer.param_groups[0]["lr"]
        norm = torch.nn.utils.clip_grad_norm_([p for _, p in head.parameters()], CLIP)
        optimizer.step()
        scheduler.step()
        steps.append({"batches": batches, "loss": loss, "lr": lr, "norm": norm.item()})
    return steps, {name: parameter.detach() for name, parameter in head.parameters()}


def losses(logits):
    """The three losses on the same logits, and their gradients."""
    logits = logits.detach()
    multi = [[float((row + column * column) % 3 == 0) for column in range(len(LABELS))] for row in range(BATCH)]
    scores = [[0.5 * row - column for column in range(len(LABELS))] for row in range(BATCH)]
    cases = {
        "single": lambda x: functional.cross_entropy(
            x, torch.tensor(TARGETS[:BATCH]), weight=torch.tensor(CLASS_WEIGHTS, dtype=torch.float64),
            label_smoothing=SMOOTHING),
        "multi": lambda x: functional.binary_cross_entropy_with_logits(
            x, torch.tensor(multi, dtype=torch.float64),
            pos_weight=torch.tensor(POSITIVE_WEIGHTS, dtype=torch.float64)),
        "regression": lambda x: functional.mse_loss(x, torch.tensor(scores, dtype=torch.float64)),
    }
    values, tensors = {}, {}
    for name, loss_of in cases.items():
        leaf = logits.clone().requires_grad_()
        loss = loss_of(leaf)
        loss.backward()
        values[name], tensors["dlogits." + name] = loss.item(), leaf.grad
    return values, tensors, multi, scores


def write_expected(folder, tokenizer, model):
    ids = [tokenizer(text)["input_ids"] for text in TEXTS]
    batch = ids[:BATCH]
    tensors, document = {}, {"labels": LABELS, "texts": TEXTS, "ids": ids, "targets": TARGETS, "batch": BATCH}

    length = max(map(len, batch))
    padded = torch.tensor([row + [0] * (length - len(row)) for row in batch])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in batch])
    hidden = Head(model, "linear").hidden(padded, mask)
    tensors["hidden"] = torch.cat([hidden[i, : len(row)] for i, row in enumerate(batch)])

    document["cross_entropy"] = {}
    for kind in ("pooler", "linear", "mean"):
        head = Head(model, kind)
        tensors["logits." + kind] = head.logits(batch)
        document["cross_entropy"][kind], grads = gradients(head, batch, TARGETS[:BATCH])
        if kind != "mean":
            tensors |= {f"gradient.{kind}.{name}": grad for name, grad in grads.items()}
        else:
            kept = ("word_embeddings.weight", "classifier.weight", "classifier.bias")
            tensors |= {f"gradient.{kind}.{name}": grad for name, grad in grads.items() if name.endswith(kept)}

    values, dlogits, multi, scores = losses(tensors["logits.linear"])
    tensors |= dlogits
    document |= {"losses": values, "class_weights": CLASS_WEIGHTS, "positive_weights": POSITIVE_WEIGHTS,
                 "smoothing": SMOOTHING, "multi_targets": multi, "regression_targets": scores}

    document["optimizer"] = {"lr": LR, "warmup": WARMUP, "steps": STEPS, "weight_decay": DECAY, "clip": CLIP}
    steps, weights = train(model, "pooler", ids, [STEP_SAMPLES], None, 0.0)
    document["steps.pooler"] = steps
    tensors |= {"final.pooler." + name: value for name, value in weights.items()}
    steps, weights = train(model, "linear", ids, ACCUMULATED, CLASS_WEIGHTS, SMOOTHING)
    document["steps.linear"] = steps
    tensors |= {"final.linear." + name: value for name, value in weights.items()}

    assert all(torch.isfinite(t).all() for t in tensors.values())
    save_file({name: t.detach().float().contiguous() for name, t in tensors.items()}, folder / "expected.safetensors")
    text = ",\n".join(f"{json.dumps(key)}: {json.dumps(value, ensure_ascii=False)}" for key, value in document.items())
    (folder / "expected.json").write_text("{\n" + text + "\n}\n", encoding="utf-8")


def write_masked(folder, tokenizer, model):
    """A masked language model: every third piece of each text is [MASK], another word, or itself. Some targets are what the model
    answers, so that there are hits."""
    ids = [tokenizer(text)["input_ids"] for text in TEXTS[:BATCH]]
    places = [[place for place in range(1, len(row) - 1) if (place + sample) % 3 == 1] for sample, row in enumerate(ids)]
    shown = [list(row) for row in ids]
    for sample, chosen in enumerate(places):
        for i, place in enumerate(chosen):
            shown[sample][place] = (tokenizer.mask_token_id, tokenizer.mask_token_id, 40 + sample, ids[sample][place])[i % 4]
    length = max(map(len, ids))
    padded = torch.tensor([row + [0] * (length - len(row)) for row in shown])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in ids])
    answers = model(input_ids=padded, attention_mask=mask).logits.argmax(dim=-1)
    labels = torch.full(padded.shape, -100)
    for sample, chosen in enumerate(places):
        for i, place in enumerate(chosen):
            labels[sample, place] = answers[sample, place] if i % 5 == 1 else ids[sample][place]
    answer = model(input_ids=padded, attention_mask=mask, labels=labels)
    answer.loss.backward()
    hits = (answer.logits.argmax(dim=-1) == labels).sum().item()
    document = {"ids": shown, "places": places, "targets": [labels[sample, chosen].tolist() for sample, chosen in enumerate(places)],
                "loss": answer.loss.item(), "hits": hits}
    tensors = {f"gradient.masked.{name}": parameter.grad for name, parameter in model.named_parameters()}
    assert all(torch.isfinite(t).all() for t in tensors.values())
    save_file({name: t.detach().float().contiguous() for name, t in tensors.items()}, folder / "expected.safetensors")
    text = ",\n".join(f"{json.dumps(key)}: {json.dumps(value)}" for key, value in document.items())
    (folder / "expected.json").write_text("{\n" + text + "\n}\n", encoding="utf-8")


def plateau_metric(step):
    """A noisy curve that improves, gets stuck and improves again; rounded, so that it survives being printed."""
    return round(1.0 + math.exp(-step / 120.0) + 0.05 * math.sin(step * 0.7) + (0.3 if 400 < step < 600 else 0.0), 6)


def write_schedules():
    """λ-free: the learning rate itself, for 1,000 steps, base lr 5e-5, 700 steps planned (so the end shows as well)."""
    base, planned, steps = 5e-5, 700, 1000
    cases = []
    for warmup in (0, 70):
        cases += [
            ("constant", warmup, {}), ("constant_with_warmup", warmup, {}), ("linear", warmup, {}),
            ("cosine", warmup, {}), ("cosine", warmup, {"num_cycles": 1.5}),
            ("cosine_with_restarts", warmup, {}), ("cosine_with_restarts", warmup, {"num_cycles": 3}),
            ("polynomial", warmup, {}), ("polynomial", warmup, {"lr_end": 1e-6, "power": 2.5}),
            ("inverse_sqrt", warmup, {}), ("inverse_sqrt", warmup, {"timescale": 333}),
            ("cosine_with_min_lr", warmup, {"min_lr": 2e-6}),
            ("cosine_with_min_lr", warmup, {"min_lr_rate": 0.05, "num_cycles": 1.25}),
            ("cosine_warmup_with_min_lr", warmup, {"min_lr": 2e-6}),
            ("cosine_warmup_with_min_lr", warmup, {"min_lr": 1e-6, "num_cycles": 1.25}),
            ("warmup_stable_decay", warmup, {"num_decay_steps": 200}),
            ("warmup_stable_decay", warmup, {"num_decay_steps": 100, "min_lr_ratio": 0.1, "num_cycles": 0.4}),
            ("warmup_stable_decay", warmup, {"num_decay_steps": 300, "min_lr_ratio": 0.02, "warmup_type": "cosine",
                                             "decay_type": "linear"}),
            ("warmup_stable_decay", warmup, {"num_decay_steps": 699, "warmup_type": "1-sqrt", "decay_type": "1-sqrt"}),
        ]
    cases += [("reduce_lr_on_plateau", 0, {}), ("reduce_lr_on_plateau", 0, {"factor": 0.5, "patience": 3}),
              ("reduce_lr_on_plateau", 0, {"factor": 0.3, "patience": 5, "min_lr": 1e-6}),
              ("reduce_lr_on_plateau", 0, {"mode": "max", "factor": 0.7, "patience": 2})]
    traces = []
    for name, warmup, keywords in cases:
        optimizer = torch.optim.SGD([torch.nn.Parameter(torch.zeros(1))], lr=base)
        scheduler = get_scheduler(name, optimizer, num_warmup_steps=warmup, num_training_steps=planned,
                                  scheduler_specific_kwargs=dict(keywords))
        optimizer.step()
        rates = []
        for step in range(steps):
            rates.append(optimizer.param_groups[0]["lr"])
            scheduler.step(plateau_metric(step)) if name == "reduce_lr_on_plateau" else scheduler.step()
        traces.append({"name": name, "warmup": warmup, "settings": keywords, "lr": rates})
    document = {"base_lr": base, "total_steps": planned, "metric": [plateau_metric(s) for s in range(steps)],
                "traces": traces}
    with gzip.GzipFile(HERE / "schedules.json.gz", "wb", compresslevel=9, mtime=0) as file:
        file.write(json.dumps(document).encode())


def main():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    for name, factory, seed in (("bert", bert, 11), ("distilbert", distilbert, 12)):
        tokenizer, model = write_folder(HERE / name, factory, seed)
        write_expected(HERE / name, tokenizer, model)
    for name, factory, seed, masked in (("bert-masked", bert, 13, BertForMaskedLM),
                                        ("distilbert-masked", distilbert, 14, DistilBertForMaskedLM)):
        tokenizer, model = write_folder(HERE / name, factory, seed, masked)
        write_masked(HERE / name, tokenizer, model)
    write_schedules()


if __name__ == "__main__":
    main()
