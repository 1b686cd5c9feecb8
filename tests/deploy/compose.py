"""Validates deploy/compose.yaml against Compose's schema, and checks that its services, files and settings are consistent.

    make deploy-checks    # or, with the packages of requirements.txt: tests/deploy/compose.py

Requires Debian's haproxy and a built nerve-server.
"""

import importlib.metadata
import json
import os
import pathlib
import re
import subprocess
import sys

import jsonschema
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from replicas import CONFIGURATION, REPOSITORY  # noqa: E402
from settings import known_settings  # noqa: E402

COMPOSE = REPOSITORY / "deploy" / "compose.yaml"
# The address of a service in the files of other services.
ADDRESS = re.compile(r"\b([a-z][a-z0-9-]*):(\d+)\b")
# The ports that the images listen on.
PORTS = {"nerve-1": "8080", "nerve-2": "8080", "nerve-3": "8080", "haproxy": "8404", "prometheus": "9090"}


def filled_in(text):
    """The file with its variables replaced by their defaults."""
    return re.sub(r"\$\{\w+:-([^}]*)\}", r"\1", text)


def check_schema(compose):
    schema = importlib.metadata.distribution("docker-compose").locate_file("compose/config/compose_spec.json")
    validator = jsonschema.Draft7Validator(json.loads(schema.read_text()))
    yield from (f"{error.json_path}: {error.message}" for error in validator.iter_errors(compose))
    invalid = json.loads(json.dumps(compose))
    invalid["services"]["haproxy"]["nonsense"] = 1
    if validator.is_valid(invalid):
        yield "the schema accepts unknown fields"


def check_files(services):
    """Yields mounted files that do not exist, and addresses without a service."""
    for name, service in services.items():
        for volume in service.get("volumes", []):
            source = volume.split(":")[0]
            if source.startswith(".") and not (COMPOSE.parent / source).exists():
                yield f"{name} mounts {source}, which does not exist"
    files = ["prometheus/prometheus.yml", "grafana/provisioning/datasources/prometheus.yml"]
    texts = {file: (COMPOSE.parent / file).read_text() for file in files}
    texts["compose.yaml"] = "\n".join(services["haproxy"]["environment"].values())
    for file, text in texts.items():
        for host, port in ADDRESS.findall(text):
            if PORTS.get(host) != port:
                yield f"{file} contains the address {host}:{port}, which no service has"
    (provider,) = yaml.safe_load((COMPOSE.parent / "grafana/provisioning/dashboards/nerve.yml").read_text())["providers"]
    if not any(volume.split(":")[1] == provider["options"]["path"] for volume in services["grafana"]["volumes"]):
        yield "Grafana's dashboards are not mounted at the path of their provider"


def check_settings(services):
    """Yields settings unknown to nerve-server, also those in the Dockerfile, and grace periods shorter than a drain."""
    dockerfile = set(re.findall(r"\b(NERVE_[A-Z_]+)=", (REPOSITORY / "Dockerfile").read_text()))
    for name in ("nerve-1", "nerve-2", "nerve-3"):
        given = services[name]["environment"]
        yield from (f"nerve-server does not know {setting}" for setting in (dockerfile | given.keys()) - known_settings())
        grace = int(services[name]["stop_grace_period"].removesuffix("s")) * 1000
        if grace < given["NERVE_DRAIN_DELAY_MS"] + given["NERVE_DRAIN_DEADLINE_MS"]:
            yield f"{name} is killed before it has drained"


def check_haproxy(service):
    """Yields the errors and warnings of HAProxy for its configuration with the service's settings."""
    command = ["haproxy", "-c", "-f", CONFIGURATION]
    outcome = subprocess.run(command, env=os.environ | service["environment"], capture_output=True, text=True)
    # The names of the replicas cannot be resolved here. HAProxy starts nevertheless and resolves them later.
    warnings = [line for line in outcome.stderr.splitlines() if "[WARNING]" in line and "could not resolve" not in line]
    if outcome.returncode != 0 or warnings:
        yield f"haproxy -c: exit status {outcome.returncode}: {outcome.stderr}"
    for variable in set(re.findall(r"\$\{(\w+)\}", CONFIGURATION.read_text())) ^ service["environment"].keys():
        yield f"{variable} is in only one of haproxy.cfg and compose.yaml"


def main():
    compose = yaml.safe_load(filled_in(COMPOSE.read_text()))
    services = compose["services"]
    wrong = [
        *check_schema(compose),
        *check_files(services),
        *check_settings(services),
        *check_haproxy(services["haproxy"]),
    ]
    for violation in wrong:
        print(f"VIOLATION: {violation}")
    print(f"compose.yaml: {len(services)} services, {len(wrong)} violations; NOT RUN: the containers")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
