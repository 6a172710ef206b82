"""What goes wrong at the command line: exit codes, one line each, nothing half done."""
import json
import os
import shutil
import stat
import subprocess

import pytest

NOBODY = 65534


@pytest.mark.parametrize("words, code, parts", [
    ([], 2, ["--help"]),
    (["pridict"], 2, ["pridict", "predict"]),
    (["predict", "--fromat", "csv"], 2, ["--fromat", "--format"]),
    (["predict", "--format", "xml"], 2, ["xml", "table, tsv, csv or jsonl"]),
    (["predict", "--format"], 2, ["--format", "value"]),
    (["predict", "--scores", "some"], 2, ["some", "all, top or raw"]),
    (["predict", "--threads", "many"], 2, ["many", "number"]),
    (["predict", "--precision", "fp8"], 2, ["fp8", "fp32"]),
    (["predict", "-m", "{golden}", "--device", "abacus"], 2, ["abacus", "cpu"]),
    (["predict", "-m", "{golden}", "SEED"], 2, ["SEED needs a value"]),
    (["train", "configs/params.yaml", "OPTIM.LR=1"], 2, ["'OPTIM.LR=1'", "OPTIM.LR 1"]),
    (["predict", "-m", "{golden}", "README.md", "Makefile"], 2, ["README.md Makefile", "FILE"]),
    (["config", "DATA", "3"], 2, ["DATA is a group"]),
    (["predict", "-m", "{golden}", "DIALOG.NEGATVE", "x"], 2, ["DIALOG.NEGATVE", "DIALOG.NEGATIVE"]),
    (["predict", "-m", "{golden}", "DATA.MAX_LENGTH", "2"], 2, ["DATA.MAX_LENGTH", "2"]),
    (["predict", "-m", "{golden}", "no-such-file"], 2, ["no-such-file", "No such file"]),
    (["predict", "-m", "{golden}", "tests"], 2, ["tests", "folder"]),
    (["predict", "-m", "no-such-run"], 2, ["no-such-run", "folder"]),
    (["predict", "{golden}"], 2, ["folder", "predict -m"]),
    (["eval", "data/support-ru/test.tsv"], 2, ["eval --data data/support-ru/test.tsv"]),
    (["config", "DIALOG.NEGATIVE", "anger"], 2, ["DIALOG.NEGATIVE must be a list", "not 'anger'", "['a']"]),
    (["eval", "no-such-run"], 2, ["no-such-run"]),
    (["eval", "{golden}", "--data", "no-such-file.tsv"], 2, ["no-such-file.tsv"]),
    (["embed", "-m", "{golden}", "--pooling", "max"], 2, ["max", "cls, mean, pooler or sentence"]),
    (["embed", "-m", "{golden}", "words"], 2, ["words"]),
    (["tokenize", "-m", "tests"], 2, ["tests"]),
    (["tokenize", "-m", "{golden}", "--tokens=yes"], 2, ["--tokens"]),
])
def test_one_line_and_a_code(bertft, golden, words, code, parts):
    error = bertft.fails(code, *[word.format(golden=golden) for word in words])
    for part in parts:
        assert part in error


@pytest.mark.parametrize("library, code, parts", [
    (None, 2, ["libbertft_cuda.so", "`make cuda` builds it"]),
    (b"no library", 1, ["libbertft_cuda.so: cannot be opened"]),
])
def test_cuda_without_its_library(bertft, golden, tmp_path, library, code, parts):
    """A copy of the program has only this library beside it, whatever else was built."""
    program = shutil.copy(bertft.path, tmp_path / "bertft")
    if library is not None:
        (tmp_path / "libbertft_cuda.so").write_bytes(library)
    result = subprocess.run([program, "predict", "-m", golden, "--device", "cuda"], input=b"ok\n", capture_output=True,
                            cwd=bertft.root, timeout=60)
    error = result.stderr.decode()
    assert result.returncode == code and error.startswith("bertft: error: ") and error.count("\n") == 1
    assert all(part in error for part in parts)
    info = subprocess.check_output([program, "info"], cwd=bertft.root, text=True)
    line = [line for line in info.splitlines() if line.startswith("CUDA ")]
    assert len(line) == 1 and all(part in line[0] for part in parts)


