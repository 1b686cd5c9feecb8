"""Checks the alert rules and the dashboard with promtool and against the metrics of running replicas and HAProxy in Prometheus.

    make deploy-checks    # or, with the packages of requirements.txt: tests/deploy/metrics.py

Requires Debian's prometheus and haproxy, and a built nerve-server.
"""

import collections
import contextlib
import json
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile
import time
import urllib.parse
import urllib.request

import yaml

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from replicas import REPOSITORY, balanced, fetch, free_addresses, wait_for  # noqa: E402

PROMETHEUS = REPOSITORY / "deploy" / "prometheus"
GRAFANA = REPOSITORY / "deploy" / "grafana"
# Keywords before a list of labels.
GROUPINGS = {"by", "without", "on", "ignoring", "group_left", "group_right"}
OPERATORS = {"and", "or", "unless", "bool", "offset"}
# The text after the name of a function or an aggregation.
FUNCTION = re.compile(r"\(|(by|without)\b")


def promtool(*arguments, **options):
    print(f"promtool {' '.join(map(str, arguments))}:", end=" ", flush=True)
    outcome = subprocess.run(["promtool", *arguments], capture_output=True, text=True, cwd=PROMETHEUS, **options)
    print("ok" if outcome.returncode == 0 else f"exit status {outcome.returncode}\n{outcome.stdout}{outcome.stderr}")
    if outcome.returncode != 0:
        raise SystemExit(1)


def expressions():
    """Every PromQL expression of the alerts and of the dashboard, with its alert or panel."""
    for group in yaml.safe_load((PROMETHEUS / "alerts.yml").read_text())["groups"]:
        for rule in group["rules"]:
            yield rule["alert"], rule["expr"]
    for panel in dashboard()["panels"]:
        for target in panel["targets"]:
            # Replaces Grafana's variables.
            yield panel["title"], target["expr"].replace("$__rate_interval", "1m").replace("$instance", ".*")


def dashboard():
    return json.loads((GRAFANA / "dashboards" / "nerve.json").read_text())


def selectors(expression):
    """The series that an expression selects, and the labels that it groups or joins by."""
    found, labels, place = [], set(), 0
    word = re.compile(r'"[^"]*"|\d+[smhd]|[a-zA-Z_:][a-zA-Z0-9_:]*')
    while match := word.search(expression, place):
        place = match.end()
        name, rest = match.group(), expression[place:].lstrip()
        if name in GROUPINGS:
            listed = re.match(r"\s*\(([^)]*)\)", expression[place:])
            labels |= {label.strip() for label in listed.group(1).split(",")}
            place += listed.end()
        elif name[0] != '"' and not name[0].isdigit() and name not in OPERATORS and not FUNCTION.match(rest):
            matchers = re.match(r"\s*\{[^}]*\}", expression[place:])
            found.append(name + (matchers.group().strip() if matchers else ""))
            place += matchers.end() if matchers else 0
    return found, labels


class Prometheus:
    """Prometheus with deploy/prometheus/prometheus.yml and running processes as targets."""

    def __init__(self, directory, targets):
        (self.address,) = free_addresses(1)
        self.log = directory / "prometheus.log"
        text = (PROMETHEUS / "prometheus.yml").read_text()
        for name, address in targets.items():
            assert name in text, name
            text = text.replace(name, address)
        (directory / "prometheus.yml").write_text(text.replace(": 5s", ": 1s"))
        shutil.copy(PROMETHEUS / "alerts.yml", directory)
        command = ["prometheus", f"--config.file={directory}/prometheus.yml", f"--storage.tsdb.path={directory}/data"]
        with self.log.open("wb") as log:
            self.process = subprocess.Popen([*command, f"--web.listen-address={self.address}"], stdout=log, stderr=log)

    def ask(self, path, **parameters):
        answer = json.loads(fetch(f"http://{self.address}/api/v1/{path}?{urllib.parse.urlencode(parameters)}"))
        assert answer["status"] == "success", answer
        return answer["data"]

    def query(self, expression):
        return self.ask("query", query=expression)["result"]

    def up(self):
        if self.process.poll() is not None:
            raise SystemExit(f"prometheus exited with status {self.process.returncode}:\n{self.log.read_text()}")
        with contextlib.suppress(OSError):
            return [series["value"][1] for series in self.query("up")] == ["1"] * 4
        return False

    def end(self):
        self.process.terminate()
        self.process.wait(60)


