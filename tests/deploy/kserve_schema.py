"""JSON schemas of KServe's resources, from the type tables of the PyPI package `kserve`."""

import ast
import importlib.util
import pathlib
import re

DEFINITIONS = "/api/_definitions.json#/$defs/"
PLAIN = {
    "str": {"type": "string"},
    "int": {"type": "integer"},
    "float": {"type": "number"},
    "bool": {"type": "boolean"},
    "object": {},
    "ResourceQuantity": {"$ref": f"{DEFINITIONS}io.k8s.apimachinery.pkg.api.resource.Quantity"},
}


class KServe:
    """Schemas of the classes of the package. Its files are parsed, not imported, because an import requires its whole server.

    `kubernetes` are the definitions of Kubernetes' types, by their full names.
    """

    def __init__(self, kubernetes):
        folder = pathlib.Path(importlib.util.find_spec("kserve").origin).parent / "models"
        self._files = {re.sub("_", "", path.stem): path for path in folder.glob("v1*.py")}
        self._kubernetes = kubernetes
        self._made = {}

    def resource(self, version, kind):
        """The schema of a resource, which must have an apiVersion and a kind."""
        schema = self._reference(f"{version.capitalize()}{kind}")
        return {**schema, "required": ["apiVersion", "kind", "metadata", "spec"], "$defs": self._made}

    def _of(self, name):
        if name in PLAIN:
            return PLAIN[name]
        if match := re.fullmatch(r"list\[(.+)\]", name):
            return {"type": "array", "items": self._of(match.group(1))}
        if match := re.fullmatch(r"dict\(str, (.+)\)", name):
            return {"type": "object", "additionalProperties": self._of(match.group(1))}
        return self._reference(name)

    def _reference(self, name):
        if name.lower() not in self._files:
            return {"$ref": DEFINITIONS + self._kubernetes_name(name)}
        if name not in self._made:
            self._made[name] = None
            self._made[name] = self._class(self._files[name.lower()].read_text())
        return {"$ref": f"#/$defs/{name}"}

    def _kubernetes_name(self, name):
        """V1Container is io.k8s.api.core.v1.Container; K8sIoApiAppsV1DeploymentStrategy includes its group."""
        if match := re.fullmatch(r"K8sIoApi([A-Z][a-z]+)(V\d\w*?)([A-Z]\w*)", name):
            candidates = [f"io.k8s.api.{match[1].lower()}.{match[2].lower()}.{match[3]}"]
        else:
            places = ("io.k8s.api.core.v1.", "io.k8s.apimachinery.pkg.apis.meta.v1.")
            candidates = [place + name.removeprefix("V1") for place in places]
        # A type of another project is returned unchanged. Using it fails, because its schema is missing.
        return next((candidate for candidate in candidates if candidate in self._kubernetes), name)

    def _class(self, source):
        (described,) = [node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)]
        tables = {
            node.targets[0].id: ast.literal_eval(node.value) for node in described.body if isinstance(node, ast.Assign)
        }
        (start,) = [node for node in described.body if isinstance(node, ast.FunctionDef) and node.name == "__init__"]
        names = [argument.arg for argument in start.args.args[1:]]
        defaults = {name: ast.literal_eval(value) for name, value in zip(names, start.args.defaults)}
        demanded = re.findall(r"Invalid value for `(\w+)`, must not be `None`", source)
        keys = tables["attribute_map"]
        return {
            "type": "object",
            "properties": {keys[name]: self._of(of) for name, of in tables["openapi_types"].items()},
            "required": sorted({keys[name] for name in demanded if defaults[name] is None}),
            "additionalProperties": False,
        }
