# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
from importlib.metadata import PackageNotFoundError

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.buildfleet.buildcache.plugins.filter.fleet_report import fleet_report
from ansible_collections.buildfleet.buildcache.plugins.plugin_utils import report_page
from ansible_collections.buildfleet.buildcache.tests.unit.report_fleet import recorded

RULES = [{"max_used_space": "20MB"}]


def told(hosts, **more):
    return json.loads(fleet_report(hosts, "json", 1.8e9, **more))


def test_the_variables_of_hosts_make_rows_whatever_has_become_of_them():
    hosts = [
        *recorded(),
        {"inventory_hostname": "away", "report_looked": {"unreachable": True, "msg": "no route"}},
        {"inventory_hostname": "failed", "report_looked": {"failed": False, "msg": "no socket"}, "cleanup_result": {}},
        {"inventory_hostname": "unheard"},
    ]
    rows = {row["host"]: row for row in told(hosts)["hosts"]}
    assert {name: (row["status"], row["why"]) for name, row in rows.items()} == {
        "docker20": ("ok", ""),
        "docker28c": ("ok", ""),
        "away": ("unreachable", "no route"),
        "failed": ("failed", "no socket"),
        "unheard": ("failed", "nothing is known of the host"),
    }
    assert rows["docker20"]["cleanup"]["bytes"] > 0 and rows["docker20"]["drift"]["label"] == "file differs"
    assert len(rows["docker20"]["facts"]["images"]["list"]) == rows["docker20"]["images"] == 19


def test_a_policy_is_compared_as_a_module_would_take_it():
    host = recorded()[0]
    for wanted, label in (
        ({"enabled": "no", "rules": None}, "in force"),
        ({"enabled": "yes", "rules": RULES}, "file differs"),
        ({"enabled": "perhaps"}, "not known"),
        ({}, "as in the file"),
    ):
        row = told([dict(host, gc_policy_wanted=wanted)])["hosts"][0]
        assert row["drift"]["label"] == label, (wanted, row["drift"])
    drift = told([dict(host, report_policy_problem="there is no such policy")])["hosts"][0]["drift"]
    assert (drift["label"], drift["warnings"]) == ("not known", ["there is no such policy"])


def test_what_is_known_can_be_in_one_text():
    known = dict.fromkeys(("report_looked", "cleanup_result", "gc_policy_wanted", "report_policy_problem"))
    texts = [
        {"inventory_hostname": host["inventory_hostname"], "report_told": json.dumps({**known, **host})}
        for host in recorded()
    ]
    assert told(texts) == told(recorded())


def test_policies_are_advised_where_that_is_asked_for():
    away = {"inventory_hostname": "away", "report_looked": {"unreachable": True, "msg": "no route"}}
    advice = told([*recorded(), away], advise={"keep": "3d"})["advice"]
    assert advice["keep"] == "3d" and advice["without_facts"] == [{"host": "away", "why": "no route"}]
    assert [host["host"] for group in advice["groups"] for host in group["hosts"]] == ["docker20", "docker28c"]
    assert told([])["advice"] is told([], advise={"keep": "3d"})["advice"] is told(recorded())["advice"] is None
    with pytest.raises(AnsibleFilterError, match="fleet_report: keep: .*soon"):
        told(recorded(), advise={"keep": "soon"})


def test_a_package_that_is_missing_is_said_with_the_command_that_installs_it(monkeypatch):
    def missing(_name):
        raise PackageNotFoundError

    monkeypatch.setattr(report_page, "distribution", missing)
    with pytest.raises(AnsibleFilterError, match="itables .* is not installed.*pip install --upgrade itables"):
        fleet_report([], "html", 0)
    assert fleet_report([], "csv", 0) and fleet_report([], "json", 0)


def test_another_form_is_refused():
    with pytest.raises(AnsibleFilterError, match="'pdf' is no form of a report. Give one of html, csv, json"):
        fleet_report([], "pdf", 0)


def test_characters_that_nobody_sees_are_written_by_their_numbers_and_long_texts_cut():
    assert (
        report_page.visible("a\u202eb\u200b\n\x1b[0mc\u2028é\u05d0")
        == "a\\u202eb\\u200b\\u000a\\u001b[0mc\\u2028é\u05d0"
    )
    assert report_page.visible("x" * 900) == "x" * 500 + "… (900 characters)"
