"""Measures nerve-server and its peers in turn under the same load. Writes tables, a plot and all samples."""

import json
import pathlib
import resource
import shlex
import signal
import sys
import time

from serving import machine, plot, report
from serving.models import largest_difference, prepare
from serving.options import parse
from serving.progress import say
from serving.run import Run, sample_of
from serving.servers import launches
from serving.soak import soak
from serving.texts import corpus, write_bodies

FLAGS = {"--no-batch", "--no-bound"}
PATH_OPTIONS = {"--checkpoint", "--out", "--work", "--binaries", "--load"}
# The options that the report contains.
SETTINGS = [
    "repetitions", "seconds", "open_seconds", "connections", "open", "peer_workers", "peer_threads", "litserve_workers",
    "litserve_batch", "peer_graph", "nerve_flags",
]  # fmt: skip


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
