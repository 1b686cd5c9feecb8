"""A complete run: each repetition measures every level of load on each server in turn."""

from serving import answers, bounds
from serving.load import Level, measure
from serving.machine import remark
from serving.progress import say
from serving.servers import Server
from serving.texts import TEXTS_PER_REQUEST

COMPARED_TEXTS = 100


class Run:
    """Measures the servers of `launches` and collects the measurements in `results`."""

    def __init__(self, arguments, models, launches, texts, bodies, log):
        self.arguments = arguments
        self.models = models
        self.launches = launches
        self.texts = texts
        self.bodies = bodies
        self.log = log
        self.results = {"answers": {}, "samples": [], "starts": [], "bounds": []}

    def repeat(self, repetition):
        """Starts every server and measures every level on each of them in turn."""
        servers = []
        try:
            for launch in self.launches.values():
                server = Server(launch, self.log)
                servers.append(server)
                server.freeze()
                say(f"repetition {repetition}: {launch.name} ready after {server.ready_seconds:.2f} s")
            if not self.results["answers"]:
                self.results["answers"] = answers.compare(servers, sample_of(self.texts))
            self.singles(repetition, rotated(servers, repetition))
            if not self.arguments.no_batch:
                self.batches(repetition, rotated([server for server in servers if server.launch.is_nerve], repetition))
            for server in servers:
                start = {"repetition": repetition, "server": server.launch.name, "ready_seconds": server.ready_seconds}
                self.results["starts"].append(start | {"peak_mib": server.memory_mib("VmHWM")})
        finally:
            for server in servers:
                server.stop()
        if not self.arguments.no_bound:
            bounds.measure(repetition, self.arguments, self.models, self.results["bounds"])

    def singles(self, repetition, servers):
        """Requests with one text: closed loops, then open loops at percentages of the best closed-loop throughput."""
        capacity = {}
        for count in self.arguments.connections:
            for server in servers:
                with server.running():
                    found = measure(server, self.arguments, self.bodies.singles, self.arguments.seconds, connections=count)
                name = server.launch.name
                capacity[name] = max(capacity.get(name, 0.0), found["throughput"])
                self.keep(repetition, name, "closed", Level(connections=count), found)
        for share in self.arguments.open:
            for server in servers:
                rate = capacity[server.launch.name] * share / 100
                with server.running():
                    found = measure(
                        server, self.arguments, self.bodies.singles, self.arguments.open_seconds, rate=rate, seed=repetition
                    )
                self.keep(repetition, server.launch.name, "open", Level(percent=share), found | {"rate": rate})

    def batches(self, repetition, servers):
        """`/ner/batch` requests. They take so long that the throughput, in texts, is computed from their median duration."""
        for connections in (1, 2):
            for server in servers:
                with server.running():
                    found = measure(
                        server, self.arguments, self.bodies.batches, 2 * self.arguments.seconds, connections=connections,
                        path="/ner/batch", warmup=0.0,
                    )  # fmt: skip
                if times := found["latency_ms"]:
                    found["throughput"] = connections * TEXTS_PER_REQUEST / (times["p50"] / 1000)
                level = f"/ner/batch, {TEXTS_PER_REQUEST} texts per request, {Level(connections=connections)}"
                self.keep(repetition, server.launch.name, "batch", level, found)

    def keep(self, repetition, server, kind, level, found):
        sample = {"repetition": repetition, "server": server, "kind": kind, "level": str(level)}
        self.results["samples"].append(sample | found)
        times = found["latency_ms"]
        shown = f"p50 {times['p50']:.1f} ms, p99 {times['p99']:.1f} ms" if times else "no answers"
        say(f"repetition {repetition}: {server}, {level}: {found['throughput']:.0f}/s, {shown}, {found['statuses']}{remark(found['others'])}")


def sample_of(texts):
    """A sample of the texts, spread evenly over the corpus."""
    return texts[:: max(1, len(texts) // COMPARED_TEXTS)][:COMPARED_TEXTS]


def rotated(servers, repetition):
    """The servers, rotated by repetition so that each is measured first at some time."""
    at = (repetition - 1) % max(len(servers), 1)
    return servers[at:] + servers[:at]