@pytest.mark.parametrize("command", ["predict", "eval", "embed", "tokenize"])
def test_help(bertft, command):
    text = bertft.ok(command, "--help").decode()
    assert text.startswith(f"usage: bertft {command}") and f"\n  " in text and "bertft" in text.splitlines()[-1]
    assert all(len(line) <= 120 for line in text.splitlines())


@pytest.mark.parametrize("text, place", [
    (b'{"text": "ok"}\n{"text": 5}\n', "<stdin>:2: "),
    (b'{"text": "ok"}\n["text"]\n', "<stdin>:2: "),
    (b'{"text": "ok"}\nok\n', "<stdin>:2: "),
    (b'{"text": "ok"}\n \r\n', '<stdin>:2: the line is blank; an object with a string "text" is expected'),
    (b'{"text": "ok"}\n{"text": "a", "text": "b"}\n', "<stdin>:2: "),
    (b'{"text": "ok"}\n{"text": "\xff"}\n', "<stdin>:2: "),
    (b'{"text": "ok"}\n' + b"[" * 100_000, "<stdin>:2: "),
])
@pytest.mark.parametrize("command", [["predict", "--lines", "--format", "jsonl"], ["embed"], ["tokenize"]])
def test_bad_json_lines(bertft, golden, command, text, place):
    """Named by their line; what came before is answered."""
    result = bertft(*command, "-m", golden, "--input", "jsonl", input=text)
    assert result.returncode == 2
    error = result.stderr.decode()
    assert error.startswith("bertft: error: " + place) and error.count("\n") == 1
    assert len(result.stdout.splitlines()) == 1


def test_damaged_gzip(bertft, golden, tmp_path):
    path = tmp_path / "damaged.gz"
    path.write_bytes(b"\x1f\x8b\x08\x00" + b"\x00" * 6 + b"\xff" * 40)
    assert str(path) in bertft.fails(2, "predict", "-m", golden, path)


@pytest.mark.parametrize("command", [["predict"], ["embed"], ["tokenize"], ["eval", "--json", "--data", "{data}"]])
class TestOutput:
    @pytest.fixture
    def arguments(self, command, golden, tmp_path):
        data = tmp_path / "data.tsv"
        data.write_text("text\tlabel\n" + "ok\tanger\n" * 50)
        folder = [golden] if command[0] == "eval" else ["-m", golden]
        return [command[0], *folder, *[word.format(data=data) for word in command[1:]]]

    def test_full_disk(self, bertft, arguments):
        with open("/dev/full", "wb") as full:
            assert "<stdout>" in bertft.fails(1, *arguments, input="ok\n", stdout=full)

    def test_closed_stdout(self, bertft, arguments):
        shell = subprocess.run(["sh", "-c", '"$@" >&-', "sh", bertft.path, *map(str, arguments)], input=b"ok\n",
                               stderr=subprocess.PIPE, cwd=bertft.root, timeout=60)
        assert shell.returncode == 1
        assert shell.stderr.startswith(b"bertft: error: <stdout>") and shell.stderr.count(b"\n") == 1

    def test_reader_that_leaves(self, bertft, arguments):
        read, write = os.pipe()
        os.close(read)
        result = bertft(*arguments, input="ok\n" * 1000, stdout=write)
        os.close(write)
        assert result.returncode in (0, 141) and b"error" not in result.stderr


def test_head_ends_an_endless_stream(bertft, golden):
    """`yes | bertft predict | head -1` comes to an end, quietly."""
    script = f'yes ok | "$1" predict -m "$2" --lines | head -1'
    result = subprocess.run(["sh", "-c", script, "sh", bertft.path, str(golden)], capture_output=True, cwd=bertft.root,
                            timeout=60)
    assert result.stdout == b"line\tlabel\tscore\ttext\n" and result.stderr == b""


def test_closed_stdin(bertft, golden):
    shell = subprocess.run(["sh", "-c", '"$1" predict -m "$2" <&-', "sh", bertft.path, str(golden)],
                           capture_output=True, cwd=bertft.root, timeout=60)
    assert shell.returncode == 2 and shell.stderr.count(b"\n") == 1


def unprivileged():
    os.setgroups([])
    os.setgid(NOBODY)
    os.setuid(NOBODY)


