"""Restarts, updates, kills and freezes replicas behind deploy/haproxy/haproxy.cfg under load, and counts the outcomes of requests.

    python3 tests/deploy/haproxy.py                         # all faults; requires Debian's haproxy and a built nerve-server
    python3 tests/deploy/haproxy.py --only kill,freeze

running_image.py gives the replicas an image to run in.
"""

import argparse
import asyncio
import contextlib
import http.client
import json
import os
import pathlib
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from container import Image  # noqa: E402
from load import Load  # noqa: E402
from replicas import SERVER, accounts, balanced, environment, wait_for  # noqa: E402
from table import Row, say, show  # noqa: E402
from versions import MODEL, another_version, publish  # noqa: E402

DRAIN_DELAY_MS = 2000
RELOAD_POLL_MS = 500
# haproxy.cfg: inter + timeout check + fastinter + timeout check, plus the time until this script notices.
HEALTH_INTERVAL_SECONDS = 0.5 + 0.5 + 0.25 + 0.5 + 0.25
FROZEN_SECONDS = 2
CALM_SECONDS = 1


class Site:
    """The replicas, HAProxy, and the rate of the load."""

    def __init__(self, balancer, replicas, rate):
        self.balancer, self.replicas, self.rate = balancer, replicas, rate
        self.answers = {}

    @contextlib.asynccontextmanager
    async def loaded(self, row):
        """Applies load from before the first fault until after the last."""
        row.load = Load(self.balancer.address, self.rate, self.answers)
        await asyncio.sleep(CALM_SECONDS)
        yield row.load
        await asyncio.sleep(CALM_SECONDS)
        await row.load.stop()
        row.check(row.load.count("answered") > 0, "no request was answered")
        row.check(row.load.count(None) == 0, f"{row.load.count(None)} requests were lost")
        row.check(row.load.count("refused") == 0, f"{row.load.count('refused')} requests were refused")

    async def out(self, replica):
        await happens(f"{replica.name} out", lambda: not self.balancer.takes(replica))

    async def back(self, replica):
        await happens(f"{replica.name} back", lambda: self.balancer.states()[replica.name] == "UP")


async def happens(what, holds):
    """Waits for a condition without blocking the load."""
    await asyncio.to_thread(wait_for, what, holds)


async def nothing(site, row, options):
    async with site.loaded(row):
        await asyncio.sleep(3)
    row.check(not row.load.failed(), "requests failed")


async def rolling_restart(site, row, options):
    if not options.has_drain_delay:
        row.violations.append("nerve-server has no --drain-delay-ms, so it refuses requests before HAProxy notices")
        if not options.without_drain_delay:
            return
    async with site.loaded(row):
        for _ in range(options.rounds):
            for replica in site.replicas:
                began = time.monotonic()
                replica.signal(signal.SIGTERM)
                row.injected += 1
                await site.out(replica)
                row.out.append(time.monotonic() - began)
                await asyncio.to_thread(replica.process.wait, 60)
                row.check(replica.process.returncode == 0, f"{replica.name} exited with status {replica.process.returncode}")
                await asyncio.to_thread(replica.start)
                await site.back(replica)
                row.recovered.append(time.monotonic() - began)
    row.check(not row.load.failed(), "requests failed")


async def refresh(site, row, options):
    old = site.replicas[0].info()["model"]["version"]
    with another_version() as (bundle, new):
        async with site.loaded(row) as load:
            for number in range(2 * options.rounds):
                source, version = ((bundle, new), (MODEL, old))[number % 2]
                began = time.monotonic()
                await asyncio.to_thread(publish, source, options.store)
                for replica in site.replicas:
                    row.injected += 1
                    await happens(f"{replica.name} {version}", lambda: replica.info()["model"]["version"] == version)
                    row.recovered.append(time.monotonic() - began)
                settled = time.time()
                await asyncio.sleep(CALM_SECONDS)
                row.check(load.versions(settled) == {version}, f"{load.versions(settled)} answered after {version} was current")
    row.check(not row.load.failed(), "requests failed")
    row.check(row.load.versions() == {old, new}, f"{row.load.versions()} answered, not {old} and {new}")


