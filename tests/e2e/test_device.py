"""The device and its precision: what is chosen, what is refused, and what happens when a card fails. The CUDA backend runs on the
host shim here (tests/cudasim), whose kernels are the card's."""
import json
import os
import pathlib
import re
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
TEXTS = "Клиент: Спасибо, всё работает\nОператор: Рады помочь\n\nКлиент: Опять не работает интернет\n"
FAULT = "BERTFT_SIM_FAIL_LAUNCH"
TRAIN = {"MODEL.WEIGHTS": ROOT / "tests" / "golden" / "bert", "TRAIN.MAX_STEPS": 8, "TRAIN.SAVE_EVERY": 3,
         "TRAIN.BATCH_SIZE": 2, "DATA.VALID": "None", "DATA.VALID_FRACTION": 0, "TRAIN.METRIC": "accuracy", "DATA.MAX_LENGTH": 16}


def training(run, config=ROOT / "configs" / "params.yaml", **changes):
    settings = {**TRAIN, **{key.replace("__", "."): value for key, value in changes.items()}, "OUTPUT_DIR": run}
    return ["train", config, *[word for pair in settings.items() for word in pair]]


def losses(run):
    return [line["loss"] for line in map(json.loads, (run / "metrics.jsonl").read_text().splitlines()) if "loss" in line]


# ---- What is chosen and refused ----

@pytest.mark.parametrize("words, code, parts", [
    (["--device", "cuda:x"], 2, ["DEVICE.NAME cuda:x", "number of a CUDA card", "cuda:0"]),
    (["--device", "cuda:"], 2, ["DEVICE.NAME cuda:", "number"]),
    (["--device", "cuda:-1"], 2, ["DEVICE.NAME cuda:-1", "number"]),
    (["--device", "cuda:99999999999999999999"], 2, ["number of a CUDA card"]),
    (["--device", "cpu:1"], 2, ["DEVICE.NAME cpu:1", "CUDA card"]),
    (["--device", "cudasim:1"], 1, ["DEVICE.NAME cudasim:1", "no card of that number"]),
    (["--device", "cpu", "--precision", "fp16"], 2, ["fp16", "CUDA cards only", "--precision bf16"]),
    (["--precision", "fp16"], 2, ["fp16", "CUDA cards only"]),
    (["--device", "cudasim", "--precision", "int8"], 2, ["int8", "CPUs only", "--device cpu"]),
    (["--precision", "int4"], 2, ["fp32, bf16, fp16, int8 or auto"]),
    (["--device", "cudasim-bf16"], 2, ["DEVICE.NAME cudasim-bf16", "--precision"]),
    (["DEVICE.ATTENTION", "fast"], 2, ["DEVICE.ATTENTION must be auto, native or cudnn"]),
    (["DEVICE.TF32", "1"], 2, ["DEVICE.TF32 must be true or false"]),
])
@pytest.mark.parametrize("command", ["predict", "embed"])
def test_devices_that_cannot_be_had(bertft, golden, command, words, code, parts):
    error = bertft.fails(code, command, "-m", golden, *words, input="ok\n")
    assert all(part in error for part in parts), error


def test_old_cards_have_no_bf16(bertft, golden):
    old = {"BERTFT_SIM_CAPABILITY": "75"}
    error = bertft.fails(2, "predict", "-m", golden, "--device", "cudasim", "--precision", "bf16", env=old)
    assert "bf16 needs compute capability 8.0; this card has 7.5" in error
    assert bertft.ok("predict", "-m", golden, "--device", "cudasim", "--precision", "fp16", env=old, input="ok\n")


def test_training_has_no_fp16(bertft, tmp_path):
    error = bertft.fails(2, *training(tmp_path / "run"), "--precision", "fp16")
    assert "fp16 is for inference" in error
    assert "int8 is for inference" in bertft.fails(2, *training(tmp_path / "run"), "--precision", "int8")
    assert "must be fp32 or bf16" in bertft.fails(2, *training(tmp_path / "run", TRAIN__PRECISION="fp16"))


