"""Runs an image's files as a container engine does: as the image's user, read-only, without capabilities, with limits."""

import contextlib
import ctypes
import dataclasses
import fcntl
import json
import os
import pathlib
import signal
import socket
import struct
import subprocess
import sys
import uuid

CGROUPS = pathlib.Path("/sys/fs/cgroup")
MEMORY_BYTES = 512 << 20
CPU_PERIOD_US = 100_000
PR_SET_NO_NEW_PRIVS, PR_CAPBSET_DROP, CAPABILITIES = 38, 24, range(64)


@dataclasses.dataclass
class Image:
    """The folder with an image's files, and its configuration in Docker's format."""

    root: str
    settings: dict

    @property
    def environment(self):
        return dict(pair.split("=", 1) for pair in self.settings["Env"])

    def volumes(self):
        return list(self.settings.get("Volumes") or [])


class Limits:
    """A control group with 512 MiB of memory, without swap, and one CPU. Version 1 has a folder for each controller."""

    def __init__(self, name):
        if (CGROUPS / "cgroup.controllers").exists():
            self._folders = [CGROUPS / name]
            (CGROUPS / "cgroup.subtree_control").write_text("+memory +cpu")
            values = [(0, "memory.max", MEMORY_BYTES), (0, "memory.swap.max", 0), (0, "cpu.max", f"{CPU_PERIOD_US} {CPU_PERIOD_US}")]
            self._peak = CGROUPS / name / "memory.peak"
        else:
            self._folders = [CGROUPS / "memory" / name, CGROUPS / "cpu" / name]
            values = [(0, "memory.limit_in_bytes", MEMORY_BYTES), (1, "cpu.cfs_period_us", CPU_PERIOD_US), (1, "cpu.cfs_quota_us", CPU_PERIOD_US)]
            self._peak = CGROUPS / "memory" / name / "memory.max_usage_in_bytes"
        for folder in self._folders:
            folder.mkdir()
        for folder, file, value in values:
            (self._folders[folder] / file).write_text(str(value))

    def entrances(self):
        """The files by which a process enters the group."""
        return [str(folder / "cgroup.procs") for folder in self._folders]

    def peak_mib(self):
        """The most memory in use since the group exists, with the cached pages of files."""
        return int(self._peak.read_text()) / (1 << 20)

    def remove(self):
        for folder in self._folders:
            # The last process may have ended a moment ago.
            with contextlib.suppress(OSError):
                folder.rmdir()


def inside(plan):
    """Turns this process into the container's first."""
    root, user = plan["root"], plan["user"]
    for entrance in plan["entrances"]:
        pathlib.Path(entrance).write_text("0")
    mount = ["mount", "--no-mtab"]
    for arguments in [
        ["--make-rprivate", "/"],
        ["--bind", root, root],
        ["-o", "remount,bind,ro", root],
        ["-t", "proc", "proc", f"{root}/proc"],
        ["-t", "sysfs", "-o", "ro", "sysfs", f"{root}/sys"],
        # The server counts the cores of its limit.
        ["--rbind", CGROUPS, f"{root}{CGROUPS}"],
        ["-t", "tmpfs", "-o", "mode=755", "tmpfs", f"{root}/dev"],
        *(["-t", "tmpfs", "-o", f"mode=755,uid={user[0]},gid={user[1]}", "tmpfs", f"{root}{path}"] for path in plan["volumes"]),
        *(["--bind", source, f"{root}{target}"] for source, target in plan["mounts"].items()),
        *(["-o", "remount,bind,ro", f"{root}{target}"] for target in plan["mounts"].values()),
    ]:
        subprocess.run([*mount, *arguments], check=True)
    for device in ("null", "zero", "random", "urandom"):
        pathlib.Path(root, "dev", device).touch()
        subprocess.run([*mount, "--bind", f"/dev/{device}", f"{root}/dev/{device}"], check=True)
    if plan["isolated"]:
        with socket.socket() as any_socket:
            fcntl.ioctl(any_socket, 0x8914, struct.pack("16sh", b"lo", 1))  # SIOCSIFFLAGS, IFF_UP
    os.chroot(root)
    os.chdir("/")
    system = ctypes.CDLL(None)
    for capability in CAPABILITIES:
        system.prctl(PR_CAPBSET_DROP, capability, 0, 0, 0)
    os.setgroups([])
    os.setresgid(user[1], user[1], user[1])
    os.setresuid(user[0], user[0], user[0])
    system.prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0)
    os.execvp(plan["command"][0], plan["command"])


class Container:
    """The image's entry point, running as process 1 of new namespaces.

    `isolated`: with no network but a loopback of its own, instead of this machine's. `mounts` maps folders of this machine to
    folders of the image, read-only.
    """

    def __init__(self, image, *options, isolated=False, mounts=None, environment=None, stderr=subprocess.PIPE):
        self._image = image
        self.limits = Limits(f"nerve-{uuid.uuid4().hex}")
        # An engine creates these folders too.
        for path in ["/proc", "/sys", "/dev", *(mounts or {}).values()]:
            pathlib.Path(f"{image.root}{path}").mkdir(parents=True, exist_ok=True)
        plan = {
            "root": image.root,
            "user": list(map(int, image.settings["User"].split(":"))),
            "entrances": self.limits.entrances(),
            "volumes": image.volumes(),
            "mounts": {str(source): target for source, target in (mounts or {}).items()},
            "isolated": isolated,
            "command": [*image.settings["Entrypoint"], *map(str, options)],
        }
        command = ["/usr/bin/unshare", "--mount", "--pid", "--ipc", "--uts", "--fork", "--kill-child", *["--net"] * isolated]
        command += [sys.executable, __file__, json.dumps(plan)]
        # The steps before the server starts need this machine's programs.
        settings = image.environment | (environment or {})
        settings["PATH"] += f":{os.environ['PATH']}"
        self.process = subprocess.Popen(command, env=settings, stderr=stderr)

    def pid(self):
        """The server's process id. The child does not exist in the first moment."""
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(children.read_text().split()[0])

    def enter(self, *command):
        """Runs a program of the image in the container as its user, as `docker exec` does."""
        user, group = self._image.settings["User"].split(":")
        # The root of the mount namespace is this machine's; `--root` enters the server's.
        enter = ["/usr/bin/nsenter", "--target", str(self.pid()), "--mount", "--net", "--pid", "--root", "--wd=/", "-S", user, "-G", group]
        return subprocess.run([*enter, "--", *command], env=self._image.environment, capture_output=True, text=True, timeout=60)

    def in_network(self, *command):
        """The output of a program of this machine that runs in the container's network."""
        enter = ["nsenter", f"--net=/proc/{self.pid()}/ns/net", *command]
        return subprocess.run(enter, check=True, capture_output=True, text=True).stdout

    def signal(self, number):
        os.kill(self.pid(), number)

    def end(self):
        if self.process.poll() is None:
            with contextlib.suppress(OSError, IndexError):
                self.signal(signal.SIGKILL)
            self.process.kill()
        self.process.wait(60)
        self.limits.remove()


if __name__ == "__main__":
    inside(json.loads(sys.argv[1]))
