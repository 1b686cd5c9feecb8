"""Medians and ranges over the repetitions."""

import statistics

# The server that ratios compare with: the tuned Python ONNX Runtime peer of the same precision.
PEER = {"int8": "python-int8", "fp32": "python-fp32"}


def peer_of(server):
    """The peer that a server is compared with. The pipeline computes in fp32."""
    return PEER["int8" if "int8" in server else "fp32"]


class Samples:
    """The measurements of a run: reports of nerve-load with repetition, server, level and kind (closed, open, batch)."""

    def __init__(self, samples):
        self.samples = samples

    def of(self, server, level):
        return [sample for sample in self.samples if (sample["server"], sample["level"]) == (server, level)]

    def values(self, server, level, value):
        """The values of a server at a level, by repetition, without repetitions that did not measure it."""
        found = {sample["repetition"]: value(sample) for sample in self.of(server, level)}
        return {repetition: number for repetition, number in found.items() if number is not None}

    def ratios(self, one, other, value=lambda sample: sample["throughput"]):
        """The ratios of `one` to `other`, each a (server, level), of each repetition."""
        ours, theirs = self.values(*one, value), self.values(*other, value)
        return [ours[at] / theirs[at] for at in ours if theirs.get(at)]


def throughput(sample):
    return sample["throughput"]


def latency(percentile):
    return lambda sample: sample["latency_ms"] and sample["latency_ms"][percentile]


def errors(sample):
    """The number of requests without a response, or with a status other than 200 and 429."""
    wrong = sum(count for status, count in sample["statuses"].items() if status not in ("200", "429"))
    return wrong + sum(sample["failures"].values()) + sample["unfinished"]


def refusals(sample):
    return sample["statuses"].get("429", 0)


def cpu_ms(sample):
    """CPU milliseconds per response. Both figures include warm-up and drain."""
    return 1000 * sample["server_cpu"] / sample["answers"] if sample["answers"] else None


def spread(numbers, form):
    """The median, followed by the range in brackets if there are several numbers."""
    numbers = sorted(numbers)
    if not numbers:
        return "-"
    median = format(statistics.median(numbers), form)
    if len(numbers) == 1:
        return median
    return f"{median} [{numbers[0]:{form}}-{numbers[-1]:{form}}]"
