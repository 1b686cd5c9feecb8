"""Tests of an image that runs with 512 MiB, one CPU and no privileges. dockerfile.py builds the image."""

import asyncio
import contextlib
import json
import os
import pathlib
import re
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request

from container import Container
from load import Load
from replicas import REPOSITORY, Replica, free_addresses, wait_for
from versions import MODEL, another_version, publish

MOTO = REPOSITORY / ".venv-object_store/bin/moto_server"
FAULTS = pathlib.Path(__file__).with_name("haproxy.py")
STARTING_SECONDS = 60
DRAIN_DELAY_MS = 2000
RATE = 40
TEXT = "Barack Obama met Beyoncé"
# Sends a request in the container's network: prints the status, 0 where there is no connection, and the body.
CLIENT = """
import sys, urllib.request, urllib.error
path, body = sys.argv[1:]
request = urllib.request.Request('http://127.0.0.1:8080' + path, body.encode() or None, {'content-type': 'application/json'})
try: answer = urllib.request.urlopen(request, timeout=10)
except urllib.error.HTTPError as error: answer = error
except OSError: print(0); sys.exit()
print(answer.status, answer.read().decode(), sep='\\n')
"""


def check(image):
    """Yields every violation of what the image must do."""
    yield from check_container(image)
    with tempfile.TemporaryDirectory(prefix="nerve-image-logs-") as logs:
        yield from asyncio.run(check_stop(image, pathlib.Path(logs)))
        yield from asyncio.run(check_object_store(image, pathlib.Path(logs)))
    yield from check_replicas(image)


def ask(container, path, body=None):
    """Status and body of a response of an isolated container."""
    answer = container.in_network(sys.executable, "-c", CLIENT, path, json.dumps(body) if body else "")
    status, _, body = answer.partition("\n")
    return int(status), body


def listens(container):
    """Whether the server is ready. The namespaces may not exist yet."""
    with contextlib.suppress(OSError, IndexError, subprocess.CalledProcessError):
        return ask(container, "/health/ready")[0] == 200
    return False


def check_container(image):
    """Starts the image with its own settings and no network."""
    if not re.fullmatch(r"[1-9]\d*:[1-9]\d*", image.settings["User"]):
        yield f"the user {image.settings['User']} is not a number other than root's"
        return
    began = time.monotonic()
    container = Container(image, isolated=True)
    with contextlib.ExitStack() as ending:
        ending.callback(container.end)
        while not listens(container):
            if container.process.poll() is not None or time.monotonic() - began > STARTING_SECONDS:
                container.end()
                yield f"the server is not ready: {container.process.stderr.read().decode()}"
                return
            time.sleep(0.02)
        print(f"container: ready after {time.monotonic() - began:.2f} s")
        yield from check_privileges(container)
        yield from check_files(container, image)

        status, answer = ask(container, "/ner", {"text": TEXT})
        found = [entity["text"] for entity in json.loads(answer)["entities"]] if status == 200 else answer
        workers = json.loads(ask(container, "/info")[1])["server"]["workers"]
        print(f"container: /ner {status} {found}, {workers} worker")
        if "Barack Obama" not in found:
            yield f"/ner answered {status} {answer}"
        if workers != 1:
            yield f"{workers} workers on one CPU"

        kind, *command = image.settings["Healthcheck"]["Test"]
        assert kind == "CMD", kind
        for command, expected in [(command, 0), ([*command, "--listen", "127.0.0.1:9"], 1)]:
            outcome = container.enter(*command)
            print(f"container: {' '.join(command)}: exit status {outcome.returncode}")
            if outcome.returncode != expected:
                yield f"{' '.join(command)}: exit status {outcome.returncode}, not {expected}: {outcome.stderr}"

        container.signal(signal.SIGTERM)
        ended = container.process.wait(60)
        print(f"container: SIGTERM: exit status {ended}; peak {container.limits.peak_mib():.0f} MiB")
        if ended != 0:
            yield f"after SIGTERM the server exits with status {ended}: {container.process.stderr.read().decode()}"


def check_privileges(container):
    status = pathlib.Path(f"/proc/{container.pid()}/status").read_text()
    facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
    capabilities = {facts[name] for name in ("CapEff", "CapPrm", "CapBnd")}
    print(f"container: uid {facts['Uid'].split()[0]}, capabilities {', '.join(capabilities)}, {int(facts['VmRSS'].split()[0]) / 1024:.0f} MiB")
    if facts["Uid"].split()[0] == "0" or any(int(mask, 16) for mask in capabilities):
        yield "the server runs with privileges"


