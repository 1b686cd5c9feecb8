"""The results in Markdown, as in bench/RESULTS.md."""

import functools

from serving.answers import changing
from serving.bounds import best, best_loop, ratios
from serving.claims import claims
from serving.machine import TOLERATED
from serving.samples import Samples, cpu_ms, errors, latency, peer_of, refusals, spread, throughput

FRAME = """# Comparison of servers

All servers serve the same model on the same machine and are measured in turn under the same load. `{command}`, {began}, {minutes:.0f} minutes, at `{commit}`:
{processor}, {cores} cores, Linux {kernel}.

![Throughput and latency](serve.svg)

## How to reproduce it

```console
$ bench/serve.sh DATA --checkpoint DIR                                   # all measurements; over half an hour on two cores
$ bench/serve.sh DATA --checkpoint DIR --only nerve-int8,python-int8 --connections 1,32 --open= \\
    --repetitions 1 --no-batch --no-bound                                # a quick look; under two minutes
$ bench/serve.sh DATA --checkpoint DIR --connections= --open= --no-batch   # without HTTP alone
$ bench/serve.sh DATA --checkpoint DIR --only nerve-int8 --soak 600      # memory over ten minutes
```

DATA is the directory of the WNUT-17 files. DIR is a Hugging Face token classifier, such as `runs/first/best` of `nerve-trainer train`.
The machine should have no other load. Results are written to `target/bench`; this file is a copy of the RESULTS.md there.

## What is compared

| server | |
|---|---|
| `pipeline` | the `transformers` token-classification pipeline (`first`) under FastAPI and uvicorn, fp32 |
| `python-fp32`, `python-int8` | Python ONNX Runtime under FastAPI and uvicorn, one text per run in FastAPI's thread pool |
| `litserve-int8` | Python ONNX Runtime under LitServe, which batches up to {litserve_batch} waiting texts; {litserve_workers} workers of one thread |
| `nerve-fp32`, `nerve-int8` | `nerve-server` with its defaults{nerve_flags} and bundles from `nerve-export`; int8 runs on Nerve's kernels |
| `nerve-int8-onnxruntime` | the same with `--kernels onnxruntime` |

`-plain` is the default of `uvicorn module:app`: one process, and one thread per core in each run. The others have the number of
processes x threads with the highest throughput over 32 connections in a short trial: {peer_workers} x {peer_threads} (out of 1 x 1,
1 x 2, 2 x 1 and 2 x 2 on two cores; LitServe was tried with batches of 4, 8, 16 and 32).

The peers' fp32 graph is {graph}; their int8 graph is ONNX Runtime's dynamic quantization of it. The logits of their fp32 graph
and of Nerve's differ by at most {logits:.1e} on 100 texts. All servers process the same tokens (up to 512, which no text reaches) of
the same words, which are the pre-tokens of BERT's tokenizer. They respond with entities and labeled words, the pipeline with
entities only.

## How it is measured

`bench/load` sends the {texts} WNUT-17 test texts repeatedly, one per request, over keep-alive connections on loopback. In a closed
loop, each connection sends its next request after it has received a response, for {seconds:g} s after one second of warm-up; both last
longer if the server needs more time to answer each connection once. In an open loop, requests arrive at random (a Poisson process)
for {open_seconds:g} s, at a percentage of the *same server's* best closed-loop throughput in the same repetition, independently of the
responses. Latencies are measured from the arrival of a request. Each of the {repetitions} repetitions starts every server and measures
the servers in turn at each level; the other servers are suspended (SIGSTOP). The load generator uses the same cores as the servers.

A `/ner/batch` request takes seconds, so its texts per second are computed as connections x 1,000 / p50.

Figures are medians over the repetitions, with the range in brackets.

- **answers/s**: responses with status 200 per second of the measured period.
- **x Python**: ratio of the throughput to that of Python ONNX Runtime under FastAPI at the same precision (`pipeline`: fp32) in the
  same repetition.
- **p50**, **p99** ms: time from sending (open loop: arrival) to the last byte of responses with status 200. A request without a
  response 40 s after the measured period counts with the time it has waited, and as an error.
- **errors**: requests without a response, or with a status other than 200 and 429. **429**: refused requests, and the p99 of the
  time until the refusal in the worst repetition.
- **CPU ms**: CPU time of the server's processes per response.
- **ready s**: time from the start of the process to the first status 200 of its health check. **peak MiB**: peak resident memory
  (`VmHWM`) including overload, summed over the server's processes; shared pages count for each process.
- **same entities**: number of texts, out of 100, with the same entities as the first server's; Nerve decodes words independently here
  (`"constrained": false`), as the others do. **varying**: number of texts whose responses were not byte-identical at all levels and in
  all repetitions.
- **Raw, without HTTP**: texts per second of `bench/bound.py`, without HTTP, tokenization and decoding: batches of texts of similar length, and
  one session or stream with one thread per core. It is the best of batch sizes 1, 4, 8 and 16, and for ONNX Runtime of threads and
  processes at the best batch size. `nerve-int8` is Nerve's kernels, on the fastest instruction set or on the one named;
  `nerve-int8-onnxruntime` is ONNX Runtime on the same int8 graph, and `python-int8` on its own dynamic int8 graph. OpenVINO runs Nerve's plain fp32
  export: in fp32, in bf16, and in int8 as NNCF quantizes it after training. **x ONNX Runtime** is the ratio to ONNX Runtime on the same
  int8 bundle (other graphs: on `nerve-int8`'s) in the same repetition. Nerve's graphs compute the first subword of each word, as in the server.
"""

