"""The results as a plot."""

import statistics

import matplotlib

matplotlib.use("svg")
# Makes the file depend on the results only.
matplotlib.rcParams["svg.hashsalt"] = "nerve"

from matplotlib import pyplot  # noqa: E402

from serving.samples import Samples, latency, throughput  # noqa: E402

COLORS = {
    "pipeline-plain": "#c49c94",
    "pipeline": "#8c564b",
    "python-fp32": "#31a354",
    "python-int8-plain": "#9ecae1",
    "python-int8": "#3182bd",
    "litserve-int8": "#756bb1",
    "nerve-fp32": "#fdae6b",
    "nerve-int8-onnxruntime": "#fd8d3c",
    "nerve-int8": "#a63603",
}


def draw(results, path):
    """Plots throughput and p99 by connections, and p99 by open-loop load: medians with the range over the repetitions."""
    samples = Samples(results["samples"])
    connections, shares = results["settings"]["connections"], results["settings"]["open"]
    closed = [f"{count} connection{'s' * (count > 1)}" for count in connections]
    panels = [
        (connections, closed, throughput, "answers/s", "connections"),
        (connections, closed, latency("p99"), "p99, ms", "connections"),
        (shares, [f"open loop, {share}%" for share in shares], latency("p99"), "p99, ms", "arrivals, % of the server's own capacity"),
    ]
    panels = [panel for panel in panels if panel[0]]
    figure, axes = pyplot.subplots(1, len(panels), figsize=(4.7 * len(panels), 4.5), layout="constrained", squeeze=False)
    for axis, (places, levels, value, name, below) in zip(axes[0], panels):
        for server in results["servers"]:
            points = [(place, list(samples.values(server, level, value).values())) for place, level in zip(places, levels)]
            points = [(place, values) for place, values in points if values]
            middle = [statistics.median(values) for _, values in points]
            low = [at - min(values) for at, (_, values) in zip(middle, points)]
            high = [max(values) - at for at, (_, values) in zip(middle, points)]
            axis.errorbar([place for place, _ in points], middle, [low, high], marker="o", capsize=2, label=server, color=COLORS.get(server))
        if below == "connections":
            axis.set_xscale("log", base=2)
        axis.set_xticks(places, map(str, places))
        if name == "answers/s":
            axis.set_ylim(bottom=0)
        else:
            axis.set_yscale("log")
        axis.set_xlabel(below)
        axis.set_ylabel(name)
        axis.grid(alpha=0.3)
    axes[0][0].legend(fontsize=8)
    figure.savefig(path, metadata={"Date": None})
