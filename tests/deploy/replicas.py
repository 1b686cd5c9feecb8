"""Runs three nerve-server processes behind HAProxy with deploy/haproxy/haproxy.cfg, on loopback."""

import collections
import contextlib
import csv
import io
import json
import os
import pathlib
import socket
import subprocess
import tempfile
import time
import urllib.request

from container import Container

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
SERVER = REPOSITORY / "target" / "release" / "nerve-server"
CONFIGURATION = REPOSITORY / "deploy" / "haproxy" / "haproxy.cfg"
STARTING_SECONDS = 60


def environment():
    """The environment of this process without variables that configure nerve-server."""
    return {name: value for name, value in os.environ.items() if not name.startswith("NERVE_")}


def fetch(url, timeout=5):
    with urllib.request.urlopen(url, timeout=timeout) as answer:
        return answer.read().decode()


def wait_for(what, holds, seconds=STARTING_SECONDS, every=0.02):
    """Waits until `holds()` is true and returns the seconds that it took."""
    began = time.monotonic()
    while not holds():
        if time.monotonic() - began > seconds:
            raise SystemExit(f"{what} did not happen within {seconds} s")
        time.sleep(every)
    return time.monotonic() - began


class Replica:
    """A nerve-server that can be restarted at the same address: a process, or a container of an image.

    `model` is a folder or a URL, `settings` are environment variables.
    """

    def __init__(self, name, model, options, logs, image=None, settings=None):
        self.name, self.log = name, logs / f"{name}.log"
        self._settings = settings or {}
        self._model, self._options, self._image = model, ["--log", "json", "--workers", "1", *options], image
        self.process, self.container, self.address = None, None, "127.0.0.1:0"

    def _launch(self, log):
        options = [*self._options, "--listen", self.address]
        if self._image is None:
            self.process = subprocess.Popen([SERVER, "--model", self._model, *options], stderr=log, env=environment() | self._settings)
        else:
            if self.container is not None:
                self.container.end()
            remote = "://" in str(self._model)
            model, mounts = (self._model, {}) if remote else ("/models", {self._model: "/models"})
            self.container = Container(self._image, "--model", model, *options, mounts=mounts, environment=self._settings, stderr=log)
            self.process = self.container.process

    def start(self):
        """Starts the server and returns when it is listening, which is before it is ready."""
        began = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self._launch(log)

        def listening():
            if self.process.poll() is not None:
                raise SystemExit(f"{self.name} exited with status {self.process.returncode}:\n{self.log.read_text()[began:]}")
            for line in self.log.read_bytes()[began:].splitlines():
                with contextlib.suppress(ValueError, KeyError):
                    self.address = json.loads(line)["fields"]["address"]
                    return True
            return False

        wait_for(f"{self.name} listening", listening)

    def ready(self):
        with contextlib.suppress(OSError):
            fetch(f"http://{self.address}/health/ready")
            return True
        return False

    def info(self):
        return json.loads(fetch(f"http://{self.address}/info"))

    def metrics(self):
        return fetch(f"http://{self.address}/metrics")

    def signal(self, number):
        if self.container is not None:
            self.container.signal(number)
        else:
            self.process.send_signal(number)

    def end(self):
        if self.container is not None:
            self.container.end()
        elif self.process is not None and self.process.poll() is None:
            # SIGKILL also ends a frozen process.
            self.process.kill()
            self.process.wait(60)


class Balancer:
    """HAProxy with the configuration of deploy/compose.yaml."""

    def __init__(self, replicas, logs):
        self.address, self.stats_address = free_addresses(2)
        self.log = logs / "haproxy.log"
        addresses = {f"NERVE_{number}": replica.address for number, replica in enumerate(replicas, 1)}
        addresses |= {"HAPROXY_LISTEN": self.address, "HAPROXY_STATS": self.stats_address}
        command = ["haproxy", "-db", "-f", CONFIGURATION]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(command, stdout=log, stderr=log, env=environment() | addresses)

    def states(self):
        """The state of each replica in HAProxy: UP, NOLB, DOWN, or a pending change such as `UP 1/2`."""
        rows = csv.DictReader(io.StringIO(fetch(f"http://{self.stats_address}/;csv")))
        return {row["svname"]: row["status"] for row in rows if row["# pxname"] == "nerve" and row["svname"] != "BACKEND"}

    def takes(self, replica):
        """Whether HAProxy sends requests to the replica."""
        return self.states()[replica.name].startswith("UP")

    def serves(self):
        if self.process.poll() is not None:
            raise SystemExit(f"haproxy exited with status {self.process.returncode}:\n{self.log.read_text()}")
        with contextlib.suppress(OSError):
            return set(self.states().values()) == {"UP"}
        return False

    def logged(self):
        """HAProxy's log entry of each request, by request id."""
        entries = [json.loads(line) for line in self.log.read_text().splitlines() if line.startswith("{")]
        return {entry["request_id"]: entry for entry in entries}

    def end(self):
        self.process.terminate()
        self.process.wait(60)


def free_addresses(count):
    """Free addresses. All sockets stay open until the last address is known, so that the addresses differ."""
    with contextlib.ExitStack() as stack:
        listeners = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [f"127.0.0.1:{listener.getsockname()[1]}" for listener in listeners]


@contextlib.contextmanager
def balanced(model, options, image=None):
    """Yields HAProxy and three replicas of a model behind it, all ready."""
    with contextlib.ExitStack() as ending:
        logs = pathlib.Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="nerve-haproxy-")))
        replicas = [Replica(f"nerve-{number}", model, options, logs, image) for number in (1, 2, 3)]
        for replica in replicas:
            ending.callback(replica.end)
            replica.start()
        for replica in replicas:
            wait_for(f"{replica.name} ready", replica.ready)
        balancer = Balancer(replicas, logs)
        ending.callback(balancer.end)
        wait_for("every replica up in HAProxy", balancer.serves)
        yield balancer, replicas


def accounts(replicas):
    """A message for each replica whose counters of requests do not add up."""
    found = []
    for replica in replicas:
        sums = collections.Counter()
        for line in replica.metrics().splitlines():
            if not line.startswith("#"):
                name, value = line.rsplit(" ", 1)
                sums[name.split("{")[0]] += float(value)
        if "nerve_received_total" in sums:
            # The request for the metrics is in flight.
            rest = sums["nerve_received_total"] - sums["nerve_outcomes_total"] - sums["nerve_in_flight"]
            if rest:
                found.append(f"{replica.name}: {rest:.0f} requests received but not accounted for")
    return found
