#!/usr/bin/env python3
"""gpu-check.py: the steps of gpu-check.sh.

Each step has a limit of time, and whatever it comes to, the next one follows. The report is written anew after every
step, so that a machine taken away leaves what was found out. A step's result is one of

    ok              as it should be
    failed          `why` says what went wrong; the exit code is 1
    skipped         `why` says what this machine lacks
    needs a device  a rehearsal: `why` is the program's own message on "cuda"; without a card the step went well
"""
import argparse
import importlib.metadata
import importlib.util
import json
import os
import pathlib
import re
import shutil
import statistics
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

ROOT = pathlib.Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT / "bench"))
import material  # noqa: E402: what the benchmarks read

TOTAL = 530                     # seconds for everything; a step that would begin later is skipped
PROGRAMS = ["bertft", "ops", "golden", "infer"]
PACKAGES = ["yaml-0.1", "zlib", "libutf8proc", "jansson"]
BACKENDS = ["cuda", "cuda-bf16", "cuda-fp16"]  # in training the last does not take part
TELLING = re.compile(r"FAILED|\berror: |Error: |Invalid |\*\*\* ")  # in a line that says what is wrong
SANITIZED_AT_ONCE = 4
SLOW = ["attention", "linear", "embed"]
LIBRARY_KERNELS = [word for name in ("cublas", "cutlass", "gemm", "nvjet", "xmma", "cudnn")  # in one option, all would have to match
                   for word in ("--kernel-name-exclude", f"kns={name}")]
TEXTS = 9216
BATCHES = {"batch 32": 32, "16k tokens": 576}  # texts a step; 28.4 tokens each on average
STEPS, PASSES = 50, 3
TARGETS = {("LaBSE", "train"): 4, ("rubert-tiny2", "train"): 15, ("LaBSE", "infer"): 3, ("rubert-tiny2", "infer"): 3}
PEAK_SHARE = 0.5
PEAKS = {"H100 PCIe": 756e12, "H100": 989e12, "H200": 989e12, "A100": 312e12, "B200": 2250e12}  # bf16, dense


class Outcome:
    """What a command came to."""

    def __init__(self, command, code, output, seconds, limit):
        self.command, self.code, self.output, self.seconds = command, code, output, seconds
        self.ok = code == 0
        lines = [line for line in output.splitlines() if line.strip()]
        telling = [line for line in lines if TELLING.search(line)]
        said = telling[0] if telling else lines[-1] if lines else "nothing was printed"
        self.why = f"ran out of its {limit:.0f} s" if code is None else said.strip()

    def entry(self):
        return {"command": " ".join(map(str, self.command)), "seconds": round(self.seconds, 1),
                "output": self.output[-2000:]}