def test_a_cpu_trains_in_bf16(bertft, tmp_path):
    """Near fp32's losses: a factor is off by 2^-8 of itself at most, and a text's loss, of size 1, by some such roundings."""
    found = {}
    for precision in ("fp32", "bf16"):
        bertft.ok(*training(tmp_path / precision, TRAIN__LOG_EVERY=1), "--device", "cpu", "--precision", precision)
        found[precision] = losses(tmp_path / precision)
    assert found["bf16"] == pytest.approx(found["fp32"], abs=2**-5) and found["bf16"] != found["fp32"]
    error = bertft.fails(2, "train", "--resume", tmp_path / "bf16", "--precision", "fp32")
    assert "begun in bf16" in error
    assert "DEVICE.NAME cpu-bf16" in bertft.fails(2, *training(tmp_path / "run"), "--device", "cpu-bf16")
    assert not (tmp_path / "run").exists()


@pytest.fixture
def alone(bertft, tmp_path):
    """Runs a copy of the program that has only the given CUDA library beside it."""
    program = shutil.copy(bertft.path, tmp_path / "bertft")

    def run(library, *words):
        if library is not None:
            (tmp_path / "libbertft_cuda.so").write_bytes(library)
        return subprocess.run([program, *map(str, words)], input=b"ok\n", capture_output=True, cwd=ROOT, timeout=60)

    return run


def test_auto_is_the_cpu_without_a_library(bertft, golden, alone):
    done = alone(None, "predict", "-m", golden)
    assert done.returncode == 0 and done.stderr == b""
    assert done.stdout == bertft.ok("predict", "-m", golden, "--device", "cpu", input="ok\n")


def test_auto_says_why_it_is_the_cpu(golden, alone):
    done = alone(b"no library", "predict", "-m", golden)
    assert done.returncode == 0
    assert re.fullmatch(r"computing on the CPU, since the CUDA card can't be used: .*libbertft_cuda.so.*\n", done.stderr.decode())


@pytest.mark.parametrize("words", [["--precision", "fp16"], ["DEVICE.ATTENTION", "cudnn"]])
def test_auto_is_no_cpu_where_a_card_is_needed(golden, alone, words):
    done = alone(None, "predict", "-m", golden, *words)
    assert done.returncode == 2 and done.stderr.count(b"\n") == 1 and b"is for CUDA cards only" in done.stderr


# ---- The same answers, the same training ----

def rows(output):
    return [json.loads(line)["scores"] for line in output.decode().splitlines() if '"scores"' in line]


@pytest.mark.parametrize("precision, bound", [("fp32", 1e-5), ("bf16", 2**-6), ("fp16", 2**-9)])
def test_predict_on_the_shim(bertft, golden, precision, bound):
    """A score moves by less than a logit does: 1e-5 as in tests/golden; in 16 bits by some roundings of values of size 1."""
    words = ["predict", "-m", golden, "--format", "jsonl", "--scores", "all"]
    expected = rows(bertft.ok(*words, "--device", "cpu", input=TEXTS))
    found = rows(bertft.ok(*words, "--device", "cudasim", "--precision", precision, input=TEXTS))
    assert len(found) == len(expected) == 3
    for a, b in zip(found, expected):
        assert list(a.values()) == pytest.approx(list(b.values()), abs=bound)


def test_vectors_on_the_shim(bertft, golden):
    expected, found = (bertft.jsonl("embed", "-m", golden, "--device", device, input=TEXTS) for device in ("cpu", "cudasim"))
    assert len(found) == len(expected) == 4
    for a, b in zip(found, expected):
        assert a == pytest.approx(b, abs=1e-5)


