"""Two servers follow a store on an S3 server behind a proxy that injects faults, under load. No request may fail.

    make object-store-checks    # or, with the packages of requirements.txt: tests/object_store/run.py [--publications 100]

Prints the faults and what came of them, and the time from a publication to the first answer of its version. ORT_DYLIB_PATH names the
ONNX Runtime library.
"""

import argparse
import contextlib
import http.client
import json
import os
import pathlib
import signal
import statistics
import subprocess
import sys
import tempfile
import threading
import time
import urllib.parse
import urllib.request

ROOT = pathlib.Path(__file__).resolve().parents[2]
sys.path[:0] = [str(ROOT / "tests"), str(ROOT / "tests/deploy"), str(ROOT / "tests/object_store")]
from proxy import Proxy  # noqa: E402
from served import SERVER, served  # noqa: E402
from versions import at_temperature  # noqa: E402

EXPORT = SERVER.with_name("nerve-export")
STORE = "s3://models/tagger"
TEXTS = ["Angela Merkel met Tim Cook in Berlin", "just saw Batman with my cat at Walmart", "so tired today"]
CLIENTS = 2
CONFLICT = 4
# The publications before and besides those without a fault.
WITH_FAULTS = 18


class Load(threading.Thread):
    """Sends texts one after another on one connection, and compares the answers of each version, of all servers."""

    answers, lock = {}, threading.Lock()

    def __init__(self, url):
        super().__init__(daemon=True)
        self.address, self.ends, self.versions, self.stopping = urllib.parse.urlsplit(url).netloc, {}, set(), False

    def run(self):
        connection = http.client.HTTPConnection(self.address, timeout=60)
        number = 0
        while not self.stopping:
            number += 1
            text = TEXTS[number % len(TEXTS)]
            try:
                connection.request("POST", "/ner", json.dumps({"text": text}), {"content-type": "application/json"})
                answer = connection.getresponse()
                answered = json.loads(answer.read())
                end = str(answer.status)
                if answer.status == 200:
                    version = answered["model"]["version"]
                    self.versions.add(version)
                    found = json.dumps(answered["entities"])
                    with self.lock:
                        if self.answers.setdefault((text, version), found) != found:
                            end = f"version {version} gave two answers"
            except (OSError, http.client.HTTPException, ValueError, KeyError) as error:
                end = type(error).__name__
                connection.close()
            self.ends[end] = self.ends.get(end, 0) + 1
            time.sleep(0.02)


def get(url, path):
    with urllib.request.urlopen(f"{url}{path}", timeout=30) as answer:
        return answer.read().decode()


def info(server):
    return json.loads(get(server.url, "/info"))["tracks"][0]


def metric(server, name):
    lines = get(server.url, "/metrics").splitlines()
    return next(float(line.rsplit(" ", 1)[1]) for line in lines if line.startswith(name))


def wait_until(is_done, what, limit=120):
    end = time.monotonic() + limit
    while not is_done():
        if time.monotonic() > end:
            sys.exit(f"{what}: not after {limit} s")
        time.sleep(0.02)


