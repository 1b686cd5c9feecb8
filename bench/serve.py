"""Drives nerve-server and its peers with the same load, in turn, and writes tables, a plot and all samples."""

import argparse
import json
import os
import pathlib
import platform
import resource
import shlex
import subprocess
import sys
import time

from serving import answers, bounds, plot, report, soak
from serving.load import Level, measure
from serving.models import prepare, same_logits
from serving.servers import ROOT, Server, launches
from serving.texts import TEXTS_A_CALL, corpus, write_batches, write_bodies

COMPARED_TEXTS = 100


def numbers(text):
    return [int(part) for part in text.split(",") if part]


def parse():
    parser = argparse.ArgumentParser(prog="bench/serve.sh", description=__doc__)
    parser.add_argument("data", type=pathlib.Path, metavar="DATA", help="the directory of train.conll and test.conll")
    parser.add_argument("--checkpoint", type=pathlib.Path, required=True, help="a Hugging Face directory")
    parser.add_argument("--only", help="servers to run, separated by commas [default: all]")
    parser.add_argument("--connections", type=numbers, default=[1, 8, 32, 128, 512], help="closed-loop levels")
    parser.add_argument("--open", type=numbers, default=[50, 80, 120], help="open-loop levels, in percent of capacity")
    parser.add_argument("--seconds", type=float, default=6.0, help="measured at each level, after one second of warm-up")
    parser.add_argument("--open-seconds", type=float, default=10.0, help="measured at each open-loop level")
    parser.add_argument("--repetitions", type=int, default=3)
    parser.add_argument("--no-batch", action="store_true", help="leave /ner/batch out")
    parser.add_argument("--no-bound", action="store_true", help="leave the bound of ONNX Runtime out")
    parser.add_argument("--soak", type=float, metavar="SECONDS", help="instead: the memory of each server under load")
    parser.add_argument("--out", type=pathlib.Path, default=ROOT / "target/bench", help="where results are written")
    parser.add_argument("--work", type=pathlib.Path, default=ROOT / "target/bench", help="where the models are made")
    parser.add_argument("--bundle", action="append", default=[], metavar="NAME=DIR", help="one more bundle to serve, as nerve-NAME")
    parser.add_argument("--nerve-flags", default="", help="further options of nerve-server, in one argument")
    parser.add_argument("--binaries", type=pathlib.Path, default=ROOT / "target/release")
    parser.add_argument("--load", type=pathlib.Path, default=ROOT / "target/bench-load/release/nerve-load")
    parser.add_argument("--peer-workers", type=int, default=1, help="processes of the ONNX Runtime peers")
    parser.add_argument("--peer-threads", type=int, default=1, help="threads of each of their runs")
    parser.add_argument("--pipeline-workers", type=int, default=1)
    parser.add_argument("--pipeline-threads", type=int, default=1)
    parser.add_argument("--litserve-workers", type=int, default=2)
    parser.add_argument("--litserve-batch", type=int, default=8)
    parser.add_argument("--peer-graph", choices=["torch", "nerve"], default="torch", help="who exports the peers' fp32 graph")
    return parser.parse_args()


