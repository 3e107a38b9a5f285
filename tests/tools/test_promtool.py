# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What Prometheus' own tool says of the metrics and of docs/metrics."""

from __future__ import annotations

import json
import subprocess
from pathlib import Path

import pytest

from ansible_collections.buildfleet.buildcache.plugins.filter.metrics_text import metrics_text
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import Daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.facts import facts
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import image, observation, record

ROOT = Path(__file__).resolve().parents[2]
METRICS = ROOT / "docs" / "metrics"

RESULT = {"steps": [], "predicted_bytes": 3, "reported_bytes": 4, "freed_bytes": -2.5, "wanted_bytes": 1,
          "shortfall_bytes": 0, "wanted_inodes": 2, "shortfall_inodes": 0}  # fmt: skip


@pytest.fixture(scope="module")
def promtool():
    """Run promtool with arguments and return its output. Without one the tests are skipped, and say why."""
    found = subprocess.run([ROOT / "tests/tools/promtool.sh"], capture_output=True, text=True, timeout=300, check=False)
    if found.returncode:
        pytest.skip(f"no promtool: {found.stderr.strip()}")

    def run(*arguments, text=None):
        command = [found.stdout.strip(), *arguments]
        ended = subprocess.run(command, input=text, capture_output=True, text=True, timeout=60, check=False)
        # Of what is bad style it warns alone.
        assert ended.returncode == 0 and not ended.stderr, ended.stdout + ended.stderr
        return ended.stdout

    return run


def test_the_metrics_are_as_prometheus_wants_them(promtool):
    told = facts(observation([record("a")], [image("c")]), Daemon({}))
    odd = dict(told["filesystems"][0], path='/a "b"\\c\nd\\n\té{}')
    told.update(filesystems=[*told["filesystems"], odd], gc_policy={"restart_required": True})
    promtool("check", "metrics", text=metrics_text(told, RESULT, 1.7e9, in_force=False))


def test_the_alert_rules_say_what_they_are_to_say(promtool):
    assert "SUCCESS" in promtool("check", "rules", str(METRICS / "alerts.yml"))
    promtool("test", "rules", str(METRICS / "alerts_test.yml"))


def test_the_queries_of_the_dashboard_can_be_read(promtool, tmp_path):
    dashboard = json.loads((METRICS / "dashboard.json").read_text())
    queries = [target["expr"] for panel in dashboard["panels"] for target in panel["targets"]]
    rules = [{"record": f"query:{number}", "expr": query} for number, query in enumerate(queries)]
    file = tmp_path / "rules.yml"
    file.write_text(json.dumps({"groups": [{"name": "dashboard", "rules": rules}]}))
    assert f"{len(queries)} rules found" in promtool("check", "rules", str(file))
