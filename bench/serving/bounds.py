"""The bound: the throughput that bench/bound.py measures for the graphs of this run."""

import functools
import json
import subprocess
import sys

from serving.machine import Others, remark
from serving.progress import say
from serving.servers import ROOT

BATCHES = (1, 4, 8, 16)


def measure(repetition, arguments, models, chosen, found):
    """Adds the bounds of each served graph to `found`. Repetitions after the first one only measure its best configuration."""
    graphs = {f"nerve-{name}": bundle / "model.onnx" for name, bundle in models.bundles.items()}
    graphs |= {f"python-{precision}": graph for precision, graph in models.graphs.items()}
    for name, graph in graphs.items():
        if name not in chosen:
            continue
        loop = functools.partial(run, repetition, arguments, models, name, graph)
        if won := winner(found, name):
            found.append(loop(won["batch"], won["processes"]))
        else:
            found.extend(loop(batch, False) for batch in BATCHES)
            found.append(loop(winner(found, name)["batch"], True))


def run(repetition, arguments, models, name, graph, batch, processes):
    command = [
        sys.executable, ROOT / "bench/bound.py", "--graph", graph, "--tokenizer", models.checkpoint / "tokenizer.json",
        "--texts", arguments.data / "test.conll", "--batch", str(batch), *(["--processes"] if processes else []),
        "--seconds", str(arguments.seconds / 2),
    ]  # fmt: skip
    others = Others()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    loop = {"repetition": repetition, "graph": name, "batch": batch, "processes": processes, "others": others.share()}
    bound = loop | json.loads(done.stdout)
    kind = "processes" if processes else "threads"
    say(f"repetition {repetition}: bound of {name}, batches of {batch}, {kind}: {bound['texts_per_second']:.0f} texts/s{remark(loop['others'])}")
    return bound


def best(found, graph):
    """The texts per second of the best configuration, by repetition."""
    won = winner(found, graph)
    return {
        bound["repetition"]: bound["texts_per_second"]
        for bound in found
        if won and (bound["graph"], bound["batch"], bound["processes"]) == (graph, won["batch"], won["processes"])
    }


def best_loop(found, graph):
    """The batch size of the best configuration, and whether its sessions are threads or processes."""
    won = winner(found, graph)
    return str(won["batch"]), "processes" if won["processes"] else "threads"


def winner(found, graph):
    """The measurement of the best configuration in the first repetition, which tries all configurations."""
    of_graph = [bound for bound in found if bound["graph"] == graph]
    first = [bound for bound in of_graph if bound["repetition"] == of_graph[0]["repetition"]]
    return max(first, key=lambda bound: bound["texts_per_second"], default=None)
