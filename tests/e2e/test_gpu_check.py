"""scripts/gpu-check.sh where there is no card, and with a card that the host shim plays."""
import argparse
import importlib.util
import json
import os
import pathlib
import shutil
import subprocess
import sys

import pytest

OPS = ["adamw", "attention", "linear"]  # of which the played compute-sanitizer complains about one


@pytest.fixture
def run(bertft, tmp_path):
    """The report of a run, whose exit code must be `expect`."""

    def run(*arguments, expect=0, **env):
        environment = {**os.environ, "BUILD": os.path.dirname(bertft.path), "OUT": str(tmp_path), **env}
        done = subprocess.run(["sh", "scripts/gpu-check.sh", *arguments], cwd=bertft.root, env=environment, timeout=120,
                              stdout=subprocess.PIPE, stderr=subprocess.STDOUT)
        assert done.returncode == expect, done.stdout.decode()
        return json.loads((tmp_path / "report.json").read_text())

    return run


@pytest.fixture
def module(bertft):
    spec = importlib.util.spec_from_file_location("gpu_check", bertft.root / "scripts" / "gpu-check.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def script(path, text):
    path.write_text(f"#!/bin/sh\n{text}\n")
    path.chmod(0o755)


def test_without_a_card_every_step_goes_up_to_the_device(run):
    report = run("--dry-run", "--quick")
    steps = {step["step"]: step for step in report["steps"]}
    on_device = [name for name, step in steps.items() if step["result"] == "needs a device"]
    assert report["dry_run"]
    assert {"op table, cuda", "golden, cuda", "train tiny, batch 32, cuda", "infer tiny, 16k tokens, cuda"} <= set(on_device)
    assert all("cuda" in steps[name]["why"] for name in on_device if "rehearsed" in steps[name])
    assert " 0 failed" in steps["op table, cuda"]["rehearsed"]["output"]
    assert " 0 failed" in steps["golden, cuda"]["rehearsed"]["output"]
    assert not report["speeds"] and not report["targets"]


def test_what_is_missing_is_said(run, tmp_path):
    tools = tmp_path / "bin"
    tools.mkdir()
    for name in ("sh", "dirname", "timeout"):
        (tools / name).symlink_to(shutil.which(name))
    (tools / "python3").symlink_to(sys.executable)
    report = run(BUILD=str(tmp_path), PATH=str(tools), expect=1)
    failed = [step for step in report["steps"] if step["result"] == "failed"]
    assert [step["step"] for step in failed] == ["programs"]
    assert "lacks bertft, ops, golden, infer" in failed[0]["why"] and "make" in failed[0]["why"]


@pytest.fixture
def played(bertft, module, tmp_path, monkeypatch):
    """A check on a card that is the shim, of a kind and with a model that are small enough."""
    build, tools = pathlib.Path(bertft.path).parent, tmp_path / "bin"
    (tmp_path / "gpu").mkdir()
    tools.mkdir()
    for name in module.PROGRAMS:
        shutil.copy(build / "gpu" / name, tmp_path / "gpu")
    shutil.copy(build / "libbertft_cudasim.so", tmp_path / "gpu")
    script(tools / "nvidia-smi", "echo NVIDIA H100 80GB HBM3, 9.0, 580.1, 81559 MiB")
    script(tools / "compute-sanitizer", 'case "$*" in *attention*) echo "Error: a hazard"; exit 9 ;; esac')
    monkeypatch.setenv("PATH", f"{tools}:{os.environ['PATH']}")
    monkeypatch.setenv("BUILD", str(tmp_path))
    monkeypatch.setenv("OUT", str(tmp_path))
    for name, value in {"BACKENDS": ["cudasim"], "TEXTS": 8, "BATCHES": {"batch 32": 2}, "STEPS": 11,
                        "PASSES": 1}.items():
        monkeypatch.setattr(module, name, value)
    check = module.Check(argparse.Namespace(dry_run=False, quick=True, arch="sm_80"))
    check.machine()
    return check


def test_with_a_card_speeds_are_measured(played, tmp_path):
    played.find_backends()
    played.speed("tiny")
    report = json.loads((tmp_path / "report.json").read_text())
    assert report["machine"]["architecture"] == "sm_90" and not report["dry_run"]
    assert not [step for step in report["steps"] if step["result"] == "failed"]
    for what in ("train", "infer"):
        assert played.report["speeds"]["tiny"][what]["batch 32"]["cudasim"] > 0
    assert not (tmp_path / "gpu" / "material" / "tiny").exists()


def test_a_complaint_of_the_sanitizer_fails_its_step_and_names_the_op(played, tmp_path):
    played.backends = ["cudasim"]
    played.sanitize("racecheck")
    step = json.loads((tmp_path / "report.json").read_text())["steps"][-1]
    assert step["result"] == "failed" and step["why"] == "attention, cudasim: Error: a hazard"
    assert {f"{op}, cudasim" for op in OPS} <= set(step["seconds"])


def test_speeds_are_held_against_the_fastest_of_the_peer(played, tmp_path):
    (tmp_path / "texts.tsv").write_text("text\tlabel\n" + "a b c\tclass0\n" * 4)
    speeds = {"train": {"16k tokens": {"cuda": 1e5, "cuda-bf16": 1.5e6}}, "infer": {}, "logits": {"cuda": [0.25, 1.0]},
              "PyTorch": {"train": {"16k tokens": {"a": 2e5, "b": 3e5, "c": "out of memory"}}, "infer": {},
                          "logits": [0.25, 0.5]}}
    played.hold_against("LaBSE", tmp_path, speeds)
    ratio, share = played.report["targets"]
    assert ratio["measured"] == 5 and ratio["met"]
    # 5 tokens a text; a layer has 12 products of 768 x 768 a token, the last one 2 of them for every token, 10 for the first
    channels = 768
    layer = 5 * 12 * channels**2 + 2 * 25 * channels
    last = 5 * 2 * channels**2 + 10 * channels**2 + 2 * 5 * channels
    flops = 6 * (11 * layer + last + channels**2 + 6 * channels) / 5
    assert share["measured"] == pytest.approx(1.5e6 * flops / 989e12, abs=1e-3)
    assert speeds["largest difference of logits to PyTorch's in fp32"] == {"cuda": 0.5}
