"""Measures how much of the speed of `nerve-server tag` remains inside Spark and Ray: rows per second of two slots of one core beside
one `nerve-server tag` with two workers, over the same rows in turn, each without its start (the same job over two rows).
Processor time counts all processes of the engine, and is the ratio to look at where other programs use the cores.

    .venv-engines/bin/python bench/engines.py DATA [--rows 20000] [--repetitions 3]

DATA is the directory of the WNUT-17 files. NERVE_SERVER names the server; `make engines` installs Spark and Ray.
"""

import argparse
import os
import pathlib
import statistics
import subprocess
import sys
import tempfile
import time

import pyarrow as pa
import pyarrow.parquet as pq

HERE = pathlib.Path(__file__).resolve().parent
sys.path += [str(HERE.parent / "tests" / "engines"), str(HERE / "serving")]

import corpus  # noqa: E402
from processes import CpuMeter  # noqa: E402
from texts import corpus as sentences  # noqa: E402

SLOTS, FILES = 2, 20
OPTIONS = ["--model", str(corpus.REPOSITORY / "models" / "default")]


class Tag:
    """One process with a worker for each slot, from an Arrow stream to an Arrow stream."""

    def __init__(self, work):
        self._work = work

    def seconds(self, data, _name):
        """The seconds to tag a data set, with the start of the process."""
        table = pq.read_table(data)
        with pa.ipc.new_stream(self._work / "in.arrows", table.schema) as stream:
            stream.write_table(table, max_chunksize=1000)
        command = [corpus.PROGRAM, "tag", "in.arrows", "--input", "arrow", "--output", "arrow", "--out", "out.arrows",
                   "--workers", str(SLOTS), *OPTIONS]
        start = time.monotonic()
        subprocess.run(command, check=True, cwd=self._work, stderr=subprocess.DEVNULL)
        return time.monotonic() - start


class Spark:
    """Two executors of one core in a session, from Parquet to Parquet."""

    def __init__(self, work):
        import spark_cases

        os.environ |= {"SPARK_HOME": str(spark_cases.spark_home(work)), "SPARK_LOCAL_IP": "127.0.0.1", "PYSPARK_PYTHON": sys.executable}
        self._work = work
        self._session = spark_cases.session()
        self._spark = self._session.__enter__()

    def seconds(self, data, name):
        from nerve_spark import tag

        start = time.monotonic()
        tag(self._spark.read.parquet(str(data)), OPTIONS, program=corpus.PROGRAM).write.parquet(str(self._work / f"spark-{name}"))
        return time.monotonic() - start


class Ray:
    """Two actors of one core, from Parquet to Parquet."""

    def __init__(self, work):
        import ray_cases

        self._work = work
        ray_cases.start()

    def seconds(self, data, name):
        import ray
        from nerve_ray import tag

        start = time.monotonic()
        rows_per_task = pq.read_metadata(next(data.iterdir())).num_rows
        tag(ray.data.read_parquet(str(data)), OPTIONS, slots=SLOTS, program=corpus.PROGRAM, rows_per_task=rows_per_task) \
            .write_parquet(str(self._work / f"ray-{name}"))
        return time.monotonic() - start


def write(folder, texts, rows, files):
    """A data set of texts in files of one size, which are one task each."""
    folder.mkdir()
    for file in range(files):
        numbers = range(file * rows // files, (file + 1) * rows // files)
        table = pa.table({"id": list(numbers), "text": [texts[number % len(texts)] for number in numbers]})
        pq.write_table(table, folder / f"{file:02}.parquet")


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("data", type=pathlib.Path)
    parser.add_argument("--rows", type=int, default=20000)
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--only", choices=["Spark", "Ray"])
    arguments = parser.parse_args()
    texts = sentences(arguments.data / "test.conll")
    ratios = {}
    with tempfile.TemporaryDirectory(prefix="nerve-engines-") as folder:
        work = pathlib.Path(folder)
        write(work / "few", texts, SLOTS, SLOTS)
        write(work / "all", texts, arguments.rows, FILES)
        for engine in [engine for engine in (Spark, Ray) if arguments.only in (None, engine.__name__)]:
            runners = [Tag(work), engine(work)]
            for repetition in range(arguments.repetitions):
                speeds, costs = [], []
                for runner in runners:
                    # The first start of an engine's own workers counts for neither of the two.
                    runner.seconds(work / "few", f"first-{repetition}")
                    with CpuMeter() as few_cpu:
                        few = runner.seconds(work / "few", f"few-{repetition}")
                    with CpuMeter() as all_cpu:
                        whole = runner.seconds(work / "all", f"all-{repetition}")
                    rows = arguments.rows - SLOTS
                    speeds.append(rows / (whole - few))
                    costs.append((all_cpu.seconds - few_cpu.seconds) / rows)
                    parts = {name: 1000 * (seconds - few_cpu.by_program[name]) / rows for name, seconds in all_cpu.by_program.most_common(4)}
                    print(f"{type(runner).__name__}: {speeds[-1]:.0f} rows/s, {1000 * costs[-1]:.2f} ms of processor time per row "
                          f"({', '.join(f'{name} {part:.2f}' for name, part in parts.items())}); "
                          f"{whole:.1f} s for {arguments.rows} rows, {few:.2f} s for {SLOTS}", flush=True)
                ratios.setdefault(f"{engine.__name__}, rows/s", []).append(speeds[1] / speeds[0])
                ratios.setdefault(f"{engine.__name__}, rows per second of processor time", []).append(costs[0] / costs[1])
    for name, of in ratios.items():
        print(f"{name}: {statistics.median(of):.2f} [{min(of):.2f}-{max(of):.2f}] of `nerve-server tag`")


if __name__ == "__main__":
    main()
