"""Training as a user meets it: kinds of problems, forms of data, freezing, early stopping, and what a run's folder holds."""
import gzip
import json
import struct

import pytest

TEXTS = ["Спасибо, всё работает", "Опять не работает интернет", "Где мой заказ?", "Очень доволен, рекомендую",
         "Верните деньги", "Подскажите адрес", "Ужасно, больше никогда", "Хорошо, жду"]


@pytest.fixture
def train(bertft, golden, tmp_path):
    """Trains on one file, made of `rows`; returns the run's folder."""

    def run(name, content, *pairs, expect=0):
        data = content.encode()
        (tmp_path / name).write_bytes(gzip.compress(data) if name.endswith(".gz") else data)
        (tmp_path / "empty.yaml").write_text("")
        settings = {"MODEL.WEIGHTS": golden, "DATA.TRAIN": tmp_path / name, "DATA.VALID": tmp_path / name,
                    "OUTPUT_DIR": tmp_path / "run", "TRAIN.EPOCHS": 2, "TRAIN.BATCH_SIZE": 4, "OPTIM.LR": "1e-3",
                    "TRAIN.LOG_EVERY": 1}
        settings.update(dict(zip(pairs[::2], pairs[1::2])))
        words = [str(word) for pair in settings.items() for word in pair]
        bertft.ok("train", tmp_path / "empty.yaml", *words, cwd=tmp_path)
        return tmp_path / "run"

    return run


def tsv(labels):
    return "text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in zip(TEXTS, labels, strict=True))


SINGLE = tsv(["good", "bad", "plain", "good", "bad", "plain", "bad", "plain"])


def lines(run):
    return [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]


def tensors(path):
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    header = json.loads(data[8:8 + size])
    return {name: data[8 + size + value["data_offsets"][0]:8 + size + value["data_offsets"][1]]
            for name, value in header.items() if name != "__metadata__"}


def config(run):
    return json.loads((run / "config.json").read_text())


def test_a_run_holds_what_it_should(train):
    run = train("data.tsv", SINGLE)
    names = {path.name for path in run.iterdir()}
    assert {"config.yaml", "config.json", "model.safetensors", "vocab.txt", "tokenizer.json", "metrics.jsonl"} <= names
    steps = [line for line in lines(run) if "split" not in line]
    evaluations = [line for line in lines(run) if "split" in line]
    assert [line["step"] for line in steps] == [1, 2, 3, 4]
    assert set(steps[0]) == {"step", "loss", "lr", "samples_per_second", "tokens_per_second"}
    assert [line["step"] for line in evaluations] == [2, 4] and {"accuracy", "f1_macro"} <= set(evaluations[0])
    assert [config(run)["id2label"][str(i)] for i in range(3)] == ["bad", "good", "plain"]
    assert config(run)["problem_type"] == "single_label_classification"


def test_a_frozen_configuration_repeats_the_run(bertft, train, tmp_path):
    run = train("data.tsv", SINGLE)
    bertft.ok("train", run / "config.yaml", "OUTPUT_DIR", tmp_path / "again", cwd=tmp_path)
    assert (run / "model.safetensors").read_bytes() == (tmp_path / "again" / "model.safetensors").read_bytes()


@pytest.mark.parametrize("name, content, pairs", [
    ("data.csv", SINGLE.replace(",", "").replace("\t", ","), ()),
    ("data.tsv.gz", SINGLE, ()),
    ("data.jsonl", "".join(json.dumps({"text": t, "label": i % 2}) + "\n" for i, t in enumerate(TEXTS)), ()),
    ("data.txt.gz", "".join(f"__label__{'ab'[i % 2]} {t}\n" for i, t in enumerate(TEXTS)), ("DATA.FORMAT", "fasttext")),
])
def test_forms_of_data(train, name, content, pairs):
    assert (train(name, content, *pairs) / "model.safetensors").exists()


