"""Builds the Dockerfile without Docker, runs the image as a container engine would, and checks the server in it.

    python3 tests/deploy/dockerfile.py                              # compiles the server twice: 25 minutes of two cores
    python3 tests/deploy/dockerfile.py --prebuilt target/release    # compiles nothing
    python3 tests/deploy/dockerfile.py --prebuilt target/release --target cuda    # downloads 1.6 GB; starts no server

The cpu image is built again after a change of a source file, which must leave the layer of compiled dependencies as it is.
running_image.py has the tests of the image. Needs root and the Debian packages buildah, debootstrap and haproxy. buildah executes the Dockerfile's steps in chroots. No base image is
downloaded: debootstrap creates the Debian image, and the Rust image is that with a C linker and this machine's toolchain.
"""

import argparse
import contextlib
import json
import os
import pathlib
import re
import resource
import shutil
import subprocess
import tempfile
import time

import build_context
import running_image
from container import Image

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
DOCKERFILE = REPOSITORY / "Dockerfile"
LIMIT_MB = 120
MB = 1_000_000
# The file that changes between the two builds.
CHANGED = "server/src/main.rs"
CERTIFICATES = "/etc/ssl/certs/ca-certificates.crt"
# The folders of /usr/share that Debian's slim images leave empty.
NOT_SLIM = ["info", "linda", "lintian", "locale", "man", "groff", "pixmaps"]

