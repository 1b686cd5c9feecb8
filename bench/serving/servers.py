"""The servers to compare. Each is a process group with a port of its own."""

import contextlib
import dataclasses
import http.client
import os
import pathlib
import signal
import socket
import subprocess
import sys
import time

from serving.options import ROOT

PEERS = ROOT / "bench/peers"
# The end of the name of a server, nerve-server with the kernels of ONNX Runtime.
ONNXRUNTIME = "-onnxruntime"
READY_WITHIN = 180
STOPPED_WITHIN = 20


@dataclasses.dataclass
class Launch:
    """The command that starts a server, with the placeholder {port}, and its environment."""

    name: str
    command: list[str]
    environment: dict[str, str]
    health: str = "/health"

    @property
    def is_nerve(self):
        return self.name.startswith("nerve-")


def launches(models, arguments):
    """All servers by name, in the order of the tables."""
    tuned = {"threads": arguments.peer_threads, "workers": arguments.peer_workers}
    # The defaults of `uvicorn module:app`: one process, and the default number of threads of the library.
    plain = {"threads": 0, "workers": 1}
    found = [
        uvicorn("pipeline-plain", "pipeline_fastapi", models, None, **plain),
        uvicorn("pipeline", "pipeline_fastapi", models, None, **tuned),
        uvicorn("python-fp32", "onnxruntime_fastapi", models, "fp32", **tuned),
        uvicorn("python-int8-plain", "onnxruntime_fastapi", models, "int8", **plain),
        uvicorn("python-int8", "onnxruntime_fastapi", models, "int8", **tuned),
        litserve(models, arguments),
        *(nerve(f"nerve-{name}", bundle, arguments) for name, bundle in models.bundles.items()),
        nerve(f"nerve-int8{ONNXRUNTIME}", models.bundles["int8"], arguments, "--kernels", "onnxruntime"),
    ]
    return {launch.name: launch for launch in found}


def uvicorn(name, module, models, precision, threads, workers):
    command = [
        sys.executable, "-m", "uvicorn", "--app-dir", str(PEERS), f"{module}:app", "--host", "127.0.0.1", "--port", "{port}",
        "--workers", str(workers), "--log-level", "warning", "--no-access-log",
        # The server is frozen while the others are measured. After that, it must not consider its workers dead.
        "--timeout-worker-healthcheck", "3600",
    ]  # fmt: skip
    return Launch(name, command, peer(models, precision, threads))


def litserve(models, arguments):
    environment = peer(models, "int8", 1)
    environment |= {"PEER_WORKERS": str(arguments.litserve_workers), "PEER_BATCH": str(arguments.litserve_batch)}
    return Launch("litserve-int8", [sys.executable, str(PEERS / "onnxruntime_litserve.py"), "{port}"], environment)


def peer(models, precision, threads):
    environment = {"PEER_MODEL": str(models.checkpoint), "PEER_THREADS": str(threads)}
    if precision:
        environment["PEER_GRAPH"] = str(models.graphs[precision])
    return environment | {"HF_HUB_OFFLINE": "1", "TOKENIZERS_PARALLELISM": "false"}


def nerve(name, bundle, arguments, *flags):
    command = [
        str(arguments.binaries / "nerve-server"), "--model", str(bundle), "--listen", "127.0.0.1:{port}",
        "--max-texts-per-batch", "1000", *flags, *arguments.nerve_flags.split(),
    ]  # fmt: skip
    return Launch(name, command, {"RUST_LOG": "warn"}, "/health/ready")


class Server:
    """A running server, which can be frozen so that it uses no CPU time."""

    def __init__(self, launch, log):
        self.launch = launch
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            self.port = free.getsockname()[1]
        command = [part.replace("{port}", str(self.port)) for part in launch.command]
        environment = {name: value for name, value in os.environ.items() if not name.startswith("NERVE_")}
        began = time.monotonic()
        # In a session of its own, so that signals reach all processes of the server.
        self.process = subprocess.Popen(
            command, env=environment | launch.environment, stdout=log, stderr=log, start_new_session=True
        )
        try:
            self._wait_until_ready(began + READY_WITHIN, log)
        except BaseException:
            self.stop()
            raise
        self.ready_seconds = time.monotonic() - began

    def _wait_until_ready(self, end, log):
        while True:
            if self.process.poll() is not None:
                raise SystemExit(f"{self.launch.name} ended with {self.process.returncode}; see {log.name}")
            with contextlib.suppress(OSError):
                connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
                connection.request("GET", self.launch.health)
                if connection.getresponse().status == 200:
                    return
            if time.monotonic() > end:
                raise SystemExit(f"{self.launch.name} is not ready after {READY_WITHIN} s; see {log.name}")
            time.sleep(0.01)

    @contextlib.contextmanager
    def running(self):
        """Resumes a frozen server for the duration of the block."""
        self._signal(signal.SIGCONT)
        time.sleep(0.2)
        try:
            yield self
        finally:
            self.freeze()

    def freeze(self):
        self._signal(signal.SIGSTOP)

    def stop(self):
        self._signal(signal.SIGCONT)
        self._signal(signal.SIGTERM)
        end = time.monotonic() + STOPPED_WITHIN
        while any(fields(directory)[0] != "Z" for directory in self.processes()) and time.monotonic() < end:
            time.sleep(0.05)
        # Sent before the first process is waited for, because after that the group's id may be reused.
        self._signal(signal.SIGKILL)
        self.process.wait()

    def _signal(self, number):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, number)

    def processes(self):
        """The /proc/PID directories of the group's processes."""
        for directory in pathlib.Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                if int(fields(directory)[2]) == self.process.pid:
                    yield directory

    def memory_mib(self, field):
        """The resident memory (`VmRSS`) or its peak (`VmHWM`) in MiB, summed over the processes."""
        total = 0
        for directory in self.processes():
            with contextlib.suppress(OSError, IndexError):
                total += int((directory / "status").read_text().split(f"{field}:")[1].split()[0])
        return total / 1024

    def cpu_seconds(self):
        """The CPU seconds of the processes so far."""
        used = 0
        for directory in self.processes():
            with contextlib.suppress(OSError):
                used += sum(map(int, fields(directory)[11:13]))
        return used / os.sysconf("SC_CLK_TCK")


def fields(directory):
    """The fields of /proc/PID/stat from the state on. The name before it may contain spaces."""
    return (directory / "stat").read_text().rsplit(")", 1)[1].split()
