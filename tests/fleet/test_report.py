# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The report of real hosts, of one that cannot be reached and of one whose engine is down: its files say what is so."""

from __future__ import annotations

import csv
import json
import warnings

import browser
import builds
import daemon
import engine
import fleet
import pytest
from test_playbooks import recap

STOPPED = fleet.KINDS[0]
RULES = [{"all": True, "max_used_space": "5MB"}]
AWAY = {"build_hosts": {"hosts": {"away": {"ansible_host": "127.0.0.1", "ansible_port": 1}}}}


@pytest.fixture
def filled(empty):
    """Hosts with a rebuilt tag and private records: {host: State}."""
    fleet.shell(builds.generations("app:latest", 2, 8) + builds.build("stages", builds.stages({"one": 8})))
    yield engine.look()
    fleet.shell(daemon.START)


def files(place):
    """Return the lines of the CSV, those of the JSON's hosts by their names, and the page."""
    lines = list(csv.DictReader((place / "report.csv").open(newline="")))
    return (
        {line["host"]: line for line in lines},
        json.loads((place / "report.json").read_text()),
        place / "report.html",
    )


def test_the_report_of_a_fleet_has_what_is_so_and_opens_in_a_browser(filled, tmp_path):
    place, away = tmp_path / "report", tmp_path / "away.yml"
    away.write_text(json.dumps(AWAY))
    given = {"report_dir": str(place), "report_measure": True, "gc_policy_rules": RULES, "cleanup_all": True}
    arguments = ("-i", str(away), "-e", json.dumps(given))
    status, output = fleet.playbook("report", "--check", *arguments)
    assert not place.exists() and "Write the files of the report" in output, output

    status, output = fleet.playbook("report", *arguments)
    counts = recap(output)
    assert status == 2 and not any(count["changed"] for count in counts.values()), output
    assert {host for host, count in counts.items() if count["failed"]} == {"away"}, output
    assert {file.name: file.stat().st_mode & 0o777 for file in place.iterdir()} == {
        f"report.{form}": 0o640 for form in ("html", "csv", "json")
    }
    lines, model, page = files(place)
    assert set(lines) == {*filled, "away"} and lines["away"]["status"] == "unreachable", lines
    assert "127.0.0.1" in lines["away"]["why"]
    rows = {row["host"]: row for row in model["hosts"]}
    planned = fleet.prune({"all": True}, check=True)
    now = engine.look()
    for host, state in filled.items():
        row = rows[host]
        assert row["images"] == len(state.images) and row["records"] == len(state.records), host
        assert int(lines[host]["cleanup_would_free_bytes"]) == planned[host]["predicted_bytes"] > 8 * engine.MB, host
        assert row["drift"]["label"] == lines[host]["policy"] == "file differs", host
        assert row["measured"] and row["parts"]["shared"] > 8 * engine.MB, (host, row["parts"])
        assert abs(sum(row["parts"].values()) - row["used_bytes"] - row["free_bytes"]) < 2 * engine.MB, host
        assert now[host].contents == state.contents, host
    _seen(page, [row["host"] for row in model["hosts"]])

    fleet.shell("systemctl stop docker.socket docker.service 2>&1", [STOPPED])
    status, output = fleet.playbook("report", "-l", STOPPED, "-e", f"report_dir={place}", "-e", "report_records=no")
    lines, model, page = files(place)
    assert status == 2 and set(lines) == {STOPPED} and lines[STOPPED]["status"] == "failed", output
    assert "systemctl status docker" in model["hosts"][0]["why"]


def _seen(page, hosts):
    """See that a browser shows these hosts in this order, and their details, without a word or a question."""
    try:
        with browser.Browser() as chromium:
            chromium.open(page, f"#host={hosts[-1]}")
            rows = "return [...document.querySelectorAll('#hosts tbody tr')].map(row => row.cells[0].textContent)"
            assert chromium.run(rows) == hosts
            chromium.wait("return document.getElementById('host').open")
            assert "app:latest" in chromium.run("return document.getElementById('host-details').textContent")
            assert chromium.messages() == [] and chromium.requests() == [page.as_uri()]
    except browser.NoBrowser as problem:
        warnings.warn(f"The page was not opened, as there is no Chromium: {problem}", stacklevel=1)
