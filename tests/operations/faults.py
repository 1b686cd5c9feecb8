"""Injects faults into a store and the server that serves it, under load. Prints a table of the outcomes of requests.

    python3 tests/operations/faults.py                      # all faults; requires a built nerve-server and Debian's strace
    python3 tests/operations/faults.py --only publisher,full

| fault | description |
|---|---|
| publisher | `nerve-export publish` is killed (SIGKILL) before each system call that opens, writes, renames or removes a file |
| full | the disk of the store is full before a new version is completely written, at several sizes |
| damaged | `current` names a version that does not exist, has no manifest, or has a truncated graph |
| server | the server is killed (SIGKILL) before, during and after the reload of a new version, and started again |

During the first three faults no request may fail. ORT_DYLIB_PATH names the ONNX Runtime library. The full disk is a small file
system if the script runs as root, and a limit on file sizes otherwise.
"""

import argparse
import asyncio
import contextlib
import os
import pathlib
import resource
import shutil
import signal
import subprocess
import sys
import tempfile
import time

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "deploy"))
from load import Load  # noqa: E402
from replicas import Replica, accounts, environment, wait_for  # noqa: E402
from table import Row, say, show  # noqa: E402
from versions import EXPORT, MODEL, another_version, publish  # noqa: E402

# The system calls that change or read a store.
STEPS = (
    "mkdir,mkdirat,openat,flock,write,copy_file_range,sendfile,fsync,fdatasync,ftruncate,fchmod,fchmodat,chmod,"
    "rename,renameat,renameat2,symlink,symlinkat,unlink,unlinkat,rmdir,getdents64"
)
MOST_STEPS = 1000
SERVER_KILLS = 24
# Free bytes on the full disk.
ROOM = [0, 1 << 10, 1 << 14, 1 << 18, 1 << 20, 4 << 20, 16 << 20, 22 << 20]
CALM_SECONDS = 1


class Site:
    """A store, two versions of a model, and the server of the store."""

    def __init__(self, store, server, bundles, rate):
        self.store, self.server, self.rate = pathlib.Path(store), server, rate
        # Bundles by version.
        self.bundles, self.answers = bundles, {}

    def current(self):
        return (self.store / "current").resolve().name

    def other(self):
        """The bundle whose version is not current."""
        return next(bundle for version, bundle in self.bundles.items() if version != self.current())

    def served(self):
        with contextlib.suppress(OSError):
            return self.server.info()["tracks"][0]
        return {}

    async def follows(self):
        """Waits until the server serves the current version without a problem, and returns the seconds that it took."""

        def holds():
            track = self.served()
            return track.get("version") == self.current() and "problem" not in track

        return await asyncio.to_thread(wait_for, f"version {self.current()} served", holds)

    def forget_others(self):
        """Removes every version except the current one, so that the other one has to be copied again."""
        for version in (self.store / "versions").iterdir():
            if version.name != self.current():
                shutil.rmtree(version)

    @contextlib.asynccontextmanager
    async def loaded(self, row):
        """Applies load from before the first fault until after the last."""
        row.load = Load(self.server.address, self.rate, self.answers)
        await asyncio.sleep(CALM_SECONDS)
        yield row.load
        await asyncio.sleep(CALM_SECONDS)
        await row.load.stop()
        row.check(row.load.count("answered") > 0, "no request was answered")
        row.check(row.load.count(None) == 0, f"{row.load.count(None)} requests were lost")


async def publisher(site, row):
    strace = ["strace", "-f", "-qqq", "-o", "/dev/null", "-e", f"trace={STEPS}", "-e"]
    async with site.loaded(row):
        for step in range(1, MOST_STEPS):
            site.forget_others()
            inject = [f"inject={STEPS}:signal=SIGKILL:when={step}"]
            command = [*strace, *inject, EXPORT, "publish", site.other(), "--store", site.store]
            ended = await asyncio.to_thread(
                subprocess.run, command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, env=environment()
            )
            if ended.returncode == 0:
                row.notes.append(f"a complete publication has {step - 1} such system calls")
                break
            if ended.returncode != -signal.SIGKILL:
                row.violations.append(f"a publisher exited with status {ended.returncode}: {ended.stderr.decode()[-300:]}")
                break
            row.injected += 1
            row.recovered.append(await site.follows())
        # The next publication removes the files that killed publishers left.
        await asyncio.to_thread(publish, site.other(), site.store)
        row.recovered.append(await site.follows())
        left = [path.name for path in (*site.store.iterdir(), *(site.store / "versions").iterdir())]
        left = [name for name in left if name.startswith((".incoming-", ".current-"))]
        row.check(not left, f"killed publishers left {left}")
    row.check(row.injected > 10, f"only {row.injected} publishers were killed")
    row.check(not row.load.failed(), "requests failed")


async def full(site, row):
    mounted = os.path.ismount(site.store)
    row.notes.append("with a small file system" if mounted else "with a limit on file sizes, because a file system cannot be mounted")
    async with site.loaded(row):
        for room in ROOM:
            site.forget_others()
            limit = None
            if mounted:
                used = shutil.disk_usage(site.store).used
                resize(site.store, used + room)
            else:
                limit = lambda: limit_files(room)  # noqa: E731
            command = [EXPORT, "publish", site.other(), "--store", site.store]
            before = site.current()
            ended = await asyncio.to_thread(
                subprocess.run, command, capture_output=True, env=environment(), preexec_fn=limit
            )
            if mounted:
                resize(site.store, 1 << 30)
            row.injected += 1
            said = ended.stderr.decode()
            expected = "No space left on device" if mounted else "File too large"
            row.check(ended.returncode == 1 and expected in said, f"room for {room}: {ended.returncode}, {said[-200:]}")
            row.check(site.current() == before, f"room for {room}: another version is current")
            versions = sorted(path.name for path in (site.store / "versions").iterdir())
            row.check(versions == [before], f"room for {room}: the store has {versions}")
            row.recovered.append(await site.follows())
        began = time.monotonic()
        await asyncio.to_thread(publish, site.other(), site.store)
        await site.follows()
        row.notes.append(f"with free space again, the next version was published and served within {time.monotonic() - began:.2f} s")
    row.check(not row.load.failed(), "requests failed")


