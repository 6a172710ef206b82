"""What the end-to-end tests share: the program, the small models, a run trained once."""
import json
import os
import pathlib
import shutil
import subprocess

import pytest

ROOT = pathlib.Path(__file__).resolve().parents[2]
BERTFT = os.path.abspath(os.environ.get("BERTFT", ROOT / "build" / "bertft"))
SECONDS = 120


class Bertft:
    """Runs the program from the repository's root, as its users do."""

    path = BERTFT
    root = ROOT

    def __call__(self, *arguments, input=b"", env=None, cwd=ROOT, **more):
        if isinstance(input, str):
            input = input.encode()
        if "stdin" not in more:
            more["input"] = input
        more.setdefault("stdout", subprocess.PIPE)
        more.setdefault("stderr", subprocess.PIPE)
        command = [BERTFT, *map(str, arguments)]
        return subprocess.run(command, env={**os.environ, **(env or {})}, cwd=cwd, timeout=SECONDS, **more)

    def ok(self, *arguments, **more):
        """The output of a run that must succeed."""
        result = self(*arguments, **more)
        assert result.returncode == 0, result.stderr.decode(errors="replace")
        return result.stdout

    def jsonl(self, *arguments, **more):
        return [json.loads(line) for line in self.ok(*arguments, **more).decode().split("\n")[:-1]]

    def fails(self, code, *arguments, **more):
        """The message of a run that must fail with this code, and with one line on stderr."""
        result = self(*arguments, **more)
        text = result.stderr.decode()
        assert result.returncode == code, (result.returncode, text)
        errors = [line for line in text.splitlines() if not line.startswith("bertft: warning: ")]
        assert len(errors) == 1 and errors[0].startswith("bertft: error: "), text
        return errors[0][len("bertft: error: "):]


@pytest.fixture(scope="session")
def bertft():
    return Bertft()


@pytest.fixture(scope="session")
def golden():
    """A tiny random BERT with a classifier of five labels, written by transformers."""
    return ROOT / "tests" / "golden" / "bert"


@pytest.fixture(scope="session")
def place(tmp_path_factory):
    """A folder to train in, which has the repository's data: checkpoints/latest is set in it, not in the repository."""
    folder = tmp_path_factory.mktemp("place")
    (folder / "data").symlink_to(ROOT / "data")
    return folder


@pytest.fixture(scope="session")
def trained(bertft, golden, place):
    """A run of twenty steps, in `place`."""
    run = place / "runs" / "trained"
    bertft.ok("train", ROOT / "configs" / "params.yaml", "MODEL.WEIGHTS", golden, "TRAIN.MAX_STEPS", 20, "OUTPUT_DIR",
              run, cwd=place)
    return run


@pytest.fixture
def edited(golden, tmp_path):
    """Makes a copy of the golden model with other values in its config.json."""

    def edit(**values):
        folder = tmp_path / "model"
        shutil.copytree(golden, folder)
        path = folder / "config.json"
        path.write_text(json.dumps({**json.loads(path.read_text()), **values}))
        return folder

    return edit
