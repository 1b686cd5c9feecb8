"""Checks the Dockerfile and .dockerignore without building anything: `make image-check`.

Each stage gets the files that its COPY instructions take from the build context. Where a stage runs `cargo build`, cargo opens
the copied workspace with its lock file, and the copied files are compared with those that the server
was last compiled from. The step that empties the sources, so that dependencies have a layer of their own, is run on a copy. The
check is then repeated without some of the needed files, and must fail each time.
"""

import contextlib
import dataclasses
import fnmatch
import json
import os
import pathlib
import posixpath
import re
import shutil
import subprocess
import tempfile

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
CARGO = os.environ.get("CARGO", "cargo")


class Violation(Exception):
    """Why the Dockerfile cannot be built."""


class DockerIgnore:
    """The rules of a .dockerignore file: the last pattern that matches a path or a folder above it decides."""

    def __init__(self, text):
        self._rules = []
        for line in filter(None, map(str.strip, text.splitlines())):
            if not line.startswith("#"):
                pattern = posixpath.normpath(line.lstrip("!")).lstrip("/")
                self._rules.append((self._regex(pattern), pattern, line.startswith("!")))

    @staticmethod
    def _regex(pattern):
        parts = {"**/": "(?:.*/)?", "**": ".*", "*": "[^/]*", "?": "[^/]"}
        tokens = re.findall(r"\*\*/|\*\*|\*|\?|[^*?]+", pattern)
        return re.compile("".join(parts.get(token, re.escape(token)) for token in tokens) + "(?:/.*)?")

    def excludes(self, path):
        decisions = [included for regex, _, included in self._rules if regex.fullmatch(path)]
        return bool(decisions) and not decisions[-1]

    def may_include_below(self, folder):
        """Whether a pattern can let in a file of a folder that is itself excluded."""
        literals = [re.split(r"[*?]", pattern)[0] for _, pattern, included in self._rules if included]
        return any(f"{literal}/".startswith(f"{folder}/") or f"{folder}/".startswith(literal) for literal in literals)


def build_context():
    """The paths of the files that a builder receives, relative to the repository."""
    ignore = DockerIgnore((REPOSITORY / ".dockerignore").read_text())
    paths = set()
    for folder, folders, names in os.walk(REPOSITORY):
        relative = pathlib.Path(folder).relative_to(REPOSITORY)
        folders[:] = [
            name for name in folders
            if not ignore.excludes(str(relative / name)) or ignore.may_include_below(str(relative / name))
        ]
        paths.update(path for name in names if not ignore.excludes(path := str(relative / name)))
    return paths


def instructions(dockerfile):
    """Pairs of keyword and arguments, with comments removed and continued lines joined."""
    lines = [line for line in dockerfile.splitlines() if line.strip() and not line.lstrip().startswith("#")]
    for line in re.sub(r"\\\n\s*", " ", "\n".join(lines)).splitlines():
        keyword, _, arguments = line.strip().partition(" ")
        yield keyword.upper(), arguments.strip()


@dataclasses.dataclass
class Stage:
    """The files that a stage copied from the context, by path in the image, and its commands of cargo."""

    files: dict = dataclasses.field(default_factory=dict)
    folder: str = "/"
    # The step that leaves of the workspace what dependencies are compiled from.
    emptying: str | None = None
    # Pairs of working directory and arguments.
    cargo_builds: list = dataclasses.field(default_factory=list)

    def copy(self, sources, target, context):
        into_folder = target.endswith(("/", ".")) or len(sources) > 1
        target = posixpath.join(self.folder, target)
        for source in sources:
            named = context if source == "." else fnmatch.filter(context, source)
            below = [path for path in context if path.startswith(f"{source}/")]
            if not named and not below:
                raise Violation(f"COPY {source}: the build context has no such file")
            for path in named:
                name = path if source == "." else posixpath.basename(path)
                self.files[posixpath.normpath(posixpath.join(target, name) if into_folder else target)] = path
            for path in below:
                self.files[posixpath.normpath(posixpath.join(target, path.removeprefix(f"{source}/")))] = path


def stages(dockerfile, context):
    """The Dockerfile's stages, by name."""
    found, stage = {}, None
    for keyword, arguments in instructions(dockerfile):
        words = [word for word in arguments.split() if not word.startswith("--")]
        if keyword == "FROM":
            base = found.get(words[0], Stage())
            stage = found[words[-1]] = Stage(dict(base.files), base.folder)
        elif keyword == "WORKDIR":
            stage.folder = posixpath.join(stage.folder, arguments)
        elif keyword == "COPY" and (other := re.search(r"--from=(\S+)", arguments)):
            if other[1] not in found:
                raise Violation(f"COPY --from={other[1]}: no stage before it has that name")
        elif keyword == "COPY":
            stage.copy(words[:-1], words[-1], context)
        elif keyword == "RUN":
            stage.emptying = arguments if arguments.startswith("cargo metadata") else stage.emptying
            stage.cargo_builds += [(stage.folder, command.split()) for command in re.findall(r"cargo build ([^&;|]*)", arguments)]
    return found


def host():
    """The target triple that rustc compiles for by default."""
    version = subprocess.run(["rustc", "-vV"], check=True, capture_output=True, text=True).stdout
    return re.search(r"^host: (\S+)$", version, re.M)[1]


def cargo(folder, *arguments):
    """What a command of cargo prints for a workspace with its lock file."""
    outcome = subprocess.run([CARGO, *arguments, "--locked"], cwd=folder, capture_output=True, text=True)
    if outcome.returncode != 0:
        raise Violation(f"cargo cannot open the workspace: {outcome.stderr.strip()}")
    return outcome.stdout


