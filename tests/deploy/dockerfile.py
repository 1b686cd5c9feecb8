"""Builds the Dockerfile without Docker, runs the image as a container engine would, and checks the server in it.

    python3 tests/deploy/dockerfile.py                              # compiles the server: 15 minutes of two cores
    python3 tests/deploy/dockerfile.py --prebuilt target/release    # compiles nothing
    python3 tests/deploy/dockerfile.py --prebuilt target/release --target cuda    # downloads 1.4 GB; starts no server

Needs root and the Debian packages buildah and debootstrap. buildah executes the Dockerfile's steps in chroots. No base image is
downloaded: debootstrap creates the Debian image, and the Rust image is that with a C linker and this machine's toolchain.
"""

import argparse
import contextlib
import ctypes
import fcntl
import json
import os
import pathlib
import re
import shutil
import signal
import socket
import struct
import subprocess
import sys
import tempfile
import time

import build_context

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
DOCKERFILE = REPOSITORY / "Dockerfile"
LIMIT_MB = 200
MB = 1_000_000
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# The folders of /usr/share that Debian's slim images leave empty.
NOT_SLIM = ["info", "linda", "lintian", "locale", "man", "groff", "pixmaps"]

# Replaces `cargo build` where a built server is given. `cargo fetch` opens the copied workspace with its lock file, and fails
# as `cargo build` does where the file of a declared target is missing; nothing is compiled.
CARGO = """#!/bin/sh -e
[ "$1" = build ]
/usr/local/rustup/toolchain/bin/cargo fetch --locked --target {host}
mkdir -p target/release
cp /prebuilt/nerve-server target/release/
[ "$CARGO_PROFILE_RELEASE_STRIP" != symbols ] || strip target/release/nerve-server
"""

DEBIAN = """FROM scratch
ADD root.tar /
ENV PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
CMD ["bash"]
"""

RUST = """FROM {debian}
RUN apt-get update && apt-get install --yes --no-install-recommends ca-certificates gcc libc6-dev
ENV CARGO_HOME=/usr/local/cargo PATH=/usr/local/cargo/bin:/usr/local/rustup/toolchain/bin:$PATH
"""


