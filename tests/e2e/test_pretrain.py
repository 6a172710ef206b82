"""`bertft pretrain`: it learns, goes on to the same bits, starts from a folder, and what it writes is what `train` and transformers read."""
import json
import math
import pathlib
import shutil
import struct
import subprocess
import time

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
SETTINGS = {"DATA.TRAIN": "data/support-ru/train.tsv", "DATA.MAX_LENGTH": 48, "PRETRAIN.LAYERS": 2, "PRETRAIN.CHANNELS": 64,
            "PRETRAIN.HEADS": 2, "PRETRAIN.FEED_FORWARD": 128, "PRETRAIN.POSITIONS": 64, "TRAIN.EPOCHS": 4, "OPTIM.LR": "2e-3"}


@pytest.fixture(scope="module")
def words(bertft, tmp_path_factory):
    folder = tmp_path_factory.mktemp("words")
    bertft.ok("vocab", "-o", folder, "--overwrite", "--size", 1000, "--keep-accents", ROOT / "data/support-ru/train.tsv")
    return folder


@pytest.fixture(scope="module")
def settings(tmp_path_factory):
    path = tmp_path_factory.mktemp("settings") / "pretrain.yaml"
    path.write_text("")
    return path


@pytest.fixture(scope="module")
def pretrain(bertft, settings, words):
    def run(out, *options, **changes):
        pairs = SETTINGS | {"PRETRAIN.VOCABULARY": words} | {key.replace("__", "."): v for key, v in changes.items()}
        flat = [word for pair in (pairs | {"OUTPUT_DIR": out}).items() for word in pair]
        return bertft("pretrain", settings, *flat, *options)
    return run


@pytest.fixture(scope="module")
def straight(pretrain, tmp_path_factory):
    run = tmp_path_factory.mktemp("straight") / "run"
    result = pretrain(run)
    assert result.returncode == 0, result.stderr.decode()
    return run


def log(run, valid):
    lines = [json.loads(line) for line in (run / "metrics.jsonl").read_text().splitlines()]
    return [line for line in lines if (line.get("split") == "valid") == valid]


def weights(run):
    return (run / "model.safetensors").read_bytes()


def header(path):
    data = path.read_bytes()
    return json.loads(data[8:8 + struct.unpack("<Q", data[:8])[0]])


def test_it_learns_and_tells(straight):
    measured = log(straight, True)
    assert len(measured) == 4 and set(measured[0]) == {"step", "split", "accuracy", "perplexity", "loss"}
    assert measured[-1]["loss"] < measured[0]["loss"] - 0.1 < math.log(1000)
    for line in measured:
        assert line["perplexity"] == pytest.approx(math.exp(line["loss"]), rel=1e-6) and 0 <= line["accuracy"] <= 1
    assert log(straight, False)[0]["tokens_per_second"] > 0


def test_the_folder_is_a_masked_language_model(straight):
    config = json.loads((straight / "config.json").read_text())
    assert config["architectures"] == ["BertForMaskedLM"] and config["vocab_size"] == 1000 and config["num_hidden_layers"] == 2
    tensors = header(straight / "model.safetensors")
    for name in ("cls.predictions.bias", "cls.predictions.transform.dense.weight",
                 "cls.predictions.transform.LayerNorm.weight"):
        assert name in tensors
    assert tensors["bert.embeddings.word_embeddings.weight"]["shape"] == [1000, 64]
    assert "cls.predictions.decoder.weight" not in tensors  # it is the word table


def test_threads_change_no_bit(pretrain, straight, tmp_path):
    assert pretrain(tmp_path / "one", "--threads", 1).returncode == 0
    assert weights(tmp_path / "one") == weights(straight)


def test_interrupted_and_resumed(bertft, settings, words, straight, tmp_path):
    """Masks, order and dropout go on where they were."""
    run, pairs = tmp_path / "run", SETTINGS | {"PRETRAIN.VOCABULARY": words, "OUTPUT_DIR": tmp_path / "run", "TRAIN.SAVE_EVERY": 3}
    command = [bertft.path, "pretrain", settings, *(word for pair in pairs.items() for word in pair)]
    process = subprocess.Popen([str(word) for word in command], cwd=ROOT, stderr=subprocess.DEVNULL)
    while process.poll() is None and not (run / "checkpoint" / "last").exists():
        time.sleep(0.01)
    process.kill()
    process.wait()
    bertft.ok("pretrain", "--resume", run)
    assert weights(run) == weights(straight)
    assert log(run, True) == log(straight, True)


def test_latest_stays(bertft, settings, words, tmp_path):
    (tmp_path / "data").symlink_to(ROOT / "data")
    pairs = [word for pair in (SETTINGS | {"PRETRAIN.VOCABULARY": words, "TRAIN.MAX_STEPS": 2, "OUTPUT_DIR": "run"}).items()
             for word in pair]
    bertft.ok("pretrain", settings, *pairs, cwd=tmp_path)
    assert not (tmp_path / "checkpoints").exists()


def test_training_goes_on_from_it(bertft, pretrain, straight, tmp_path):
    """`pretrain` from a folder keeps its head: its loss goes on where it was. `train` takes the encoder."""
    again = pretrain(tmp_path / "again", PRETRAIN__VOCABULARY="None", MODEL__WEIGHTS=straight, TRAIN__MAX_STEPS=1,
                     OPTIM__LR=0)
    assert again.returncode == 0, again.stderr.decode()
    best = min(line["loss"] for line in log(straight, True))
    assert log(tmp_path / "again", True)[0]["loss"] == pytest.approx(best, rel=1e-6)
    assert weights(tmp_path / "again") == weights(straight)
    (tmp_path / "data").symlink_to(ROOT / "data")
    bertft.ok("train", ROOT / "configs/params.yaml", "MODEL.WEIGHTS", straight, "TRAIN.MAX_STEPS", 2, "OUTPUT_DIR",
              "tuned", cwd=tmp_path)
    answers = bertft.jsonl("predict", "-m", "tuned", "--lines", "--format", "jsonl", input="спасибо\n", cwd=tmp_path)
    assert len(answers) == 1