# Replaces `cargo build` where a built server is given. `cargo fetch` opens the copied workspace with its lock file, and fails
# as `cargo build` does where the file of a declared target is missing; nothing is compiled.
CARGO = """#!/bin/sh -e
[ "$1" = build ] || exec /usr/local/rustup/toolchain/bin/cargo "$@"
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
        """Runs a command of buildah, shows what it prints, and returns it."""
        command = [*self._command, *arguments]
        with subprocess.Popen(command, env=self._environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            lines = []
            for line in process.stdout:
                lines.append(line)
                print(line, end="", flush=True)
        if process.returncode != 0:
            raise SystemExit(f"buildah {arguments[0]} ended with exit status {process.returncode}; its messages are above")
        return lines

    def ask(self, *arguments):
        return subprocess.run([*self._command, *arguments], check=True, capture_output=True, text=True).stdout.strip()

    def build(self, context, tag, *arguments):
        how = ["--isolation", "chroot", "--pull=never", "--format", "docker", "--layers"]
        return self.run("build", *how, "--tag", tag, *arguments, context)

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
    """Builds the image under the name `nerve`, twice, and yields what is wrong with the second build."""
    dockerfile = DOCKERFILE.read_text()
    assert last_stage(dockerfile) == "cpu", "the cpu target is not the default"
    settings = arguments_of(dockerfile)
    debian = f"debian:{settings['DEBIAN']}-slim"
    builder.build(make_base(settings["DEBIAN"], directory, options.base), debian)
    context = directory / "rust"
    context.mkdir()
    (context / "Dockerfile").write_text(RUST.format(debian=debian))
    builder.build(context, f"rust:{settings['RUST']}-slim-{settings['DEBIAN']}")
    how = [*volumes(directory, options.prebuilt), *(["--target", options.target] if options.target else [])]
    cold = Stopwatch()
    builder.build(REPOSITORY, "nerve", *how)
    print(f"build: {cold}", flush=True)
    if options.target == "cuda":
        # The stages that compile are those of the cpu target.
        return
    context = copy_context(directory / "changed")
    with (context / CHANGED).open("a") as source:
        source.write("// Changed.\n")
    warm = Stopwatch()
    steps = builder.build(context, "nerve-changed", *how)
    print(f"build: {warm} after a change of {CHANGED}", flush=True)
    shutil.rmtree(context)
    if cached(steps) != [True, False]:
        yield f"after a change of {CHANGED}, the commands `cargo build` took their layers from the cache as {cached(steps)}, not [True, False]"


class Stopwatch:
    """The time and the processor time of child processes since it was made."""

    def __init__(self):
        self._began, self._used = time.monotonic(), self._processor()

    @staticmethod
    def _processor():
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    def __str__(self):
        return f"{time.monotonic() - self._began:.0f} s, {self._processor() - self._used:.0f} s of processors"


def copy_context(folder):
    """A copy of the build context, to be changed."""
    for path in [*build_context.build_context(), "Dockerfile", ".dockerignore"]:
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(REPOSITORY / path, folder / path)
    return folder


def cached(steps):
    """For each `cargo build` of a build, whether its layer came from the cache."""
    return [following.startswith("--> Using cache") for step, following in zip(steps, steps[1:]) if "STEP" in step and "cargo build" in step]


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


def show_size(root):
    found = sizes(root)
    for path, size in sorted(found.items(), key=lambda item: -item[1]):
        if size >= MB / 2:
            print(f"image, MB: {size / MB:8.1f} {path}")
    total = sum(found.values()) / MB
    print(f"image, MB: {total:8.1f} in all", flush=True)
    return total


def check_libraries(root):
    """Yields the missing libraries of ONNX Runtime's CUDA provider, except those of the driver."""
    # The image has no shell, so no `ldd`; the loader does the same where this variable is set.
    loader = f"/{next(root.glob('usr/lib64/ld-linux-*')).relative_to(root)}"
    command = [loader, "--library-path", "/opt/nerve/lib"]
    tracing = {**os.environ, "LD_TRACE_LOADED_OBJECTS": "1"}
    for library in sorted(root.glob("opt/nerve/lib/*.so*")):
        name = f"/{library.relative_to(root)}"
        # `chroot` the program would be traced itself.
        outcome = subprocess.run([*command, name], env=tracing, preexec_fn=lambda: os.chroot(root), capture_output=True, text=True)
        missing = set(re.findall(r"(\S+) => not found", outcome.stdout)) - {"libcuda.so.1"}
        if missing or not outcome.stdout:
            yield f"{library.name} needs {', '.join(missing) or outcome.stderr}"
    print("cuda: all libraries are present except libcuda.so.1, which the driver provides; NOT RUN: the server on a GPU")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--prebuilt", type=pathlib.Path, help="folder of a compiled nerve-server; nothing is compiled")
    parser.add_argument("--target", choices=["cpu", "cuda"], help="stage to build [default: the last one, cpu]")
    parser.add_argument("--base", type=pathlib.Path, help="tar with the base image's files; written if it does not exist")
    options = parser.parse_args()
    missing = [tool for tool in ("buildah", "debootstrap", "haproxy", "rustc") if shutil.which(tool) is None]
    if os.geteuid() != 0 or missing:
        raise SystemExit("run this as root, with rustc and the Debian packages buildah, debootstrap and haproxy installed")
    if options.prebuilt is not None:
        options.prebuilt = options.prebuilt.resolve(strict=True)

    with tempfile.TemporaryDirectory(prefix="nerve-image-") as directory, contextlib.ExitStack() as ending:
        directory = pathlib.Path(directory)
        builder = Builder(directory)
        ending.callback(builder.end)
        wrong = list(build(builder, directory, options))
        settings = json.loads(builder.ask("inspect", "--type", "image", "nerve"))["Docker"]["config"]
        with builder.mounted("nerve") as root:
            total = show_size(root)
            if options.target == "cuda":
                wrong += check_libraries(root)
            else:
                wrong += running_image.check(Image(str(root), settings))
                wrong += [f"the image has {total:.1f} MB, not under {LIMIT_MB}"] * (total >= LIMIT_MB)
    if options.prebuilt is not None:
        print(f"NOT RUN: cargo build; the image holds {options.prebuilt}/nerve-server, stripped")
    for violation in wrong:
        print(f"VIOLATION: {violation}")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
