#!/usr/bin/env python3
"""Makes the tables of docs/quality.md: what mini-ru is worth, beside the same network untrained and beside TF-IDF.

    python scripts/quality.py --data DATA [--seeds 1,2,3] [--curves] [--page docs/quality.md]   (needs scikit-learn)

DATA has the folder cedr; runs/mini-ru holds the texts that scripts/make-mini-ru.py made. Test splits are read once a model, after
its epoch and its threshold have been chosen on the tenth of the training set that was held back.
"""
import argparse
import csv
import gzip
import json
import pathlib
import random
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
THRESHOLDS = [0.2, 0.25, 0.3, 0.35, 0.4, 0.5]
SUPPORT = ROOT / "data/support-ru"
MARKS = {False: ("<!-- tables: scripts/quality.py -->", "<!-- end of the tables -->"),
         True: ("<!-- curves: scripts/quality.py --curves -->", "<!-- end of the curves -->")}
DATA = None  # the folder of --data
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
    pairs = {"MODEL.WEIGHTS": weights, "SEED": seed, "OUTPUT_DIR": run} | pairs
    latest = ROOT / "checkpoints/latest"
    before = latest.readlink() if latest.is_symlink() else None
    bertft("train", config, "--overwrite", *(word for pair in pairs.items() for word in pair))
    latest.unlink()
    if before is not None:
        latest.symlink_to(before)
    return run


def emotions(work, weights, seed):
    """The step to mini-ru-emotions, kept beside the other runs."""
    run = work / "emotions"
    shutil.rmtree(run, ignore_errors=True)
    return pathlib.Path(shutil.move(train(work, ROOT / "configs/mini-ru-emotions.yaml", weights, seed), run))


def tone(work, weights, seed, **pairs):
    """The last step to mini-ru-tone."""
    return train(work, ROOT / "configs/mini-ru-tone.yaml", weights, seed, **pairs)


def measure(run, *words):
    return json.loads(bertft("eval", run, "--json", *words))


def f1(run, multi, *test):
    """Macro and micro F1 in percent; of several labels, at the threshold that is best on what was held back: the run names no test."""
    best = None
    if multi:
        held_back = {t: measure(run, "EVAL.THRESHOLD", t)["f1_macro"] for t in THRESHOLDS}
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


