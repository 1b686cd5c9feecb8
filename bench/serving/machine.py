"""Description of the machine, and detection of other load on it."""

import os
import pathlib
import platform
import resource
import subprocess
import time

from serving.options import ROOT

# The instruction sets of Nerve's kernels, and the flag of a processor that has one.
INSTRUCTION_SETS = {"amx": "amx_int8", "avx512-vnni": "avx512_vnni", "avx-vnni": "avx_vnni", "avx2": "avx2", "neon-dotprod": "asimddp"}
# A measurement counts as disturbed if other processes use more than this share of the cores.
TOLERATED = 0.05


def describe():
    """The processor, the kernel and the commit."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    command = ["git", "-C", ROOT, "describe", "--always", "--dirty"]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "commit": subprocess.run(command, check=False, capture_output=True, text=True).stdout.strip() or "no commit",
    }


def instruction_sets():
    """The names of this processor's instruction sets that Nerve's kernels are compiled for, the fastest first."""
    flags = set(pathlib.Path("/proc/cpuinfo").read_text().split())
    return [name for name, flag in INSTRUCTION_SETS.items() if flag in flags]


class Others:
    """The CPU use of other processes since this object was created."""

    def __init__(self):
        self.began, self.busy, self.own = time.monotonic(), busy_seconds(), own_seconds()

    def share(self, server_cpu=0.0):
        """The share of the cores used by neither the server nor this process and its finished children."""
        others = busy_seconds() - self.busy - (own_seconds() - self.own) - server_cpu
        return max(0.0, others / ((time.monotonic() - self.began) * os.cpu_count()))


def busy_seconds():
    """The CPU seconds of all processes, including time that the hypervisor gave to others (steal)."""
    user, nice, system, _, _, irq, softirq, steal = map(int, pathlib.Path("/proc/stat").read_text().split()[1:9])
    return (user + nice + system + irq + softirq + steal) / os.sysconf("SC_CLK_TCK")


def own_seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(usage.ru_utime + usage.ru_stime for usage in used)


def remark(share):
    """The remark on a disturbed measurement; empty for any other."""
    return f" (disturbed: other processes used {share:.0%} of the cores)" if share > TOLERATED else ""
