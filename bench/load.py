"""load.py: how much of the processors other work takes while a row is measured: a ratio taken on a busy machine is no finding.

Sides that meet at barriers lose far more to other work than it takes: the thread that waits spins, and the one it waits for isn't
running. So alternation doesn't make up for it.
"""
import os
import pathlib
import time

QUIET = 0.1  # of a processor: other work up to here leaves a ratio worth holding against its bar
TICK = os.sysconf("SC_CLK_TCK")


def busy():
    """Processor seconds of everything that ran on this machine."""
    user, nice, system, _, _, irq, soft, steal = map(int, pathlib.Path("/proc/stat").read_text().split("\n")[0].split()[1:9])
    return (user + nice + system + irq + soft + steal) / TICK


def own(processes):
    """Processor seconds of ours: this process, children that have ended, and those that live."""
    seconds = sum(os.times()[:4])
    for process in processes:
        if process.returncode is None:
            fields = pathlib.Path(f"/proc/{process.pid}/stat").read_text().rpartition(")")[2].split()
            seconds += (int(fields[11]) + int(fields[12])) / TICK
    return seconds


class Meter:
    """Counts from the moment that it is made. `processes` is the list of those we start, which grows."""

    def __init__(self, processes):
        self.processes = processes
        self.mark = (time.monotonic(), busy(), own(processes))

    def others(self):
        """Processors that other work took on average."""
        since, all_before, own_before = self.mark
        taken = busy() - all_before - (own(self.processes) - own_before)
        return max(0, taken) / (time.monotonic() - since)
