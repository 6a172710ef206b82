"""What goes wrong in training ends in one line and the right code, and leaves nothing half-written behind."""
import json
import os
import resource
import shutil
import signal
import struct
import subprocess
import time

import pytest

GOOD = "text\tlabel\nда\tanger\nнет\tjoy\nспасибо\tjoy\nплохо\tanger\n"


@pytest.fixture
def attempt(bertft, golden, tmp_path):
    """Trains on the files given by name; returns the message of the failure."""

    def run(code, *pairs, train=GOOD, valid=GOOD, name="train.tsv", **more):
        (tmp_path / name).write_bytes(train if isinstance(train, bytes) else train.encode())
        (tmp_path / "valid.tsv").write_text(valid)
        settings = {"MODEL.WEIGHTS": golden, "DATA.TRAIN": tmp_path / name, "DATA.VALID": tmp_path / "valid.tsv",
                    "OUTPUT_DIR": tmp_path / "run", "TRAIN.EPOCHS": 1}
        settings.update(dict(zip(pairs[::2], pairs[1::2])))
        words = [str(word) for pair in settings.items() for word in pair]
        config = tmp_path / "config.yaml"
        config.write_text("SEED: 1\n")
        arguments = ("train", config, *words)
        result = bertft(*arguments, **more)
        lines = result.stderr.decode().splitlines()
        assert result.returncode == code, lines
        assert [line.startswith("bertft: error: ") for line in lines].count(True) == (code != 0)
        return lines[-1]

    return run


@pytest.mark.parametrize("train, place, what", [
    ("", "train.tsv", "empty"),
    ("text\tlabel\n", "train.tsv", "no row"),
    ("txt\tlabel\nда\tjoy\n", "train.tsv:1", "text"),
    ("text\tlabel\nда\n", "train.tsv:2", ""),
    (b"\x1f\x8b\x08\x00broken", "train.tsv", "gzip"),
])
def test_bad_data(attempt, tmp_path, train, place, what):
    message = attempt(2, train=train)
    assert place in message and what in message.lower()
    assert not (tmp_path / "run").exists()


def test_unclosed_quote(attempt):
    assert "train.csv:3" in attempt(2, train='text,label\nда,joy\n"нет,joy\n', name="train.csv")


def test_unknown_label_in_the_validation_set(attempt):
    message = attempt(2, valid="text\tlabel\nда\tjoi\n")
    assert "valid.tsv:2" in message and "joi" in message and "joy" in message


def test_bad_rows_can_be_left_out(attempt, tmp_path):
    attempt(0, "DATA.ON_BAD_ROW", "skip", train=GOOD + "nothing here\n")
    assert (tmp_path / "run" / "model.safetensors").exists()


@pytest.mark.parametrize("pairs, what", [
    (("DATA.TRAIN", "nowhere.tsv"), "nowhere.tsv"),
    (("MODEL.WEIGHTS", "nowhere"), "nowhere"),
    (("TRAIN.FREEZE", "[7]"), "layer"),
    (("LOSS.CLASS_WEIGHTS", "[1, 2, 3]"), "3 weights for 2 classes"),
    (("TRAIN.METRIC", "mse"), "mse"),
    (("SCHEDULER.NAME", "reduce_lr_on_plateau", "DATA.VALID", "None", "DATA.VALID_FRACTION", "0"), "validation set"),
    (("TRAIN.PATIENCE", "2", "DATA.VALID", "None", "DATA.VALID_FRACTION", "0"), "validation set"),
    (("SCHEDULER.NAME", "reduce_lr_on_plateau", "SCHEDULER.METRIC", "mse"), "mse"),
    (("OPTIM.LRR", "1"), "OPTIM.LR"),
    (("OPTIM.LR", "fast"), "OPTIM.LR"),
    (("DEVICE.NAME", "abacus"), "abacus"),
    (("DEVICE.THREADS", "4000"), "4000"),
])
def test_bad_settings(attempt, tmp_path, pairs, what):
    assert what in attempt(2, *pairs)
    assert not (tmp_path / "run").exists()


def test_frozen_and_without_validation(attempt, tmp_path):
    attempt(0, "TRAIN.FREEZE", "[encoder]", "DATA.VALID", "None", "DATA.VALID_FRACTION", "0")
    assert (tmp_path / "run" / "model.safetensors").exists()


