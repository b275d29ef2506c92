"""The files in ops/ as tests read them: names, queries, alerts."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[1]
PROMETHEUS = ROOT / "ops" / "prometheus"
GRAFANA = ROOT / "ops" / "grafana"
DASHBOARDS = sorted(GRAFANA.glob("*.json"))

# What Grafana puts in before it asks.
_VARIABLES = {
    "$__rate_interval": "5m",
    "$__interval": "1m",
    "$job": "teltonika-processor",
    "$instance": ".*",
}


class Alert(NamedTuple):
    """An alert as alerts.yaml has it."""

    name: str
    severity: str
    runbook_url: str
    comment: str


class Query(NamedTuple):
    """An expression of a dashboard, and where it stands."""

    where: str
    expression: str

    @property
    def plain(self) -> str:
        """As Prometheus gets it."""
        text = self.expression
        for variable, value in _VARIABLES.items():
            text = text.replace(variable, value)
        return text


def prometheus_files() -> list[Path]:
    return sorted(PROMETHEUS.glob("*.yaml"))


def alerts() -> list[Alert]:
    """Every alert of alerts.yaml, with the comment above it."""
    blocks = re.findall(
        r"((?:^ +#.*\n)*)^ +- alert: (\w+)\n((?:(?! +- alert| +#|  - name).*\n)+)",
        (PROMETHEUS / "alerts.yaml").read_text(),
        re.MULTILINE,
    )
    return [
        Alert(name, _value(body, "severity"), _value(body, "runbook_url"), comment.strip())
        for comment, name, body in blocks
    ]


def recorded() -> set[str]:
    """The series that recording.yaml makes."""
    text = (PROMETHEUS / "recording.yaml").read_text()
    return set(re.findall(r"^ +- record: (\S+)$", text, re.MULTILINE))


def dashboard(path: Path) -> dict[str, Any]:
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


def panels(path: Path) -> list[dict[str, Any]]:
    """The panels that show something: rows do not."""
    return [panel for panel in dashboard(path)["panels"] if panel["type"] != "row"]


def queries(path: Path) -> Iterator[Query]:
    """Every expression: of panels and annotations."""
    document = dashboard(path)
    for panel in panels(path):
        for target in panel["targets"]:
            yield Query(panel["title"], target["expr"])
    for annotation in document["annotations"]["list"]:
        yield Query(annotation["name"], annotation["expr"])


def heading_anchors(markdown: str) -> list[str]:
    """The anchors that GitHub gives the headings of a document."""
    prose = re.sub(r"^```.*?^```", "", markdown, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ (.+)$", prose, re.MULTILINE)
    return [re.sub(r"[^\w\- ]", "", text.lower()).replace(" ", "-") for text in headings]


def _value(body: str, key: str) -> str:
    found = re.search(rf'^ +{key}: "?([^"\n]+)"?$', body, re.MULTILINE)
    assert found, (key, body)
    return found[1]
