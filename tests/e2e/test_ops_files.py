"""Dashboards, alerts and pages name what a running service serves, and each other."""

import re
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple, TypeAlias

import pytest
from prometheus_client.parser import text_string_to_metric_families

from ops_files import (
    DASHBOARDS,
    GRAFANA,
    PROMETHEUS,
    ROOT,
    alerts,
    dashboard,
    heading_anchors,
    panels,
    prometheus_files,
    queries,
    recorded,
)
from processes import Gateway, Processor
from scraped import answer

OPERATIONS = ROOT / "OPERATIONS.md"
README = ROOT / "README.md"
PREFIX = "teltonika_processor_"


# Units of Grafana that a panel may have; a mistyped one is shown as a suffix.
UNITS = {"short", "s", "bytes", "Bps", "cps", "percentunit"}

PARAGRAPHS = ["Meaning", "Impact", "Diagnosis", "Mitigation", "Over when"]


Series: TypeAlias = dict[str, list[dict[str, str]]]
"""The labels of every series by its name."""


class Selected(NamedTuple):
    """A metric that a file names, with what it demands of the labels."""

    metric: str
    labels: str


@pytest.fixture
def served(redis_url: str, migrated_database: str) -> Series:
    """A live scrape of a processor and of a gateway."""
    pages = []
    with (
        Processor(redis_url, migrated_database) as processor,
        Gateway(redis_url, INGEST_DURABILITY="memory") as gateway,
    ):
        for service, begun in ((processor, "consumer.started"), (gateway, "gateway.started")):
            service.wait_for(begun)
            code, page = answer(service, "/metrics")
            assert code == 200
            pages.append(page)
    found: Series = {}
    for page in pages:
        for family in text_string_to_metric_families(page):
            for sample in family.samples:
                found.setdefault(sample.name, []).append(sample.labels)
    return found


def texts() -> Iterator[tuple[Path, str]]:
    """What names metrics: rules, dashboards, pages."""
    for path in [*prometheus_files(), *DASHBOARDS, OPERATIONS, README]:
        yield path, path.read_text().replace('\\"', '"')


def selected(text: str) -> set[Selected]:
    """The metrics of ours in a text; those that a rule records have colons in their names."""
    found = re.findall(r"(?<![\w:])(teltonika_processor_\w+)(?![\w:])(?:\{([^}\n]*)\})?", text)
    return {Selected(metric, labels) for metric, labels in found}


def demanded(labels: str) -> Iterator[tuple[str, set[str]]]:
    """The values of labels that a selector names, without those that Prometheus or Grafana add."""
    for name, operator, value in re.findall(r'(\w+)\s*(=~|=)\s*"([^"]*)"', labels):
        if name not in {"job", "instance"} and "$" not in value:
            yield name, set(value.split("|")) if operator == "=~" else {value}


def test_every_metric_that_a_file_names_is_served(served: Series) -> None:
    named = {(path.name, one.metric) for path, text in texts() for one in selected(text)}
    assert len(named) > 90
    unknown = {(path, name) for path, name in named if name not in served}
    assert unknown == set()


def test_every_label_that_a_file_asks_for_has_such_a_value(
    served: Series,
) -> None:
    missing = set()
    for path, text in texts():
        for metric, labels in selected(text):
            for name, values in demanded(labels):
                there = {series.get(name) for series in served[metric]}
                missing |= {(path.name, metric, name, value) for value in values - there}
    assert missing == set()


def test_every_metric_that_operations_md_names_without_its_prefix_is_served(
    served: Series,
) -> None:
    text = OPERATIONS.read_text()
    _, _, alerts_on = text.partition("\n## Alerts\n")
    counters = set(re.findall(r"`(\w+_total)`", text))
    others = set(
        re.findall(
            r"`([a-z]\w+_(?:seconds|entries|rows|fds|open))`", alerts_on.partition("\n## ")[0]
        )
    )
    assert len(counters) > 30
    assert len(others) > 8
    known = served.keys()
    assert {name for name in counters | others if PREFIX + name not in known} == set()


def test_every_series_that_a_file_takes_from_a_rule_is_recorded_there() -> None:
    named = set()
    for path in [*prometheus_files(), *DASHBOARDS]:
        named |= set(re.findall(r"\b\w+:\w+:\w+\b", path.read_text()))
    assert named == recorded()


