"""What the cases of both engines have in common: a job that runs while something is done to it, and its report."""

import threading
import time

from corpus import compare
from processes import runs, wait_until


def report(case, holds, what):
    """Prints the outcome of a case; returns whether it holds."""
    print(f"{'ok  ' if holds else 'FAIL'} {case}: {what}", flush=True)
    return holds


def disturbed(job, output, disturb, finished_files=2):
    """Runs a job that writes Parquet files. Once it has written some of them, calls `disturb` twice a second until it returns true.

    Raises the job's error. A process that is killed between two tasks fails none of them, which is why one call may not be enough.
    """
    errors = []

    def run():
        try:
            job()
        except Exception as error:  # noqa: BLE001
            errors.append(error)

    thread = threading.Thread(target=run)
    thread.start()
    try:
        wait_until(lambda: errors or len(list(output.rglob("*.parquet"))) >= finished_files, f"{finished_files} files in {output}")
        while not errors:
            assert thread.is_alive(), "the job ended before it was disturbed; give it more rows"
            if disturb():
                break
            time.sleep(0.5)
    finally:
        thread.join()
    if errors:
        raise errors[0]


def check_rows(case, output, expected, notes=""):
    """Reports whether an output has every row once, as on one machine."""
    comparison = compare(output, expected)
    return report(case, comparison.exact() and comparison.rows == len(expected), f"{comparison}{notes}")


def check_gone(case, pids):
    """Reports whether processes end within seconds."""
    try:
        wait_until(lambda: not any(map(runs, pids)), "every process has ended", 20)
    except AssertionError:
        return report(case, False, f"{[pid for pid in pids if runs(pid)]} still run")
    return report(case, True, f"{len(pids)} processes ended")
