"""Validates deploy/kubernetes against the schemas of Kubernetes and KServe, and checks that its files are consistent.

    make deploy-checks    # or, with the packages of requirements.txt: tests/deploy/kubernetes.py
"""

import copy
import json
import pathlib
import sys

import jsonschema
import kubernetes_validate
import referencing
import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from kserve_schema import KServe  # noqa: E402
from settings import known_settings  # noqa: E402

REPOSITORY = pathlib.Path(__file__).resolve().parent.parent.parent
FOLDER = REPOSITORY / "deploy" / "kubernetes"
# The oldest and the newest version of the package.
VERSIONS = ["1.25.0", "1.37.0"]


def resources():
    """Every resource with its file, except Helm values. A patch is applied to the Deployment beside its folder."""
    for path in sorted(FOLDER.rglob("*.yaml")):
        if path.name == "patch.yaml":
            deployment = yaml.safe_load((FOLDER / "deployment.yaml").read_text())
            yield path.relative_to(FOLDER), patched(deployment, yaml.safe_load(path.read_text()))
        elif path.name != "values.yaml":
            for resource in yaml.safe_load_all(path.read_text()):
                yield path.relative_to(FOLDER), resource


def patched(value, patch):
    """A resource after a strategic merge: the entries of lists are known by their names."""
    if isinstance(patch, dict):
        return {**value, **{key: patched(value[key], new) if key in value else new for key, new in patch.items()}}
    if isinstance(patch, list):
        known = {entry["name"]: entry for entry in value}
        named = {entry["name"]: patched(known.get(entry["name"], {}), entry) for entry in patch}
        return list({**known, **named}.values())
    return patch


def definitions(version):
    folder = pathlib.Path(kubernetes_validate.__file__).parent / "kubernetes-json-schema" / f"v{version}-local-strict"
    return json.loads((folder / "_definitions.json").read_text())


def schema_errors(resource):
    """The violations of the schemas by a resource."""
    group, _, version = resource["apiVersion"].rpartition("/")
    if group != "serving.kserve.io":
        for wanted in VERSIONS:
            try:
                kubernetes_validate.validate(resource, wanted, strict=True)
            except kubernetes_validate.ValidationError as error:
                yield f"{wanted}: {'.'.join(map(str, error.path))}: {error.message}"
        return
    known = definitions(VERSIONS[-1])
    # The `$id` must be next to Kubernetes' definitions, because references to them are relative.
    schema = {"$id": "https://kubernetes.io/api/kserve.json", **KServe(known["$defs"]).resource(version, resource["kind"])}
    registry = referencing.Resource.from_contents(known) @ referencing.Registry()
    validator = jsonschema.Draft202012Validator(schema, registry=registry)
    yield from (f"{error.json_path}: {error.message}" for error in validator.iter_errors(resource))


def check_schemas(found):
    for path, resource in found:
        errors = list(schema_errors(resource))
        print(f"{path}: {resource['kind']} {resource['metadata']['name']}: {'INVALID' if errors else 'valid'}")
        yield from (f"{path}: {error}" for error in errors)
        # An unknown field must be rejected. Otherwise the validator checks nothing.
        invalid = copy.deepcopy(resource)
        invalid["spec"]["nonsense"] = 1
        if not list(schema_errors(invalid)):
            yield f"{path}: the schema accepts unknown fields"


def check_agreement(found):
    """Yields contradictions between the files, and between the files and the server."""
    by_kind = {resource["kind"]: resource for path, resource in found if path.parent.name != "object-store"}
    following = next(resource for path, resource in found if path.name == "patch.yaml")
    deployment = by_kind["Deployment"]
    labels = deployment["spec"]["template"]["metadata"]["labels"].items()
    selectors = {
        "Deployment": deployment["spec"]["selector"]["matchLabels"],
        "Service": by_kind["Service"]["spec"]["selector"],
        "PodDisruptionBudget": by_kind["PodDisruptionBudget"]["spec"]["selector"]["matchLabels"],
        "NetworkPolicy": by_kind["NetworkPolicy"]["spec"]["podSelector"]["matchLabels"],
    }
    yield from (f"{kind} selects other pods" for kind, selector in selectors.items() if not selector.items() <= labels)
    autoscaler = by_kind["HorizontalPodAutoscaler"]["spec"]
    if autoscaler["scaleTargetRef"]["name"] != deployment["metadata"]["name"]:
        yield "the autoscaler does not scale the Deployment"
    if autoscaler["minReplicas"] <= by_kind["PodDisruptionBudget"]["spec"]["minAvailable"]:
        yield "the disruption budget permits no disruption"

    pods = {
        "Deployment": deployment["spec"]["template"]["spec"],
        "Deployment with object storage": following["spec"]["template"]["spec"],
        "ServingRuntime": by_kind["ServingRuntime"]["spec"],
    }
    paths = json.loads((REPOSITORY / "openapi" / "openapi.json").read_text())["paths"]
    for kind, pod in pods.items():
        (container,) = pod["containers"]
        ports = {port.get("name"): port["containerPort"] for port in container["ports"]}
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            asked = container.get(probe, {}).get("httpGet")
            if asked and asked["path"] not in paths:
                yield f"{kind}: {probe} requests {asked['path']}, which openapi.json does not contain"
            if asked and asked["port"] not in (*ports, *ports.values()):
                yield f"{kind}: {probe} uses port {asked['port']}, which the container does not have"
        given = {setting["name"]: setting["value"] for setting in container["env"]}
        own = {name for name in given if name.startswith("NERVE_")}
        yield from (f"{kind}: nerve-server does not know {name}" for name in own - known_settings())
        mounts = {mount["name"] for mount in container.get("volumeMounts", [])}
        if mounts != {volume["name"] for volume in pod.get("volumes", [])}:
            yield f"{kind}: the mounts are not the volumes"
        # The default is 30 s.
        grace = pod.get("terminationGracePeriodSeconds", 30)
        if grace * 1000 < int(given["NERVE_DRAIN_DELAY_MS"]) + int(given["NERVE_DRAIN_DEADLINE_MS"]):
            yield f"{kind}: the pod is killed before it has drained"
    for target in [port["targetPort"] for port in by_kind["Service"]["spec"]["ports"]]:
        if target not in {port["name"] for port in pods["Deployment"]["containers"][0]["ports"]}:
            yield f"the Service targets port {target}, which the container does not have"

    predictor = by_kind["InferenceService"]["spec"]["predictor"]["model"]
    runtime = by_kind["ServingRuntime"]
    if predictor["runtime"] != runtime["metadata"]["name"]:
        yield "the InferenceService uses another runtime"
    if predictor["protocolVersion"] not in runtime["spec"]["protocolVersions"]:
        yield "the runtime does not support the protocol of the InferenceService"
    model = json.loads((REPOSITORY / "models" / "default" / "manifest.json").read_text())["name"]
    if by_kind["InferenceService"]["metadata"]["name"] != model:
        yield f"the InferenceService must have the name of the model, {model}"

    rules = yaml.safe_load((FOLDER / "prometheus-adapter" / "values.yaml").read_text())["rules"]["custom"]
    metric = autoscaler["metrics"][0]["pods"]["metric"]["name"]
    if not any(rule["seriesQuery"].startswith(f"{metric}{{") for rule in rules):
        yield f"prometheus-adapter has no rule for {metric}"


def main():
    found = list(resources())
    wrong = [*check_schemas(found), *check_agreement(found)]
    for violation in wrong:
        print(f"VIOLATION: {violation}")
    print(f"{len(found)} resources, Kubernetes {' and '.join(VERSIONS)}, {len(wrong)} violations")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
