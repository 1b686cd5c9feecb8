"""Runs deploy/ray in Ray on this machine."""

import os
import signal
import subprocess
import sys

import ray

import corpus
from case import check_gone, check_rows, disturbed, report
from processes import parent, taggers

DEPLOY = corpus.REPOSITORY / "deploy"
MODULES = [DEPLOY / "python" / "nerve_tag.py", DEPLOY / "ray" / "nerve_ray.py"]
sys.path += [str(module.parent) for module in MODULES]

SLOTS = 2
ROWS_PER_TASK = 500


def start():
    """Starts Ray with a core for each slot, and one for reading and writing."""
    os.environ |= {"RAY_USAGE_STATS_ENABLED": "0", "RAY_DATA_DISABLE_PROGRESS_BARS": "1", "RAY_AUTH_MODE": "disabled"}
    # Ray's processes yield to all others by default, and would wait for builds and tests on the same machine.
    os.environ["RAY_worker_niceness"] = "0"
    ray.init(address="local", num_cpus=SLOTS + 1, include_dashboard=False, object_store_memory=300 << 20,
             runtime_env={"py_modules": [str(module) for module in MODULES]}, log_to_driver=False, logging_level="ERROR")


def run(work, data, expected):
    """Runs all cases; yields whether each holds."""
    start()
    from nerve_ray import tag

    def job(output, *options, **settings):
        output.mkdir(exist_ok=True)
        tagged = tag(ray.data.read_parquet(str(data)), [*corpus.OPTIONS, *options], slots=SLOTS, program=corpus.PROGRAM,
                     rows_per_task=ROWS_PER_TASK, **settings)
        tagged.write_parquet(str(output))

    yield poisoned_option(job, work)
    yield from killed_process(job, work, expected)
    yield undisturbed(job, work, expected)
    yield from killed_actor(job, work, expected)
    left = taggers()
    ray.shutdown()
    yield check_gone("Ray: no process outlives the session", left)
    yield script(work, data, expected)


def undisturbed(job, work, expected):
    seen, output = set(), work / "ray-out"
    disturbed(lambda: job(output), output, lambda: seen.update(taggers()) or len(seen) == SLOTS)
    exact = check_rows("Ray: output equals one machine's", output, expected)
    return exact & report("Ray: one process per actor", len(seen) == SLOTS, f"{len(seen)} processes for {SLOTS} actors")


def killed_actor(job, work, expected):
    output, orphans = work / "ray-actor", set()

    def kill():
        for tagger in sorted(taggers())[:1]:
            orphans.add(tagger)
            os.kill(parent(tagger), signal.SIGKILL)
        return orphans

    disturbed(lambda: job(output), output, kill)
    yield check_rows("Ray: actor killed", output, expected, ", 1 actor killed")
    yield check_gone("Ray: a killed actor leaves no process", orphans)


def killed_process(job, work, expected):
    killed = []

    def kill():
        for tagger in sorted(taggers())[:1]:
            killed.append(tagger)
            os.kill(tagger, signal.SIGKILL)
        return len(killed) == 3

    output = work / "ray-process"
    disturbed(lambda: job(output), output, kill)
    yield check_rows("Ray: process killed", output, expected, f", {len(killed)} killed")
    killed.clear()
    output = work / "ray-no-retries"
    try:
        disturbed(lambda: job(output, retries=0), output, kill)
        yield report("Ray: the failed task has the process's error", False, "the job succeeded")
    except Exception as error:  # noqa: BLE001
        lines = [line for line in str(error).splitlines() if "ended by SIGKILL" in line]
        yield report("Ray: the failed task has the process's error", bool(lines), lines[0].strip() if lines else str(error)[-2000:])


def poisoned_option(job, work):
    try:
        job(work / "ray-poisoned", "--labels", "dragon")
    except Exception as error:  # noqa: BLE001
        lines = [line for line in str(error).splitlines() if "dragon" in line or "attempts" in line]
        tried = any("after 4/4 attempts" in line for line in lines)
        return report("Ray: an option that the model refuses, after three retries", tried and "dragon" in lines[0], "; ".join(lines) or str(error)[-2000:])
    return report("Ray: an option that the model refuses", False, "the job succeeded")


def script(work, data, expected):
    """The job as a user starts it."""
    output = work / "ray-script"
    command = [sys.executable, str(DEPLOY / "ray" / "tag_parquet.py"), "--slots", "1", "--program", corpus.PROGRAM,
               str(data), str(output), *corpus.OPTIONS]
    outcome = subprocess.run(command, capture_output=True, text=True)
    if outcome.returncode != 0:
        return report("Ray: tag_parquet.py", False, outcome.stderr[-3000:])
    return check_rows("Ray: tag_parquet.py", output, expected)
