"""Runs deploy/spark and deploy/ray, kills executors, actors and processes, and compares the output with that of `nerve-server tag`.
The exit status is 1 if a case fails.

    make engines                # both
    make engines ENGINE=spark   # one
"""

import argparse
import importlib
import pathlib
import tempfile

import corpus

FILES, ROWS = 24, 500


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("engine", nargs="?", choices=["spark", "ray"], help="[default: both]")
    parser.add_argument("--rows", type=int, default=ROWS, help="rows in each of the files of the data set")
    arguments = parser.parse_args()
    failed = 0
    with tempfile.TemporaryDirectory(prefix="nerve-engines-") as folder:
        work = pathlib.Path(folder)
        corpus.write(work / "texts", FILES, arguments.rows)
        expected = corpus.answers_of_one_machine(work / "texts", work)
        for engine in [arguments.engine] if arguments.engine else ["spark", "ray"]:
            holds = list(importlib.import_module(f"{engine}_cases").run(work, work / "texts", expected))
            failed += holds.count(False)
    if failed:
        raise SystemExit(f"{failed} cases failed")


if __name__ == "__main__":
    main()
