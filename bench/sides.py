"""sides.py: the two sides of a row, as things that can be asked for a unit of work again and again.

A side is a process that stays alive. It is stopped (SIGSTOP) while it isn't asked, so that nothing of it runs, spins or waits in
the other side's time, and start-up is paid once.
"""
import json
import os
import pathlib
import signal
import statistics
import subprocess
import tempfile
import time

POLL = 0.02    # seconds between looks at the file of a training run
NEVER = 10**9  # steps
STEPS_OF_A_RUN = 12  # whose peak memory is told


class Unable(Exception):
    """A side that can't do what the row asks, in its own words."""


def last_line(data):
    lines = [line for line in data.decode(errors="replace").splitlines() if line.strip()]
    return lines[-1] if lines else "nothing was said"


def peak_memory(process):
    """Bytes that were resident at most."""
    status = pathlib.Path(f"/proc/{process.pid}/status").read_text()
    return next(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM")) * 1024


def end_all():
    """Whatever a run comes to: a process that is stopped wouldn't notice its end."""
    for process in Side.started:
        if process.poll() is None:
            process.kill()


class Side:
    started = []  # the processes of all sides

    def __init__(self, command, log, environment=None):
        self.log = log
        with open(log, "wb") as errors:
            self.process = subprocess.Popen([str(word) for word in command], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                            stderr=errors, env={**os.environ, **(environment or {})})
        self.started.append(self.process)

    def pause(self):
        self.process.send_signal(signal.SIGSTOP)

    def resume(self):
        self.process.send_signal(signal.SIGCONT)

    def memory(self):
        return peak_memory(self.process)

    def close(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait()
        self.process.stdin.close()
        self.process.stdout.close()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.close()


class Worker(Side):
    """Answers a JSON line for each line that it is given; its first says that it is ready."""

    def __init__(self, command, log, environment=None):
        super().__init__(command, log, environment)
        self.read()
        self.pause()

    def read(self):
        line = self.process.stdout.readline()
        if not line:
            self.close()
            raise Unable(last_line(self.log.read_bytes()))
        return json.loads(line)

    def ask(self, request):
        self.resume()
        self.process.stdin.write(json.dumps(request).encode() + b"\n")
        self.process.stdin.flush()
        answer = self.read()
        self.pause()
        return answer


class Training(Side):
    """`bertft train`: its speed is read from its own metrics.jsonl, and no window counts in which it was stopped."""

    def __init__(self, program, settings, run, log, precision):
        self.metrics = run / "metrics.jsonl"
        self.metrics.unlink(missing_ok=True)
        super().__init__([program, "train", settings, "--overwrite", "--device", "cpu", "--precision", precision], log)
        self.lines_until(1)  # the first window warms up
        self.pause()

    def lines_until(self, count, seconds=0):
        """The windows that are written, once there are `count`, or more than that after some seconds."""
        since = time.monotonic()
        while True:
            if self.process.poll() is not None:
                raise Unable(last_line(self.log.read_bytes()))
            lines = self.metrics.read_text().splitlines() if self.metrics.exists() else []
            if len(lines) >= count and time.monotonic() - since >= seconds:
                return lines
            time.sleep(POLL)

    def speed(self, seconds):
        """Tokens a second over whole windows, `seconds` long or one."""
        before = len(self.metrics.read_text().splitlines())
        self.resume()
        self.lines_until(before + 1)
        self.lines_until(before + 2, seconds)
        self.pause()
        lines = self.metrics.read_text().splitlines()[before + 1:]
        return statistics.harmonic_mean(json.loads(line)["tokens_per_second"] for line in lines)


def write_settings(path, material, texts, run, window):
    """YAML that is JSON: the same batches, rate and dropout as the peers'."""
    path.write_text(json.dumps({
        "MODEL": {"WEIGHTS": str(material.model), "HEAD": "pooler"},
        "DATA": {"TRAIN": str(texts), "VALID_FRACTION": 0, "LABELS": [f"class{k}" for k in range(material.classes)]},
        "TRAIN": {"BATCH_SIZE": 32, "EPOCHS": 100000, "LOG_EVERY": window, "EVAL_EVERY": NEVER, "SAVE_EVERY": NEVER},
        "OPTIM": {"LR": 2.0e-5}, "SCHEDULER": {"NAME": "constant"}, "OUTPUT_DIR": str(run)}))


def memory_of_a_run(program, settings, precision):
    """Peak memory of a run of a few steps, from the texts to the saved weights."""
    command = [program, "train", settings, "--overwrite", "--device", "cpu", "--precision", precision, "TRAIN.MAX_STEPS",
               STEPS_OF_A_RUN]
    return run_once(command, b"")[2]


def run_once(command, text):
    """(seconds to the first line of output, output, peak memory) of a process that reads this text."""
    with tempfile.TemporaryFile() as given, tempfile.TemporaryFile() as errors:
        given.write(text)
        given.seek(0)
        since = time.perf_counter()
        process = subprocess.Popen([str(word) for word in command], stdin=given, stdout=subprocess.PIPE, stderr=errors)
        first = process.stdout.readline()
        seconds = time.perf_counter() - since
        output = first + process.stdout.read()
        process.stdout.close()
        _, status, usage = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
        if process.returncode != 0:
            errors.seek(0)
            raise Unable(last_line(errors.read()))
    return seconds, output.decode(), usage.ru_maxrss * 1024