def test_twenty_steps_of_the_demo(bertft, place, tmp_path):
    """On the shim as on the CPU. A forward's loss is off by 1e-5 at most (tests/golden); a gradient is too, so the weights are off by
    1e-5 of the way that they go, on which the loss changes by less than its size: as much again."""
    for device in ("cpu", "cudasim"):
        bertft.ok(*training(tmp_path / device, TRAIN__MAX_STEPS=20, TRAIN__LOG_EVERY=1, DATA__MAX_LENGTH=128, MODEL__WEIGHTS="checkpoints/mini-ru"), "--device", device)
    found, expected = losses(tmp_path / "cudasim"), losses(tmp_path / "cpu")
    assert len(found) == 20 and found == pytest.approx(expected, rel=2e-5)
    assert found != expected  # two backends have computed


@pytest.mark.parametrize("precision", ["fp32", "bf16"])
def test_graphs_change_no_bit(bertft, tmp_path, precision):
    """Most steps are started as graphs of earlier ones, with other batches; without graphs the run ends with the same weights."""
    weights = []
    for graphs in ("1", "0"):
        run = tmp_path / graphs
        result = bertft(*training(run, TRAIN__MAX_STEPS=30), "--device", "cudasim", "--precision", precision,
                        env={"BERTFT_CUDA_GRAPHS": graphs, "BERTFT_SIM_REPORT": "1"})
        assert result.returncode == 0, result.stderr
        replayed = re.search(r"replayed: graph: (\d+)", result.stderr.decode())
        assert (int(replayed[1]) >= 30) if graphs == "1" else (replayed is None)
        weights.append((run / "model.safetensors").read_bytes())
    assert weights[0] == weights[1]


# ---- Precision of a run ----

def test_a_run_keeps_its_precision(bertft, tmp_path):
    run = tmp_path / "run"
    bertft.ok(*training(run, TRAIN__MAX_STEPS=4), "--device", "cudasim", "--precision", "bf16")
    assert "PRECISION: bf16" in (run / "config.yaml").read_text()
    error = bertft.fails(2, "train", "--resume", run, "--device", "cudasim", "--precision", "fp32")
    assert "begun in bf16" in error and "new run" in error
    result = bertft("train", "--resume", run, "--device", "cpu")  # in bf16 there too
    assert result.returncode == 0 and "goes on with cpu-" in result.stderr.decode()
    assert "-bf16: the last bits will differ; --device cudasim keeps them" in result.stderr.decode()
    assert bertft.ok("predict", "-m", run, "--device", "cpu", input="ok\n")  # read in fp32 by anyone


def test_another_device_is_named_without_its_precision(bertft, tmp_path):
    run = tmp_path / "run"
    bertft.ok(*training(run, TRAIN__MAX_STEPS=3), "--device", "cudasim")
    result = bertft("train", "--resume", run, "--device", "cpu")
    assert result.returncode == 0 and "computed by cudasim" in result.stderr.decode() and "--device cudasim keeps" in result.stderr.decode()


# ---- Memory ----

def test_out_of_memory_says_what_would_fit(bertft, tmp_path):
    small = {"BERTFT_SIM_MEMORY": "190"}
    changes = {"MODEL__WEIGHTS": "checkpoints/mini-ru", "TRAIN__MAX_STEPS": 1, "DATA__MAX_LENGTH": 128}
    command = training(tmp_path / "run", TRAIN__BATCH_SIZE=64, **changes)
    error = bertft.fails(1, *command, "--device", "cudasim", env=small)
    advice = re.search(r"(\d+) MB asked for, (\d+) of 190 MB are free; TRAIN.BATCH_SIZE (\d+) with TRAIN.ACCUMULATE (\d+), or "
                       r"TRAIN.PRECISION bf16 and TRAIN.BATCH_SIZE (\d+) with TRAIN.ACCUMULATE (\d+) would fit$", error)
    assert advice, error
    asked, free, batch, accumulate, batch16, accumulate16 = map(int, advice.groups())
    assert asked > free and batch * accumulate == batch16 * accumulate16 == 64 and batch16 > batch
    command = training(tmp_path / "run", TRAIN__BATCH_SIZE=batch, **changes)
    bertft.ok(*command, "--device", "cudasim", env=small)