def packages(folder):
    """The packages of a workspace, by name, as `cargo metadata` describes them."""
    described = json.loads(cargo(folder, "metadata", "--no-deps", "--format-version=1"))
    return {package["name"]: package for package in described["packages"]}


def compiled_files(binary):
    """The repository's files that cargo last compiled a binary from."""
    listing = REPOSITORY / "target" / "release" / f"{binary}.d"
    if not listing.exists():
        raise Violation(f"{listing} is missing; build the workspace first")
    paths = re.split(r"(?<!\\) ", listing.read_text().splitlines()[0].split(": ", 1)[1])
    paths = [pathlib.Path(path.replace("\\ ", " ")) for path in paths]
    # What build scripts generate is generated again in the image.
    paths = [path for path in paths if not path.is_relative_to(REPOSITORY / "target")]
    return {str(path.relative_to(REPOSITORY)) for path in paths if path.is_relative_to(REPOSITORY)}


@contextlib.contextmanager
def copied(stage, folder):
    """A folder with the files that a stage copied into one of its folders."""
    with tempfile.TemporaryDirectory(prefix="nerve-context-") as directory:
        workspace = pathlib.Path(directory, "workspace")
        for path, source in below(stage, folder).items():
            target = workspace / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / source, target)
        yield workspace


def below(stage, folder):
    """The sources of the files that a stage copied into one of its folders, by path in it."""
    return {path.removeprefix(f"{folder}/"): source for path, source in stage.files.items() if path.startswith(f"{folder}/")}


def open_workspace(folder):
    """Opens a workspace as `cargo build` does."""
    # Unlike `metadata` and `tree`, `fetch` looks for the file of every target that a manifest declares, as `build` does.
    cargo(folder, "fetch", f"--target={host()}")


def check_emptied(stage):
    """Runs the step that empties the sources. Cargo must open what it leaves, which must hold nothing of the sources."""
    with copied(stage, stage.folder) as workspace:
        outcome = subprocess.run(["sh", "-c", stage.emptying], cwd=workspace, capture_output=True, text=True)
        if outcome.returncode != 0:
            raise Violation(f"the step that empties the sources fails: {outcome.stderr.strip()}")
        open_workspace(workspace)
        for path in workspace.rglob("*"):
            if path.is_file() and path.name not in ("Cargo.toml", "Cargo.lock") and path.read_text() != "fn main() {}\n":
                raise Violation(f"{path.relative_to(workspace)} is not emptied: its changes compile the dependencies again")


def check_workspace(stage, folder, arguments):
    """Opens the workspace that a stage copied as `cargo build` with these arguments does."""
    with copied(stage, folder) as workspace:
        open_workspace(workspace)
        found = packages(workspace)
    files = below(stage, folder)
    name = arguments[arguments.index("--package") + 1]
    if name not in found:
        raise Violation(f"cargo build --package {name}: the copied workspace has no such package")
    binaries = [target["name"] for target in found[name]["targets"] if "bin" in target["kind"]]
    compiled = {path for binary in binaries for path in compiled_files(binary)}
    if missing := sorted(compiled - files.keys()):
        raise Violation(f"{name} was compiled from {', '.join(missing)}, which the Dockerfile does not copy")


def check(context):
    """Raises a Violation unless the Dockerfile can be built from these files."""
    found = stages((REPOSITORY / "Dockerfile").read_text(), context)
    # The last `cargo build` of a stage compiles what all its COPY instructions left; earlier ones compile dependencies.
    builds = [(stage, *stage.cargo_builds[-1]) for stage in found.values() if stage.cargo_builds]
    if not builds:
        raise Violation("no stage runs `cargo build`")
    for stage, folder, arguments in builds:
        check_workspace(stage, folder, arguments)
    for stage in found.values():
        if stage.emptying is not None:
            check_emptied(stage)


def needed_paths():
    """Files and folders without which the image cannot be built: manifests, benches, an embedded file, sources of COPY."""
    arguments = [arguments.split() for keyword, arguments in instructions((REPOSITORY / "Dockerfile").read_text()) if keyword == "COPY"]
    copied = {source for words in arguments if "--from" not in words[0] for source in words[:-1]} - {"."}
    members = packages(REPOSITORY).values()
    manifests = {package["manifest_path"] for package in members}
    benches = {target["src_path"] for package in members for target in package["targets"] if "bench" in target["kind"]}
    embedded = sorted(path for path in compiled_files("nerve-server") if not path.endswith(".rs"))[:1]
    return {"Cargo.toml", "Cargo.lock"} | copied | set(embedded) | {os.path.relpath(path, REPOSITORY) for path in manifests | benches}


def main():
    context = build_context()
    size = sum((REPOSITORY / path).stat().st_size for path in context)
    try:
        check(context)
    except Violation as violation:
        raise SystemExit(f"VIOLATION: {violation}")
    print(f"build context: {len(context)} files, {size / 1_000_000:.1f} MB; every COPY finds its files, and cargo opens the workspace")
    for path in sorted(needed_paths()):
        try:
            check({other for other in context if other != path and not other.startswith(f"{path}/")})
        except Violation as violation:
            print(f"without {path}: {str(violation).splitlines()[-1].strip()}")
        else:
            raise SystemExit(f"VIOLATION: without {path} the check passes all the same")


if __name__ == "__main__":
    main()
