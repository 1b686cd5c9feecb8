"""Another version of the default model, and publishing to a store."""

import contextlib
import hashlib
import json
import pathlib
import shutil
import subprocess
import tempfile

from replicas import REPOSITORY, SERVER, environment

MODEL = REPOSITORY / "models" / "default"
EXPORT = SERVER.with_name("nerve-export")


@contextlib.contextmanager
def at_temperature(temperature):
    """Yields the default model with this temperature, as a bundle."""
    with tempfile.TemporaryDirectory(prefix="nerve-bundle-") as directory:
        bundle = pathlib.Path(directory) / "bundle"
        shutil.copytree(MODEL, bundle)
        manifest = json.loads((bundle / "manifest.json").read_text())
        manifest["temperature"] = temperature
        digest = hashlib.sha256()
        for name, file in sorted(manifest["files"].items()):
            digest.update(f"{name} {file['sha256']}\n".encode())
        digest.update(f"temperature {manifest['temperature']}\n".encode())
        manifest["version"] = digest.hexdigest()[:16]
        (bundle / "manifest.json").write_text(json.dumps(manifest))
        yield bundle


@contextlib.contextmanager
def another_version():
    """Yields the default model with another temperature, as a bundle and its version."""
    temperature = json.loads((MODEL / "manifest.json").read_text()).get("temperature", 1.0)
    with at_temperature(temperature + 0.5) as bundle:
        # A store keeps bundles in the current format, whose version hashes more than the format of the default model.
        store = bundle.parent / "store"
        publish(bundle, store)
        stored = (store / "current").resolve(strict=True)
        yield stored, stored.name


def publish(bundle, store, settings=None):
    command = [EXPORT, "publish", bundle, "--store", store]
    subprocess.run(command, check=True, stdout=subprocess.DEVNULL, env=environment() | (settings or {}))
