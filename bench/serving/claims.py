"""The performance claims of Nerve, checked against the samples."""

import statistics

from serving.answers import changing
from serving.bounds import best, ratios
from serving.machine import instruction_sets
from serving.samples import latency, spread, throughput

INT8, FP32 = "nerve-int8", "nerve-fp32"
# What is required of the fastest instruction set of a processor: without HTTP, of 32 connections, and of the latency of one connection.
REQUIRED = {"amx": (">= 2.5", ">= 3.5", "<= 0.35"), "avx2": (">= 1.15", ">= 1.8", "<= 0.85")}
REQUIRED_OF_VNNI = ">= 1.3", ">= 2.3", "<= 0.5"
AT_1, AT_32 = "1 connection", "32 connections"


def claims(samples, bounds):
    """The claims as (description, required, measured, whether it holds), without claims whose figures were not measured."""
    peak = peaks(samples, "closed")
    raw, served, alone = REQUIRED.get(next(iter(instruction_sets()), None), REQUIRED_OF_VNNI)
    rows = [
        compared("int8, without HTTP: x ONNX Runtime on the same graph", raw, ratios(bounds, INT8)),
        compared("int8, 32 connections: throughput / throughput without HTTP", ">= 0.9", over(samples.values(INT8, AT_32, throughput), best(bounds, INT8))),
        *(
            compared(f"{ours.removeprefix('nerve-')}, 32 connections: x `{peer}`", wanted, samples.ratios((ours, AT_32), (peer, AT_32)))
            for ours, wanted, peers in [
                (INT8, served, ["python-int8", "python-int8-plain"]),
                (INT8, ">= 12", ["pipeline", "pipeline-plain"]),
                (FP32, ">= 1.4", ["python-fp32"]),
            ]
            for peer in peers
        ),
        *(
            compared(f"int8, 1 connection: p50 / p50 of `{peer}`", alone, samples.ratios((INT8, AT_1), (peer, AT_1), latency("p50")))
            for peer in ("python-int8", "python-int8-plain")
        ),
        *(
            compared(f"int8, {level}: throughput / peak throughput", ">= 0.95", over(samples.values(INT8, level, throughput), peak))
            for level in ("512 connections", "open loop, 120%")
        ),
        compared("int8, /ner/batch: throughput / peak throughput of single requests", ">= 1", over(peaks(samples, "batch"), peak)),
    ]
    runs = [sample for sample in samples.samples if sample["server"] == INT8 and sample["kind"] != "batch"]
    if runs:
        count = changing(runs)
        rows.append(("int8: texts whose responses vary with the load", "0", str(count), count == 0))
    return [row for row in rows if row]


def peaks(samples, kind):
    """Nerve's best throughput in each repetition."""
    found = {}
    for sample in samples.samples:
        if (sample["server"], sample["kind"]) == (INT8, kind):
            at = sample["repetition"]
            found[at] = max(found.get(at, 0.0), sample["throughput"])
    return found


def over(ours, theirs):
    return [value / theirs[at] for at, value in ours.items() if theirs.get(at)]


def compared(what, wanted, values):
    """The row of a claim, or None if nothing was measured."""
    if not values:
        return None
    sign, _, limit = wanted.partition(" ")
    middle = statistics.median(values)
    holds = middle >= float(limit) if sign == ">=" else middle <= float(limit)
    return what, wanted, spread(values, ".2f"), holds
