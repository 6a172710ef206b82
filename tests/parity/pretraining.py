#!/usr/bin/env python3
"""Masked language models: loss and gradients against transformers, with real weights and at the vocabulary sizes of real models, and
what `bertft pretrain` writes, opened there.

    python tests/parity/pretraining.py [--build build]
"""

import json
import random
import shutil
import sys

import torch
from common import ROOT, Checks, arguments, bertft, compare_gradients, padded, probe, reactions, run, rxnfp
from torch.nn import functional
from transformers import AutoModelForMaskedLM, BertConfig, BertForMaskedLM, BertTokenizer, DistilBertConfig, DistilBertForMaskedLM

REAL = "bert_pretrained"  # the one of rxnfp's that still has the head that it was pre-trained with
VOCABULARIES = [591, 30_522, 83_828, 501_153]  # rxnfp's, BERT's, rubert-tiny2's, LaBSE's
SPECIAL = 5


def masked(rows, mask, seed=3):
    """Every seventh token or so masked, the first and last of a row never."""
    draw, samples = random.Random(seed), []
    for row in rows:
        places = sorted(draw.sample(range(1, len(row) - 1), max(1, len(row) // 7)))
        ids = [mask if i in places else token for i, token in enumerate(row)]
        samples.append({"ids": ids, "places": places, "targets": [row[i] for i in places]})
    return samples


def loss_of(model, samples):
    logits = model(**padded([s["ids"] for s in samples])).logits
    picked = torch.cat([logits[i, s["places"]] for i, s in enumerate(samples)])
    return functional.cross_entropy(picked, torch.tensor([t for s in samples for t in s["targets"]]))


def compare(options, checks, name, model_class, folder, samples):
    """Loss and gradients in float64, which carry no rounding worth speaking of."""
    model = model_class.from_pretrained(folder, dtype=torch.float64, attn_implementation="eager").eval()
    loss = loss_of(model, samples)
    loss.backward()
    theirs = {n: p.grad for n, p in model.named_parameters() if p.grad is not None}
    ours = probe(options, "gradients", folder, "masked", samples=samples)
    checks.within(f"{name}: loss", abs(ours.pop("loss").item() - loss.item()), 1e-5)
    compare_gradients(checks, name, ours, theirs)


def random_rows(vocabulary, seed=4):
    draw = random.Random(seed)
    return [[2, *(draw.randrange(SPECIAL, vocabulary) for _ in range(draw.randint(4, 40))), 3] for _ in range(12)]


def check_vocabularies(options, checks):
    """Both architectures with a small body: the head is what grows."""
    for vocabulary in VOCABULARIES:
        torch.manual_seed(2)
        shapes = [(BertForMaskedLM, BertConfig(vocab_size=vocabulary, hidden_size=48, num_hidden_layers=2, num_attention_heads=4,
                                               intermediate_size=96, initializer_range=0.3)),
                  (DistilBertForMaskedLM, DistilBertConfig(vocab_size=vocabulary, dim=48, n_layers=2, n_heads=4, hidden_dim=96,
                                                           initializer_range=0.3))]
        for model_class, config in shapes:
            folder = options.work / "masked"
            shutil.rmtree(folder, ignore_errors=True)
            model_class(config).save_pretrained(folder)
            compare(options, checks, f"{model_class.__name__}, {vocabulary:,} tokens", model_class, folder,
                    masked(random_rows(vocabulary), 4))
            shutil.rmtree(folder)


def check_written(options, checks):
    """A run of `pretrain`, and of its export in bfloat16: nothing is missing there, and the loss is the same."""
    words, folder, exported = (options.work / name for name in ("words", "pretrained", "pretrained-exported"))
    settings = options.work / "empty.yaml"
    settings.write_text("")
    text = ROOT / "data/support-ru/train.tsv"
    bertft(options, "vocab", "-o", words, "--overwrite", "--size", 1000, "--keep-accents", text)
    bertft(options, "pretrain", settings, "--overwrite", "DATA.TRAIN", text, "PRETRAIN.VOCABULARY", words, "PRETRAIN.CHANNELS", 64,
           "PRETRAIN.FEED_FORWARD", 128, "PRETRAIN.LAYERS", 2, "PRETRAIN.HEADS", 2, "TRAIN.MAX_STEPS", 60, "OPTIM.LR", 2e-3,
           "OUTPUT_DIR", folder)
    shutil.rmtree(exported, ignore_errors=True)
    bertft(options, "export", "--dtype", "bf16", folder, exported)
    tokenizer = BertTokenizer.from_pretrained(folder)
    texts = [line.split("\t")[0] for line in (ROOT / "data/support-ru/valid.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    samples = masked([tokenizer(text)["input_ids"] for text in texts[:64]], tokenizer.mask_token_id)
    for name, place in (("a run", folder), ("its export in bf16", exported)):
        model, told = AutoModelForMaskedLM.from_pretrained(place, dtype=torch.float64, output_loading_info=True)
        assert type(model) is BertForMaskedLM and not any(told[key] for key in ("missing_keys", "unexpected_keys")), told
        ours = probe(options, "gradients", place, "masked", samples=samples)["loss"].item()
        with torch.no_grad():
            theirs = loss_of(model.eval(), samples).item()
        checks.within(f"{name}, opened as BertForMaskedLM: loss", abs(ours - theirs), 1e-5)


def check_memory(options, checks):
    """`pretrain` at the body of rubert-tiny2: what it takes beyond the table's own weights, gradient and moments doesn't grow with the
    vocabulary."""
    settings, beyond = options.work / "empty.yaml", []
    settings.write_text("")
    for vocabulary in VOCABULARIES:
        words = options.work / "many-words"
        words.mkdir(exist_ok=True)
        tokens = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *(f"w{i}" for i in range(vocabulary - SPECIAL))]
        (words / "vocab.txt").write_text("".join(token + "\n" for token in tokens))
        text = options.work / "many-words.txt"
        text.write_text("".join(" ".join(f"w{i * 7919 % (vocabulary - SPECIAL)}" for i in range(k, k + 30)) + "\n" for k in range(200)))
        said = run("/usr/bin/env", "python3", "-c", MEASURE, options.build / "bertft", "pretrain", settings, "--overwrite", "DATA.TRAIN", text,
                   "DATA.VALID_FRACTION", 0, "PRETRAIN.VOCABULARY", words, "PRETRAIN.CHANNELS", 312, "PRETRAIN.LAYERS", 3,
                   "PRETRAIN.HEADS", 12, "PRETRAIN.FEED_FORWARD", 600, "TRAIN.MAX_STEPS", 3, "TRAIN.SAVE_EVERY", 10**9,
                   "OUTPUT_DIR", options.work / "many")
        peak, table = json.loads(said)["peak"], 4 * 4 * vocabulary * 312
        beyond.append((peak - table) / 2**20)
        print(f"        {vocabulary:>7,} tokens: peak {peak / 2**20:6.0f} MiB, of which the table's weights, gradient and moments "
              f"{table / 2**20:6.0f}", flush=True)
        shutil.rmtree(options.work / "many")
    checks.within("memory beyond the table, at 501,153 tokens less at 591, MiB", beyond[-1] - beyond[0], 100)


MEASURE = """import json, resource, subprocess, sys
subprocess.run(sys.argv[1:], check=True, stderr=subprocess.DEVNULL)
print(json.dumps({"peak": resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024}))"""


def main():
    options, checks = arguments(__doc__), Checks()
    folder = rxnfp(REAL)
    compare(options, checks, f"{REAL}, with its own head", BertForMaskedLM, folder, masked(reactions(folder, 24), 4))
    check_vocabularies(options, checks)
    check_written(options, checks)
    check_memory(options, checks)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
