#!/usr/bin/env python3
"""Real weights: hidden states, logits, embeddings and gradients against transformers.

    python tests/parity/models.py [--build build] [--shared ../shared]
"""

import json
import shutil
import sys

import torch
from common import (Checks, arguments, bertft, compare_gradients, english_texts, hidden_states, minilm, padded, probe, reactions, rxnfp,
                    worst)
from torch.nn import functional
from transformers import AutoTokenizer, BertForSequenceClassification, BertModel

TEXTS = 200
RXNFP = ["bert_pretrained", "bert_ft", "bert_ft_10k_25s"]
CLASSIFIER = "bert_ft_10k_25s"  # the one with a classifier of its own


def load(model_class, folder):
    """In fp32, with the plain attention: the fused one is off by 6e-5 from fp64 on some padded rows of the rxnfp models."""
    return model_class.from_pretrained(folder, dtype=torch.float32, attn_implementation="eager").eval()


def check_hidden(options, checks, name, folder, rows):
    encoder = load(BertModel, folder)
    ours = probe(options, "hidden", folder, samples=[(row, 0) for row in rows])["hidden"]
    checks.within(f"{name}: last hidden states of {len(rows)} texts", worst(ours, hidden_states(encoder, rows)), 2e-5)


def check_logits(options, checks, name, folder, rows):
    model = load(BertForSequenceClassification, folder)
    ours = probe(options, "logits", folder, samples=[(row, 0) for row in rows])["logits"]
    with torch.no_grad():
        theirs = torch.cat([model(**padded([row])).logits for row in rows])
    checks.within(f"{name}: logits", worst(ours, theirs), 2e-5)


def check_embeddings(options, checks, texts):
    """Mean of the token vectors, at length 1, of texts cut to 256: what the folder's modules.json and sentence_bert_config.json say."""
    folder = minilm()
    longest = json.loads((folder / "sentence_bert_config.json").read_text())["max_seq_length"]
    tokenizer = AutoTokenizer.from_pretrained(folder)
    encoder = load(BertModel, folder)
    vectors = []
    with torch.no_grad():
        for text in texts:
            output = encoder(**tokenizer(text, return_tensors="pt", truncation=True, max_length=longest))
            vectors.append(functional.normalize(output.last_hidden_state[0].mean(dim=0), dim=0))
    lines = "".join(json.dumps({"text": text}) + "\n" for text in texts)
    answer = bertft(options, "embed", "-m", folder, "--pooling", "sentence", "--input", "jsonl", text=lines)
    ours = torch.tensor([json.loads(line) for line in answer.splitlines()])
    checks.within("MiniLM: sentence embeddings from text", worst(ours, torch.stack(vectors)), 2e-5)


# ---- Gradients ----

def with_classifier(options, folder, head, classes=7):
    """A copy of a model that has a classifier, so that both sides start from the same head."""
    torch.manual_seed(1)
    model = BertForSequenceClassification.from_pretrained(folder, dtype=torch.float32, num_labels=classes)
    copy = options.work / "classifier"
    shutil.rmtree(copy, ignore_errors=True)
    if head == "linear":  # as a run of ours: no pooler, and the head's kind in the configuration
        tensors = {n: t for n, t in model.state_dict().items() if not n.startswith("bert.pooler.")}
        model.save_pretrained(copy, state_dict=tensors)
        config = json.loads((copy / "config.json").read_text()) | {"bertft_head": "linear"}
        (copy / "config.json").write_text(json.dumps(config))
    else:
        model.save_pretrained(copy)
    return copy, model


def autograd(model, head, samples):
    """Gradients of the mean cross-entropy, in float64: they carry no rounding worth speaking of."""
    model = model.double().eval()
    model.zero_grad()
    batch = padded([ids for ids, _ in samples])
    if head == "linear":
        logits = model.classifier(model.bert(**batch).last_hidden_state[:, 0])
    else:
        logits = model(**batch).logits
    loss = functional.cross_entropy(logits, torch.tensor([target for _, target in samples]))
    loss.backward()
    return loss.item(), {name: parameter.grad for name, parameter in model.named_parameters() if parameter.grad is not None}


def check_gradients(options, checks, name, folder, head, samples):
    copy, model = with_classifier(options, folder, head, 1 + max(target for _, target in samples))
    loss, theirs = autograd(model, head, samples)
    ours = probe(options, "gradients", copy, head, samples=samples)
    checks.within(f"{name}, {head} head: loss", abs(ours.pop("loss").item() - loss), 1e-5)
    compare_gradients(checks, f"{name}, {head} head", ours, theirs)
    shutil.rmtree(copy)


def main():
    options, checks = arguments(__doc__), Checks()
    texts = english_texts(options, TEXTS)
    tokenizer = AutoTokenizer.from_pretrained(minilm())
    rows = tokenizer(texts, truncation=True, max_length=512)["input_ids"]
    check_hidden(options, checks, "MiniLM", minilm(), rows)
    check_embeddings(options, checks, texts)
    for head in ("linear", "pooler"):
        check_gradients(options, checks, "MiniLM", minilm(), head, [(row, i % 7) for i, row in enumerate(rows[:32])])
    for name in RXNFP:
        folder = rxnfp(name)
        rows = reactions(folder, TEXTS)
        check_hidden(options, checks, name, folder, rows)
        if name == CLASSIFIER:
            check_logits(options, checks, name, folder, rows)
        classes = 50 if name == CLASSIFIER else 7
        samples = [(row, i * 11 % classes if i else classes - 1) for i, row in enumerate(rows[:16])]
        check_gradients(options, checks, name, folder, "pooler", samples)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
