"""Checks the Dockerfile and .dockerignore without building anything: `make image-check`.

Each stage gets the files that its COPY instructions take from the build context. Where a stage runs `cargo build`, cargo opens
the copied workspace with its lock file, and the copied files are compared with those that the server
was last compiled from. The check is then repeated without some of the needed files, and must fail each time.
"""

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
    """The files that a stage copied from the context, by path in the image, and its `cargo build` commands."""

    files: dict = dataclasses.field(default_factory=dict)
    folder: str = "/"
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


def check_workspace(files, arguments):
    """Opens the workspace that a stage copied as `cargo build` with these arguments does; `files` are by path in it."""
    with tempfile.TemporaryDirectory(prefix="nerve-context-") as directory:
        for path, source in files.items():
            target = pathlib.Path(directory, path)
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(REPOSITORY / source, target)
        # Unlike `metadata` and `tree`, `fetch` looks for the file of every target that a manifest declares, as `build` does.
        cargo(directory, "fetch", f"--target={host()}")
        found = packages(directory)
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
    builds = [(stage, folder, arguments) for stage in found.values() for folder, arguments in stage.cargo_builds]
    if not builds:
        raise Violation("no stage runs `cargo build`")
    for stage, folder, arguments in builds:
        files = {path.removeprefix(f"{folder}/"): source for path, source in stage.files.items() if path.startswith(f"{folder}/")}
        check_workspace(files, arguments)


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