def test_multi_label(bertft, train, tmp_path):
    content = tsv(["[0]", "[1 2]", "[]", "[0]", "[1]", "[]", "[2 1]", "[]"])
    run = train("data.tsv", content, "DATA.MULTI_LABEL", "True", "DATA.EMPTY_LABEL", "none", "DATA.LABEL_NAMES",
                "['joy', 'anger', 'fear']", "LOSS.CLASS_WEIGHTS", "auto")
    assert config(run)["problem_type"] == "multi_label_classification"
    assert list(config(run)["id2label"].values()) == ["joy", "anger", "fear", "none"]
    report = json.loads(bertft.ok("eval", run, "--json", cwd=tmp_path))
    assert 0 <= report["f1_samples"] <= 1


def test_regression(bertft, train, tmp_path):
    run = train("data.tsv", tsv([0.5, -1, 0, 1.25, -2, 0, -3, 0.1]), "DATA.REGRESSION", "True", "TRAIN.EPOCHS", 80, "OPTIM.LR", "3e-3")
    assert config(run)["problem_type"] == "regression"
    losses = [line["loss"] for line in lines(run) if "split" not in line]
    assert losses[-1] < losses[0] / 2
    assert json.loads(bertft.ok("eval", run, "--json", cwd=tmp_path))["mse"] < 1


def test_several_files_are_one_set(bertft, train, tmp_path):
    (tmp_path / "more.csv").write_text("text,label\nда,good\nнет,bad\n")
    run = train("data.tsv", SINGLE, "DATA.TRAIN", f"['{tmp_path}/data.tsv', '{tmp_path}/more.csv']")
    assert [line["step"] for line in lines(run) if "split" not in line] == list(range(1, 7))  # 10 samples, 2 epochs


@pytest.mark.parametrize("head", ["linear", "pooler", "mean"])
def test_it_learns(train, head):
    run = train("data.tsv", SINGLE, "MODEL.HEAD", head, "TRAIN.EPOCHS", 80, "OPTIM.LR", "3e-3", "LOSS.LABEL_SMOOTHING", "0.05",
                "LOSS.CLASS_WEIGHTS", "[1, 2, 0.5]", "TRAIN.ACCUMULATE", 2)
    best = max(line["accuracy"] for line in lines(run) if "split" in line)
    assert best == 1


def test_frozen_tensors_keep_their_bytes(train, golden):
    run = train("data.tsv", SINGLE, "TRAIN.FREEZE", "[embeddings, '1']", "MODEL.HEAD", "pooler")
    before, after = tensors(golden / "model.safetensors"), tensors(run / "model.safetensors")
    for name in before:
        frozen = "embeddings" in name or ".layer.1." in name
        if not name.startswith("classifier"):
            assert (before[name] == after[name]) == frozen, name


def test_early_stopping(train):
    run = train("data.tsv", SINGLE, "TRAIN.EPOCHS", 50, "OPTIM.LR", 0, "TRAIN.PATIENCE", 3)
    assert [line["step"] for line in lines(run) if "split" in line] == [2, 4, 6, 8]


def test_evaluations_by_steps_and_a_limit_of_steps(train):
    run = train("data.tsv", SINGLE, "TRAIN.MAX_STEPS", 7, "TRAIN.EVAL_EVERY", 3)
    assert [line["step"] for line in lines(run) if "split" in line] == [3, 6, 7]


def test_the_warm_up_starts_at_zero(train):
    run = train("data.tsv", SINGLE, "TRAIN.EPOCHS", 10, "SCHEDULER.WARMUP", 5)
    rates = [line["lr"] for line in lines(run) if "split" not in line]
    assert rates[:6] == pytest.approx([0, 2e-4, 4e-4, 6e-4, 8e-4, 1e-3]) and rates[-1] == pytest.approx(1e-3 / 15)


def test_a_classifier_with_the_same_labels_is_trained_on(bertft, train, tmp_path):
    run = train("data.tsv", SINGLE, "TRAIN.EPOCHS", 40)
    first = json.loads(bertft.ok("eval", run, "--json", cwd=tmp_path))["accuracy"]
    on = train("data.tsv", SINGLE, "MODEL.WEIGHTS", run, "OUTPUT_DIR", tmp_path / "on", "OPTIM.LR", 0)
    assert on == run and first == 1
    assert json.loads(bertft.ok("eval", tmp_path / "on", "--json", cwd=tmp_path))["accuracy"] == 1