def main():
    arguments = parse()
    began = time.time()
    # 512 connections are as many descriptors, here and in the servers.
    _, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    for directory in (arguments.work, arguments.out):
        directory.mkdir(parents=True, exist_ok=True)
    texts = corpus(arguments.data / "test.conll")
    bodies, batches = arguments.work / "bodies.jsonl", arguments.work / "batches.jsonl"
    write_bodies(texts, bodies)
    write_batches(texts, batches)
    models = prepare(arguments.checkpoint, arguments.data, arguments.work, arguments.binaries, arguments.peer_graph)
    logits = same_logits(models, texts[:: len(texts) // COMPARED_TEXTS])
    say(f"fp32 logits of the peers' graph and of Nerve's differ by at most {logits:.1e} on {COMPARED_TEXTS} texts")
    for name, _, bundle in (given.partition("=") for given in arguments.bundle):
        models.bundles[name] = pathlib.Path(bundle)
    chosen = launches(models, arguments)
    if arguments.only:
        unknown = set(arguments.only.split(",")) - set(chosen)
        if unknown:
            sys.exit(f"no such server: {', '.join(sorted(unknown))}; there are {', '.join(chosen)}")
        chosen = {name: launch for name, launch in chosen.items() if name in arguments.only.split(",")}
    if arguments.soak:
        with (arguments.out / "servers.log").open("w") as log:
            soak.run(chosen, arguments, bodies, log)
        return
    results = {
        "machine": machine(),
        "command": f"bench/serve.sh {shlex.join(sys.argv[1:])}",
        "began": time.strftime("%Y-%m-%d %H:%M UTC", time.gmtime(began)),
        "settings": {
            name: getattr(arguments, name)
            for name in (
                "repetitions", "seconds", "open_seconds", "connections", "open", "peer_workers", "peer_threads", "pipeline_workers",
                "pipeline_threads", "litserve_workers", "litserve_batch", "peer_graph", "nerve_flags",
            )
        },
        "texts": len(texts),
        "logits": logits,
        "servers": list(chosen),
        "samples": [],
        "starts": [],
        "bounds": [],
    }
    with (arguments.out / "servers.log").open("w") as log:
        for repetition in range(1, arguments.repetitions + 1):
            repeat(repetition, chosen, arguments, models, texts, bodies, batches, log, results)
    results["minutes"] = (time.time() - began) / 60
    (arguments.out / "serve.json").write_text(json.dumps(results))
    markdown = report.markdown(results)
    (arguments.out / "RESULTS.md").write_text(markdown)
    plot.draw(results, arguments.out / "serve.svg")
    print(report.tables(results))
    say(f"written: {arguments.out}/RESULTS.md, serve.svg, serve.json")


def repeat(repetition, chosen, arguments, models, texts, bodies, batches, log, results):
    """One repetition: every server is started anew, and every level measured on each in turn."""
    servers = []
    try:
        for launch in chosen.values():
            server = Server(launch, log)
            servers.append(server)
            server.freeze()
            say(f"repetition {repetition}: {launch.name} ready after {server.ready_seconds:.2f} s")
        if repetition == 1:
            results["answers"] = answers.compare(servers, texts[:: len(texts) // COMPARED_TEXTS][:COMPARED_TEXTS])
        capacity = {}
        levels = [Level(connections=count) for count in arguments.connections] + [Level(percent=share) for share in arguments.open]
        for level in levels:
            for server in turn(servers, repetition):
                name = server.launch.name
                with server.running():
                    if level.connections:
                        found = measure(server, arguments, bodies, arguments.seconds, connections=level.connections)
                        capacity[name] = max(capacity.get(name, 0.0), found["throughput"])
                    else:
                        rate = capacity[name] * level.percent / 100
                        found = measure(server, arguments, bodies, arguments.open_seconds, rate=rate, seed=repetition)
                        found["rate"] = rate
                keep(results, repetition, name, "closed" if level.connections else "open", str(level), found)
        if not arguments.no_batch:
            for server in turn([server for server in servers if server.launch.is_nerve], repetition):
                for connections in (1, 2):
                    with server.running():
                        found = measure(
                            server, arguments, batches, 2 * arguments.seconds, connections=connections, path="/ner/batch", warmup=2.0
                        )
                    found["throughput"] *= TEXTS_A_CALL
                    level = f"/ner/batch, {TEXTS_A_CALL} texts a call, {Level(connections=connections)}"
                    keep(results, repetition, server.launch.name, "batch", level, found)
        for server in servers:
            start = {"repetition": repetition, "server": server.launch.name, "ready_seconds": server.ready_seconds}
            results["starts"].append(start | {"peak_mib": server.memory_mib("VmHWM")})
    finally:
        for server in servers:
            server.stop()
    if not arguments.no_bound:
        bounds.measure(repetition, arguments, models, chosen, results["bounds"], say)


def turn(servers, repetition):
    """The servers from another one on each time, so that none always comes first."""
    at = (repetition - 1) % max(len(servers), 1)
    return servers[at:] + servers[:at]


def keep(results, repetition, server, kind, level, found):
    results["samples"].append({"repetition": repetition, "server": server, "kind": kind, "level": level, **found})
    times = found["latency_ms"]
    shown = f"p50 {times['p50']:.1f} ms, p99 {times['p99']:.1f} ms" if times else "no answers"
    say(f"repetition {repetition}: {server}, {level}: {found['throughput']:.0f}/s, {shown}, {found['statuses']}")


def machine():
    """The processor and the software that matters."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines()
    models = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    describe = ["git", "-C", ROOT, "describe", "--always", "--dirty"]
    return {
        "processor": models[0] if models else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "kernel": platform.release(),
        "commit": subprocess.run(describe, check=False, capture_output=True, text=True).stdout.strip() or "no commit",
    }


def say(line):
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    main()
