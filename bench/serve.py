"""Measures nerve-server and its peers in turn under the same load. Writes tables, a plot and all samples."""

import argparse
import json
import os
import pathlib
import resource
import shlex
import signal
import sys
import time

from serving import machine, plot, report
from serving.models import largest_difference, prepare
from serving.progress import say
from serving.run import Run, sample_of
from serving.servers import ROOT, launches
from serving.soak import soak
from serving.texts import corpus, write_bodies

FLAGS = {"--no-batch", "--no-bound"}
PATH_OPTIONS = {"--checkpoint", "--out", "--work", "--binaries", "--load"}
# The options that the report contains.
SETTINGS = [
    "repetitions", "seconds", "open_seconds", "connections", "open", "peer_workers", "peer_threads", "litserve_workers",
    "litserve_batch", "peer_graph", "nerve_flags",
]  # fmt: skip


def numbers(text):
    return [int(part) for part in text.split(",") if part]


def parse():
    parser = argparse.ArgumentParser(prog="bench/serve.sh", description=__doc__)
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


def main():
    arguments = parse()
    began = time.time()
    # SIGTERM must run the handlers that stop the servers.
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
    # 512 connections need as many file descriptors, in this process and in the servers.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for directory in (arguments.work, arguments.out):
        directory.mkdir(parents=True, exist_ok=True)
    texts = corpus(arguments.data / "test.conll")
    bodies = write_bodies(texts, arguments.work)
    models = prepare(arguments.checkpoint, arguments.data, arguments.work, arguments.binaries, arguments.peer_graph)
    logits = largest_difference(models, sample_of(texts))
    say(f"fp32 logits of the peers' graph and of Nerve's differ by at most {logits:.1e} on {len(sample_of(texts))} texts")
    for name, _, bundle in (given.partition("=") for given in arguments.bundle):
        models.bundles[name] = pathlib.Path(bundle)
    chosen = choose(launches(models, arguments), arguments.only)
    with (arguments.out / "servers.log").open("w") as log:
        if arguments.soak:
            soak(chosen, arguments, bodies.singles, log)
            return
        run = Run(arguments, models, chosen, texts, bodies, log)
        for repetition in range(1, arguments.repetitions + 1):
            run.repeat(repetition)
    results = run.results | {
        "machine": machine.describe(),
        "command": f"bench/serve.sh DATA --checkpoint DIR {shlex.join(options())}".strip(),
        "began": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(began)),
        "minutes": (time.time() - began) / 60,
        "settings": {name: getattr(arguments, name) for name in SETTINGS},
        "texts": len(texts),
        "logits": logits,
        "servers": list(chosen),
    }
    (arguments.out / "serve.json").write_text(json.dumps(results))
    (arguments.out / "RESULTS.md").write_text(report.markdown(results))
    plot.draw(results, arguments.out / "serve.svg")
    print(report.tables(results))
    say(f"wrote {arguments.out}/RESULTS.md, serve.svg, serve.json")


def choose(found, only):
    """The servers with the given names, or all."""
    names = only.split(",") if only else list(found)
    if unknown := set(names) - set(found):
        sys.exit(f"unknown servers: {', '.join(sorted(unknown))}; choose from {', '.join(found)}")
    return {name: launch for name, launch in found.items() if name in names}


def options():
    """The given options, except those that name files."""
    given, kept = iter(sys.argv[1:]), []
    for part in given:
        name, _, value = part.partition("=")
        if not name.startswith("--"):
            continue
        value = [] if value or name in FLAGS or part.endswith("=") else [next(given)]
        if name not in PATH_OPTIONS:
            kept += [part, *value]
    return kept


if __name__ == "__main__":
    main()