def cedr(part):
    with gzip.open(DATA / f"cedr/cedr-main-{part}.csv.gz", "rt", encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    labels = [[LABELS[int(i)] for i in re.findall(r"\d+", row["labels"])] or ["no_emotion"] for row in rows]
    return [row["text"] for row in rows], labels


def tf_idf_cedr():
    binary = MultiLabelBinarizer(classes=LABELS)
    texts, labels = cedr("train")
    model = tf_idf(single=False).fit(texts, binary.fit_transform(labels))
    texts, labels = cedr("test")
    truth, answers = binary.transform(labels), model.predict(texts)
    return 100 * f1_score(truth, answers, average="macro"), 100 * f1_score(truth, answers, average="micro")


def tf_idf_support():
    model = tf_idf(single=True).fit(*support("train"))
    texts, truth = support("test")
    answers = model.predict(texts)
    quality = 100 * f1_score(truth, answers, average="macro"), 100 * sum(a == t for a, t in zip(answers, truth)) / len(truth)
    chances = [dict(zip(model.classes_, row)) for row in model.predict_proba(client_turns())]
    return quality, auc(chances)


# ---- Client turns of the sample dialogues: how well negativity tells those that a person called negative from the others ----

def labelled():
    return [json.loads(line) for line in (ROOT / "data/dialogs.labels.jsonl").read_text().splitlines()]


def read_turns(model):
    answers = bertft("predict", "-m", model, "--format", "jsonl", "--scores", "all", ROOT / "data/dialogs.txt")
    turns = {(turn["dialog"], turn["turn"]): turn for turn in map(json.loads, answers.splitlines()) if "turn" in turn}
    return [turns[label["dialog"], label["turn"]] for label in labelled()]


def client_turns():
    return [turn["text"] for turn in read_turns("checkpoints/mini-ru-tone")]


def auc(chances):
    return roc_auc_score([label["negative"] for label in labelled()], [sum(chance[label] for label in NEGATIVE) for chance in chances])


def auc_of(model):
    return auc([turn["scores"] for turn in read_turns(model)])


# ---- Tables ----

def row(name, values):
    """A value is what a run has in each column."""
    cells = []
    for column in zip(*values):
        digits = 3 if max(column) <= 1 else 1
        more = f" ± {statistics.stdev(column):.{digits}f}" if len(column) > 1 else ""
        cells.append(f"{statistics.mean(column):.{digits}f}{more}")
    print(f"{name}: {' | '.join(cells)}   {values}", flush=True)
    return f"| {name} | {' | '.join(cells)} |"


def tables(work, fresh, seeds):
    """A seed is that of every step after pre-training."""
    last = TUNING | {"OPTIM.LR": "3e-4", "TRAIN.EPOCHS": 8, "TRAIN.BATCH_SIZE": 16}
    place = TUNING | {"DATA.TRAIN": DATA / "cedr/cedr-main-train.csv.gz", "DATA.TEST": "None", "DATA.LABELS": str(LABELS)}
    test = ("--data", DATA / "cedr/cedr-main-test.csv.gz")
    found = {name: ([], []) for name in ("both steps", "one step", "untrained")}

    def support_ru(name, run):
        found[name][0].append((*f1(run, False), auc_of(run)))

    def cedr_test(name, weights, seed, **pairs):
        found[name][1].append(f1(train(work, ROOT / "configs/cedr.yaml", weights, seed, **place | pairs), True, *test))

    for seed in seeds:
        first = emotions(work, "checkpoints/mini-ru", seed)
        support_ru("both steps", tone(work, first, seed))
        cedr_test("both steps", first, seed, **{"MODEL.DROPOUT": 0.2, "OPTIM.LR": "3e-4"})
        for name, weights, more in (("one step", "checkpoints/mini-ru", {}), ("untrained", fresh, UNTRAINED)):
            longer = more and more | {"TRAIN.EPOCHS": 20}
            support_ru(name, train(work, ROOT / "configs/params.yaml", weights, seed, **last | longer))
            cedr_test(name, weights, seed, **more)
    quality, area = tf_idf_support()
    return ["| support-ru, test split, six classes | macro-F1 | accuracy | AUC on the dialogues |", "|---|---|---|---|",
            row("mini-ru, first on all emotion data (as mini-ru-tone)", found["both steps"][0]),
            row("mini-ru", found["one step"][0]),
            row("the same network, random weights", found["untrained"][0]),
            row("TF-IDF, balanced logistic regression", [(*quality, area)]),
            row("mini-ru-tone as it ships", [(*f1("checkpoints/mini-ru-tone", False), auc_of("checkpoints/mini-ru-tone"))]),
            "",
            "| CEDR, official test, six classes, multi-label | macro-F1 | micro-F1 |", "|---|---|---|",
            row("mini-ru, first on all emotion data (configs/mini-ru-emotions.yaml)", found["both steps"][1]),
            row("mini-ru", found["one step"][1]),
            row("the same network, random weights", found["untrained"][1]),
            row("TF-IDF, balanced logistic regression", [tf_idf_cedr()]),
            "| rubert-tiny2, as published | 73 | 79 |"]


# ---- Learning curves: quality against steps and text of pre-training, and against labelled lines ----

def pretrained(work, steps, share):
    """mini-ru's recipe for `steps` steps on the first `share` of the shuffled text; and its perplexity."""
    texts = (ROOT / "runs/mini-ru/text.txt").read_text(encoding="utf-8").splitlines(keepends=True)
    random.Random(1).shuffle(texts)
    held_back, part = texts[:600], texts[600:600 + int(share * (len(texts) - 600))]
    files = {"DATA.TRAIN": work / "part.txt", "DATA.VALID": work / "held-back.txt"}
    files["DATA.TRAIN"].write_text("".join(part), encoding="utf-8")
    files["DATA.VALID"].write_text("".join(held_back), encoding="utf-8")
    run = work / f"language-{steps}-{len(part)}"
    pairs = files | {"TRAIN.MAX_STEPS": steps, "TRAIN.EVAL_EVERY": max(1, steps // 4), "TRAIN.PATIENCE": 0, "OUTPUT_DIR": run}
    bertft("pretrain", ROOT / "configs/mini-ru.yaml", *(word for pair in pairs.items() for word in pair))
    measured = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines() if '"valid"' in line]
    return run, len(part), min(line["perplexity"] for line in measured)


def tuned_line(work, name, weights):
    """The two steps to mini-ru-tone; one seed."""
    run = tone(work, emotions(work, weights, 1), 1)
    line = f"| {name} | {f1(run, False)[0]:.1f} | {auc_of(run):.3f} |"
    print(line, flush=True)
    return line


def curves(work, untrained_model):
    lines = ["| pre-training | perplexity | support-ru macro-F1 | AUC on dialogues |", "|---|---|---|---|",
             tuned_line(work, "none (random weights) | -", untrained_model)]
    for steps, share in ((1332, 0.25), (1332, 1)):
        run, texts, perplexity = pretrained(work, steps, share)
        lines.append(tuned_line(work, f"{steps:,} steps on {texts:,} texts | {perplexity:.1f}", run))
    lines.append(tuned_line(work, "as it ships: 24,420 steps on 28,288 texts | 46.0", "checkpoints/mini-ru"))
    rows = (SUPPORT / "train.tsv").read_text(encoding="utf-8").splitlines(keepends=True)
    lines += ["", "| lines of support-ru in the last step | support-ru macro-F1 | AUC on dialogues |", "|---|---|---|"]
    first = emotions(work, "checkpoints/mini-ru", 1)
    for share in (0.125, 0.25, 0.5, 1):
        part = work / "part.tsv"
        part.write_text("".join(rows[:1 + int(share * (len(rows) - 1))]), encoding="utf-8")
        run = tone(work, first, 1, **{"DATA.TRAIN": part, "TRAIN.EPOCHS": int(16 / max(share, 0.25))})
        lines.append(f"| {int(share * (len(rows) - 1))} | {f1(run, False)[0]:.1f} | {auc_of(run):.3f} |")
        print(lines[-1], flush=True)
    return lines


def main():
    global DATA
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--data", type=pathlib.Path, required=True)
    parser.add_argument("--seeds", default="1,2,3")
    parser.add_argument("--curves", action="store_true", help="the learning curves instead of the tables: half an hour more")
    parser.add_argument("--page", type=pathlib.Path)
    options = parser.parse_args()
    DATA = options.data.resolve()
    seeds = [int(seed) for seed in options.seeds.split(",")]
    work = pathlib.Path(tempfile.mkdtemp(prefix="quality-"))
    try:
        fresh = untrained(work)
        lines = curves(work, fresh) if options.curves else tables(work, fresh, seeds)
    finally:
        shutil.rmtree(work)
    if options.page:
        begin, end = MARKS[options.curves]
        before, rest = options.page.read_text(encoding="utf-8").split(begin)
        after = rest.split(end)[1]
        options.page.write_text(f"{before}{begin}\n\n" + "\n".join(lines) + f"\n\n{end}{after}", encoding="utf-8")


if __name__ == "__main__":
    main()
