"""Compares what `make serve` would do on each platform with what that platform needs, without doing it: `make platform-check`."""

import os
import pathlib
import re
import subprocess

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
VERSION = re.search(r"^onnxruntime==(\S+)", (REPOSITORY / "onnxruntime.txt").read_text(), re.M)[1]
# By platform: the tag of ONNX Runtime's wheel, the library in it, and the name under which nerve-server looks for it.
PLATFORMS = {
    "Linux-x86_64": ("manylinux_2_28_x86_64", f"libonnxruntime.so.{VERSION}", "libonnxruntime.so"),
    "Linux-aarch64": ("manylinux_2_28_aarch64", f"libonnxruntime.so.{VERSION}", "libonnxruntime.so"),
    "Darwin-arm64": ("macosx_14_0_arm64", f"libonnxruntime.{VERSION}.dylib", "libonnxruntime.dylib"),
}


def dry_run(platform):
    # `--always-make`: the library of this machine may exist already.
    command = [os.environ.get("MAKE", "make"), "--dry-run", "--always-make", "--no-print-directory", "serve", f"PLATFORM={platform}"]
    settings = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MAKELEVEL", "MFLAGS")}
    return subprocess.run(command, cwd=REPOSITORY, env=settings, capture_output=True, text=True)


def check(platform, tag, wheel_library, library):
    outcome = dry_run(platform)
    assert outcome.returncode == 0, f"{platform}: {outcome.stderr}"
    commands = outcome.stdout.replace("\\\n", " ")
    assert re.findall(r"--platform (\S+)", commands) == [tag], f"{platform}: the tag is not {tag}:\n{commands}"
    moved = re.findall(r"^mv \S+/onnxruntime/capi/(\S+) (\S+)$", commands, re.M)
    assert moved == [(wheel_library, f".onnxruntime/{library}")], f"{platform}: {moved}"
    assert "target/release/nerve-server --model models/default" in commands, commands
    print(f"{platform}: {tag}, {wheel_library} -> .onnxruntime/{library}")


def main():
    for platform, expected in PLATFORMS.items():
        check(platform, *expected)
    hashes = re.findall(r"--hash=sha256:([0-9a-f]{64})\b", (REPOSITORY / "onnxruntime.txt").read_text())
    assert len(set(hashes)) == len(PLATFORMS), f"onnxruntime.txt has {len(set(hashes))} hashes for {len(PLATFORMS)} platforms"
    unknown = dry_run("Plan9-mips")
    assert unknown.returncode != 0, unknown.stdout
    for named in ("Plan9-mips", *PLATFORMS):
        assert named in unknown.stderr, unknown.stderr
    print(f"an unknown platform: {unknown.stderr.strip()}")


if __name__ == "__main__":
    main()