def test_reads_a_folder_that_it_may_not_write(bertft, golden, tmp_path):
    """Root may write everywhere, so an unprivileged child looks at a read-only copy."""
    assert os.getuid() == 0 or not os.access("/", os.W_OK)
    folder = open_to_all(golden, tmp_path)
    before = sorted(path.name for path in folder.iterdir())
    child = unprivileged if os.getuid() == 0 else None
    result = bertft("predict", "-m", folder, "--format", "jsonl", input="ok\n", preexec_fn=child, cwd="/")
    assert result.returncode == 0, result.stderr
    assert len(result.stdout.splitlines()) == 2
    assert sorted(path.name for path in folder.iterdir()) == before


def test_a_model_that_it_may_not_read(bertft, golden, tmp_path):
    folder = open_to_all(golden, tmp_path)
    (folder / "model.safetensors").chmod(0)
    child = unprivileged if os.getuid() == 0 else None
    result = bertft("predict", "-m", folder, input="ok\n", preexec_fn=child, cwd="/")
    assert result.returncode == 2 and result.stderr.count(b"\n") == 1
    assert b"model.safetensors" in result.stderr and b"Permission denied" in result.stderr


def open_to_all(golden, tmp_path):
    """A read-only copy of the golden model that anyone reaches, and the program beside it."""
    for parent in [tmp_path, *tmp_path.parents]:
        if parent.stat().st_uid == os.getuid() and str(parent) != "/":
            parent.chmod(parent.stat().st_mode | stat.S_IXOTH | stat.S_IROTH)
    folder = tmp_path / "read-only"
    shutil.copytree(golden, folder)
    for path in [*folder.iterdir(), folder]:
        path.chmod(0o555 if path.is_dir() else 0o444)
    return folder


@pytest.mark.parametrize("damage, name", [
    (lambda f: (f / "config.json").write_text("{"), "config.json"),
    (lambda f: (f / "config.json").unlink(), "config.json"),
    (lambda f: (f / "model.safetensors").write_bytes(b"\xff" * 100), "model.safetensors"),
    (lambda f: (f / "model.safetensors").unlink(), "model"),
    (lambda f: (f / "tokenizer.json").write_text('{"model": {"type": "BPE"}}'), "tokenizer.json"),
])
@pytest.mark.parametrize("command", ["predict", "embed"])
def test_damaged_models(bertft, edited, command, damage, name):
    folder = edited()
    damage(folder)
    assert name in bertft.fails(2, command, "-m", folder, input="ok\n")


def test_a_tokenizer_larger_than_the_model(bertft, edited):
    folder = edited()
    path = folder / "tokenizer.json"
    content = json.loads(path.read_text())
    content["model"]["vocab"]["лишнее"] = 110
    path.write_text(json.dumps(content))
    assert "111 tokens" in bertft.fails(2, "predict", "-m", folder, input="ok\n")


def test_a_folder_without_a_classifier(bertft, edited):
    folder = edited(architectures=["BertModel"])
    data = bytearray((folder / "model.safetensors").read_bytes())
    size = int.from_bytes(data[:8], "little")
    header = json.loads(data[8:8 + size])
    body = data[8 + size:]
    moved, packed = {}, b""
    for name, entry in header.items():
        if name != "__metadata__" and not name.startswith("classifier"):
            first, last = entry["data_offsets"]
            moved[name] = {**entry, "data_offsets": [len(packed), len(packed) + last - first]}
            packed += body[first:last]
    text = json.dumps(moved).encode()
    (folder / "model.safetensors").write_bytes(len(text).to_bytes(8, "little") + text + packed)
    error = bertft.fails(2, "predict", "-m", folder, input="ok\n")
    assert "classifier" in error
    assert len(bertft.jsonl("embed", "-m", folder, input="ok\n")[0]) == 20


@pytest.mark.parametrize("task", ["TokenClassification", "MultipleChoice"])
def test_a_classifier_for_another_task(bertft, edited, task):
    """Its tensors have the names of a classifier of texts; architectures says that they aren't one."""
    folder = edited(architectures=[f"BertFor{task}"])
    assert "no classifier" in bertft.fails(2, "predict", "-m", folder, input="ok\n")
    result = bertft("embed", "-m", folder, input="ok\n")
    assert result.returncode == 0 and len(json.loads(result.stdout)) == 20
    assert result.stderr.decode() == f"bertft: warning: {folder}: its classifier is one for {task} and is not read\n"