# Alerts


def test_every_alert_has_its_section_and_every_section_its_alert() -> None:
    _, _, section = OPERATIONS.read_text().partition("\n## Alerts\n")
    headings = re.findall(r"^### (\w+)$", section.partition("\n## ")[0], re.MULTILINE)
    assert headings == [alert.name for alert in alerts()]


def test_every_section_of_an_alert_says_the_five_things_in_their_order() -> None:
    text = OPERATIONS.read_text()
    for alert in alerts():
        _, _, section = text.partition(f"\n### {alert.name}\n")
        section = re.split(r"^##", section, maxsplit=1, flags=re.MULTILINE)[0]
        assert re.findall(r"^\*\*([\w ]+)\.\*\*", section, re.MULTILINE) == PARAGRAPHS, alert.name


def test_every_runbook_url_leads_to_the_section_of_its_alert() -> None:
    anchors = heading_anchors(OPERATIONS.read_text())
    for alert in alerts():
        document, _, anchor = alert.runbook_url.partition("#")
        assert (document, anchor) == ("OPERATIONS.md", alert.name.lower())
        assert anchors.count(anchor) == 1


def test_every_alert_has_a_severity_and_says_why_its_threshold_is_that() -> None:
    found = alerts()
    assert len(found) == (PROMETHEUS / "alerts.yaml").read_text().count("- alert:") == 39
    assert {alert.severity for alert in found} == {"page", "ticket", "none"}
    for alert in found:
        assert re.match("Teltonika(Processor|Gateway)[A-Z]", alert.name)
        assert len(alert.comment) > 20, alert.name


def test_every_alert_has_a_case_that_fires() -> None:
    text = (PROMETHEUS / "tests.yaml").read_text()
    for alert in alerts():
        case = rf"alertname: {alert.name}\n +eval_time: \w+\n +exp_alerts:\n +- exp_labels:"
        assert re.search(case, text), alert.name


@pytest.mark.parametrize("document", sorted(ROOT.glob("*.md")), ids=lambda path: path.name)
def test_every_link_inside_a_document_leads_to_a_heading(document: Path) -> None:
    anchors = heading_anchors(document.read_text())
    for target in re.findall(r"\]\(#([\w-]+)\)", document.read_text()):
        assert target in anchors, target


# Dashboards


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_every_panel_says_what_it_shows_in_a_unit_from_the_chosen_data_source(path: Path) -> None:
    for panel in panels(path):
        title = panel["title"]
        assert panel["datasource"] == {"type": "prometheus", "uid": "${datasource}"}, title
        assert panel["description"].endswith("."), title
        assert panel["fieldConfig"]["defaults"]["unit"] in UNITS, title
        assert [target["refId"] for target in panel["targets"]] == [
            *"ABCDEFGH"[: len(panel["targets"])]
        ]
    titles = [panel["title"] for panel in dashboard(path)["panels"]]
    assert len(set(titles)) == len(titles)


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_panels_have_ids_of_their_own_and_do_not_overlap(path: Path) -> None:
    everything = dashboard(path)["panels"]
    assert len({panel["id"] for panel in everything}) == len(everything)
    taken: set[tuple[int, int]] = set()
    for panel in everything:
        at = panel["gridPos"]
        columns = range(at["x"], at["x"] + at["w"])
        cells = {(x, y) for x in columns for y in range(at["y"], at["y"] + at["h"])}
        assert at["x"] + at["w"] <= 24
        assert not cells & taken, panel["title"]
        taken |= cells


@pytest.mark.parametrize("path", DASHBOARDS, ids=lambda path: path.name)
def test_every_query_asks_only_for_the_chosen_job(path: Path) -> None:
    variables = {variable["name"] for variable in dashboard(path)["templating"]["list"]}
    assert variables == {"datasource", "job", "instance"}
    for where, expression in queries(path):
        for selector in re.findall(rf"(?:{PREFIX}|job:)[\w:]+(\{{[^}}]*\}})?", expression):
            assert 'job="$job"' in selector, (where, expression)


def test_there_is_a_dashboard_and_grafana_is_told_where() -> None:
    assert [path.name for path in DASHBOARDS] == ["gateway.json", "processor.json"]
    assert len(list(GRAFANA.glob("provisioning/*/*.yaml"))) == 2
