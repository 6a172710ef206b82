"""A run that is killed at any moment and resumed ends in the same bytes as one that isn't; threads, EVAL_EVERY, SAVE_EVERY and
interrupts change nothing either."""

import os
import random
import signal
import subprocess
import time

import pytest

ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
BERTFT = os.path.abspath(os.environ.get("BERTFT", os.path.join(ROOT, "build", "bertft")))
KILLS = int(os.environ.get("BERTFT_KILLS", "6"))
SETTINGS = {"TRAIN.EPOCHS": "2", "TRAIN.EVAL_EVERY": "10", "TRAIN.SAVE_EVERY": "5", "OPTIM.LR": "1e-3"}


def command(run, *options, **changes):
    settings = SETTINGS | {key.replace("__", "."): value for key, value in changes.items()} | {"OUTPUT_DIR": str(run)}
    pairs = [word for pair in settings.items() for word in pair]
    return [BERTFT, "train", "configs/params.yaml", *pairs, *options]


def weights(run):
    with open(os.path.join(run, "model.safetensors"), "rb") as file:
        return file.read()


@pytest.fixture(scope="module")
def project(tmp_path_factory):
    """The project's configs, data and models in a folder of its own, so that checkpoints/latest isn't touched."""
    folder = tmp_path_factory.mktemp("project")
    for name in ("configs", "data"):
        os.symlink(os.path.join(ROOT, name), folder / name)
    os.mkdir(folder / "checkpoints")
    os.symlink(os.path.join(ROOT, "checkpoints", "mini-ru"), folder / "checkpoints" / "mini-ru")
    return folder


@pytest.fixture(scope="module")
def straight(project):
    """The bytes of an undisturbed run, and how long it took."""
    started = time.monotonic()
    subprocess.run(command("straight"), cwd=project, check=True, capture_output=True)
    return weights(project / "straight"), time.monotonic() - started


def test_killed_and_resumed(project, straight):
    random.seed(7)
    for number in range(KILLS):
        run = project / f"killed-{number}"
        process = subprocess.Popen(command(run), cwd=project, stderr=subprocess.DEVNULL)
        time.sleep(random.uniform(0, straight[1]))
        process.kill()
        process.wait()
        again = [BERTFT, "train", "--resume", str(run)] if (run / "config.yaml").exists() else command(run)
        subprocess.run(again, cwd=project, check=True, capture_output=True)
        assert weights(run) == straight[0], f"kill {number}"


@pytest.mark.parametrize("options, changes", [(["--threads", "1"], {}), (["--threads", "3"], {}),
                                              ([], {"TRAIN__SAVE_EVERY": "1"}), ([], {"TRAIN__SAVE_EVERY": "1000"})])
def test_nothing_that_may_not_matter_does(project, straight, options, changes):
    run = project / "-".join(["same", *options, *changes, *changes.values()])
    subprocess.run(command(run, *options, **changes), cwd=project, check=True, capture_output=True)
    assert weights(run) == straight[0]


def test_evaluating_more_often_changes_no_weight(project):
    """With a validation loss that falls all along, the best is the last step, whatever EVAL_EVERY is."""
    runs = []
    for every in ("7", "0"):
        run = project / f"every-{every}"
        changed = command(run, TRAIN__EVAL_EVERY=every, TRAIN__METRIC="loss", TRAIN__EPOCHS="1", OPTIM__LR="2e-4")
        subprocess.run(changed, cwd=project, check=True, capture_output=True)
        runs.append(weights(run))
    assert runs[0] == runs[1]


def test_interrupt_saves_and_says_how_to_go_on(project, straight):
    run = project / "interrupted"
    process = subprocess.Popen(command(run), cwd=project, stderr=subprocess.PIPE, text=True)
    while not (run / "checkpoint" / "last").exists() and process.poll() is None:
        time.sleep(0.01)
    process.send_signal(signal.SIGINT)
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert f"bertft train --resume {run}" in said.splitlines()[-1]
    subprocess.run([BERTFT, "train", "--resume", str(run)], cwd=project, check=True, capture_output=True)
    assert weights(run) == straight[0]