def test_an_encoder_gets_a_head(pretrain, golden, tmp_path):
    result = pretrain(tmp_path / "run", PRETRAIN__VOCABULARY="None", MODEL__WEIGHTS=golden, DATA__TRAIN="data/dialogs.txt",
                      TRAIN__MAX_STEPS=2)
    assert result.returncode == 0, result.stderr.decode()
    assert "has no head of a masked language model; a new one is made" in result.stderr.decode()
    assert log(tmp_path / "run", True)[0]["perplexity"] > 1


def test_the_cuda_kernels_on_the_shim(pretrain, tmp_path):
    """The same masks, and losses as on the CPU; the bound is that of test_device.py's twenty steps."""
    losses = {}
    for device in ("cpu", "cudasim"):
        result = pretrain(tmp_path / device, "--device", device, TRAIN__MAX_STEPS=10, TRAIN__LOG_EVERY=1, OPTIM__LR="5e-4")
        assert result.returncode == 0, result.stderr.decode()
        losses[device] = [line["loss"] for line in log(tmp_path / device, False) + log(tmp_path / device, True)]
    assert len(losses["cpu"]) == 11 and losses["cudasim"] == pytest.approx(losses["cpu"], rel=2e-5)
    assert losses["cudasim"] != losses["cpu"]  # two backends have computed


def test_bf16(pretrain, straight, tmp_path):
    assert pretrain(tmp_path / "run", "--precision", "bf16").returncode == 0
    assert log(tmp_path / "run", True)[-1]["loss"] == pytest.approx(log(straight, True)[-1]["loss"], rel=0.02)


@pytest.mark.parametrize("changes, message", [
    ({"PRETRAIN__HEADS": 3}, "PRETRAIN.CHANNELS 64 isn't a multiple of PRETRAIN.HEADS 3"),
    ({"PRETRAIN__VOCABULARY": "nowhere"}, "nowhere"),
    ({"DATA__TRAIN": "None"}, "DATA.TRAIN is not set: which file holds the training texts?"),
    ({"TRAIN__METRIC": "f1_macro"}, 'this problem has no metric "f1_macro"; it has accuracy perplexity loss'),
    ({"PRETRAIN__MASK": 1}, "PRETRAIN.MASK"),
    ({"DATA__TEXT": "message"}, 'no column "message" (DATA.TEXT)'),
])
def test_errors(pretrain, tmp_path, changes, message):
    result = pretrain(tmp_path / "run", **changes)
    assert result.returncode == 2 and message in result.stderr.decode()
    assert not (tmp_path / "run").exists()


def test_runs_of_the_other_task(bertft, straight, trained, tmp_path):
    copy = tmp_path / "copy"
    shutil.copytree(straight, copy)
    message = bertft.fails(2, "train", "--resume", copy)
    assert message == f"{copy}: is a run of `bertft pretrain`; `bertft pretrain --resume {copy}` goes on with it"
    message = bertft.fails(2, "pretrain", "--resume", trained)
    assert message == f"{trained}: is a run of `bertft train`; `bertft train --resume {trained}` goes on with it"
    message = bertft.fails(2, "pretrain")
    assert message == ("pretrain takes a configuration file, or --resume RUN alone: `bertft pretrain configs/pretrain.yaml`")


def test_its_vocabulary_isnt_overwritten(pretrain, words):
    result = pretrain(words)
    assert result.returncode == 2 and "name another" in result.stderr.decode()


def test_export_and_import_keep_the_head(bertft, straight, golden, tmp_path):
    """In bfloat16 half the bytes and the same names; fp32 the same bytes."""
    bertft.ok("export", "--dtype", "bf16", straight, tmp_path / "half")
    bertft.ok("export", straight, tmp_path / "whole")
    bertft.ok("import", straight, tmp_path / "imported")
    tensors, half = header(straight / "model.safetensors"), header(tmp_path / "half" / "model.safetensors")
    assert tensors.keys() == half.keys() and {t["dtype"] for n, t in half.items() if n != "__metadata__"} == {"BF16"}
    data = sum(t["data_offsets"][1] - t["data_offsets"][0] for n, t in half.items() if n != "__metadata__")
    assert 2 * data == sum(t["data_offsets"][1] - t["data_offsets"][0] for n, t in tensors.items() if n != "__metadata__")
    for name in ("whole", "imported"):
        assert weights(tmp_path / name) == weights(straight)
        assert json.loads((tmp_path / name / "config.json").read_text())["architectures"] == ["BertForMaskedLM"]
    bertft.ok("import", golden, tmp_path / "classifier")  # as ever
    assert "classifier.weight" in header(tmp_path / "classifier" / "model.safetensors")


def test_a_head_that_cannot_be_held_is_left_behind(bertft, straight, tmp_path):
    """A folder that says it is a masked language model and has no such head, still imports."""
    model = tmp_path / "model"
    shutil.copytree(ROOT / "tests" / "golden" / "bert", model)
    for path in model.iterdir():
        path.chmod(0o644)
    config = json.loads((model / "config.json").read_text()) | {"architectures": ["BertForMaskedLM"]}
    (model / "config.json").write_text(json.dumps(config))
    result = bertft("import", model, tmp_path / "imported")
    assert result.returncode == 0
    assert "has no head of a masked language model; the encoder alone is taken" in result.stderr.decode()
