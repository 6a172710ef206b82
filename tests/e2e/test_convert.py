"""import, export and info."""
import json
import shutil
import struct

import pytest


def tensors(path):
    """Name -> shape, from a safetensors header."""
    data = path.read_bytes()
    size = struct.unpack("<Q", data[:8])[0]
    return {name: value["shape"] for name, value in json.loads(data[8:8 + size]).items() if name != "__metadata__"}


def raw_scores(bertft, model):
    lines = "да\nСпасибо большое!\nhello, world\n\n"
    rows = bertft.jsonl("predict", "-m", model, "--lines", "--scores", "raw", "--format", "jsonl", input=lines)
    return [[row["scores"][label] for label in sorted(row["scores"])] for row in rows]


@pytest.mark.parametrize("name", ["bert", "distilbert"])
def test_import_keeps_the_answers(bertft, tmp_path, name):
    source = bertft.root / "tests" / "golden" / name
    bertft.ok("import", source, tmp_path / "imported")
    assert raw_scores(bertft, tmp_path / "imported") == raw_scores(bertft, source)
    assert tensors(tmp_path / "imported" / "model.safetensors") == tensors(source / "model.safetensors")


def test_import_takes_sentence_modules_along(bertft, golden, tmp_path):
    source = tmp_path / "sentence"
    shutil.copytree(golden, source)
    (source / "1_Pooling").mkdir()
    (source / "1_Pooling" / "config.json").write_text('{"pooling_mode_mean_tokens": true}')
    modules = [("", "Transformer"), ("1_Pooling", "Pooling"), ("2_Normalize", "Normalize")]
    (source / "modules.json").write_text(json.dumps(
        [{"idx": i, "name": str(i), "path": path, "type": f"sentence_transformers.models.{kind}"}
         for i, (path, kind) in enumerate(modules)]))
    bertft.ok("import", source, tmp_path / "imported")
    vectors = [bertft.ok("embed", "-m", folder, input="да\n") for folder in (source, tmp_path / "imported")]
    assert vectors[0] == vectors[1]
    assert sum(x * x for x in json.loads(vectors[0])) == pytest.approx(1, abs=1e-5)


def test_import_does_not_follow_a_path_out_of_the_folder(bertft, golden, tmp_path):
    source = tmp_path / "hostile"
    shutil.copytree(golden, source)
    (source / "modules.json").write_text('[{"path": "../../elsewhere", "type": "x.Dense"}]')
    assert "leads out" in bertft.fails(2, "import", source, tmp_path / "imported")


@pytest.mark.parametrize("model", ["bert", "distilbert"])
@pytest.mark.parametrize("head", ["linear", "pooler"])
def test_export_keeps_the_answers(bertft, tmp_path, place, model, head):
    run = tmp_path / "run"
    bertft.ok("train", bertft.root / "configs" / "params.yaml", "MODEL.WEIGHTS", bertft.root / "tests" / "golden" / model,
              "MODEL.HEAD", head, "TRAIN.MAX_STEPS", 10, "OUTPUT_DIR", run, "DATA.MAX_LENGTH", 32, cwd=place)
    said = bertft("export", run, tmp_path / "exported").stderr.decode()
    assert ("fp16" in said) == (head == "linear")
    names = tensors(tmp_path / "exported" / "model.safetensors")
    assert ("bert.pooler.dense.weight" if model == "bert" else "pre_classifier.weight") in names
    config = json.loads((tmp_path / "exported" / "config.json").read_text())
    assert config["architectures"][0].endswith("ForSequenceClassification")
    for ours, exported in zip(raw_scores(bertft, run), raw_scores(bertft, tmp_path / "exported")):
        assert ours == pytest.approx(exported, abs=2e-5)


def test_export_refuses_a_mean_head(bertft, golden, tmp_path, place):
    run = tmp_path / "run"
    bertft.ok("train", bertft.root / "configs" / "params.yaml", "MODEL.WEIGHTS", golden, "MODEL.HEAD", "mean",
              "TRAIN.MAX_STEPS", 2, "OUTPUT_DIR", run, cwd=place)
    assert "mean" in bertft.fails(2, "export", run, tmp_path / "exported")


def test_a_folder_with_a_model_is_not_overwritten(bertft, golden, tmp_path):
    bertft.ok("import", golden, tmp_path / "imported")
    assert "holds a model already" in bertft.fails(2, "import", golden, tmp_path / "imported")


def test_info(bertft, golden):
    assert "cpu-" in bertft.ok("info").decode()
    text = bertft.ok("info", golden).decode()
    assert "BERT" in text and "3 of 20 channels" in text and "радость" in text


def test_info_of_a_run_and_its_checkpoint(bertft, trained):
    run = bertft.ok("info", trained).decode()
    assert "head           linear" in run and "step 20;" in run and "best so far" in run
    assert bertft.ok("info", trained / "checkpoint" / "last").decode().startswith("checkpoint     step 20;")
    assert "not a checkpoint" in bertft.fails(2, "info", bertft.root / "README.md")