class Check:
    def __init__(self, options):
        self.began = time.monotonic()
        self.build = pathlib.Path(os.environ.get("BUILD", "build"))
        self.folder = ROOT / self.build / "gpu"
        self.report_path = pathlib.Path(os.environ.get("OUT") or self.folder) / "report.json"
        self.quick, self.dry, self.architecture = options.quick, options.dry_run, options.arch
        self.environment = dict(os.environ)
        self.nvcc = shutil.which("nvcc")
        self.site = site_of("torch")
        self.backends = []
        self.report = {"machine": {}, "steps": [], "speeds": {}, "targets": []}

    # ---- Running and recording ----

    def left(self):
        return TOTAL - (time.monotonic() - self.began)

    def run(self, command, limit):
        limit, began = max(1, min(limit, self.left())), time.monotonic()
        command = ["timeout", "--kill-after=5", f"{limit:.0f}", *map(str, command)]
        done = subprocess.run(command, cwd=ROOT, env=self.environment, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                              stderr=subprocess.STDOUT)
        code = None if done.returncode in (124, 137) else done.returncode
        return Outcome(command[3:], code, done.stdout.decode(errors="replace"), time.monotonic() - began, limit)

    def record(self, step, result, why="", **more):
        """Adds a step to the report, and writes it."""
        self.report["steps"].append({"step": step, "result": result, **({"why": why} if why else {}), **more})
        self.report["dry_run"] = self.dry
        self.report["seconds"] = round(time.monotonic() - self.began, 1)
        self.report_path.parent.mkdir(parents=True, exist_ok=True)
        beside = self.report_path.with_suffix(".new")
        beside.write_text(json.dumps(self.report, indent=1, ensure_ascii=False) + "\n")
        beside.rename(self.report_path)
        print(f"{result:15}{step}{': ' + why if why else ''}", flush=True)

    def record_outcome(self, step, outcome, **more):
        why = "" if outcome.ok else outcome.why
        self.record(step, "ok" if outcome.ok else "failed", why, **outcome.entry(), **more)

    def device_step(self, step, command, limit, rehearsal, backend="cuda"):
        """Runs command(backend) on the card; in a rehearsal that must fail, and `rehearsal` not. Returns what ran well."""
        if self.left() < 5:
            self.record(step, "skipped", f"no time was left of {TOTAL} s")
            return None
        outcome = self.run(command(backend), limit)
        if not self.dry:
            self.record_outcome(step, outcome)
            return outcome if outcome.ok else None
        without = self.run(rehearsal, 3 * limit)  # the shim is slow
        if outcome.ok or not without.ok:
            why = "it went well, on no device" if outcome.ok else f"the rehearsal: {without.why}"
            self.record(step, "failed", why, **without.entry())
            return None
        self.record(step, "needs a device", outcome.why, rehearsed=without.entry())
        return without

    # ---- What is here ----

    def machine(self):
        fields = "name,compute_cap,driver_version,memory.total"
        card = self.run(["nvidia-smi", f"--query-gpu={fields}", "--format=csv,noheader"], 20)
        values = [value.strip() for value in card.output.split("\n")[0].split(",")] if card.ok else []
        if len(values) != 4:
            self.dry = True
        if self.dry:
            self.environment["CUDA_VISIBLE_DEVICES"] = ""
        else:
            self.architecture = "sm_" + values[1].replace(".", "")
        release = self.run([self.nvcc, "--version"], 20).output if self.nvcc else ""
        number = re.search(r"release ([\d.]+)", release)
        self.report["machine"] = {
            "card": dict(zip(fields.split(","), values)) or None, "architecture": self.architecture,
            "nvcc": number and number[1], "compute-sanitizer": self.sanitizer(), "python": sys.version.split()[0],
            "torch": version_of("torch"), "transformers": version_of("transformers"), "processors": os.cpu_count()}
        self.record("machine", "ok", "" if values else "no card: a rehearsal")

    def sanitizer(self):
        beside = pathlib.Path(os.path.realpath(self.nvcc)).parent / "compute-sanitizer" if self.nvcc else None
        return shutil.which("compute-sanitizer") or (str(beside) if beside and beside.exists() else None)

    # ---- Programs ----

    def programs(self):
        """Makes them where this machine can, else takes those brought along. False: there are none."""
        lacking = [tool for tool in ("make", "cc", "pkg-config") if shutil.which(tool) is None]
        if "pkg-config" not in lacking:
            lacking += [f"{p}'s headers" for p in PACKAGES if not self.run(["pkg-config", "--exists", p], 10).ok]
        absent = [name for name in PROGRAMS if not (self.folder / name).exists()]
        if not lacking:
            shim = [self.build / "libbertft_cudasim.so"] if self.dry else []
            outcome = self.run(["make", "-j", os.cpu_count(), f"BUILD={self.build}", "gpu-programs", *shim], 120)
            self.record_outcome("programs", outcome)
            return outcome.ok
        if absent:
            self.record("programs", "failed", f"{self.folder} lacks {', '.join(absent)}; `make gpu-programs` on another "
                        f"machine makes them, or here with {', '.join(lacking)}")
            return False
        self.record("programs", "ok", "brought along")
        return True

    def plugin(self):
        """Compiles the plugin for this card alone, with PyTorch's libraries; where that fails, one brought along does."""
        inner, library = self.folder / self.architecture, self.folder / "libbertft_cuda.so"
        lacking = [tool for tool in ("make", "nvcc", "c++") if shutil.which(tool) is None]
        if self.quick or lacking:
            outcome = None
            why = "--quick compiles nothing" if self.quick else f"not compiled: no {', no '.join(lacking)}"
        else:
            outcome = self.compile(inner)
            why = "" if outcome.ok else outcome.why
        if outcome and outcome.ok:  # programs look for the plugin beside themselves, the plugin in cuda/lib
            for name in ("libbertft_cuda.so", "cuda"):
                (self.folder / name).unlink(missing_ok=True)
                (self.folder / name).symlink_to(pathlib.Path(self.architecture) / name)
        elif library.exists() and self.site and not (self.folder / "cuda").exists():
            (self.folder / "cuda/lib").mkdir(parents=True)
            for name in ("libcublasLt.so.*", "libnvrtc*.so.*", "libcudnn*.so.*"):
                for wheel in self.site.glob(f"nvidia/**/{name}"):
                    (self.folder / "cuda/lib" / wheel.name).symlink_to(wheel)
        result = "ok" if library.exists() else "failed" if outcome else "skipped"
        self.record("plugin", result, f"brought along; {why}" if why and library.exists() else why,
                    architecture=self.architecture, **(outcome.entry() if outcome else {}))

    def compile(self, inner):
        """pip finds the wheels that were brought along in gpu/wheels, and then asks nobody else."""
        if (self.folder / "wheels").exists():
            self.environment.update(PIP_FIND_LINKS=str(self.folder / "wheels"), PIP_NO_INDEX="1")
        wheels = [self.site] if self.site else []
        outcome = self.run(["sh", "scripts/setup-cuda.sh", inner / "cuda", self.nvcc, *wheels], 120)
        if outcome.ok:
            make = ["make", "-j", os.cpu_count(), f"BUILD={inner}", f"CUDA_ARCH={self.architecture}", "cuda"]
            outcome = self.run(make, 200)
        return outcome

    def find_backends(self):
        for name in BACKENDS:
            known = self.run([self.folder / "ops", "--backend", shim(name) if self.dry else name, "--list"], 20)
            if known.ok or name == BACKENDS[0]:
                self.backends.append(name)
            else:
                self.record(f"op table, {name}", "skipped", known.why)

    # ---- Correctness ----

    def correctness(self):
        ops, golden = self.folder / "ops", self.folder / "golden"
        for backend in self.backends:
            self.device_step(f"op table, {backend}", lambda b: [ops, "--backend", b], 60,
                             [ops, "--backend", shim(backend), "--op", "gather"], backend)
            without = "cpu-generic" if self.quick else shim(backend)
            self.device_step(f"golden, {backend}", lambda b: [golden, b], 60, [golden, without], backend)

    def ops_of(self, program, backend):
        """Those that the backend has cases of."""
        listed = self.run([program, "--backend", backend, "--list"], 20).output.splitlines()
        return dict.fromkeys(line.split(",")[0] for line in listed if "," in line)

    def sanitize(self, tool):
        """The op table, a process an op, several at a time: a slow op costs the others nothing."""
        sanitizer, limit = self.report["machine"]["compute-sanitizer"], 80
        if sanitizer is None or self.dry:
            lack = "compute-sanitizer is neither on the PATH nor beside nvcc" if sanitizer is None else "no card"
            self.record(tool, "skipped" if sanitizer is None else "needs a device", lack)
            return
        program = self.folder / "ops"  # cuBLASLt's own kernels are not ours to judge
        command = [sanitizer, "--tool", tool, "--error-exitcode", 9, *LIBRARY_KERNELS, program, "--short"]
        until = time.monotonic() + limit

        def one(job):
            return self.run([*command, "--backend", job[0], "--op", job[1]], until - time.monotonic())

        jobs = [(backend, op) for backend in self.backends[:2] for op in self.ops_of(program, backend)]
        jobs.sort(key=lambda job: job[1] not in SLOW)  # so that nobody waits for them at the end
        with ThreadPoolExecutor(SANITIZED_AT_ONCE) as pool:
            outcomes = dict(zip(jobs, pool.map(one, jobs)))
        outcomes = {f"{op}, {backend}": outcome for (backend, op), outcome in outcomes.items()}
        wrong = {job: outcome for job, outcome in outcomes.items() if not outcome.ok}
        self.record(tool, "failed" if wrong else "ok", "; ".join(f"{job}: {o.why}" for job, o in wrong.items())[:1000],
                    command=" ".join(map(str, command)),
                    seconds={job: round(outcome.seconds, 1) for job, outcome in outcomes.items()},
                    output={job: outcome.output[-1500:] for job, outcome in wrong.items()})

    # ---- Speed ----

    def speed(self, shape):
        place = self.folder / "material" / shape
        texts = 16 if self.dry else TEXTS
        made = self.run([sys.executable, "bench/material.py", place, "--shape", shape, "--texts", texts], 60)
        self.record_outcome(f"material, {shape}", made)
        if made.ok:
            speeds = {"train": {}, "infer": {}}
            if not self.dry:  # the shim's speeds say nothing
                self.report["speeds"][shape] = speeds
            for name, size in BATCHES.items():
                self.train(shape, place, name, size, speeds)
                self.infer(shape, place, name, size, speeds)
            self.peer(shape, place, speeds)
            self.hold_against(shape, place, speeds)
        shutil.rmtree(place, ignore_errors=True)

    def train(self, shape, place, name, size, speeds):
        """`bertft train` itself, from the texts to the saved weights; the speed is that of its steps, by its own log."""
        settings = place / "settings.yaml"
        settings.write_text("")
        for backend in self.backends[:2]:
            def command(backend, steps=STEPS, batch=size, every=10):
                device, _, precision = backend.partition("-")
                pairs = {"MODEL.WEIGHTS": place / "model", "MODEL.HEAD": "pooler", "DATA.TRAIN": place / "texts.tsv",
                         "DATA.VALID_FRACTION": 0, "TRAIN.BATCH_SIZE": batch, "TRAIN.MAX_STEPS": steps,
                         "TRAIN.LOG_EVERY": every, "TRAIN.SAVE_EVERY": 10**9, "OPTIM.LR": 2e-5,
                         "OUTPUT_DIR": place / "run", "DEVICE.NAME": device,
                         "TRAIN.PRECISION": precision or "fp32"}
                words = [word for pair in pairs.items() for word in pair]
                return [self.folder / "bertft", "train", settings, "--overwrite", *words]

            rehearsal = command(shim(backend), 2, 2, 1)
            done = self.device_step(f"train {shape}, {name}, {backend}", command, 60, rehearsal, backend)
            if done:
                lines = [json.loads(line) for line in (place / "run/metrics.jsonl").read_text().splitlines()]
                speeds["train"].setdefault(name, {})[backend] = statistics.median(
                    line["tokens_per_second"] for line in lines[1:])  # the first window warms up
            shutil.rmtree(place / "run", ignore_errors=True)

    def infer(self, shape, place, name, size, speeds):
        texts, tokens = (size, 128 * size) if size == 32 else (TEXTS, 16384)
        for backend in self.backends:
            def command(device, batch=texts, passes=PASSES):
                return [self.folder / "infer", place / "model", place / "texts.tsv", device, batch, tokens, passes]

            rehearsal = command(shim(backend), 8, 1)
            done = self.device_step(f"infer {shape}, {name}, {backend}", command, 40, rehearsal, backend)
            if done:
                said = json.loads(next(line for line in done.output.splitlines() if line.startswith("{")))
                speeds["infer"].setdefault(name, {})[backend] = said["tokens"] / statistics.median(said["seconds"])
                speeds.setdefault("logits", {})[backend] = said["logits"]

    def peer(self, shape, place, speeds):
        step = f"PyTorch, {shape}"
        if self.quick or site_of("torch") is None or site_of("transformers") is None:
            self.record(step, "skipped", "--quick" if self.quick else "torch or transformers is missing")
            return
        sizes = [word for size in BATCHES.values() for word in ("--batch", size)]

        def command(device, batches=sizes, steps=STEPS, passes=PASSES):
            return [sys.executable, "bench/peer_torch.py", place, "--device", device, *batches, "--steps", steps,
                    "--passes", passes]

        done = self.device_step(step, command, 120, command("cpu", ["--batch", 4], 2, 1))
        if done:
            said = json.loads(next(line for line in done.output.splitlines() if line.startswith("{")))
            names = {str(size): name for name, size in BATCHES.items()}
            for what in ("train", "infer"):
                said[what] = {names.get(size, size): rates for size, rates in said[what].items()}
            speeds["PyTorch"] = said

    # ---- Targets ----

    def hold_against(self, shape, place, speeds):
        """Ratios to the fastest of PyTorch's variants, and the share of the card's peak, beside what the project wants."""
        peer, targets = speeds.get("PyTorch"), []
        if peer:
            speeds["largest difference of logits to PyTorch's in fp32"] = {
                backend: max(abs(a - b) for a, b in zip(logits, peer["logits"]))
                for backend, logits in speeds["logits"].items()}
        for what in ("train", "infer"):
            for name, ours in speeds[what].items():
                theirs = [rate for rate in peer[what].get(name, {}).values() if isinstance(rate, float)] if peer else []
                if theirs and (shape, what) in TARGETS:
                    backend = max(ours, key=ours.get)
                    targets.append({"what": f"{shape}, {what}, {name}, {backend}: times PyTorch's fastest",
                                    "wanted": TARGETS[shape, what], "measured": round(ours[backend] / max(theirs), 2)})
        rate, card = speeds["train"].get("16k tokens", {}).get("cuda-bf16"), self.report["machine"]["card"] or {}
        peak = next((peak for name, peak in PEAKS.items() if name in card.get("name", "")), None)
        if shape == "LaBSE" and rate and peak:
            done = rate * training_flops(material.SHAPES[shape], place / "texts.tsv")
            targets.append({"what": f"{shape}, train, 16k tokens, cuda-bf16: share of {peak / 1e12:.0f} TFLOP/s",
                            "wanted": PEAK_SHARE, "measured": round(done / peak, 3)})
        if targets:
            targets = [{**target, "met": target["measured"] >= target["wanted"]} for target in targets]
            self.report["targets"] += targets
            summary = "; ".join(f"{t['what']}: {t['measured']} of {t['wanted']}" for t in targets)
            self.record(f"targets, {shape}", "ok", summary)