def check_dashboard():
    """Yields defects of the dashboard that prevent Grafana from showing it correctly."""
    (source,) = yaml.safe_load((GRAFANA / "provisioning" / "datasources" / "prometheus.yml").read_text())["datasources"]
    panels = dashboard()["panels"]
    ids = collections.Counter(panel["id"] for panel in panels)
    yield from (f"panel id {number} is used {times} times" for number, times in ids.items() if times > 1)
    taken = collections.Counter()
    for panel in panels:
        place = panel["gridPos"]
        cells = [(x, y) for x in range(place["x"], place["x"] + place["w"]) for y in range(place["y"], place["y"] + place["h"])]
        taken.update(cells)
        if place["x"] + place["w"] > 24:
            yield f"panel {panel['title']} exceeds the grid"
        for part in [panel, *panel["targets"]]:
            if part["datasource"]["uid"] != source["uid"]:
                yield f"panel {panel['title']} uses another data source"
    if any(times > 1 for times in taken.values()):
        yield "panels overlap"


def check_live(prometheus):
    """Yields selectors and labels that no series has, and alerts that are active although nothing is wrong."""
    names = 0
    for where, expression in expressions():
        try:
            prometheus.query(expression)
        except OSError as error:
            yield f"{where}: {error}: {expression}"
            continue
        found, grouped = selectors(expression)
        known = set()
        for selector in found:
            series = prometheus.query(selector)
            names += 1
            if not series:
                yield f"{where}: no series matches {selector}"
            known.update(*(one["metric"] for one in series))
        if lacking := grouped - known:
            yield f"{where}: no series has the labels {', '.join(sorted(lacking))}"
    for group in prometheus.ask("rules")["groups"]:
        for rule in group["rules"]:
            if rule["health"] != "ok" or rule["state"] != "inactive":
                yield f"{rule['name']}: {rule['health']}, {rule['state']} {rule.get('lastError', '')}"
    print(f"{names} selectors looked up in the series of running servers")


def main():
    missing = [tool for tool in ("promtool", "prometheus", "haproxy") if shutil.which(tool) is None]
    if missing:
        raise SystemExit(f"missing programs: {', '.join(missing)}. Install them with: apt-get install prometheus haproxy")
    promtool("check", "config", "prometheus.yml")
    promtool("check", "rules", "--lint=all", "--lint-fatal", "alerts.yml")
    promtool("test", "rules", "alerts_test.yml")
    wrong = list(check_dashboard())
    with contextlib.ExitStack() as ending:
        directory = pathlib.Path(ending.enter_context(tempfile.TemporaryDirectory(prefix="nerve-prometheus-")))
        balancer, replicas = ending.enter_context(balanced(REPOSITORY / "models" / "default", []))
        promtool("check", "metrics", input=replicas[0].metrics())
        targets = {f"{replica.name}:8080": replica.address for replica in replicas}
        prometheus = Prometheus(directory, targets | {"haproxy:8404": balancer.stats_address})
        ending.callback(prometheus.end)
        wait_for("Prometheus' targets up", prometheus.up, every=0.2)
        asked = urllib.request.Request(
            f"http://{balancer.address}/ner", b'{"text": "Barack Obama"}', {"content-type": "application/json"}
        )
        for _ in range(12):
            with urllib.request.urlopen(asked, timeout=10) as answer:
                answer.read()
        # Time for two more scrapes, which rates need, and for the evaluation of the rules.
        time.sleep(3)
        promtool("check", "metrics", input=replicas[0].metrics())
        wrong += check_live(prometheus)
    for violation in wrong:
        print(f"VIOLATION: {violation}")
    raise SystemExit(1 if wrong else 0)


if __name__ == "__main__":
    main()