GRAPHS = {"torch": "exported by `torch.onnx`", "nerve": "that of Nerve's fp32 bundle"}


def markdown(results):
    """The complete file."""
    settings = results["settings"]
    values = results["machine"] | settings | {name: results[name] for name in ("command", "began", "minutes", "texts", "logits")}
    values["graph"] = GRAPHS[settings["peer_graph"]]
    values["nerve_flags"] = f" and `{settings['nerve_flags']}`" if settings["nerve_flags"] else ""
    return FRAME.format(**values) + "\n## Results\n\n" + tables(results)


def tables(results):
    """The tables of all measurements."""
    samples = Samples(results["samples"])
    parts = [disturbance(results["samples"] + results["bounds"])]
    if rows := claims(samples, results["bounds"]):
        marked = [(what, wanted, found, "yes" if holds else "**no**") for what, wanted, found, holds in rows]
        parts.append("### Claims\n\n" + table(["", "required", "measured", "holds"], marked))
    for level in dict.fromkeys(sample["level"] for sample in samples.samples):
        parts.append(f"### {level[0].upper()}{level[1:]}\n\n" + level_table(samples, results["servers"], level))
    parts.append("### Servers\n\n" + server_table(samples, results))
    if results["bounds"]:
        parts.append("### Raw, without HTTP\n\n" + bound_table(results["bounds"]))
    return "\n".join(parts)


def disturbance(measurements):
    """A sentence on the load of other processes during the measurements."""
    disturbed = [each for each in measurements if each["others"] > TOLERATED]
    worst = max((each["others"] for each in measurements), default=0.0)
    return (
        f"In {len(disturbed)} of {len(measurements)} measurements other processes (or the host) used more than {TOLERATED:.0%} of the cores. "
        f"The maximum was {worst:.0%}.\n"
    )


def level_table(samples, servers, level):
    rows = []
    for server in servers:
        if not (of_level := samples.of(server, level)):
            continue
        value = functools.partial(middle, samples, server, level)
        rows.append(
            (
                f"`{server}`",
                value(throughput, ".0f"),
                spread(samples.ratios((server, level), (peer_of(server), level)), ".2f"),
                value(latency("p50"), ".1f"),
                value(latency("p99"), ".1f"),
                str(sum(map(errors, of_level))),
                refused(of_level),
                value(cpu_ms, ".2f"),
            )
        )
    unit = "texts/s" if "/ner/batch" in level else "answers/s"
    return table(["server", unit, "x Python", "p50 ms", "p99 ms", "errors", "429", "CPU ms"], rows)


def middle(samples, server, level, value, form):
    return spread(samples.values(server, level, value).values(), form)


def refused(of_level):
    """The number of refused requests, and the largest p99 of the time until the refusal."""
    times = [sample["refusal_ms"]["p99"] for sample in of_level if sample["refusal_ms"]]
    return f"{sum(map(refusals, of_level))}" + (f" ({max(times):.1f} ms)" if times else "")


def server_table(samples, results):
    rows = []
    for server in results["servers"]:
        starts = [start for start in results["starts"] if start["server"] == server]
        alike = results["answers"][server]
        runs = [sample for sample in samples.samples if sample["server"] == server and sample["kind"] != "batch"]
        rows.append(
            (
                f"`{server}`",
                spread([start["ready_seconds"] for start in starts], ".2f"),
                spread([start["peak_mib"] for start in starts], ".0f"),
                f"{alike['same']} of {alike['of']}",
                str(alike["entities"]),
                f"{changing(runs)} of {results['texts']}" if runs else "-",
                f"{runs[0]['mean_body_bytes']:.0f}" if runs else "-",
            )
        )
    return table(["server", "ready s", "peak MiB", "same entities", "entities", "varying", "bytes/response"], rows)


def bound_table(bounds):
    rows = []
    for graph in dict.fromkeys(bound["graph"] for bound in bounds):
        texts, ratio = spread(best(bounds, graph).values(), ".0f"), spread(ratios(bounds, graph), ".2f")
        instructions = next(bound.get("instructions") for bound in bounds if bound["graph"] == graph)
        name = f"`{graph}`" + (f" ({instructions})" if instructions and "," not in graph else "")
        rows.append((name, *best_loop(bounds, graph), texts, ratio))
    return table(["", "batches of", "sessions", "texts/s", "x ONNX Runtime"], rows)


def table(heads, rows):
    """A Markdown table with aligned columns."""
    rows = [heads, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"