def test_not_even_one_text_fits(bertft, tmp_path):
    command = training(tmp_path / "run", MODEL__WEIGHTS="checkpoints/mini-ru", DATA__MAX_LENGTH=128)
    error = bertft.fails(1, *command, "--device", "cudasim", env={"BERTFT_SIM_MEMORY": "120"})
    assert error.endswith("not one text would fit beside the model and its optimizer; a shorter DATA.MAX_LENGTH needs less")


# ---- Faults ----

def launches(result):
    return int(re.search(r"cudasim: launches: (\d+)", result.stderr.decode())[1])


def errors(result):
    """Of stderr the error lines: AddressSanitizer remarks on the shim's fibers there."""
    return [line for line in result.stderr.decode().splitlines() if line.startswith("bertft: error: ")]


def test_a_launch_that_fails_while_predicting(bertft, golden):
    words = ["predict", "-m", golden, "--device", "cudasim"]
    total = launches(bertft(*words, input=TEXTS, env={"BERTFT_SIM_REPORT": "1"}))
    for number in (1, total // 2, total):
        result = bertft(*words, input=TEXTS, env={FAULT: str(number)})
        assert result.returncode == 1 and len(errors(result)) == 1
        assert re.fullmatch("bertft: error: cuda: .* could not be started: " + FAULT, errors(result)[0])


def test_an_allocation_that_fails_while_predicting(bertft, golden):
    """The table of words is all that predict can do without."""
    words = ["predict", "-m", golden, "--device", "cudasim"]
    expected, failed = bertft.ok(*words, input=TEXTS), 0
    for number in range(1, 12):
        result = bertft(*words, input=TEXTS, env={"BERTFT_SIM_FAIL_ALLOC": str(number)})
        if result.returncode == 0:
            assert result.stdout == expected and not errors(result)
        else:
            failed += 1
            assert result.returncode == 1 and len(errors(result)) == 1 and "out of memory" in errors(result)[0]
    assert 3 < failed < 11


@pytest.fixture(scope="module")
def undisturbed(bertft, tmp_path_factory):
    """The weights of a run on the shim, and how many launches it took."""
    run = tmp_path_factory.mktemp("device") / "undisturbed"
    result = bertft(*training(run), "--device", "cudasim", env={"BERTFT_SIM_REPORT": "1"})
    assert result.returncode == 0, result.stderr
    return (run / "model.safetensors").read_bytes(), launches(result)


@pytest.mark.parametrize("share", [0.3, 0.6, 0.95])
def test_a_launch_that_fails_while_training(bertft, tmp_path, undisturbed, share):
    """One line, and what was saved is good: the run goes on from there to the same bytes."""
    run = tmp_path / "run"
    result = bertft(*training(run), "--device", "cudasim", env={FAULT: str(int(share * undisturbed[1]))})
    assert result.returncode == 1 and len(errors(result)) == 1 and FAULT in errors(result)[0]
    assert (run / "checkpoint" / "last").exists() == (share > 0.5)
    bertft.ok("train", "--resume", run, "--device", "cudasim")
    assert (run / "model.safetensors").read_bytes() == undisturbed[0]


def test_an_allocation_that_fails_while_training(bertft, tmp_path, undisturbed):
    for number in (2, 4, 8, 12):
        error = errors(bertft(*training(tmp_path / "run"), "--device", "cudasim", env={"BERTFT_SIM_FAIL_ALLOC": str(number)}))
        assert len(error) == 1 and "out of memory" in error[0]
    bertft.ok(*training(tmp_path / "run"), "--overwrite", "--device", "cudasim")
    assert (tmp_path / "run" / "model.safetensors").read_bytes() == undisturbed[0]
