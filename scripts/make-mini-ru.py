#!/usr/bin/env python3
"""Makes checkpoints/mini-ru, a small Russian BERT, and checkpoints/mini-ru-tone, which reads emotions with it.

    python3 scripts/make-mini-ru.py --data DATA [--steps text,words,language,emotions,tone]

DATA has the folders cedr, ru-goemotions and ru-reviews; their README says where they come from. Everything between lies in
runs/mini-ru. The long step is `language`: minutes on a card, two hours and more on two cores; stopped, it goes on when the script
is started again. Nothing but Python's standard library and build/bertft is used.

Only what no figure of this project is measured on is read: CEDR's train split, those splits of ru-goemotions and RuReviews that
configs/ trains on, and the train part of support-ru. The sample dialogues are not.
"""
import argparse
import csv
import gzip
import json
import os
import pathlib
import re
import shutil
import subprocess

ROOT = pathlib.Path(__file__).resolve().parent.parent
WORK, LANGUAGE, TONE = (pathlib.Path(name) for name in ("runs/mini-ru", "checkpoints/mini-ru", "checkpoints/mini-ru-tone"))  # in ROOT
STEPS = ["text", "words", "language", "emotions", "tone"]
VOCABULARY = 8000
CEDR = ["joy", "sadness", "surprise", "fear", "anger"]
GOEMOTIONS = ["admiration", "amusement", "anger", "annoyance", "approval", "caring", "confusion", "curiosity", "desire",
              "disappointment", "disapproval", "disgust", "embarrassment", "excitement", "fear", "gratitude", "grief", "joy", "love",
              "nervousness", "optimism", "pride", "realization", "relief", "remorse", "sadness", "surprise", "neutral"]
TO_CEDR = {"joy": "joy", "amusement": "joy", "excitement": "joy", "gratitude": "joy", "love": "joy", "admiration": "joy",
           "pride": "joy", "relief": "joy", "optimism": "joy", "sadness": "sadness", "disappointment": "sadness",
           "grief": "sadness", "remorse": "sadness", "surprise": "surprise", "fear": "fear", "nervousness": "fear",
           "anger": "anger", "annoyance": "anger", "disgust": "anger", "neutral": "no_emotion"}


# ---- Data: (text, labels) ----

def rows(path):
    with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
        yield from csv.DictReader(file)


def cedr(data):
    for row in rows(data / "cedr/cedr-main-train.csv.gz"):
        yield row["text"], [CEDR[int(i)] for i in re.findall(r"\d+", row["labels"])] or ["no_emotion"]


def goemotions(data):
    for row in rows(data / "ru-goemotions/validation.csv.gz"):
        yield row["ru_text"], [GOEMOTIONS[int(i)] for i in re.findall(r"\d+", row["labels"])]


def goemotions_as_cedr(data):
    """Those whose labels all have a counterpart; a comment that is neutral and something else says too little."""
    for text, labels in goemotions(data):
        known = sorted({TO_CEDR.get(label, "") for label in labels})
        if "" not in known and (known == ["no_emotion"] or "no_emotion" not in known):
            yield text, known


def reviews(data):
    with gzip.open(data / "ru-reviews/validation.jsonl.gz", "rt", encoding="utf-8") as file:
        for line in file:
            yield json.loads(line)["text"], []


def support(_):
    for line in (ROOT / "data/support-ru/train.tsv").read_text(encoding="utf-8").splitlines()[1:]:
        text, label, _ = line.split("\t")
        yield text, [label]


def write_text(data):
    """One text a line, each once; and those that carry an emotion, with it."""
    texts = dict.fromkeys(" ".join(text.split()) for read in (cedr, goemotions, reviews, support) for text, _ in read(data))
    (WORK / "text.txt").write_text("".join(text + "\n" for text in texts if text), encoding="utf-8")
    with open(WORK / "emotions.tsv", "w", encoding="utf-8") as file:
        file.write("text\tlabel\n")
        for read in (cedr, goemotions_as_cedr, support):
            for text, labels in read(data):
                file.write(" ".join(text.split()) + "\t" + ",".join(labels) + "\n")


# ---- Models ----

def bertft(*words):
    subprocess.run(["build/bertft", *map(str, words)], check=True)


def learn(command, config, run):
    """The configuration's run, or what is left of it."""
    finished = run / "finished"
    if not finished.exists():
        begun = (run / "config.yaml").exists()
        bertft(command, *(["--resume", run] if begun else [config]))
        finished.touch()


def ship(run, folder):
    """In bfloat16, beside the README that lies there."""
    exported = WORK / "exported"
    shutil.rmtree(exported, ignore_errors=True)
    bertft("export", "--dtype", "bf16", run, exported)
    folder.mkdir(parents=True, exist_ok=True)
    for file in exported.iterdir():
        shutil.move(file, folder / file.name)
    exported.rmdir()


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--steps", default=",".join(STEPS), help="some of them: " + ",".join(STEPS))
    options = parser.parse_args()
    steps, data = options.steps.split(","), options.data.resolve()
    os.chdir(ROOT)
    WORK.mkdir(parents=True, exist_ok=True)
    if "text" in steps:
        write_text(data)
    if "words" in steps:
        bertft("vocab", "-o", WORK / "words", "--overwrite", "--size", VOCABULARY, "--keep-accents", WORK / "text.txt")
    if "language" in steps:
        learn("pretrain", "configs/mini-ru.yaml", WORK / "language")
        ship(WORK / "language", LANGUAGE)
    if "emotions" in steps:
        learn("train", "configs/mini-ru-emotions.yaml", WORK / "emotions")
    if "tone" in steps:
        learn("train", "configs/mini-ru-tone.yaml", WORK / "tone")
        ship(WORK / "tone", TONE)
        shutil.copy(WORK / "tone/config.yaml", TONE)


if __name__ == "__main__":
    main()
