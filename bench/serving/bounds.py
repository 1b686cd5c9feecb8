"""The throughput without HTTP, which bench/bound.py measures: of Nerve's kernels, of ONNX Runtime and of OpenVINO on the graphs of this run."""

import dataclasses
import functools
import json
import os
import pathlib
import subprocess
import sys

from serving.machine import Others, instruction_sets, remark
from serving.progress import say
from serving.options import ROOT
from serving.servers import ONNXRUNTIME

BATCHES = (1, 4, 8, 16)


@dataclasses.dataclass
class Engine:
    """What runs a graph: options of bench/bound.py, and environment variables."""

    graph: pathlib.Path
    options: list[str] = dataclasses.field(default_factory=list)
    environment: dict[str, str] = dataclasses.field(default_factory=dict)

    @property
    def may_fork(self):
        """Whether sessions in processes are measured too."""
        return not self.options


def engines(models):
    """The engines by name: ONNX Runtime on each graph, OpenVINO, and Nerve's kernels on the fastest instruction set and on each other one."""
    found = {}
    for name, bundle in models.bundles.items():
        graph = bundle / "model.onnx"
        if json.loads((bundle / "manifest.json").read_text())["precision"] != "int8":
            found[f"nerve-{name}"] = Engine(graph)
            continue
        kernels = ["--engine", "nerve"]
        found[f"nerve-{name}"] = Engine(graph, kernels)
        for instructions in instruction_sets()[1:]:
            found[f"nerve-{name}, {instructions}"] = Engine(graph, kernels, {"NERVE_INSTRUCTION_SET": instructions})
        found[f"nerve-{name}{ONNXRUNTIME}"] = Engine(graph)
    found |= {f"python-{precision}": Engine(graph) for precision, graph in models.graphs.items()}
    for name, (graph, precision) in models.openvino.items():
        found[f"openvino-{name}"] = Engine(graph, ["--engine", "openvino", "--openvino-precision", precision])
    return found


def reference(name):
    """The engine that ratios compare with: ONNX Runtime on the same int8 bundle, or on the first one."""
    bundle = name.partition(",")[0].removesuffix(ONNXRUNTIME)
    is_other = bundle.startswith("nerve-") and bundle != "nerve-fp32"
    return f"{bundle if is_other else 'nerve-int8'}{ONNXRUNTIME}"


def measure(repetition, arguments, models, found):
    """Adds the throughput of each engine to `found`. Repetitions after the first one only measure its best configuration."""
    for name, engine in engines(models).items():
        loop = functools.partial(run, repetition, arguments, models, name, engine)
        if won := winner(found, name):
            found.append(loop(won["batch"], won["processes"]))
        else:
            found.extend(loop(batch, False) for batch in BATCHES)
            if engine.may_fork:
                found.append(loop(winner(found, name)["batch"], True))


def run(repetition, arguments, models, name, engine, batch, processes):
    command = [
        sys.executable, ROOT / "bench/bound.py", "--graph", engine.graph, "--tokenizer", models.checkpoint / "tokenizer.json",
        "--texts", arguments.data / "test.conll", "--batch", str(batch), *(["--processes"] if processes else []),
        "--seconds", str(arguments.seconds / 2), *engine.options,
    ]  # fmt: skip
    others = Others()
    done = subprocess.run(command, env=os.environ | engine.environment, check=True, stdout=subprocess.PIPE)
    loop = {"repetition": repetition, "graph": name, "batch": batch, "processes": processes, "others": others.share()}
    bound = loop | json.loads(done.stdout)
    kind = "processes" if processes else "threads"
    say(f"repetition {repetition}: {name} without HTTP, batches of {batch}, {kind}: {bound['texts_per_second']:.0f} texts/s{remark(loop['others'])}")
    return bound


def best(found, graph):
    """The texts per second of the best configuration, by repetition."""
    won = winner(found, graph)
    return {
        bound["repetition"]: bound["texts_per_second"]
        for bound in found
        if won and (bound["graph"], bound["batch"], bound["processes"]) == (graph, won["batch"], won["processes"])
    }


def ratios(found, graph):
    """The ratios of the texts per second to those of the reference, of each repetition."""
    ours, theirs = best(found, graph), best(found, reference(graph))
    return [value / theirs[at] for at, value in ours.items() if at in theirs]


def best_loop(found, graph):
    """The batch size of the best configuration, and whether its sessions are threads or processes."""
    won = winner(found, graph)
    return str(won["batch"]), "processes" if won["processes"] else "threads"


def winner(found, graph):
    """The measurement of the best configuration in the first repetition, which tries all configurations."""
    of_graph = [bound for bound in found if bound["graph"] == graph]
    first = [bound for bound in of_graph if bound["repetition"] == of_graph[0]["repetition"]]
    return max(first, key=lambda bound: bound["texts_per_second"], default=None)
