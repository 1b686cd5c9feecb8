"""The options of bench/serve.sh. Imports nothing that has to be installed, so that --help and mistakes are answered at once."""

import argparse
import os
import pathlib

ROOT = pathlib.Path(__file__).resolve().parents[2]
PURPOSE = "Measures nerve-server and its peers in turn under the same load. Writes tables, a plot and all samples."


def numbers(text):
    return [int(part) for part in text.split(",") if part]


def parse():
    parser = argparse.ArgumentParser(prog="bench/serve.sh", description=PURPOSE)
    parser.add_argument("data", type=pathlib.Path, metavar="DATA", help="directory with train.conll and test.conll")
    parser.add_argument("--checkpoint", type=pathlib.Path, required=True, help="Hugging Face directory of a token classifier")
    parser.add_argument("--only", help="servers to measure, separated by commas [default: all]")
    parser.add_argument("--connections", type=numbers, default=[1, 8, 32, 128, 512], help="numbers of connections of the closed loops")
    parser.add_argument("--open", type=numbers, default=[50, 80, 120], help="arrival rates of the open loops, in percent of each server's best closed-loop throughput")
    parser.add_argument("--seconds", type=float, default=5.0, help="duration of a closed-loop measurement, after one second of warm-up")
    parser.add_argument("--open-seconds", type=float, default=8.0, help="duration of an open-loop measurement")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--no-batch", action="store_true", help="do not measure /ner/batch")
    parser.add_argument("--no-bound", action="store_true", help="do not measure models without HTTP")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="only measure the memory of each server under load for SECONDS")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target/bench", help="directory of the results")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "target/bench", help="directory of the exported models")
    parser.add_argument("--bundle", action="append", default=[], metavar="NAME=DIR", help="measure another bundle, as server nerve-NAME")
    parser.add_argument("--nerve-flags", default="", help="additional options of nerve-server, in one argument")
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("--load", type=pathlib.Path, default=ROOT / "target/bench-load/release/nerve-load")
    cores = len(os.sched_getaffinity(0))
    parser.add_argument("--peer-workers", type=int, default=cores, help="processes of the tuned FastAPI peers [default: one per core]")
    parser.add_argument("--peer-threads", type=int, default=1, help="intra-op threads of the tuned FastAPI peers")
    parser.add_argument("--litserve-workers", type=int, default=cores)
    parser.add_argument("--litserve-batch", type=int, default=8)
    parser.add_argument("--peer-graph", choices=["torch", "nerve"], default="torch", help="exporter of the peers' fp32 graph")
    arguments = parser.parse_args()
    if arguments.open and not arguments.connections:
        parser.error("--open needs --connections: its rates are percentages of the throughput measured there")
    return arguments


if __name__ == "__main__":
    parse()
