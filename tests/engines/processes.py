"""The processes below this one, read from /proc."""

import collections
import os
import pathlib
import threading
import time


def descendants(root):
    """The ids of the processes below a process, with their command lines."""
    parents, commands = {}, {}
    for folder in pathlib.Path("/proc").glob("[0-9]*"):
        try:
            parents[int(folder.name)] = int((folder / "stat").read_text().rpartition(")")[2].split()[1])
            commands[int(folder.name)] = (folder / "cmdline").read_bytes().replace(b"\0", b" ").decode(errors="replace")
        except (FileNotFoundError, ProcessLookupError):
            continue
    below, found = {root}, {}
    while more := {pid for pid, parent in parents.items() if parent in below and pid not in below}:
        below |= more
        found |= {pid: commands[pid] for pid in more}
    return found


class CpuMeter:
    """Measures the processor time of this process and all below it, while a block runs, by looking at them four times a second."""

    def __enter__(self):
        self._before, self._latest, self._done = _cpu_seconds(), {}, threading.Event()
        self._own, self._looking = time.process_time(), 0.0
        self._thread = threading.Thread(target=self._look)
        self._thread.start()
        return self

    def __exit__(self, *_):
        self._done.set()
        self._thread.join()
        own = time.process_time() - self._own - self._looking
        self.by_program = collections.Counter({"this process": own})
        for process, seconds in self._latest.items():
            self.by_program[process[1]] += seconds - self._before.get(process, 0)
        self.seconds = sum(self.by_program.values())

    def _look(self):
        last = False
        while not last:
            last = self._done.wait(0.25)
            self._latest |= _cpu_seconds()
        self._looking = time.thread_time()


def _cpu_seconds():
    """The processor time of each process below this one, by its id and program."""
    seconds = {}
    for pid, command in descendants(os.getpid()).items():
        try:
            fields = pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            seconds[pid, command.split(" ")[0].rpartition("/")[2]] = (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")
        except (FileNotFoundError, ProcessLookupError):
            continue
    return seconds


def taggers(root=None):
    """The ids of the running `nerve-server tag` processes below a process, or below this one."""
    return {pid for pid, command in descendants(root or os.getpid()).items() if " tag --input arrow " in command and runs(pid)}


def runs(pid):
    """Whether a process exists and has not ended."""
    try:
        return pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def parent(pid):
    """The id of the process that started a process."""
    return int(pathlib.Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def wait_until(holds, what, seconds=120):
    """Waits until a condition holds."""
    end = time.monotonic() + seconds
    while not holds():
        if time.monotonic() > end:
            raise AssertionError(f"after {seconds} s still not: {what}")
        time.sleep(0.02)