def test_a_damaged_checkpoint_is_refused(project):
    run = project / "damaged"
    subprocess.run(command(run, TRAIN__MAX_STEPS="6"), cwd=project, check=True, capture_output=True)
    path = run / "checkpoint" / "last"
    data = bytearray(path.read_bytes())
    data[len(data) // 2] ^= 1
    path.write_bytes(data)
    result = subprocess.run([BERTFT, "train", "--resume", str(run)], cwd=project, capture_output=True, text=True)
    assert result.returncode == 2
    assert "damaged" in result.stderr and len(result.stderr.splitlines()) == 1


def test_a_run_is_not_overwritten_by_accident(project, straight):
    result = subprocess.run(command("straight"), cwd=project, capture_output=True, text=True)
    assert result.returncode == 2 and "--overwrite" in result.stderr
    assert weights(project / "straight") == straight[0]


def said(result):
    return result.stderr.decode().splitlines()


def edit(path, old, new):
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))


@pytest.fixture
def stopped(project, request):
    """A run that was stopped in its middle by being killed after its first checkpoint."""
    run = project / f"stopped-{request.node.name}"
    process = subprocess.Popen(command(run), cwd=project, stderr=subprocess.DEVNULL)
    while not (run / "checkpoint" / "last").exists() and process.poll() is None:
        time.sleep(0.005)
    process.kill()
    process.wait()
    return run


def test_resuming_through_the_link_keeps_the_link(project, straight):
    latest = project / "checkpoints" / "latest"
    run = project / "linked"
    subprocess.run(command(run, TRAIN__MAX_STEPS="4"), cwd=project, check=True, capture_output=True)
    subprocess.run([BERTFT, "train", "--resume", "checkpoints/latest"], cwd=project, check=True, capture_output=True)
    assert latest.resolve() == run.resolve()
    subprocess.run([BERTFT, "eval"], cwd=project, check=True, capture_output=True)


@pytest.mark.parametrize("link", ["checkpoints/latest", "checkpoints/latest/"])
def test_training_on_from_the_link_freezes_the_folder_behind_it(project, straight, link):
    first, second = project / f"chain-1{len(link)}", project / f"chain-2{len(link)}"
    subprocess.run(command(first, TRAIN__MAX_STEPS="4"), cwd=project, check=True, capture_output=True)
    subprocess.run(command(second, TRAIN__MAX_STEPS="4", MODEL__WEIGHTS=link), cwd=project, check=True,
                   capture_output=True)
    assert f"WEIGHTS: {first.name}\n" in (second / "config.yaml").read_text()
    subprocess.run([BERTFT, "train", "--resume", str(second)], cwd=project, check=True, capture_output=True)


@pytest.mark.parametrize("old, new", [("LR: 0.001", "LR: 0.1"), ("DENSE_EMBEDDINGS: false", "DENSE_EMBEDDINGS: true"),
                                      ("FREEZE: []", "FREEZE: [embeddings]"), ("EPOCHS: 2", "EPOCHS: 3")])
def test_settings_changed_behind_its_back(project, stopped, old, new):
    edit(stopped / "config.yaml", old, new)
    result = subprocess.run([BERTFT, "train", "--resume", str(stopped)], cwd=project, capture_output=True)
    assert result.returncode == 2 and "other data, settings or weights" in said(result)[-1]


def test_settings_that_change_no_weight_may_change(project, straight, stopped):
    edit(stopped / "config.yaml", "LOG_EVERY: 10", "LOG_EVERY: 3")
    edit(stopped / "config.yaml", "SAVE_EVERY: 5", "SAVE_EVERY: 7")
    subprocess.run([BERTFT, "train", "--resume", str(stopped)], cwd=project, check=True, capture_output=True)
    assert weights(stopped) == straight[0]


def test_other_kernels_are_named(project, stopped):
    result = subprocess.run([BERTFT, "train", "--resume", str(stopped), "--device", "cpu-generic"], cwd=project,
                            capture_output=True)
    warnings = [line for line in said(result) if line.startswith("bertft: warning: ")]
    other = "cpu-generic" not in subprocess.check_output([BERTFT, "info"], text=True).splitlines()[0]
    assert result.returncode == 0
    assert len(warnings) == other and all("cpu-generic" in line for line in warnings)


def test_what_a_killed_process_left_is_removed(project, stopped):
    for left in (stopped / "model.safetensors.tmp.123", stopped / "checkpoint" / "last.tmp.77"):
        left.write_bytes(b"half")
    subprocess.run([BERTFT, "train", "--resume", str(stopped)], cwd=project, check=True, capture_output=True)
    assert not [path for path in stopped.rglob("*") if ".tmp." in path.name]


def test_a_finished_run_says_so(project, straight):
    result = subprocess.run([BERTFT, "train", "--resume", "straight"], cwd=project, capture_output=True)
    assert result.returncode == 0 and "done already" in said(result)[0]
    assert weights(project / "straight") == straight[0]
