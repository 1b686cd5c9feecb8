"""Medians and spreads over the repetitions."""

import statistics

# What a server is a multiple of: the tuned Python ONNX Runtime peer of its precision.
PEER = {"int8": "python-int8", "fp32": "python-fp32"}


def peer_of(server):
    """The peer a server's ratios are to; the pipeline computes in fp32."""
    return PEER["int8" if "int8" in server else "fp32"]


class Samples:
    """All measurements of a run: dictionaries with repetition, server, level and its kind (closed, open, batch) beside what nerve-load reports."""

    def __init__(self, samples):
        self.samples = samples

    def of(self, server, level):
        return [sample for sample in self.samples if (sample["server"], sample["level"]) == (server, level)]

    def values(self, server, level, value):
        """A value by repetition, where it was measured."""
        found = {sample["repetition"]: value(sample) for sample in self.of(server, level)}
        return {repetition: number for repetition, number in found.items() if number is not None}

    def ratios(self, one, other, value=lambda sample: sample["throughput"]):
        """`one` over `other`, each a (server, level), repetition by repetition."""
        ours, theirs = self.values(*one, value), self.values(*other, value)
        return [ours[at] / theirs[at] for at in ours if theirs.get(at)]


def throughput(sample):
    return sample["throughput"]


def latency(percentile):
    return lambda sample: sample["latency_ms"] and sample["latency_ms"][percentile]


def errors(sample):
    """Requests with no answer, or with one that is neither 200 nor 429."""
    wrong = sum(count for status, count in sample["statuses"].items() if status not in ("200", "429"))
    return wrong + sum(sample["failures"].values()) + sample["unfinished"]


def refusals(sample):
    return sample["statuses"].get("429", 0)


def cpu_ms(sample):
    """Of an answer: the load's warm-up and drain are in both."""
    return 1000 * sample["server_cpu"] / sample["answers"] if sample["answers"] else None


def spread(numbers, form):
    """The median, with the least and the greatest in brackets where there are several."""
    numbers = sorted(numbers)
    if not numbers:
        return "-"
    median = format(statistics.median(numbers), form)
    if len(numbers) == 1:
        return median
    return f"{median} [{numbers[0]:{form}}-{numbers[-1]:{form}}]"
