#!/usr/bin/env python3
"""Makes the tables of docs/quality.md: what mini-ru is worth, beside the same network untrained and beside TF-IDF.

    python scripts/quality.py --data DATA [--seeds 1,2,3] [--page docs/quality.md]        (needs scikit-learn)

DATA has the folder cedr; runs/mini-ru/tone.tsv is what scripts/make-mini-ru.py left there. Test splits are read once a model, after
its epoch and its threshold have been chosen on the tenth of the training set that was held back.
"""
import argparse
import csv
import gzip
import json
import pathlib
import re
import shutil
import statistics
import subprocess
import tempfile

from sklearn.feature_extraction.text import TfidfVectorizer
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import f1_score, roc_auc_score
from sklearn.multiclass import OneVsRestClassifier
from sklearn.pipeline import FeatureUnion, make_pipeline
from sklearn.preprocessing import MultiLabelBinarizer

ROOT = pathlib.Path(__file__).resolve().parent.parent
LABELS = ["joy", "sadness", "surprise", "fear", "anger", "no_emotion"]
NEGATIVE = ["anger", "sadness", "fear"]
THRESHOLDS = [0.3, 0.4, 0.5]
SUPPORT = ROOT / "data/support-ru"
BEGIN, END = "<!-- made by scripts/quality.py -->", "<!-- end -->"
TUNING = {"OPTIM.LR": "2e-4", "TRAIN.EPOCHS": 6, "TRAIN.BATCH_SIZE": 32, "TRAIN.PRECISION": "bf16", "DATA.MAX_LENGTH": 128}
UNTRAINED = {"OPTIM.LR": "5e-4", "TRAIN.EPOCHS": 12}  # weights that have learnt nothing need more


# ---- bertft ----

def bertft(*words):
    done = subprocess.run([str(ROOT / "build/bertft"), *map(str, words)], cwd=ROOT, capture_output=True, text=True)
    if done.returncode != 0:
        raise SystemExit(done.stderr)
    return done.stdout


def train(work, config, weights, seed, **pairs):
    run = work / "run"
    pairs = TUNING | {"MODEL.WEIGHTS": weights, "SEED": seed, "OUTPUT_DIR": run} | pairs
    latest = ROOT / "checkpoints/latest"
    before = latest.readlink() if latest.is_symlink() else None
    bertft("train", config, "--overwrite", *(word for pair in pairs.items() for word in pair))
    latest.unlink()
    if before is not None:
        latest.symlink_to(before)
    return run


def measure(run, *words):
    return json.loads(bertft("eval", run, "--json", *words))


def f1(run, multi, *test):
    """Macro and micro F1 in percent, at the threshold that is best on what was held back."""
    best = None
    if multi:
        held_back = {t: measure(run, "DATA.TEST", "None", "EVAL.THRESHOLD", t)["f1_macro"] for t in THRESHOLDS}
        best = max(held_back, key=held_back.get)
    result = measure(run, *test, *(["EVAL.THRESHOLD", best] if multi else []))
    return 100 * result["f1_macro"], 100 * (result["f1_micro"] if multi else result["accuracy"])


def untrained(work):
    """A network of mini-ru's shape and vocabulary with random weights."""
    run = work / "untrained"
    config = json.loads((ROOT / "checkpoints/mini-ru/config.json").read_text())
    shape = {"LAYERS": "num_hidden_layers", "CHANNELS": "hidden_size", "HEADS": "num_attention_heads",
             "FEED_FORWARD": "intermediate_size", "POSITIONS": "max_position_embeddings"}
    pairs = {f"PRETRAIN.{key}": config[name] for key, name in shape.items()}
    pairs |= {"PRETRAIN.VOCABULARY": "checkpoints/mini-ru", "DATA.TRAIN": SUPPORT / "train.tsv", "TRAIN.MAX_STEPS": 1, "OPTIM.LR": 0,
              "OUTPUT_DIR": run}
    bertft("pretrain", ROOT / "configs/pretrain.yaml", "--overwrite", *(word for pair in pairs.items() for word in pair))
    return run


# ---- TF-IDF ----

def tf_idf(single):
    features = FeatureUnion([("words", TfidfVectorizer(ngram_range=(1, 2), min_df=2, sublinear_tf=True)),
                             ("characters", TfidfVectorizer(analyzer="char_wb", ngram_range=(2, 5), min_df=2, sublinear_tf=True))])
    model = LogisticRegression(C=10, class_weight="balanced", max_iter=2000)
    return make_pipeline(features, model if single else OneVsRestClassifier(model))


def support(part):
    rows = [line.split("\t") for line in (SUPPORT / f"{part}.tsv").read_text(encoding="utf-8").splitlines()[1:]]
    return [row[0] for row in rows], [row[1] for row in rows]


