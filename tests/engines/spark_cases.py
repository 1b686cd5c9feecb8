"""Runs deploy/spark in a Spark cluster of two executors on this machine."""

import contextlib
import json
import os
import pathlib
import signal
import subprocess
import sys
import tarfile
import urllib.request

import pyspark

import corpus
from case import check_gone, check_rows, disturbed, report
from processes import descendants, taggers

DEPLOY = corpus.REPOSITORY / "deploy"
MODULES = [DEPLOY / "python" / "nerve_tag.py", DEPLOY / "spark" / "nerve_spark.py"]
sys.path += [str(module.parent) for module in MODULES]

SETTINGS = {
    "spark.master": "local-cluster[2,1,2048]",
    "spark.driver.memory": "1g",
    "spark.executor.memory": "1g",
    "spark.driver.host": "127.0.0.1",
    "spark.driver.bindAddress": "127.0.0.1",
    "spark.submit.pyFiles": ",".join(map(str, MODULES)),
    # One task for each file.
    "spark.sql.files.openCostInBytes": "134217728",
    "spark.sql.session.timeZone": "UTC",
    "spark.sql.parquet.outputTimestampType": "TIMESTAMP_MICROS",
    "spark.ui.port": "0",
    "spark.log.level": "OFF",
    "spark.ui.showConsoleProgress": "false",
}


def spark_home(work):
    """A copy of the installed Spark by links, because a cluster writes into its home."""
    home = work / "spark"
    home.mkdir()
    for entry in pathlib.Path(pyspark.__file__).parent.iterdir():
        (home / entry.name).symlink_to(entry)
    return home


@contextlib.contextmanager
def session(**settings):
    """A Spark session in a cluster of its own."""
    from pyspark.sql import SparkSession

    builder = SparkSession.builder
    for name, value in (SETTINGS | settings).items():
        builder = builder.config(name, value)
    spark = builder.getOrCreate()
    try:
        yield spark
    finally:
        spark.stop()


def failures(spark):
    """The errors of the failed tasks of all jobs, as Spark's page shows them."""
    def get(path):
        url = f"{spark.sparkContext.uiWebUrl}/api/v1/applications/{spark.sparkContext.applicationId}/{path}"
        with urllib.request.urlopen(url, timeout=30) as answer:
            return json.load(answer)

    stages = [f"stages/{stage['stageId']}/{stage['attemptId']}" for stage in get("stages") if stage["numFailedTasks"]]
    tasks = [task for stage in stages for task in get(f"{stage}/taskList?length=1000")]
    return [task["errorMessage"] for task in tasks if task["status"] == "FAILED"]


def executors():
    """The process ids of the executors."""
    return {pid for pid, command in descendants(os.getpid()).items() if "java" in command.split(" ")[0] and "CoarseGrainedExecutorBackend" in command}


def run(work, data, expected):
    """Runs all cases; returns whether each holds."""
    home = spark_home(work)
    os.environ |= {"SPARK_HOME": str(home), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
    with session() as spark:
        from nerve_spark import tag

        def job(output, *options):
            tagged = tag(spark.read.parquet(str(data)), [*corpus.OPTIONS, *options], program=corpus.PROGRAM)
            tagged.write.mode("overwrite").parquet(str(output))

        yield poisoned_option(job, work)
        yield undisturbed(job, work, expected)
        yield from killed_executor(job, work, expected)
        yield interrupted_process(spark, job, work, expected)
        left = taggers()
    yield check_gone("Spark: no process outlives the session", left)
    yield submitted(home, work, data, expected)


def undisturbed(job, work, expected):
    seen, output = set(), work / "spark-out"
    disturbed(lambda: job(output), output, lambda: seen.update(taggers()) or len(seen) == 2)
    seen |= taggers()
    exact = check_rows("Spark: output equals one machine's", output, expected)
    return exact & report("Spark: one process per slot answers all tasks", len(seen) == 2, f"{len(seen)} processes for two slots")


def killed_executor(job, work, expected):
    output, orphans = work / "spark-executor", set()

    def kill():
        executor = sorted(executors())[0]
        orphans.update(taggers(executor))
        os.kill(executor, signal.SIGKILL)
        return True

    disturbed(lambda: job(output), output, kill)
    yield check_rows("Spark: executor killed", output, expected, ", 1 executor killed")
    yield check_gone("Spark: a killed executor leaves no process", orphans)


def interrupted_process(spark, job, work, expected):
    """SIGINT, because a process can say something before it ends."""
    output, interrupted = work / "spark-process", []

    def told():
        return [error for error in failures(spark) if "nerve_tag.TagError" in error and "nerve-server: interrupted" in error]

    def interrupt():
        for tagger in sorted(taggers())[:1] if not told() else []:
            interrupted.append(tagger)
            os.kill(tagger, signal.SIGINT)
        return told()

    disturbed(lambda: job(output), output, interrupt)
    exact = check_rows("Spark: process interrupted", output, expected, f", {len(interrupted)} interrupted, {len(told())} tasks failed and ran again")
    return exact & report("Spark: the failed task has the process's error", bool(told()), "nerve-server: interrupted")


def poisoned_option(job, work):
    try:
        job(work / "spark-poisoned", "--labels", "dragon")
    except Exception as error:  # noqa: BLE001
        lines = [line for line in str(error).splitlines() if "dragon" in line]
        return report("Spark: an option that the model refuses", bool(lines), lines[0].strip() if lines else str(error))
    return report("Spark: an option that the model refuses", False, "the job succeeded")


def archive(work):
    """An archive of the program, ONNX Runtime's library and the model, which the executors unpack."""
    path = work / "nerve.tar.gz"
    with tarfile.open(path, "w:gz", compresslevel=1) as tar:
        tar.add(corpus.PROGRAM, "nerve-server")
        tar.add(corpus.REPOSITORY / ".onnxruntime", ".onnxruntime")
        tar.add(corpus.REPOSITORY / "models" / "default", "models/default")
    return path


def submitted(home, work, data, expected):
    """The job as a user submits it, with a program that the executors do not have."""
    output = work / "spark-submitted"
    settings = [f"--conf={name}={value}" for name, value in SETTINGS.items() if name not in ("spark.master", "spark.submit.pyFiles")]
    command = [str(home / "bin" / "spark-submit"), "--master", SETTINGS["spark.master"], "--archives", f"{archive(work)}#nerve",
               "--py-files", SETTINGS["spark.submit.pyFiles"], *settings, str(DEPLOY / "spark" / "tag_parquet.py"),
               "--program", "nerve/nerve-server", str(data), str(output), "--model", "nerve/models/default", *corpus.COLUMN]
    environment = {name: value for name, value in os.environ.items() if name != "ORT_DYLIB_PATH"}
    outcome = subprocess.run(command, capture_output=True, text=True, env=environment)
    if outcome.returncode != 0:
        return report("Spark: tag_parquet.py", False, outcome.stderr[-3000:])
    return check_rows("Spark: tag_parquet.py with --archives", output, expected)
