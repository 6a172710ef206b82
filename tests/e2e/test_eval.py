"""eval: its figures against those counted here from what predict says about the same texts."""
import json
import math
import re

import pytest


@pytest.fixture(scope="module")
def labelled(bertft):
    rows = [line.split("\t") for line in
            (bertft.root / "data" / "support-ru" / "test.tsv").read_text().splitlines()[1:]]
    return [(row[0], row[1]) for row in rows]


@pytest.fixture(scope="module")
def answers(bertft, trained, labelled):
    return bertft.jsonl("predict", "-m", trained, "--lines", "--format", "jsonl", "--scores", "all",
                        input="\n".join(text for text, _ in labelled))


def f1(pairs, label):
    right = sum(truth == answer == label for truth, answer in pairs)
    given = sum(answer == label for _, answer in pairs)
    wanted = sum(truth == label for truth, _ in pairs)
    return 2 * right / (given + wanted) if given + wanted else 0


def test_figures(bertft, trained, place, labelled, answers):
    report = json.loads(bertft.ok("eval", trained, "--json", cwd=place))
    pairs = [(truth, answer["label"]) for (_, truth), answer in zip(labelled, answers, strict=True)]
    labels = list(answers[0]["scores"])
    assert report["split"] == "test" and report["samples"] == len(pairs)
    assert math.isclose(report["accuracy"], sum(a == b for a, b in pairs) / len(pairs), rel_tol=1e-9)
    assert math.isclose(report["f1_macro"], sum(f1(pairs, label) for label in labels) / len(labels), rel_tol=1e-9)
    loss = -sum(math.log(answer["scores"][truth]) for (_, truth), answer in zip(labelled, answers)) / len(pairs)
    assert math.isclose(report["log_loss"], loss, rel_tol=1e-4)
    assert report["confusion"] == [[pairs.count((truth, answer)) for answer in labels] for truth in labels]
    for entry, label in zip(report["classes"], labels, strict=True):
        assert entry["label"] == label and entry["support"] == sum(truth == label for truth, _ in pairs)
        assert math.isclose(entry["f1"], f1(pairs, label), rel_tol=1e-9)


def test_text_report(bertft, trained, place):
    result = bertft("eval", cwd=place)  # checkpoints/latest is the newest run
    text = result.stdout.decode()
    report = json.loads(bertft.ok("eval", trained, "--json", cwd=place))
    assert result.returncode == 0 and b"\r" not in result.stderr  # no progress bar where there is no terminal
    assert re.search(r"^ +precision +recall +f1-score +support$", text, re.M)
    row = re.search(r"^ *accuracy +([0-9.]+) +(\d+)$", text, re.M)
    assert row and abs(float(row[1]) - report["accuracy"]) < 1e-4 and int(row[2]) == report["samples"]


def test_a_file_of_ones_own(bertft, trained, labelled, tmp_path):
    path = tmp_path / "own.tsv"
    path.write_text("text\tlabel\n" + "".join(f"{text}\t{label}\n" for text, label in labelled[:10]))
    report = json.loads(bertft.ok("eval", trained, "--data", path, "--json"))
    assert report["samples"] == 10 and report["split"] == "file" and report["files"] == [str(path)]

    path.write_text("text\tlabel\nok\tjoy\nhm\tennui\n")
    error = bertft.fails(2, "eval", trained, "--data", path)
    assert error.startswith(f"{path}:3: ") and "ennui" in error
    assert json.loads(bertft.ok("eval", trained, "--data", path, "--json", "DATA.ON_BAD_ROW", "skip"))["samples"] == 1
    path.write_text("text\tlabel\n")
    bertft.fails(2, "eval", trained, "--data", path)


def test_the_validation_file_where_there_is_no_test(bertft, trained, place):
    report = json.loads(bertft.ok("eval", trained, "--json", "DATA.TEST", "None", cwd=place))
    assert report["split"] == "valid" and report["files"] == ["data/support-ru/valid.tsv"]
    assert "--data" in bertft.fails(2, "eval", trained, "DATA.TEST", "None", "DATA.VALID", "None")


def test_what_training_held_back_where_no_file_is_named(bertft, golden, tmp_path):
    """The split is made again: the figures are those that training had for the model that it kept."""
    place, run = tmp_path, tmp_path / "run"  # a place of its own: the shared one's newest run is another
    (place / "data").symlink_to(bertft.root / "data")
    bertft.ok("train", bertft.root / "configs" / "params.yaml", "MODEL.WEIGHTS", golden, "DATA.VALID", "None", "DATA.TEST",
              "None", "DATA.VALID_FRACTION", 0.15, "SEED", 5, "TRAIN.MAX_STEPS", 20, "TRAIN.EVAL_EVERY", 10, "OUTPUT_DIR",
              run, cwd=place)
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    best = max((line for line in lines if line.get("split") == "valid"), key=lambda line: line["f1_macro"])
    report = json.loads(bertft.ok("eval", run, "--json", cwd=place))
    assert report["split"] == "held out" and report["files"] == ["data/support-ru/train.tsv"]
    assert math.isclose(report["f1_macro"], best["f1_macro"], rel_tol=1e-8)
    assert math.isclose(report["log_loss"], best["log_loss"], rel_tol=1e-6)
    first = bertft("eval", run, cwd=place).stderr.decode().splitlines()[0]
    assert "held back of data/support-ru/train.tsv (DATA.VALID_FRACTION 0.15, SEED 5)" in first
    assert f"{report['samples']} samples" in first
    for pair in (["SEED", 6], ["DATA.VALID_FRACTION", 0.5], ["DATA.TRAIN", "other.tsv"]):
        error = bertft.fails(2, "eval", run, *pair, cwd=place)
        assert pair[0] in error and "--data FILE" in error
    config = run / "config.yaml"
    config.write_text(config.read_text().replace("VALID_FRACTION: 0.15", "VALID_FRACTION: 0.0"))
    assert "held nothing back" in bertft.fails(2, "eval", run, cwd=place)


def test_multi_label_without_a_configuration(bertft, edited, tmp_path):
    """A Hugging Face folder says itself how its data is to be read."""
    folder = edited(problem_type="multi_label_classification")
    path = tmp_path / "multi.jsonl"
    rows = [{"text": "верните", "label": ["anger", "fear"]}, {"text": "спасибо", "label": []},
            {"text": "ok", "label": ["no_emotion"]}]
    path.write_text("\n".join(map(json.dumps, rows)))
    report = json.loads(bertft.ok("eval", folder, "--data", path, "--json"))
    turns = bertft.jsonl("predict", "-m", folder, "--lines", "--format", "jsonl", "--scores", "all",
                         input="\n".join(row["text"] for row in rows))
    scores = [turn["scores"] for turn in turns]
    loss = -sum(math.log(p if label in row["label"] else 1 - p) for row, s in zip(rows, scores)
                for label, p in s.items()) / 15
    assert report["samples"] == 3 and math.isclose(report["log_loss"], loss, rel_tol=1e-5)
    right = sum({label for label, p in s.items() if p >= 0.5} == set(row["label"]) for row, s in zip(rows, scores))
    assert math.isclose(report["accuracy"], right / 3, abs_tol=1e-9)
    assert "confusion" not in report


def test_nothing_trained_yet(bertft, tmp_path):
    for command in ("eval", "predict"):
        error = bertft.fails(2, command, cwd=tmp_path)
        assert error.startswith("checkpoints/latest: ") and "bertft train" in error
