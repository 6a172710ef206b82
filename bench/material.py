#!/usr/bin/env python3
"""material.py: what the benchmarks read: a Hugging Face folder of a given shape with random weights, and texts.

    bench/material.py FOLDER [--shape rubert-tiny2|LaBSE|tiny] [--texts N] [--seed N]

Writes FOLDER/model and FOLDER/texts.tsv. Only Python is needed. The speed of neither side depends on what weights and words
are, but on how many there are, so that is what is made like real ones:

- A text's words are lognormal, half of the texts below 22, none above 126: tweets and chat turns. [CLS] and [SEP] come on top.
- A word's rank is log-uniform, which is Zipf's law: few words are most of the text. Each word of a text is one token.
- Weights are N(0, 0.02), drawn once and repeated through the file with a period that is a prime and no multiple of a row.
"""
import argparse
import array
import json
import pathlib
import random
import struct

SHAPES = {  # layers, channels, heads, feed-forward, vocabulary, positions
    "rubert-tiny2": (3, 312, 12, 600, 83828, 2048),
    "LaBSE": (12, 768, 12, 3072, 501153, 512),
    "tiny": (2, 24, 2, 40, 400, 128),
}
SPECIAL = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
CLASSES = 6
MEDIAN_WORDS, SPREAD, MOST_WORDS = 22, 0.6, 126
DROPOUT = 0.1
PERIOD = 65521


def word(rank):
    """A name in the letters a to z, different for every rank."""
    letters = ""
    while True:
        rank, letter = divmod(rank, 26)
        letters = chr(ord("a") + letter) + letters
        if rank == 0:
            return letters
        rank -= 1


# ---- The model ----

def tensors(shape):
    """(name, shape) of BertForSequenceClassification's tensors."""
    layers, channels, _, feed_forward, vocabulary, positions = shape

    def linear(name, rows, columns):
        return [(f"{name}.weight", (rows, columns)), (f"{name}.bias", (rows,))]

    def norm(name):
        return [(f"{name}.LayerNorm.weight", (channels,)), (f"{name}.LayerNorm.bias", (channels,))]

    found = [("bert.embeddings.word_embeddings.weight", (vocabulary, channels)),
             ("bert.embeddings.position_embeddings.weight", (positions, channels)),
             ("bert.embeddings.token_type_embeddings.weight", (2, channels)), *norm("bert.embeddings")]
    for i in range(layers):
        layer = f"bert.encoder.layer.{i}"
        for part in ("query", "key", "value"):
            found += linear(f"{layer}.attention.self.{part}", channels, channels)
        found += linear(f"{layer}.attention.output.dense", channels, channels) + norm(f"{layer}.attention.output")
        found += linear(f"{layer}.intermediate.dense", feed_forward, channels)
        found += linear(f"{layer}.output.dense", channels, feed_forward) + norm(f"{layer}.output")
    return found + linear("bert.pooler.dense", channels, channels) + linear("classifier", CLASSES, channels)


def write_weights(path, shape, seed):
    """A safetensors file: the length of a JSON header, the header, the values."""
    draw = random.Random(seed)
    period = array.array("f", (draw.gauss(0, 0.02) for _ in range(PERIOD)))
    ones, zeros = array.array("f", [1.0]), array.array("f", [0.0])
    header, parts, offset, drawn = {"__metadata__": {"format": "pt"}}, [], 0, 0
    for name, size in tensors(shape):
        count = size[0] * size[1] if len(size) == 2 else size[0]
        header[name] = {"dtype": "F32", "shape": size, "data_offsets": [offset, offset + 4 * count]}
        offset += 4 * count
        constant = zeros if name.endswith(".bias") else ones if "LayerNorm" in name else None
        parts.append((count, constant, drawn % PERIOD))
        drawn += 0 if constant else count
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text)
        for count, constant, start in parts:
            if constant:
                (constant * count).tofile(file)
                continue
            turned = period[start:] + period[:start]
            for _ in range(count // PERIOD):
                turned.tofile(file)
            turned[:count % PERIOD].tofile(file)


def write_model(folder, shape, seed):
    layers, channels, heads, feed_forward, vocabulary, positions = shape
    folder.mkdir(parents=True, exist_ok=True)
    labels = [f"class{k}" for k in range(CLASSES)]
    (folder / "config.json").write_text(json.dumps({
        "architectures": ["BertForSequenceClassification"], "model_type": "bert", "hidden_act": "gelu",
        "hidden_size": channels, "num_hidden_layers": layers, "num_attention_heads": heads,
        "intermediate_size": feed_forward, "vocab_size": vocabulary, "max_position_embeddings": positions,
        "type_vocab_size": 2, "layer_norm_eps": 1e-12, "initializer_range": 0.02, "pad_token_id": 0,
        "hidden_dropout_prob": DROPOUT, "attention_probs_dropout_prob": DROPOUT,
        "problem_type": "single_label_classification", "id2label": dict(enumerate(labels)),
        "label2id": {label: k for k, label in enumerate(labels)}}, indent=1))
    (folder / "tokenizer_config.json").write_text(json.dumps({
        "tokenizer_class": "BertTokenizer", "do_lower_case": False, "model_max_length": positions}))
    words = SPECIAL + [word(rank) for rank in range(vocabulary - len(SPECIAL))]
    (folder / "vocab.txt").write_text("".join(w + "\n" for w in words))
    write_weights(folder / "model.safetensors", shape, seed)


def flops(shape, lengths, classes):
    """Operations of the products that inference computes for texts of these lengths: in the last layer, what the first rows need."""
    layers, channels, _, feed_forward, _, _ = shape
    tokens, pairs, count = sum(lengths), sum(n * n for n in lengths), len(lengths)
    dense = 4 * channels**2 + 2 * channels * feed_forward
    whole = tokens * dense + 2 * pairs * channels
    last = tokens * 2 * channels**2 + count * (dense - 2 * channels**2) + 2 * tokens * channels
    head = count * (channels**2 + classes * channels)
    return 2 * ((layers - 1) * whole + last + head)


# ---- The texts ----

def write_texts(path, shape, count, seed):
    draw = random.Random(seed)
    ranks = shape[4] - len(SPECIAL)
    with open(path, "w", encoding="utf-8") as file:
        file.write("text\tlabel\n")
        for i in range(count):
            words = round(draw.lognormvariate(0, SPREAD) * MEDIAN_WORDS)
            words = min(max(words, 1), MOST_WORDS)
            text = " ".join(word(int(ranks ** draw.random()) - 1) for _ in range(words))
            file.write(f"{text}\tclass{i % CLASSES}\n")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=pathlib.Path)
    parser.add_argument("--shape", choices=SHAPES, default="tiny")
    parser.add_argument("--texts", type=int, default=4096)
    parser.add_argument("--seed", type=int, default=1)
    options = parser.parse_args()
    shape = SHAPES[options.shape]
    write_model(options.folder / "model", shape, options.seed)
    write_texts(options.folder / "texts.tsv", shape, options.texts, options.seed)


if __name__ == "__main__":
    main()