class Builder:
    """Runs buildah with its own storage folder."""

    def __init__(self, directory):
        self._command = ["buildah", "--root", directory / "storage", "--runroot", directory / "run", "--storage-driver", "overlay"]
        # buildah keeps the cache mounts of `RUN` here, which must be empty for a build to compile everything.
        (directory / "tmp").mkdir()
        self._environment = {**os.environ, "TMPDIR": str(directory / "tmp")}

    def run(self, *arguments):
        outcome = subprocess.run([*self._command, *arguments], env=self._environment)
        if outcome.returncode != 0:
            raise SystemExit(f"buildah {arguments[0]} ended with exit status {outcome.returncode}; its messages are above")

    def ask(self, *arguments):
        return subprocess.run([*self._command, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    def build(self, context, tag, *arguments):
        how = ["--isolation", "chroot", "--pull=never", "--format", "docker", "--layers"]
        self.run("build", *how, "--tag", tag, *arguments, context)

    @contextlib.contextmanager
    def mounted(self, image):
        """Yields the folder with the image's files."""
        container = self.ask("from", "--pull-never", image)
        try:
            yield pathlib.Path(self.ask("mount", container))
        finally:
            self.run("rm", container)

    def end(self):
        subprocess.run([*self._command, "rm", "--all"], check=False, stdout=subprocess.DEVNULL)


def arguments_of(dockerfile):
    """The default values of the ARG instructions before the first FROM."""
    return dict(re.findall(r"^ARG (\w+)=(\S+)$", dockerfile.split("\nFROM ")[0], re.M))


def last_stage(dockerfile):
    return re.findall(r"^FROM \S+ AS (\S+)$", dockerfile, re.M)[-1]


def make_base(suite, directory, kept):
    """Creates the build context of Debian's slim image: debootstrap's minimal system without the files that slim images omit.

    `kept` is a tar of the system: read if it exists, else written.
    """
    context = directory / "debian"
    context.mkdir()
    if kept is None or not kept.exists():
        root = directory / "root"
        subprocess.run(["debootstrap", "--variant=minbase", suite, root], check=True, stdout=subprocess.DEVNULL)
        for pattern in ["var/cache/apt/*", "var/lib/apt/lists/*", "var/log/*", *(f"usr/share/{name}/*" for name in NOT_SLIM)]:
            for path in root.glob(pattern):
                shutil.rmtree(path) if path.is_dir() and not path.is_symlink() else path.unlink()
        for path in root.glob("usr/share/doc/**/*"):
            if path.name != "copyright" and (path.is_symlink() or not path.is_dir()):
                path.unlink()
        archive = kept or context / "root.tar"
        subprocess.run(["tar", "--create", "--file", archive, "--directory", root, "."], check=True)
        shutil.rmtree(root)
    if kept is not None:
        shutil.copy(kept, context / "root.tar")
    (context / "Dockerfile").write_text(DEBIAN)
    return context


def toolchain():
    """The folder of this machine's Rust toolchain."""
    return subprocess.run(["rustc", "--print", "sysroot"], check=True, capture_output=True, text=True).stdout.strip()


def volumes(directory, prebuilt):
    """The options that mount this machine's Rust toolchain and certificates into the steps."""
    mounted = {CERTIFICATES: "/usr/local/share/host.crt", toolchain(): "/usr/local/rustup/toolchain"}
    texts = {
        "/etc/pip.conf": "[global]\ncert = /usr/local/share/host.crt\n",
        "/usr/local/cargo/config.toml": '[http]\ncainfo = "/usr/local/share/host.crt"\n',
    }
    if prebuilt is not None:
        mounted[str(prebuilt)] = "/prebuilt"
        texts["/usr/local/cargo/bin/cargo"] = CARGO.format(host=build_context.host())
    for number, (target, text) in enumerate(texts.items()):
        source = directory / f"mounted-{number}"
        source.write_text(text)
        source.chmod(0o755)
        mounted[str(source)] = target
    return [option for source, target in mounted.items() for option in ("--volume", f"{source}:{target}:ro")]


def build(builder, directory, options):
    """Builds the image under the name `nerve` and returns the name of its base image."""
    dockerfile = DOCKERFILE.read_text()
    assert last_stage(dockerfile) == "cpu", "the cpu target is not the default"
    settings = arguments_of(dockerfile)
    debian = f"debian:{settings['DEBIAN']}-slim"
    builder.build(make_base(settings["DEBIAN"], directory, options.base), debian)
    context = directory / "rust"
    context.mkdir()
    (context / "Dockerfile").write_text(RUST.format(debian=debian))
    builder.build(context, f"rust:{settings['RUST']}-slim-{settings['DEBIAN']}")
    target = ["--target", options.target] if options.target else []
    builder.build(REPOSITORY, "nerve", *volumes(directory, options.prebuilt), *target)
    return debian


def sizes(root):
    """The size of each regular file in bytes, by its path in the image. A file with several hard links is counted once."""
    found, seen = {}, set()
    for folder, _, names in os.walk(root):
        for name in names:
            path = pathlib.Path(folder, name)
            facts = path.lstat()
            if not path.is_symlink() and path.is_file() and facts.st_ino not in seen:
                seen.add(facts.st_ino)
                found[f"/{path.relative_to(root)}"] = facts.st_size
    return found


def show_size(builder, base, root):
    with builder.mounted(base) as base_root:
        before = sizes(base_root)
    after = sizes(root)
    print(f"\nimage, MB: base {sum(before.values()) / MB:.1f}")
    added = {path: size for path, size in after.items() if before.get(path) != size}
    for path, size in sorted(added.items(), key=lambda item: -item[1]):
        if size >= MB / 10:
            print(f"image, MB: {size / MB:8.1f} {path}")
    # A file that replaces one of the base image counts twice, as in the layers of an image.
    total = (sum(before.values()) + sum(added.values())) / MB
    print(f"image, MB: {total:8.1f} in all", flush=True)
    return total


def inside(root, user, command):
    """Turns this process into the container's first: read-only files, no capabilities, no network except loopback."""
    mount = ["mount", "--no-mtab"]
    for arguments in [
        ["--make-rprivate", "/"],
        ["--bind", root, root],
        ["-o", "remount,bind,ro", root],
        ["-t", "proc", "proc", f"{root}/proc"],
        ["-t", "sysfs", "-o", "ro", "sysfs", f"{root}/sys"],
        ["-t", "tmpfs", "-o", "mode=755", "tmpfs", f"{root}/dev"],
    ]:
        subprocess.run([*mount, *arguments], check=True)
    for device in ("null", "zero", "random", "urandom"):
        pathlib.Path(root, "dev", device).touch()
        subprocess.run([*mount, "--bind", f"/dev/{device}", f"{root}/dev/{device}"], check=True)
    with socket.socket() as any_socket:
        up = struct.pack("16sh", b"lo", 1)
        fcntl.ioctl(any_socket, 0x8914, up)  # SIOCSIFFLAGS, IFF_UP
    os.chroot(root)
    os.chdir("/")
    number, group = map(int, user.split(":"))
    os.setgroups([])
    os.setresgid(group, group, group)
    os.setresuid(number, number, number)
    ctypes.CDLL(None).prctl(38, 1, 0, 0, 0)  # PR_SET_NO_NEW_PRIVS
    os.execvp(command[0], command)


class Container:
    """The image's entry point with the image's settings, running as process 1 of new namespaces."""

    def __init__(self, root, settings):
        self._settings = settings
        self.environment = dict(pair.split("=", 1) for pair in settings["Env"])
        command = ["unshare", "--mount", "--pid", "--net", "--ipc", "--uts", "--fork", "--kill-child", sys.executable, __file__]
        command += ["--inside", str(root), settings["User"], json.dumps(settings["Entrypoint"])]
        self.process = subprocess.Popen(command, env=self.environment, stderr=subprocess.PIPE)

    def pid(self):
        children = pathlib.Path(f"/proc/{self.process.pid}/task/{self.process.pid}/children")
        return int(children.read_text().split()[0])

    def listens(self):
        """Whether the server is ready. The namespaces may not exist yet."""
        with contextlib.suppress(OSError, IndexError, subprocess.CalledProcessError):
            return self.ask("/health/ready")[0] == 200
        return False

    def enter(self, *command):
        """Runs a command in the container as its user."""
        user, group = self._settings["User"].split(":")
        # The root of the mount namespace is this machine's; `--root` enters the server's.
        enter = ["nsenter", "--target", str(self.pid()), "--mount", "--net", "--pid", "--root", "--wd=/", "-S", user, "-G", group]
        return subprocess.run([*enter, "--", *command], env=self.environment, capture_output=True, text=True, timeout=60)

    def ask(self, path, body=None):
        """Status and body of a response; status 0 if the connection fails."""
        program = (
            "import sys, urllib.request, urllib.error\n"
            "path, body = sys.argv[1:]\n"
            "head = {'content-type': 'application/json'}\n"
            "asked = urllib.request.Request('http://127.0.0.1:8080' + path, body.encode() or None, head)\n"
            "try: answer = urllib.request.urlopen(asked, timeout=10)\n"
            "except urllib.error.HTTPError as error: answer = error\n"
            "except OSError: print(0); sys.exit()\n"
            "print(answer.status, answer.read().decode(), sep='\\n')\n"
        )
        ask = [sys.executable, "-c", program, path, json.dumps(body) if body else ""]
        enter = ["nsenter", f"--net=/proc/{self.pid()}/ns/net", *ask]
        status, _, answer = subprocess.run(enter, check=True, capture_output=True, text=True).stdout.partition("\n")
        return int(status), answer

    def end(self):
        if self.process.poll() is None:
            self.process.kill()
        self.process.wait(60)


def check_container(root, settings):
    """Starts the image and yields every violation of what it must do."""
    assert re.fullmatch(r"[1-9]\d*:[1-9]\d*", settings["User"]), settings["User"]
    container = Container(root, settings)
    with contextlib.ExitStack() as ending:
        ending.callback(container.end)
        began = time.monotonic()
        while not container.listens():
            if container.process.poll() is not None or time.monotonic() - began > 60:
                container.end()
                yield f"the server is not ready: {container.process.stderr.read().decode()}"
                return
            time.sleep(0.1)
        print(f"container: ready after {time.monotonic() - began:.1f} s")

        status = pathlib.Path(f"/proc/{container.pid()}/status").read_text()
        facts = dict(line.split(":\t", 1) for line in status.splitlines() if ":\t" in line)
        user, memory = facts["Uid"].split()[0], int(facts["VmRSS"].split()[0]) / 1024
        print(f"container: uid {user}, capabilities {facts['CapEff']}, {memory:.0f} MiB")
        if user == "0" or int(facts["CapEff"], 16):
            yield "the server runs with privileges"
        for place in ("/", "/tmp", "/opt/nerve", "/var/tmp"):
            written = container.enter("touch", f"{place}/written")
            if "Read-only file system" not in written.stderr:
                yield f"{place} is writable: {written.stderr}"

        status, answer = container.ask("/ner", {"text": "Barack Obama met Beyoncé"})
        found = [entity["text"] for entity in json.loads(answer)["entities"]] if status == 200 else answer
        print(f"container: /ner {status} {found}")
        if "Barack Obama" not in found:
            yield f"/ner answered {status} {answer}"

        kind, *check = settings["Healthcheck"]["Test"]
        assert kind == "CMD", kind
        for command, expected in [(check, 0), ([*check, "--listen", "127.0.0.1:9"], 1)]:
            outcome = container.enter(*command)
            print(f"container: {' '.join(command)}: exit status {outcome.returncode}")
            if outcome.returncode != expected:
                yield f"{' '.join(command)}: exit status {outcome.returncode}, not {expected}: {outcome.stderr}"

        os.kill(container.pid(), signal.SIGTERM)
        ended = container.process.wait(60)
        print(f"container: SIGTERM: exit status {ended}")
        if ended != 0:
            yield f"after SIGTERM the server exits with status {ended}: {container.process.stderr.read().decode()}"


def check_libraries(root):
    """Yields the missing libraries of ONNX Runtime's CUDA provider, except those of the driver."""
    command = ["chroot", root, "env", "LD_LIBRARY_PATH=/opt/nerve/lib", "ldd"]
    for library in sorted(root.glob("opt/nerve/lib/*.so*")):
        outcome = subprocess.run([*command, f"/{library.relative_to(root)}"], check=True, capture_output=True, text=True).stdout
        missing = set(re.findall(r"(\S+) => not found", outcome)) - {"libcuda.so.1"}
        if missing:
            yield f"{library.name} needs {', '.join(missing)}"
    print("cuda: all libraries are present except libcuda.so.1, which the driver provides; NOT RUN: the server on a GPU")


def main():
    if sys.argv[1:2] == ["--inside"]:
        root, user, command = sys.argv[2:]
        inside(root, user, json.loads(command))
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prebuilt", type=pathlib.Path, help="folder of a compiled nerve-server; nothing is compiled")
    parser.add_argument("--target", choices=["cpu", "cuda"], help="stage to build [default: the last one, cpu]")
    parser.add_argument("--base", type=pathlib.Path, help="tar with the base image's files; written if it does not exist")
    options = parser.parse_args()
    missing = [tool for tool in ("buildah", "debootstrap", "rustc") if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        raise SystemExit("run this as root, with rustc and the Debian packages buildah and debootstrap installed")
    if options.prebuilt is not None:
        options.prebuilt = options.prebuilt.resolve(strict=True)

    with tempfile.TemporaryDirectory(prefix="nerve-image-") as directory, contextlib.ExitStack() as ending:
        directory = pathlib.Path(directory)
        builder = Builder(directory)
        ending.callback(builder.end)
        base = build(builder, directory, options)
        settings = json.loads(builder.ask("inspect", "--type", "image", "nerve"))["Docker"]["config"]
        with builder.mounted("nerve") as root:
            total = show_size(builder, base, root)
            if options.target == "cuda":
                wrong = list(check_libraries(root))
            else:
                wrong = [*check_container(root, settings), *([f"the image has {total:.1f} MB"] if total >= LIMIT_MB else [])]
    if options.prebuilt is not None:
        print(f"NOT RUN: cargo build; the image holds {options.prebuilt}/nerve-server, stripped")
    for violation in wrong:
        print(f"VIOLATION: {violation}")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
