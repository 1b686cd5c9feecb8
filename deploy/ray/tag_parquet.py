"""Reads Parquet, tags a column of texts, and writes Parquet:

python tag_parquet.py --slots N [--program PATH] INPUT OUTPUT [OPTIONS OF nerve-server tag]
"""

import argparse
import pathlib
import sys

import ray

HERE = pathlib.Path(__file__).resolve().parent
MODULES = [HERE / "nerve_ray.py", HERE.parent / "python" / "nerve_tag.py"]
ROWS_PER_FILE = 100_000
sys.path += [str(module.parent) for module in MODULES]

from nerve_ray import tag  # noqa: E402


def main() -> None:
    parser = argparse.ArgumentParser(description="Tags a column of a Parquet data set with Ray Data.", allow_abbrev=False)
    parser.add_argument("--slots", type=int, required=True, help="number of processes, each on one core")
    parser.add_argument("--program", default="nerve-server", help="path of nerve-server on the nodes [default: %(default)s]")
    parser.add_argument("input", help="path or URL of the Parquet data set")
    parser.add_argument("output", help="path or URL of the folder to write to")
    parser.add_argument("options", nargs=argparse.REMAINDER, help="options of `nerve-server tag`, such as --model and --text-column")
    arguments = parser.parse_args()

    ray.init(runtime_env={"py_modules": [str(module) for module in MODULES]})
    cores = ray.cluster_resources().get("CPU", 0)
    if arguments.slots >= cores:
        raise SystemExit(f"--slots {arguments.slots} leaves none of the cluster's {cores:.0f} cores to reading and writing; give less")
    dataset = ray.data.read_parquet(arguments.input)
    tagged = tag(dataset, arguments.options, slots=arguments.slots, program=arguments.program)
    tagged.write_parquet(arguments.output, min_rows_per_file=ROWS_PER_FILE)


if __name__ == "__main__":
    main()
