"""The results as Markdown: bench/RESULTS.md."""

import functools

from serving.answers import changing
from serving.bounds import best, best_loop
from serving.claims import claims
from serving.machine import TOLERATED
from serving.samples import Samples, cpu_ms, errors, latency, peer_of, refusals, spread, throughput

FRAME = """# Serving, side by side

One model, one machine, one load, in turn. `{command}`, {began}, {minutes:.0f} minutes, at `{commit}`:
{processor}, {cores} cores, Linux {kernel}.

![Throughput and latency](serve.svg)

## How to reproduce it

```console
$ bench/serve.sh DATA --checkpoint DIR                                   # everything: half an hour and more on two cores
$ bench/serve.sh DATA --checkpoint DIR --only nerve-int8,python-int8 --connections 1,32 --open= \\
    --repetitions 1 --no-batch --no-bound                                # a look: under two minutes
$ bench/serve.sh DATA --checkpoint DIR --only nerve-int8 --soak 600      # memory over ten minutes
```

DATA is the directory of the WNUT-17 files, DIR a Hugging Face token classifier, such as `runs/first/best` of `nerve-trainer train`.
The machine should do nothing else. Results are written to `target/bench`; this file is the RESULTS.md found there.

## What is compared

| server | |
|---|---|
| `pipeline` | the `transformers` token-classification pipeline (`first`) under FastAPI and uvicorn, fp32 |
| `python-fp32`, `python-int8` | Python ONNX Runtime under FastAPI and uvicorn, one text a run in FastAPI's thread pool |
| `litserve-int8` | Python ONNX Runtime under LitServe, which batches what waits, up to {litserve_batch}; {litserve_workers} workers of one thread |
| `nerve-fp32`, `nerve-int8` | `nerve-server` with its defaults{nerve_flags} and the bundles that `nerve-export` makes |

`-plain` is what `uvicorn module:app` runs: one process, and the library's own choice of threads, one a core in each run. Without it,
processes and threads are those that gave the most answers over 32 connections in a quick look: {peer_workers} x {peer_threads}
(of 1 x 1, 1 x 2, 2 x 1 and 2 x 2 on two cores; LitServe was tried with batches of 4, 8, 16 and 32).

The peers' fp32 graph is {graph}, their int8 graph ONNX Runtime's own dynamic quantisation of it. The logits of their fp32 graph
and of Nerve's differ by at most {logits:.1e} on 100 texts. All servers read the same tokens (up to 512, which no text reaches) of
the same words, those of BERT's own pre-tokenizer, and answer with entities and labelled words; the pipeline with entities alone.

## How it is measured

`bench/load` sends the {texts} WNUT-17 test texts, one a request, over keep-alive connections on loopback, round and round. In a
closed loop each connection sends its next request when it has its answer, for {seconds:g} s after one second of warm-up; both are longer where a
server needs more to answer each connection once. In an open
loop requests arrive at random (Poisson), for {open_seconds:g} s, at a share of the *server's own* best closed-loop throughput of the same
repetition, whatever the answers do; latencies count from when a request arrives, so that a late answer delays none of the later requests.
Each repetition ({repetitions}) starts every server anew, and at every level takes the servers in turn; those whose turn it is not are
stopped (SIGSTOP). The load's own use of the cores is part of everybody's figures.

`/ner/batch` calls take seconds each: their texts a second are connections x 1,000 / p50.

Figures are medians over the repetitions, with the least and the greatest in brackets.

- **answers/s**: answers of status 200 within the time measured.
- **x Python**: their ratio to those of Python ONNX Runtime under FastAPI at the same precision (`pipeline`: fp32), repetition by
  repetition.
- **p50**, **p99** ms: from sending (open loop: arrival) to the last byte, of answers of status 200. A request that is not answered
  within 40 s after the time measured counts with the time it has waited, and among the errors.
- **errors**: requests with no answer, or with one of a status other than 200 and 429. **429**: requests refused, and
  the p99 of how long that took, in the worst repetition.
- **CPU ms**: what the server's processes used of the cores, for each answer.
- **ready s**: from the start of the process to the first 200 of its health check. **peak MiB**: the most resident memory (`VmHWM`),
  summed over the server's processes, pages that they share counted for each, overload included.
- **as the first**: of 100 texts, those with the same entities as the first server's; Nerve decides each label by itself here
  (`"constrained": false`), as the others do. **changing**: of all texts, those whose answers were not the same, byte for byte, at every
  level and in every repetition.
- **bound**: texts a second of the best loop over ONNX Runtime alone (`bench/bound.py`): no HTTP, no tokenising, no decoding, batches of
  texts of like length, one session of one thread a core; the best of batches of 1, 4, 8 and 16 and, for the best of these, of
  threads and processes. Nerve's graphs are asked for the first subword of each word, as the server asks them.
"""

GRAPHS = {"torch": "what `torch.onnx` exports", "nerve": "that of Nerve's fp32 bundle"}


def markdown(results):
    """The whole file."""
    settings = results["settings"]
    values = results["machine"] | settings | {name: results[name] for name in ("command", "began", "minutes", "texts", "logits")}
    values["graph"] = GRAPHS[settings["peer_graph"]]
    values["nerve_flags"] = f" and `{settings['nerve_flags']}`" if settings["nerve_flags"] else ""
    return FRAME.format(**values) + "\n## Results\n\n" + tables(results)


def tables(results):
    """All that was measured."""
    samples = Samples(results["samples"])
    parts = [disturbance(results["samples"] + results["bounds"])]
    if rows := claims(samples, results["bounds"]):
        marked = [(what, wanted, found, "yes" if holds else "**no**") for what, wanted, found, holds in rows]
        parts.append("### What is claimed\n\n" + table(["", "wanted", "found", "holds"], marked))
    for level in dict.fromkeys(sample["level"] for sample in samples.samples):
        parts.append(f"### {level[0].upper()}{level[1:]}\n\n" + level_table(samples, results["servers"], level))
    parts.append("### Servers\n\n" + server_table(samples, results))
    if results["bounds"]:
        parts.append("### The bound\n\n" + bound_table(results["bounds"]))
    return "\n".join(parts)


def disturbance(measurements):
    """Whether the machine did nothing else."""
    disturbed = [each for each in measurements if each["others"] > TOLERATED]
    worst = max((each["others"] for each in measurements), default=0.0)
    return (
        f"In {len(disturbed)} of {len(measurements)} measurements other processes (or the host) used more than {TOLERATED:.0%} of the cores; "
        f"at most, {worst:.0%}.\n"
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
    """How many requests, and how long the slowest hundredth of them was kept waiting for it."""
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
    return table(["server", "ready s", "peak MiB", "as the first", "entities", "changing", "bytes an answer"], rows)


def bound_table(bounds):
    rows = []
    for graph in dict.fromkeys(bound["graph"] for bound in bounds):
        rows.append((f"`{graph}`", *best_loop(bounds, graph), spread(best(bounds, graph).values(), ".0f")))
    return table(["graph of", "batches of", "sessions", "texts/s"], rows)


def table(heads, rows):
    """A Markdown table, aligned for those who read it as text."""
    rows = [heads, *rows]
    widths = [max(len(row[column]) for row in rows) for column in range(len(heads))]
    lines = ["| " + " | ".join(cell.ljust(width) for cell, width in zip(row, widths)) + " |" for row in rows]
    lines.insert(1, "|" + "|".join("-" * (width + 2) for width in widths) + "|")
    return "\n".join(lines) + "\n"
