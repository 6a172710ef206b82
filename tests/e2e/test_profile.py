"""--profile: a row an op, times that add up to the whole, and the same bytes as without."""
import pathlib
import re

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
STEPS = 6
TEXTS = "Спасибо, всё работает\nОпять не работает интернет\n"
ROW = re.compile(r"(?P<op>\S.*?)  +(?P<pass>forward|backward|both|update)? +(?P<calls>\d+) +(?P<ms>\d+\.\d) +(?P<share>\d+\.\d) %"
                 r" +(?P<rate>\d+\.\d) (?P<unit>GFLOP/s|GB/s)( +(?P<peak>\d+\.\d) %)?\s*")
REST = re.compile(r"outside the ops +-?(?P<ms>\d+\.\d) +-?(?P<share>\d+\.\d) %")
TRAINED = {("attention", "forward"), ("attention", "backward"), ("residual_norm", "forward"), ("residual_norm", "backward"),
           ("embed", "forward"), ("embed", "backward"), ("loss", "both"), ("mask", "both"), ("norm", "update"),
           ("adamw", "update"), ("adamw_rows", "update"), ("gather", "forward"), ("casts", None), ("fill_zero", None)}


def read(text):
    """The table's rows by op and pass, and the seconds of the whole."""
    head, table = text.split("\nprofile: ")[1].split("\nop  ", 1)
    lines = table.splitlines()[1:]
    rows = {}
    for line in lines[:-1]:
        row = ROW.fullmatch(line)
        assert row, line
        assert (row["op"], row["pass"]) not in rows
        rows[row["op"], row["pass"]] = row
    rest = REST.fullmatch(lines[-1])
    assert rest, lines[-1]
    whole = float(re.search(r"([\d.]+) s\n", head + "\n")[1])
    shares = [float(row["share"]) for row in [*rows.values(), rest]]
    times = [float(row["ms"]) for row in [*rows.values(), rest]]
    assert sum(shares) == pytest.approx(100, abs=0.06 * len(shares))
    assert sum(times) == pytest.approx(1000 * whole, abs=0.06 * len(times) + 1)
    assert times[:-1] == sorted(times[:-1], reverse=True)
    return rows, head


def train(bertft, golden, run, device, *words):
    result = bertft("train", ROOT / "configs" / "params.yaml", "MODEL.WEIGHTS", golden, "TRAIN.MAX_STEPS", STEPS,
                    "TRAIN.BATCH_SIZE", 4, "DATA.MAX_LENGTH", 16, "DATA.VALID", "None", "DATA.VALID_FRACTION", 0,
                    "TRAIN.METRIC", "accuracy", "OUTPUT_DIR", run, "--device", device, *words, cwd=run.parent)
    assert result.returncode == 0, result.stderr.decode()
    return result.stderr.decode(), (run / "model.safetensors").read_bytes()


@pytest.fixture(params=["cpu", "cudasim"])
def device(request):
    return request.param


@pytest.fixture
def folder(tmp_path):
    (tmp_path / "data").symlink_to(ROOT / "data")
    return tmp_path


def test_training(bertft, golden, folder, device):
    plain, weights = train(bertft, golden, folder / "plain", device)
    text, timed_weights = train(bertft, golden, folder / "timed", device, "--profile")
    assert timed_weights == weights and "profile:" not in plain
    rows, head = read(text)
    assert TRAINED <= rows.keys()
    assert rows["adamw", "update"]["calls"] == rows["loss", "both"]["calls"] == str(STEPS)
    linear = {(name, direction) for name, direction in rows if name.startswith("linear ")}
    assert {name for name, _ in linear} == {name for name, direction in linear if direction == "backward"}
    assert all(rows[key]["unit"] == "GFLOP/s" for key in linear) and any(name.endswith(" gelu") for name, _ in linear)
    assert rows["attention", "backward"]["unit"] == "GFLOP/s" and rows["adamw", "update"]["unit"] == "GB/s"
    remote = device == "cudasim"
    assert ("waited for" in head) == remote and ("peak, measured" in head) == (not remote)
    assert all((row["peak"] is None) == remote for row in rows.values())


@pytest.mark.parametrize("words, input", [
    (["predict", "--format", "tsv", "-m"], TEXTS),
    (["embed", "-m"], TEXTS),
    (["eval", "--json", "--data", "TESTS"], ""),
])
def test_inference(bertft, golden, trained, tmp_path, device, words, input):
    words = [str(ROOT / "data" / "support-ru" / "test.tsv") if word == "TESTS" else word for word in words]
    words += [trained if words[0] == "eval" else golden, "--device", device]
    plain, timed = bertft(*words, input=input), bertft(*words, "--profile", input=input)
    assert plain.returncode == timed.returncode == 0, timed.stderr.decode()
    assert timed.stdout == plain.stdout and b"profile:" not in plain.stderr
    rows, _ = read(timed.stderr.decode())
    assert ("attention", "forward") in rows and not any(direction == "backward" for _, direction in rows)


def test_a_comma_in_the_locale_changes_nothing(bertft, golden):
    result = bertft("embed", "-m", golden, "--profile", input=TEXTS, env={"LC_ALL": "ru_RU.UTF-8"})
    assert result.returncode == 0 and read(result.stderr.decode())


def test_rows_say_what_was_multiplied(bertft, golden, folder, trained):
    """bf16 in training, int8 for inference, and the machine's peak in each where it has one."""
    text, _ = train(bertft, golden, folder / "rounded", "cpu", "--profile", "--precision", "bf16")
    rows, _ = read(text)
    assert all(name.endswith(" bf16") for name, _ in rows if name.startswith("linear "))
    result = bertft("predict", "-m", trained, "--lines", "--device", "cpu", "--precision", "int8", "--profile", input=TEXTS)
    rows, _ = read(result.stderr.decode())
    assert any(name.endswith(" int8") for name, _ in rows)