def training_flops(shape, texts):
    """Operations a token of the products that a training step computes."""
    lengths = [line.split("\t")[0].count(" ") + 3 for line in texts.read_text().splitlines()[1:]]
    return 3 * material.flops(shape, lengths, material.CLASSES) / sum(lengths)


def shim(backend):
    """The same kernels on the host."""
    return backend.replace("cuda", "cudasim")


def site_of(package):
    """The folder that the package lies in, or None."""
    found = importlib.util.find_spec(package)
    return pathlib.Path(found.submodule_search_locations[0]).parent if found else None


def version_of(package):
    try:
        return importlib.metadata.version(package)
    except importlib.metadata.PackageNotFoundError:
        return None


def main():
    parser = argparse.ArgumentParser(prog="gpu-check.sh", description="Proves the CUDA backend on this machine's card.")
    parser.add_argument("--dry-run", action="store_true", help="go up to the first call that needs a device")
    parser.add_argument("--quick", action="store_true", help="compile no plugin and leave PyTorch out: for the tests")
    parser.add_argument("--arch", default="sm_90", help="what a rehearsal compiles for")
    check = Check(parser.parse_args())
    check.machine()
    if check.programs():
        check.plugin()
        check.find_backends()
        check.correctness()
        check.sanitize("memcheck")
        check.sanitize("racecheck")
        for shape in ["tiny"] if check.dry else ["rubert-tiny2", "LaBSE"]:
            check.speed(shape)
    print(f"the report is {check.report_path}")
    return 1 if any(step["result"] == "failed" for step in check.report["steps"]) else 0


if __name__ == "__main__":
    sys.exit(main())
