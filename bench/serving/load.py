"""A measurement of one server with nerve-load."""

import dataclasses
import json
import subprocess

from serving.machine import Others

# With 512 connections, a server that answers 35 requests per second needs this time for the last requests.
DRAIN_SECONDS = 40


@dataclasses.dataclass(frozen=True)
class Level:
    """A level of load: the connections of a closed loop, or the arrival rate of an open loop in percent of the server's capacity."""

    connections: int | None = None
    percent: int | None = None

    def __str__(self):
        if self.connections:
            return f"{self.connections} connection{'s' * (self.connections > 1)}"
        return f"open loop, {self.percent}%"


def measure(server, arguments, bodies, seconds, connections=32, rate=None, path="/ner", warmup=1.0, seed=1):
    """The report of nerve-load, with the server's CPU seconds (`server_cpu`) and the CPU share of other processes (`others`)."""
    command = [
        arguments.load, "--address", f"127.0.0.1:{server.port}", "--path", path, "--bodies", bodies,
        "--connections", str(connections), "--seconds", str(seconds), "--warmup-seconds", str(warmup),
        "--drain-seconds", str(DRAIN_SECONDS), "--seed", str(seed), *(["--rate", str(rate)] if rate else []),
    ]  # fmt: skip
    others, before = Others(), server.cpu_seconds()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    used = server.cpu_seconds() - before
    return json.loads(done.stdout) | {"server_cpu": used, "others": others.share(used)}
