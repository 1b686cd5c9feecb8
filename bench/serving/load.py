"""One measurement: nerve-load against one server."""

import dataclasses
import json
import subprocess

from serving.machine import Others

# A server that answers 35 requests a second has these seconds' worth of answers to give to 512 connections.
DRAIN_SECONDS = 40


@dataclasses.dataclass(frozen=True)
class Level:
    """How much load: connections of a closed loop, or arrivals of an open one in percent of the server's own capacity."""

    connections: int | None = None
    percent: int | None = None

    def __str__(self):
        if self.connections:
            return f"{self.connections} connection{'s' * (self.connections > 1)}"
        return f"open loop, {self.percent}%"


def measure(server, arguments, bodies, seconds, connections=32, rate=None, path="/ner", warmup=1.0, seed=1):
    """What nerve-load reports, with the seconds of the cores that the server used (`server_cpu`) and others' share (`others`)."""
    command = [
        arguments.load, "--address", f"127.0.0.1:{server.port}", "--path", path, "--bodies", bodies,
        "--connections", str(connections), "--seconds", str(seconds), "--warmup-seconds", str(warmup),
        "--drain-seconds", str(DRAIN_SECONDS), "--seed", str(seed), *(["--rate", str(rate)] if rate else []),
    ]  # fmt: skip
    others, before = Others(), server.cpu_seconds()
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE)
    used = server.cpu_seconds() - before
    return json.loads(done.stdout) | {"server_cpu": used, "others": others.share(used)}