async def kill(site, row, options):
    kills = []
    async with site.loaded(row):
        for _ in range(options.rounds):
            for replica in site.replicas:
                began, moment = time.monotonic(), time.time()
                replica.signal(signal.SIGKILL)
                row.injected += 1
                kills.append((replica.name, moment))
                await asyncio.to_thread(replica.process.wait, 60)
                await site.out(replica)
                row.out.append(time.monotonic() - began)
                await asyncio.to_thread(replica.start)
                await site.back(replica)
                row.recovered.append(time.monotonic() - began)
    logged = site.balancer.logged()
    for request in row.load.failed():
        # On a reused client connection, HAProxy may close it without a response. It does not log such a request.
        replica = logged[request.id]["replica"] if request.id in logged else None
        excused = any(replica in (name, None) and request.spans(moment) for name, moment in kills)
        row.check(excused, f"a request failed without being in flight on a killed replica: {request.detail} by {replica}")
    again = sum(logged.get(request.id, {}).get("retries", "0") != "0" for request in row.load.requests)
    row.notes.append(f"{again} requests were retried on another replica; "
                     f"{len(row.load.failed())} requests failed, in flight on a replica when it was killed")


async def freeze(site, row, options):
    async with site.loaded(row) as load:
        for _ in range(options.rounds):
            for replica in site.replicas:
                began = time.monotonic()
                replica.signal(signal.SIGSTOP)
                row.injected += 1
                try:
                    await site.out(replica)
                    out, frozen = time.monotonic() - began, time.time()
                    row.out.append(out)
                    row.check(out <= HEALTH_INTERVAL_SECONDS, f"{replica.name} was taken out after {out:.2f} s")
                    await asyncio.sleep(FROZEN_SECONDS)
                finally:
                    replica.signal(signal.SIGCONT)
                thawed = time.time()
                await site.back(replica)
                row.recovered.append(time.monotonic() - began)
                stuck = [request for request in load.requests if request.began < frozen and request.spans(thawed)]
                row.notes.append(f"{len(stuck)} requests waited for the frozen {replica.name} until it continued")
                await asyncio.sleep(CALM_SECONDS)
                logged = site.balancer.logged()
                misled = [
                    request
                    for request in load.requests
                    if frozen < request.began < thawed and logged.get(request.id, {}).get("replica") == replica.name
                ]
                row.check(not misled, f"{len(misled)} requests were sent to {replica.name} after it was taken out")
    row.check(not row.load.failed(), "requests failed")


FAULTS = {
    "nothing": nothing,
    "rolling": rolling_restart,
    "refresh": refresh,
    "kill": kill,
    "freeze": freeze,
}
NAMES = {
    "nothing": "no fault",
    "rolling": "rolling restart (SIGTERM)",
    "refresh": "model update",
    "kill": "replica killed (SIGKILL)",
    "freeze": "replica frozen (SIGSTOP)",
}


def check_doors(balancer):
    """HAProxy denies /metrics and /admin, and forwards the responses of other routes unchanged."""
    for method, path, expected in [
        ("GET", "/metrics", 403),
        ("POST", "/admin/reload", 403),
        ("GET", "/health/ready", 200),
        ("GET", "/nowhere", 404),
    ]:
        connection = http.client.HTTPConnection(balancer.address, timeout=10)
        with contextlib.closing(connection):
            connection.request(method, path)
            answer = connection.getresponse()
            body = answer.read()
            assert answer.status == expected, f"{method} {path}: {answer.status}"
            if expected >= 400:
                assert json.loads(body)["error"]["code"], body