def cedr(data, part):
    with gzip.open(data / f"cedr/cedr-main-{part}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = [[LABELS[int(i)] for i in re.findall(r"\d+", row["labels"])] or ["no_emotion"] for row in rows]
    return [row["text"] for row in rows], labels


def tf_idf_cedr(data):
    binary = MultiLabelBinarizer(classes=LABELS)
    texts, labels = cedr(data, "train")
    model = tf_idf(single=False).fit(texts, binary.fit_transform(labels))
    texts, labels = cedr(data, "test")
    truth, answers = binary.transform(labels), model.predict(texts)
    return 100 * f1_score(truth, answers, average="macro"), 100 * f1_score(truth, answers, average="micro")


def tf_idf_support():
    model = tf_idf(single=True).fit(*support("train"))
    texts, truth = support("test")
    answers = model.predict(texts)
    return 100 * f1_score(truth, answers, average="macro"), 100 * sum(a == t for a, t in zip(answers, truth)) / len(truth)


# ---- Tables ----

def row(name, values):
    macro, other = zip(*values)
    cells = [f"{statistics.mean(v):.1f} ± {statistics.stdev(v):.1f}" if len(v) > 1 else f"{v[0]:.1f}" for v in (macro, other)]
    print(f"{name}: {' | '.join(cells)}   {values}", flush=True)
    return f"| {name} | {cells[0]} | {cells[1]} |"


def cedr_table(work, data, random, seeds):
    config = ROOT / "configs/cedr.yaml"
    place = {"DATA.TRAIN": data / "cedr/cedr-main-train.csv.gz", "DATA.TEST": data / "cedr/cedr-main-test.csv.gz",
             "DATA.LABELS": str(LABELS)}
    test = ("--data", data / "cedr/cedr-main-test.csv.gz")
    more = {"DATA.TRAIN": ROOT / "runs/mini-ru/tone.tsv", "DATA.LABEL": "label", "DATA.LABEL_NAMES": "None"}
    read = ("DATA.LABEL", "labels", "DATA.LABEL_NAMES", str(LABELS[:5]))
    lines = ["| CEDR, official test, six classes, multi-label | macro-F1 | micro-F1 |", "|---|---|---|"]
    lines.append(row("mini-ru", [f1(train(work, config, "checkpoints/mini-ru", s, **place), True, *test) for s in seeds]))
    lines.append(row("mini-ru, with ru-goemotions and support-ru",
                     [f1(train(work, config, "checkpoints/mini-ru", s, **place | more), True, *test, *read) for s in seeds]))
    lines.append(row("the same network, random weights",
                     [f1(train(work, config, random, s, **place | UNTRAINED), True, *test) for s in seeds]))
    lines.append(row("TF-IDF, balanced logistic regression", [tf_idf_cedr(data)]))
    lines.append("| rubert-tiny2, as published | 73 | 79 |")
    return lines


def support_table(work, random, seeds):
    config = ROOT / "configs/params.yaml"
    lines = ["| support-ru, test split | macro-F1 | accuracy |", "|---|---|---|"]
    tuning = {"TRAIN.EPOCHS": 12, "TRAIN.BATCH_SIZE": 16}
    lines.append(row("mini-ru", [f1(train(work, config, "checkpoints/mini-ru", s, **tuning), False) for s in seeds]))
    lines.append(row("the same network, random weights",
                     [f1(train(work, config, random, s, **tuning | {"OPTIM.LR": "5e-4", "TRAIN.EPOCHS": 20}), False) for s in seeds]))
    lines.append(row("mini-ru-tone as it ships", [f1("checkpoints/mini-ru-tone", False)]))
    lines.append(row("TF-IDF, balanced logistic regression", [tf_idf_support()]))
    return lines


def dialogue_line(model):
    """How well negativity tells the client turns that a person called negative from the others."""
    answers = bertft("predict", "-m", model, "--format", "jsonl", "--scores", "all", ROOT / "data/dialogs.txt")
    turns = [record for record in map(json.loads, answers.splitlines()) if "turn" in record]
    negativity = {(turn["dialog"], turn["turn"]): sum(turn["scores"][label] for label in NEGATIVE) for turn in turns}
    labels = [json.loads(line) for line in (ROOT / "data/dialogs.labels.jsonl").read_text().splitlines()]
    auc = roc_auc_score([label["negative"] for label in labels], [negativity[label["dialog"], label["turn"]] for label in labels])
    print(f"dialogues: AUC {auc:.3f}", flush=True)
    return f"Client negativity in the {len(labels)} labelled client turns of `data/dialogs.txt`, by mini-ru-tone: AUC {auc:.3f}."


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--page", type=pathlib.Path)
    options = parser.parse_args()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    work = pathlib.Path(tempfile.mkdtemp(prefix="quality-"))
    try:
        random = untrained(work)
        lines = [dialogue_line("checkpoints/mini-ru-tone"), "", *support_table(work, random, seeds), "",
                 *cedr_table(work, options.data.resolve(), random, seeds)]
    finally:
        shutil.rmtree(work)
    if options.page:
        before, rest = options.page.read_text(encoding="utf-8").split(BEGIN)
        after = rest.split(END)[1]
        options.page.write_text(f"{before}{BEGIN}\n\n" + "\n".join(lines) + f"\n\n{END}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