@contextlib.contextmanager
def moto():
    """Runs the S3 server; yields its port."""
    command = [sys.executable, "-u", "-c", "from moto.server import main; main(['-H', '127.0.0.1', '-p', '0'])"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    try:
        for line in process.stdout:
            if "Running on http://" in line:
                port = int(line.strip().split(" ")[-1].rsplit(":", 1)[1])
                break
        else:
            sys.exit("moto ended before it was listening")
        threading.Thread(target=process.stdout.read, daemon=True).start()
        yield port
    finally:
        process.terminate()
        process.wait(30)


class Checks:
    """A store, the servers that follow it, and what came of each fault."""

    def __init__(self, servers, faulty, clean, bundles, cache):
        self.servers, self.faulty, self.clean, self.bundles, self.cache = servers, faulty, clean, bundles, cache
        self.published, self.waits, self.rows, self.turn, self.count = set(), [], [], 0, 0

    def export(self, *arguments, proxy=None):
        environment = {**os.environ, "AWS_ENDPOINT_URL": (proxy or self.clean).url}
        command = [EXPORT, *map(str, arguments), "--store", STORE]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment)

    def next_bundle(self):
        self.turn += 1
        return self.bundles[self.turn % len(self.bundles)]

    def publish(self):
        """Publishes the next bundle; yields its version and when it became current."""
        publishing = self.export("publish", self.next_bundle())
        place, said = publishing.communicate()
        if publishing.returncode:
            sys.exit(f"not published: {said}")
        return self.note(place), time.monotonic()

    def note(self, place):
        """Counts a publication; yields its version."""
        version = place.strip().rsplit("/", 1)[1]
        self.published.add(version)
        self.count += 1
        return version

    def is_served(self, version):
        return all(info(server)["version"] == version for server in self.servers)

    def publish_and_wait(self, what, limit=120):
        version, current = self.publish()
        wait_until(lambda: self.is_served(version), f"{what}: version {version} is served", limit)
        self.waits.append(time.monotonic() - current)
        return self.waits[-1]

    def under(self, fault, seconds, publications):
        """Publishes while the servers see a fault, and lets the last version be served after it."""
        before, self.faulty.fault = self.faulty.injected, fault
        end, waits = time.monotonic() + seconds, []
        for number in range(publications):
            waits.append(self.publish_and_wait(fault, 300))
            time.sleep(max(0.0, (end - time.monotonic()) / (publications - number)))
        self.faulty.fault = None
        self.row(fault, f"{publications} publications served within {max(waits):.1f} s", self.faulty.injected - before)

    def row(self, fault, outcome, injected=""):
        self.rows.append((fault, injected, outcome))
        print(f"{fault}: {outcome}", file=sys.stderr)

    def away(self, fault, seconds):
        """Lets the store be away; the previous version is served, and the servers say so."""
        before_version, injected = info(self.servers[0])["version"], self.faulty.injected
        self.faulty.fault = fault
        version, _ = self.publish()
        end = time.monotonic() + seconds
        for server in self.servers:
            wait_until(lambda: metric(server, "nerve_model_store_up{") == 0, "nerve_model_store_up is 0")
            wait_until(lambda: "problem" in info(server), "/info has a problem")
        print(info(self.servers[0])["problem"], file=sys.stderr)
        while time.monotonic() < end:
            for server in self.servers:
                if info(server)["version"] != before_version:
                    sys.exit(f"{fault}: a version is served that cannot have been read")
                get(server.url, "/health/ready")
            time.sleep(0.5)
        self.faulty.fault, back = None, time.monotonic()
        wait_until(lambda: self.is_served(version), "the version is served after the store is back")
        took = time.monotonic() - back
        for server in self.servers:
            wait_until(lambda: metric(server, "nerve_model_store_up{") == 1, "nerve_model_store_up is 1")
            wait_until(lambda: "problem" not in info(server), "/info has no problem")
        outcome = f"previous version served, metric and /info said so; next one {took:.1f} s after the end"
        self.row(f"{fault} for {seconds} s", outcome, self.faulty.injected - injected)

    def corrupted(self, seconds):
        """Lets the servers read a damaged object, which must not be served."""
        before_version, injected = info(self.servers[0])["version"], self.faulty.injected
        self.faulty.fault = "corrupted"
        version, _ = self.publish()
        for server in self.servers:
            wait_until(lambda: "problem" in info(server), "/info has a problem")
        print(info(self.servers[0])["problem"], file=sys.stderr)
        end = time.monotonic() + seconds
        while time.monotonic() < end:
            for server in self.servers:
                if info(server)["version"] != before_version:
                    sys.exit("a damaged version is served")
            time.sleep(0.2)
        self.faulty.fault, back = None, time.monotonic()
        wait_until(lambda: self.is_served(version), "the version is served once it is whole")
        took = time.monotonic() - back
        self.row("corrupted object", f"never served; read again, and served {took:.1f} s later", self.faulty.injected - injected)

    def two_publishers(self, rounds):
        """Lets two publishers begin at the same time: one wins, and the other is told."""
        told = ""
        for _ in range(rounds):
            # Both read `current` before one of them goes on; what they read of it later needs no partner.
            self.clean.pairs = threading.Barrier(2, lambda: setattr(self.clean, "pairs", None))
            both = [self.export("publish", self.next_bundle()) for _ in range(2)]
            ends = []
            for publisher in both:
                place, said = publisher.communicate()
                ends.append(publisher.returncode)
                if publisher.returncode == 0:
                    version = self.note(place)
                else:
                    told = said.strip()
            if sorted(ends) != [0, CONFLICT]:
                sys.exit(f"two publishers ended with {ends}: {told}")
            wait_until(lambda: self.is_served(version), "the winner is served")
        self.row("two publishers at once", f"{rounds} rounds: one won (0), the other was told (4): {told}")

    def killed_download(self):
        """Kills a server in the middle of its download, and starts it again with its cache: while the store is away, too."""
        with tempfile.TemporaryDirectory() as cache:
            environment = {**os.environ, "XDG_CACHE_HOME": cache}
            self.faulty.fault = "stalled"
            command = [SERVER, "--model", STORE, "--listen", "127.0.0.1:0"]
            server = subprocess.Popen(command, env=environment, stderr=subprocess.DEVNULL)
            left = lambda: list(pathlib.Path(cache).rglob(".incoming-*"))  # noqa: E731
            wait_until(left, "a download begins")
            server.send_signal(signal.SIGKILL)
            server.wait()
            self.faulty.fault = None
            if not left():
                sys.exit("the killed download left nothing: the check checks nothing")
            of_others = os.environ["XDG_CACHE_HOME"]
            os.environ["XDG_CACHE_HOME"] = cache
            try:
                with served("--reload-poll-ms", "500", model=STORE) as server:
                    version = info(server)["version"]
                if left():
                    sys.exit("a killed download stays on the disk")
                self.row("killed download", "removed by the next start")
                self.faulty.fault = "away"
                with served("--reload-poll-ms", "500", model=STORE) as server:
                    if info(server)["version"] != version or "problem" not in info(server):
                        sys.exit("the cached version is not served")
                self.row("start while away", "the cached version is served, /info says so")
                os.environ["XDG_CACHE_HOME"] = str(pathlib.Path(cache, "empty"))
                command = [SERVER, "--model", STORE, "--listen", "127.0.0.1:0", "--log", "text"]
                failed = subprocess.run(command, capture_output=True, text=True)
                if failed.returncode != 1:
                    sys.exit(f"without a cache the server ended with {failed.returncode}")
                self.row("start while away, nothing cached", failed.stderr.strip().splitlines()[-1])
            finally:
                os.environ["XDG_CACHE_HOME"] = of_others
                self.faulty.fault = None

    def check_disk(self):
        """The cache has the version that is served and the one before, and nothing else."""
        store = next((self.cache / "nerve" / "stores").iterdir())
        found = sorted(path.name for path in (store / "versions").iterdir())
        if len(found) > 2 or any(name.startswith(".") for name in found):
            sys.exit(f"the cache has {found}")
        extra = sorted(path.name for path in store.iterdir())
        if extra != [".lock", "current", "versions"]:
            sys.exit(f"the cache has {extra}")
        self.row("the cache at the end", f"{len(found)} versions, no temporary file")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--publications", type=int, default=100)
    parser.add_argument("--away", type=int, default=60, metavar="SECONDS")
    arguments = parser.parse_args()
    with contextlib.ExitStack() as ending:
        cache = pathlib.Path(ending.enter_context(tempfile.TemporaryDirectory()))
        port = ending.enter_context(moto())
        faulty, clean = Proxy(port), Proxy(port)
        ending.callback(faulty.close)
        ending.callback(clean.close)
        for name in [name for name in os.environ if name.startswith("AWS_")]:
            del os.environ[name]
        os.environ.update(
            AWS_ACCESS_KEY_ID="test", AWS_SECRET_ACCESS_KEY="test", AWS_REGION="us-east-1", AWS_ENDPOINT_URL=faulty.url,
            AWS_READ_TIMEOUT="2 seconds", XDG_CACHE_HOME=str(cache),
        )
        os.environ.pop("NERVE_CACHE", None)
        urllib.request.urlopen(urllib.request.Request(f"{clean.url}/models", method="PUT")).close()
        bundles = [ending.enter_context(at_temperature(temperature)) for temperature in (1.1, 1.4, 1.7, 2.1, 2.5)]
        checks = Checks([], faulty, clean, bundles, cache)
        checks.publish()
        for _ in range(2):
            checks.servers.append(ending.enter_context(served("--reload-poll-ms", "500", model=STORE)))
        loads = [Load(server.url) for server in checks.servers for _ in range(CLIENTS)]
        for load in loads:
            load.start()
        for number in range(arguments.publications - WITH_FAULTS):
            checks.publish_and_wait("no fault")
            if number % 10 == 9:
                print(f"{number + 1} publications", file=sys.stderr)
        calm = list(checks.waits)
        checks.row("none", f"{len(calm)} publications served within {max(calm):.1f} s")
        checks.under("500", 15, 3)
        checks.under("timeout", 15, 3)
        checks.under("truncated", 15, 3)
        checks.corrupted(8)
        checks.away("away", arguments.away)
        checks.away("denied", 5)
        checks.two_publishers(5)
        checks.killed_download()
        for load in loads:
            load.stopping = True
        for load in loads:
            load.join()
        checks.check_disk()
    ends, versions = {}, set()
    for load in loads:
        versions |= load.versions
        for end, count in load.ends.items():
            ends[end] = ends.get(end, 0) + count
    print("\n| fault | faults injected | outcome |\n|---|---|---|")
    for row in checks.rows:
        print("| " + " | ".join(map(str, row)) + " |")
    print(f"\npublications: {checks.count}, versions: {len(checks.published)}, of which answered: {len(versions)}")
    print(f"from publication to serving on both servers: median {statistics.median(calm):.2f} s, longest {max(calm):.2f} s")
    print("requests by outcome:", ends)
    if set(ends) != {"200"}:
        sys.exit("requests failed")
    if not versions <= checks.published:
        sys.exit(f"versions answered that were not published: {versions - checks.published}")


if __name__ == "__main__":
    main()
