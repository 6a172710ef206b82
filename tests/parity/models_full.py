#!/usr/bin/env python3
"""The eleven models that bertft is meant for, at their full size with random weights: hidden states against transformers.

    python tests/parity/models_full.py [--build build]

One after the other; each is written in the form that its original has, and deleted after use. Needs 8 GB of memory.
"""

import random
import shutil
import sys

import torch
from common import Checks, arguments, hidden_states, probe, worst
from transformers import BertConfig, BertForPreTraining, BertModel, DistilBertConfig, DistilBertModel

# name, kind, layers, channels, heads, feed-forward, vocabulary, positions, form of the files
BERT_BASE, BERT_LARGE = (12, 768, 12, 3072), (24, 1024, 16, 4096)
MODELS = [
    ("cointegrated/rubert-tiny", "bert", 3, 312, 12, 600, 29564, 512, "pretraining"),
    ("cointegrated/rubert-tiny2", "bert", 3, 312, 12, 600, 83828, 2048, "pretraining"),
    ("cointegrated/LaBSE-en-ru", "bert", *BERT_BASE, 55083, 512, "pretraining"),
    ("sentence-transformers/LaBSE", "bert", *BERT_BASE, 501153, 512, "plain"),
    ("bert-base-multilingual-cased", "bert", *BERT_BASE, 119547, 512, "pretraining"),
    ("DeepPavlov/rubert-base-cased-sentence", "bert", *BERT_BASE, 119547, 512, "old"),
    ("DeepPavlov/rubert-base-cased-conversational", "bert", *BERT_BASE, 119547, 512, "legacy"),
    ("DeepPavlov/distilrubert-tiny-cased-conversational", "distilbert", 2, 768, 12, 3072, 119547, 512, "plain"),
    ("DeepPavlov/distilrubert-base-cased-conversational", "distilbert", 6, 768, 12, 3072, 119547, 512, "plain"),
    ("sberbank-ai/sbert_large_nlu_ru", "bert", *BERT_LARGE, 120138, 512, "plain"),
    ("sberbank-ai/sbert_large_mt_nlu_ru", "bert", *BERT_LARGE, 120138, 512, "plain"),
    # -v1 of the tiny one has heads of 22
    ("DeepPavlov/distilrubert-tiny-cased-conversational-v1", "distilbert", 3, 264, 12, 792, 30522, 512, "plain"),
]


def make(kind, layers, channels, heads, feed_forward, vocabulary, positions, form):
    torch.manual_seed(0)
    if kind == "distilbert":
        return DistilBertModel(DistilBertConfig(
            vocab_size=vocabulary, dim=channels, n_layers=layers, n_heads=heads, hidden_dim=feed_forward,
            max_position_embeddings=positions))
    config = BertConfig(
        vocab_size=vocabulary, hidden_size=channels, num_hidden_layers=layers, num_attention_heads=heads,
        intermediate_size=feed_forward, max_position_embeddings=positions)
    return BertForPreTraining(config) if form == "pretraining" else BertModel(config)


def write(model, folder, form):
    if form in ("plain", "pretraining"):
        model.save_pretrained(folder)
        return
    # Old files: a pickle, LayerNorm's parameters by TensorFlow's names, and the encoder behind "bert."
    model.config.save_pretrained(folder)
    tensors = {"bert." + name.replace("LayerNorm.weight", "LayerNorm.gamma").replace("LayerNorm.bias", "LayerNorm.beta"):
               tensor for name, tensor in model.state_dict().items()}
    torch.save(tensors, folder / "pytorch_model.bin", _use_new_zipfile_serialization=form == "old")


def texts(vocabulary, positions):
    draw = random.Random(1)
    lengths = [2, 3, 7, 16, 30, 61, 128, min(positions, 512)]
    return [[draw.randrange(vocabulary) for _ in range(length)] for length in lengths]


def main():
    options, checks = arguments(__doc__), Checks()
    folder = options.work / "full"
    for name, *shape in MODELS:
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir()
        model = make(*shape).eval()
        write(model, folder, shape[-1])
        rows = texts(shape[5], shape[6])
        encoder = model.bert if shape[-1] == "pretraining" else model
        theirs = hidden_states(encoder, rows, batch=1)
        del model, encoder
        ours = probe(options, "hidden", folder, samples=[(row, 0) for row in rows])["hidden"]
        checks.within(f"{name}: last hidden states", worst(ours, theirs), 5e-5)
    shutil.rmtree(folder)
    return checks.finish()


if __name__ == "__main__":
    sys.exit(main())
