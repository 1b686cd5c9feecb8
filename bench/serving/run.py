"""A whole run: repetitions, in each of them levels, and at each level the servers in turn."""

from serving import answers, bounds
from serving.load import Level, measure
from serving.machine import remark
from serving.progress import say
from serving.servers import Server
from serving.texts import TEXTS_A_CALL

COMPARED_TEXTS = 100


class Run:
    """Measures `launches` and gathers what was found in `results`."""

    def __init__(self, arguments, models, launches, texts, bodies, log):
        self.arguments = arguments
        self.models = models
        self.launches = launches
        self.texts = texts
        self.bodies = bodies
        self.log = log
        self.results = {"answers": {}, "samples": [], "starts": [], "bounds": []}

    def repeat(self, repetition):
        """One repetition: every server is started anew, and every level measured on each in turn."""
        servers = []
        try:
            for launch in self.launches.values():
                server = Server(launch, self.log)
                servers.append(server)
                server.freeze()
                say(f"repetition {repetition}: {launch.name} ready after {server.ready_seconds:.2f} s")
            if not self.results["answers"]:
                self.results["answers"] = answers.compare(servers, some(self.texts))
            self.singles(repetition, turned(servers, repetition))
            if not self.arguments.no_batch:
                self.batches(repetition, turned([server for server in servers if server.launch.is_nerve], repetition))
            for server in servers:
                start = {"repetition": repetition, "server": server.launch.name, "ready_seconds": server.ready_seconds}
                self.results["starts"].append(start | {"peak_mib": server.memory_mib("VmHWM")})
        finally:
            for server in servers:
                server.stop()
        if not self.arguments.no_bound:
            bounds.measure(repetition, self.arguments, self.models, self.launches, self.results["bounds"])

    def singles(self, repetition, servers):
        """One text a request: the closed loops, then the open ones at shares of what those reached."""
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
        """`/ner/batch`; its throughput is in texts, and of calls that long comes from how long they take, the first included."""
        for connections in (1, 2):
            for server in servers:
                with server.running():
                    found = measure(
                        server, self.arguments, self.bodies.batches, 2 * self.arguments.seconds, connections=connections,
                        path="/ner/batch", warmup=0.0,
                    )  # fmt: skip
                if times := found["latency_ms"]:
                    found["throughput"] = connections * TEXTS_A_CALL / (times["p50"] / 1000)
                level = f"/ner/batch, {TEXTS_A_CALL} texts a call, {Level(connections=connections)}"
                self.keep(repetition, server.launch.name, "batch", level, found)

    def keep(self, repetition, server, kind, level, found):
        sample = {"repetition": repetition, "server": server, "kind": kind, "level": str(level)}
        self.results["samples"].append(sample | found)
        times = found["latency_ms"]
        shown = f"p50 {times['p50']:.1f} ms, p99 {times['p99']:.1f} ms" if times else "no answers"
        say(f"repetition {repetition}: {server}, {level}: {found['throughput']:.0f}/s, {shown}, {found['statuses']}{remark(found['others'])}")


def some(texts):
    """Texts from all over the corpus."""
    return texts[:: max(1, len(texts) // COMPARED_TEXTS)][:COMPARED_TEXTS]


def turned(servers, repetition):
    """The servers from another one on each time, so that none always comes first."""
    at = (repetition - 1) % max(len(servers), 1)
    return servers[at:] + servers[:at]