def check_files(container, image):
    """The container's files are read-only except for its volumes, which its user may write."""
    root = pathlib.Path(f"/proc/{container.pid()}/root")
    for place in ("", "tmp", "opt/nerve", "var/cache"):
        try:
            (root / place / "written").touch()
            yield f"/{place} is writable"
        except OSError as error:
            if "Read-only file system" not in str(error):
                yield f"/{place}: {error}"
    user = int(image.settings["User"].split(":")[0])
    for volume in image.volumes():
        # The image's folder gives a volume its owner.
        if os.stat(f"{image.root}{volume}").st_uid != user:
            yield f"{volume} does not belong to the image's user"
    for path in ("etc/ssl/certs/ca-certificates.crt", "etc/os-release", "etc/passwd", "var/lib/dpkg/status"):
        if not (root / path).exists() or (root / path).stat().st_size == 0:
            yield f"/{path} is missing"


async def check_stop(image, logs):
    """Stops a container under load, which ends before the drain delay does, as that of a load balancer. Every request is answered."""
    replica = Replica("nerve", MODEL, ["--drain-delay-ms", str(DRAIN_DELAY_MS)], logs, image)
    try:
        replica.start()
        wait_for("nerve ready", replica.ready)
        load = Load(replica.address, RATE, {})
        await asyncio.sleep(3)
        replica.signal(signal.SIGTERM)
        await asyncio.sleep(DRAIN_DELAY_MS / 2000)
        await load.stop()
        ended = await asyncio.to_thread(replica.process.wait, 60)
        answered, total = load.count("answered"), len(load.requests)
        print(f"stopped under load: {answered} of {total} requests answered, exit status {ended}, peak {replica.container.limits.peak_mib():.0f} MiB")
        wrong = []
        if ended != 0:
            wrong.append(f"stopped under load, the server exits with status {ended}: {replica.log.read_text()}")
        if not total or answered != total:
            wrong.append(f"stopped under load, {total - answered} of {total} requests were not answered: {load.failed()[:3]}")
        return wrong
    finally:
        replica.end()


async def check_object_store(image, logs):
    """Publishes a version to a bucket that a container follows, under load."""
    (address,) = free_addresses(1)
    port = address.rpartition(":")[2]
    server = subprocess.Popen([MOTO, "--host", "127.0.0.1", "--port", port], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    credentials = {
        "AWS_ACCESS_KEY_ID": "test",
        "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
        "AWS_ENDPOINT_URL": f"http://{address}",
        "AWS_ALLOW_HTTP": "true",
    }
    store = "s3://models/nerve"
    replica = Replica("following", store, ["--reload-poll-ms", "500"], logs, image, credentials)
    try:
        wait_for("the bucket", lambda: makes_bucket(f"http://{address}/models"))
        publish(MODEL, store, credentials)
        replica.start()
        wait_for("following ready", replica.ready)
        old = replica.info()["model"]["version"]
        with another_version() as (bundle, new):
            load = Load(replica.address, RATE, {})
            await asyncio.to_thread(publish, bundle, store, credentials)
            began = time.monotonic()
            await asyncio.to_thread(wait_for, f"version {new}", lambda: replica.info()["model"]["version"] == new)
            took = time.monotonic() - began
            await asyncio.sleep(1)
            await load.stop()
        answered, total = load.count("answered"), len(load.requests)
        print(f"object store: {new} in place of {old} after {took:.1f} s, {answered} of {total} requests answered")
        return [f"while the container followed an object store, {total - answered} requests failed: {load.failed()[:3]}"] * (answered != total)
    finally:
        replica.end()
        server.terminate()
        server.wait(60)


def makes_bucket(url):
    with contextlib.suppress(OSError):
        with urllib.request.urlopen(urllib.request.Request(url, method="PUT"), timeout=5):
            return True
    return False


def check_replicas(image):
    """Three containers behind HAProxy: rolling restart, model update, a killed and a frozen container, under load."""
    with tempfile.NamedTemporaryFile("w", prefix="nerve-image-", suffix=".json") as file:
        json.dump({"root": image.root, "settings": image.settings}, file)
        file.flush()
        if subprocess.run([sys.executable, FAULTS, "--require-reload", "--image", file.name]).returncode != 0:
            yield "three containers behind HAProxy: a violation above"
