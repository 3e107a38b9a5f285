# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The alert rules and the dashboard of docs/metrics ask for metrics that there are."""

from __future__ import annotations

import json
import re
from pathlib import Path

import yaml

from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.metrics import FAMILIES

DOCS = Path(__file__).resolve().parents[5] / "docs" / "metrics"


def expressions(value):
    """Every PromQL expression anywhere below a value."""
    if isinstance(value, dict):
        for key, below in value.items():
            if key in ("expr", "query", "definition") and isinstance(below, str):
                yield below
            else:
                yield from expressions(below)
    elif isinstance(value, list):
        for one in value:
            yield from expressions(one)


def asked(*documents):
    queries = [query for one in documents for query in expressions(one)]
    return {name for query in queries for name in re.findall(r"\w*buildcache_\w+", query)}


def test_every_query_names_metrics_that_there_are():
    alerts = yaml.safe_load((DOCS / "alerts.yml").read_text(encoding="utf-8"))
    dashboard = json.loads((DOCS / "dashboard.json").read_text(encoding="utf-8"))
    for document in (alerts, dashboard):
        names = asked(document)
        assert names and names <= set(FAMILIES), names - set(FAMILIES)
    for query in expressions(dashboard["panels"]):
        assert "buildcache_" in query, query


def test_the_alerts_are_tried_with_metrics_that_there_are():
    tests = yaml.safe_load((DOCS / "alerts_test.yml").read_text(encoding="utf-8"))
    alerts = yaml.safe_load((DOCS / "alerts.yml").read_text(encoding="utf-8"))
    series = {one["series"].partition("{")[0] for test in tests["tests"] for one in test["input_series"]}
    assert series == asked(alerts)
    tried = {one["alertname"] for test in tests["tests"] for one in test.get("alert_rule_test", ())}
    assert tried == {rule["alert"] for group in alerts["groups"] for rule in group["rules"]}


def test_the_dashboard_takes_its_datasource_from_a_variable():
    dashboard = json.loads((DOCS / "dashboard.json").read_text(encoding="utf-8"))
    assert dashboard["templating"]["list"][0] == {"name": "datasource", "type": "datasource", "query": "prometheus"}
    sources = [panel["datasource"]["uid"] for panel in dashboard["panels"]]
    assert sources and set(sources) == {"${datasource}"}
    assert len({panel["id"] for panel in dashboard["panels"]}) == len(sources)