async def damaged(site, row):
    def point_at(name):
        link = site.store / ".current-test"
        link.symlink_to(pathlib.Path("versions") / name)
        link.rename(site.store / "current")

    good = site.current()
    versions = site.store / "versions"
    half, cut = versions / "half", versions / "cut"
    shutil.copytree(site.other(), half)
    (half / "manifest.json").unlink()
    shutil.copytree(site.other(), cut)
    with (cut / "model.onnx").open("r+b") as graph:
        graph.truncate(graph.seek(0, os.SEEK_END) // 2)
    async with site.loaded(row):
        for name in ("gone", "half", "cut") * 2:
            point_at(name)
            row.injected += 1
            await asyncio.to_thread(wait_for, f"{name} refused", lambda: "problem" in site.served())
            row.check(site.served()["version"] == good, f"{name}: {site.served()} is served")
            row.notes.append(f"{name}: {site.served()['problem']}")
            began = time.monotonic()
            point_at(good)
            await site.follows()
            row.recovered.append(time.monotonic() - began)
    row.notes = row.notes[:3]
    shutil.rmtree(half)
    shutil.rmtree(cut)
    row.check(not row.load.failed(), "requests failed")
    row.check(row.load.versions() == {good}, f"{row.load.versions()} answered, not {good}")


async def server(site, row):
    outages = []
    async with site.loaded(row):
        # The first time, files may have to be read from disk. The second time is the measurement.
        for _ in range(2):
            began = time.monotonic()
            await asyncio.to_thread(publish, site.other(), site.store)
            await site.follows()
            whole = time.monotonic() - began
        for kill in range(SERVER_KILLS):
            publishing = asyncio.create_task(asyncio.to_thread(publish, site.other(), site.store))
            await asyncio.sleep(1.5 * whole * kill / SERVER_KILLS)
            began, moment = time.monotonic(), time.time()
            site.server.signal(signal.SIGKILL)
            row.injected += 1
            await asyncio.to_thread(site.server.process.wait, 60)
            await publishing
            await asyncio.to_thread(site.server.start)
            await asyncio.to_thread(wait_for, "ready again", site.server.ready)
            await site.follows()
            row.recovered.append(time.monotonic() - began)
            outages.append((moment, time.time()))
    row.notes.append(f"publishing and reloading takes {whole:.2f} s; the server was killed at {SERVER_KILLS} points within 1.5 times that")
    during = 0
    for request in row.load.failed():
        hit = any(request.began <= until and request.ended >= since for since, until in outages)
        during += hit
        row.check(hit, f"a request failed while the server was up: {request.detail}")
    row.notes.append(f"{during} requests failed: in flight when the only server was killed, or sent before it was ready again")


FAULTS = {"publisher": publisher, "full": full, "damaged": damaged, "server": server}
NAMES = {
    "publisher": "publisher killed at each step",
    "full": "disk full while publishing",
    "damaged": "version missing or incomplete",
    "server": "server killed during a reload",
}


def resize(store, size):
    subprocess.run(["mount", "-o", f"remount,size={size}", "tmpfs", store], check=True)


def limit_files(size):
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, size))


@contextlib.contextmanager
def small_disk():
    """Yields a directory, which is a file system of its own if one can be mounted."""
    with tempfile.TemporaryDirectory(prefix="nerve-store-") as store:
        mount = ["mount", "-t", "tmpfs", "-o", "size=1g", "tmpfs", store]
        mounted = os.geteuid() == 0 and subprocess.run(mount, stderr=subprocess.DEVNULL).returncode == 0
        try:
            yield store
        finally:
            if mounted:
                subprocess.run(["umount", "--lazy", store], check=True)


async def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help=f"faults to inject, separated by commas, out of {','.join(FAULTS)} [default: all]")
    parser.add_argument("--rate", type=float, default=20, help="requests per second [default: 20]")
    options = parser.parse_args()
    faults = options.only.split(",") if options.only else list(FAULTS)
    if unknown := set(faults) - set(FAULTS):
        raise SystemExit(f"unknown faults: {', '.join(unknown)}; choose from {', '.join(FAULTS)}")
    if shutil.which("strace") is None:
        raise SystemExit("strace is missing. Install it with: apt-get install strace")

    rows = [Row(NAMES[fault]) for fault in faults]
    with contextlib.ExitStack() as ending:
        store = ending.enter_context(small_disk())
        logs = pathlib.Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="nerve-logs-")))
        other, version = ending.enter_context(another_version())
        publish(MODEL, store)
        replica = Replica("nerve", store, ["--reload-poll-ms", "200"], logs)
        ending.callback(replica.end)
        replica.start()
        wait_for("ready", replica.ready)
        site = Site(store, replica, {}, options.rate)
        site.bundles = {site.current(): MODEL, version: other}
        for fault, row in zip(faults, rows):
            await FAULTS[fault](site, row)
            row.violations += accounts([replica])
            say(row)
            sys.stdout.flush()
    show(rows)
    violations = [violation for row in rows for violation in row.violations]
    print(f"{os.cpu_count()} cores, {options.rate:g} requests/s, {len(violations)} violations")
    raise SystemExit(1 if violations else 0)


if __name__ == "__main__":
    asyncio.run(main())