def test_weights_that_are_not_numbers(attempt, golden, tmp_path):
    name = "bert.encoder.layer.1.output.dense.bias"
    model = tmp_path / "nan"
    shutil.copytree(golden, model)
    data = bytearray((model / "model.safetensors").read_bytes())
    size = struct.unpack("<Q", data[:8])[0]
    place = 8 + size + json.loads(data[8:8 + size])[name]["data_offsets"][0]
    data[place + 8:place + 12] = struct.pack("<f", float("nan"))
    (model / "model.safetensors").write_bytes(data)
    message = attempt(2, "MODEL.WEIGHTS", model)
    assert message.endswith(f"model.safetensors: tensor {name}: value 2 is not a finite number")


def test_full_disk(attempt, tmp_path):
    """Files may not grow beyond 20 kB: the checkpoint and the weights are larger."""
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (20000, 20000))  # noqa: E731
    assert "cannot write" in attempt(1, preexec_fn=limit)
    left = [path.name for path in (tmp_path / "run").rglob("*")]
    assert "model.safetensors" not in left and not any(".tmp" in name for name in left)


def test_a_folder_that_it_may_not_write(attempt, golden, tmp_path):
    closed = tmp_path / "closed"
    closed.mkdir(mode=0o555)
    shutil.copytree(golden, tmp_path / "model")
    for path in (tmp_path / "model").iterdir():
        path.chmod(0o644)
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(folder.stat().st_mode | 0o055)
    user = {"user": 65534} if os.getuid() == 0 else {}
    assert "closed" in attempt(1, "MODEL.WEIGHTS", tmp_path / "model", "OUTPUT_DIR", closed / "run", cwd=tmp_path, **user)


def test_a_model_that_shrinks_while_it_is_mapped(bertft, tmp_path):
    model = tmp_path / "model"
    shutil.copytree(bertft.root / "checkpoints" / "mini-ru", model)
    command = [bertft.path, "embed", "-m", model, "--pooling", "cls"]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    process.stdin.write("да\n".encode())
    process.stdin.flush()
    process.stdout.readline()
    os.truncate(model / "model.safetensors", 4096)
    _, said = process.communicate("нет, спасибо\n".encode(), timeout=60)
    assert process.returncode == 2
    assert said.decode().count("\n") == 1 and "shrank" in said.decode()


def test_interrupted_before_the_first_step_is_no_crash(bertft, golden, tmp_path):
    command = [bertft.path, "train", "configs/params.yaml", "MODEL.WEIGHTS", str(golden), "OUTPUT_DIR", tmp_path / "run"]
    process = subprocess.Popen(command, cwd=bertft.root, stderr=subprocess.PIPE)
    time.sleep(0.05)
    process.send_signal(signal.SIGINT)
    process.communicate(timeout=60)
    assert process.returncode in (1, -signal.SIGINT)


def test_class_weights_that_leave_nothing(attempt):
    message = attempt(2, "LOSS.CLASS_WEIGHTS", "[0, 0]")
    assert "LOSS.CLASS_WEIGHTS" in message and "step 1" in message


@pytest.mark.parametrize("overwrite", [(), ("--overwrite",)])
def test_a_model_is_never_overwritten(bertft, golden, tmp_path, overwrite):
    model, other = tmp_path / "model", tmp_path / "other"
    shutil.copytree(golden, model)
    shutil.copytree(golden, other)
    before = (model / "model.safetensors").read_bytes()
    for weights in (model, other):
        message = bertft.fails(2, "train", "configs/params.yaml", "MODEL.WEIGHTS", weights, "OUTPUT_DIR", model, *overwrite)
        assert "name another" in message
    assert (model / "model.safetensors").read_bytes() == before


def test_a_config_that_claims_more_than_the_file_holds(attempt, golden, tmp_path):
    model = tmp_path / "huge"
    shutil.copytree(golden, model)
    config = json.loads((model / "config.json").read_text())
    config.update(hidden_size=65536, intermediate_size=65536, num_hidden_layers=255)
    (model / "config.json").write_text(json.dumps(config))
    assert "has shape (" in attempt(2, "MODEL.WEIGHTS", model)


def test_a_bad_row_that_no_text_uses_is_no_matter(attempt, golden, tmp_path):
    name = "bert.embeddings.word_embeddings.weight"
    model = tmp_path / "nan"
    shutil.copytree(golden, model)
    data = bytearray((model / "model.safetensors").read_bytes())
    size = struct.unpack("<Q", data[:8])[0]
    end = 8 + size + json.loads(data[8:8 + size])[name]["data_offsets"][1]
    data[end - 4:end] = struct.pack("<f", float("nan"))
    (model / "model.safetensors").write_bytes(data)
    attempt(0, "MODEL.WEIGHTS", model)