def check_stream(balancer, lines=50):
    """The results of a stream arrive line by line while the stream is being sent."""
    host, port = balancer.address.split(":")
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = "POST /ner/stream?include_words=false HTTP/1.1\r\nhost: nerve\r\ncontent-type: application/x-ndjson\r\n"
        connection.sendall(f"{head}transfer-encoding: chunked\r\n\r\n".encode())
        heard = connection.makefile("rb")
        for number in range(1, lines + 1):
            line = json.dumps({"id": number, "text": f"Barack Obama met {number} people in Paris"}).encode() + b"\n"
            connection.sendall(b"%x\r\n%s\r\n" % (len(line), line))
            if number == 1:
                assert heard.readline().startswith(b"HTTP/1.1 200")
                while heard.readline() != b"\r\n":
                    pass
            size = int(heard.readline(), 16)
            assert json.loads(heard.read(size + 2))["id"] == number
        connection.sendall(b"0\r\n\r\n")
        assert int(heard.readline(), 16) == 0


def check_leaving(balancer, replicas):
    """When a client disconnects from HAProxy, the replica aborts its request."""

    def left():
        lines = "".join(replica.metrics() for replica in replicas).splitlines()
        series = 'nerve_requests_total{route="/ner/batch",status="499"}'
        return sum(int(line.split()[1]) for line in lines if line.startswith(series))

    before = left()
    host, port = balancer.address.split(":")
    body = json.dumps({"items": [{"text": "word " * 5000}] * 8}).encode()
    with socket.create_connection((host, int(port)), timeout=30) as connection:
        head = f"POST /ner/batch HTTP/1.1\r\nhost: nerve\r\ncontent-type: application/json\r\ncontent-length: {len(body)}\r\n\r\n"
        connection.sendall(head.encode() + body)
        time.sleep(0.3)
    wait_for("the request's withdrawal", lambda: left() == before + 1)


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help=f"some of {','.join(FAULTS)}")
    parser.add_argument("--rounds", type=int, default=1, help="how often each replica gets each fault [default: 1]")
    parser.add_argument("--rate", type=float, default=40, help="requests a second [default: 40]")
    parser.add_argument("--require-reload", action="store_true", help="fail if nerve-server cannot reload")
    parser.add_argument("--without-drain-delay", action="store_true", help="restart also a server that has no drain delay")
    parser.add_argument("--image", type=pathlib.Path, help="the replicas are containers of this image: JSON with `root` and `settings`")
    options = parser.parse_args()
    image = Image(**json.loads(options.image.read_text())) if options.image else None
    faults = options.only.split(",") if options.only else list(FAULTS)
    if unknown := set(faults) - set(FAULTS):
        raise SystemExit(f"no such fault: {', '.join(unknown)}; there are {', '.join(FAULTS)}")
    if shutil.which("haproxy") is None:
        raise SystemExit("haproxy is needed: apt-get install haproxy")

    known = subprocess.run([SERVER, "--help"], check=True, capture_output=True, text=True, env=environment()).stdout
    options.has_drain_delay, has_reload = "--drain-delay-ms" in known, "--reload-poll-ms" in known
    flags = ["--drain-delay-ms", str(DRAIN_DELAY_MS)] * options.has_drain_delay
    flags += ["--reload-poll-ms", str(RELOAD_POLL_MS)] * has_reload
    rows = [Row(NAMES[fault]) for fault in faults]
    with tempfile.TemporaryDirectory(prefix="nerve-store-") as store:
        options.store = store
        # A container's user is another one.
        os.chmod(store, 0o755)
        publish(MODEL, store)
        with balanced(store, flags, image) as (balancer, replicas):
            check_doors(balancer)
            check_stream(balancer)
            check_leaving(balancer, replicas)
            print("denied routes, streams and aborted requests through HAProxy: ok", flush=True)
            site = Site(balancer, replicas, options.rate)
            for fault, row in zip(faults, rows):
                if fault == "refresh" and not has_reload:
                    print("model update: SKIPPED, nerve-server has no --reload-poll-ms")
                    row.check(not options.require_reload, "nerve-server has no --reload-poll-ms")
                    continue
                await FAULTS[fault](site, row, options)
                row.violations += accounts(replicas)
                say(row)
                sys.stdout.flush()
    show(rows)
    violations = [violation for row in rows for violation in row.violations]
    print(f"{os.cpu_count()} cores, {options.rate:g} requests/s, {len(violations)} violations")
    raise SystemExit(1 if violations else 0)


if __name__ == "__main__":
    asyncio.run(main())
