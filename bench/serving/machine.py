"""The machine: what it is, and whether something else was at work on it."""

import os
import pathlib
import platform
import resource
import subprocess
import time

from serving.servers import ROOT

# The share of the cores that others may use before a measurement is called disturbed.
TOLERATED = 0.05


def describe():
    """The processor and the software that matters."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    command = ["git", "-C", ROOT, "describe", "--always", "--dirty"]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "commit": subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip() or "no commit",
    }


class Others:
    """Counts, from its making on, what the machine does beside a measurement."""

    def __init__(self):
        self.began, self.busy, self.own = time.monotonic(), busy_seconds(), own_seconds()

    def share(self, server_cpu=0.0):
        """The share of the cores that neither the server nor this process and its ended children used."""
        others = busy_seconds() - self.busy - (own_seconds() - self.own) - server_cpu
        return max(0.0, others / ((time.monotonic() - self.began) * os.cpu_count()))


def busy_seconds():
    """What all processes have used of all cores, and what the host has withheld of them."""
    user, nice, system, _, _, irq, softirq, steal = map(int, pathlib.Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def remark(share):
    """What is said of a measurement that was disturbed."""
    return f" (disturbed: others used {share:.0%} of the cores)" if share > TOLERATED else ""
