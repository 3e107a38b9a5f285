# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import csv
import json

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import Daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.what_if import gc_plan
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.facts import facts
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.report import (
    FREE,
    PARTS,
    by_last_use,
    report,
    report_csv,
)
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import filesystem, image, observation, record
from ansible_collections.buildfleet.buildcache.tests.unit.report_fleet import fleet

GB = 2**30
RULES = [{"all": True, "max_used_space": "1GB"}]


def of_a_host(records=(), held=(), gc=None, **given):
    """The facts of a host whose file and dockerd have a policy."""
    daemon = Daemon({"builder": {"gc": gc}} if gc else {})
    disk = filesystem(100 * GB, 60 * GB)
    return {**facts(observation(records, held, filesystems=[disk]), daemon, with_records=True), **given}


def row(known):
    return report({"a": known}, 7)["hosts"][0]


def obeyed(rules, **policy):
    return {"gc_policy": {"in_file": None, "in_effect": {"enabled": True, "rules": rules, **policy},
                          "restart_required": False}}  # fmt: skip


def test_every_host_has_one_row_and_those_that_are_not_known_come_first():
    critical = of_a_host(
        findings=[{"code": "few_inodes", "severity": "critical", "bytes": 0, "message": "", "remedy": ""}]
    )
    model = report(
        {
            "fine": {"facts": of_a_host(findings=[])},
            "critical": {"facts": critical},
            "failed": {"failure": "no socket"},
            "away": {"failure": "no route", "unreachable": True},
            "unheard": {},
        },
        7,
    )
    told = [(one["host"], one["status"], one["why"], one["severity"]) for one in model["hosts"]]
    assert told == [
        ("away", "unreachable", "no route", None),
        ("failed", "failed", "no socket", None),
        ("unheard", "failed", "nothing is known of the host", None),
        ("critical", "ok", "", "critical"),
        ("fine", "ok", "", None),
    ]
    totals = model["totals"]
    assert (totals["hosts"], totals["ok"], totals["failed"], totals["unreachable"]) == (5, 2, 2, 1)
    assert totals["severities"] == {"critical": 1, "warning": 0, "info": 0}
    assert totals["total_bytes"] == 200 * GB and totals["used_bytes"] == 80 * GB


def test_a_fleet_without_hosts_has_a_report():
    model = report({}, 7)
    assert model["hosts"] == [] and model["totals"]["hosts"] == 0 and model["totals"]["total_bytes"] is None
    assert len(report_csv(model).splitlines()) == 1


def test_the_parts_of_a_disk_add_up_with_a_measurement_or_without():
    held = [record("a", 4 * GB), record("b", 2 * GB, shared=True), record("c", GB, in_use=True)]
    told = of_a_host(held, [image("i", size=5 * GB)])
    told["images"]["size_bytes"] = 5 * GB
    one = row({"facts": told})
    assert one["parts"] == {**dict.fromkeys(PARTS, 0), "images": 3 * GB, "shared": 2 * GB, "cache": 4 * GB,
                            "in_use": GB, "rest": 30 * GB, FREE: 50 * GB}  # fmt: skip
    assert sum(one["parts"].values()) == one["used_bytes"] + one["free_bytes"] and not one["measured"]

    builder = dict(told["builders"][0], size_bytes=38 * GB, shared_bytes=0, in_use_bytes=0)
    one = row({"facts": dict(told, builders=[builder])})
    assert {name: size for name, size in one["parts"].items() if size} == {
        "images": 2 * GB, "shared": 3 * GB, "cache": 35 * GB, FREE: 50 * GB
    }  # fmt: skip

    sizes = {"images": 1, "images_and_build_cache": 2, "build_cache": 3, "container_logs": 4, "volumes": 5,
             "leftovers": 6, "databases": 7, "elsewhere": 8, "something_new": 4}  # fmt: skip
    parts = [{"holder": name, "bytes": size * GB} for name, size in sizes.items()]
    one = row({"facts": dict(told, disks=[{"path": "/var/lib/docker", "used_bytes": 40 * GB, "parts": parts}])})
    assert one["parts"] == {"images": GB, "shared": 2 * GB, "cache": 2 * GB, "in_use": GB, "containers": 9 * GB,
                            "leftovers": 6 * GB, "rest": 19 * GB, FREE: 50 * GB}  # fmt: skip
    assert one["measured"]


def test_the_report_says_what_the_policy_in_effect_would_remove():
    told = of_a_host([record("a", 3 * GB), record("b", 2 * GB)], **obeyed(RULES))
    wanted = gc_plan(told, RULES)["removed"]
    assert wanted["bytes"] >= 4 * GB
    assert row({"facts": told})["policy"] == {"bytes": wanted["bytes"], "count": wanted["count"], "why": ""}


@pytest.mark.parametrize(
    ("policy", "size", "why"),
    [
        ({"gc_policy": {"in_effect": None, "restart_required": None}}, None, "what dockerd obeys is not known"),
        (obeyed(None), None, "the engine has its default rules"),
        (obeyed(RULES, enabled=False), 0, "garbage collection is off"),
        (obeyed([{"other_filters": ["x=y"]}]), None, "a rule has filters that cannot be told"),
        (obeyed([{"unused_for": "soon"}]), None, "rules[0]: unused_for: 'soon' is not a duration."),
    ],
)
def test_what_a_policy_would_remove_is_not_told_where_it_is_not_known(policy, size, why):
    told = row({"facts": of_a_host([record("a", 3 * GB)], **policy)})["policy"]
    assert told["bytes"] == size and told["why"].startswith(why)


def test_drift_is_told_of_the_file_and_of_dockerd():
    wanted = {"state": "present", "enabled": True, "rules": RULES, "unsupported": "fail"}
    assert row({"facts": of_a_host()})["drift"]["label"] == "not known"
    for restart, label in ((True, "restart needed"), (False, "as in the file")):
        told = of_a_host(gc_policy={"in_file": None, "in_effect": None, "restart_required": restart})
        assert row({"facts": told})["drift"]["label"] == label
    differs = row({"facts": of_a_host(gc={"enabled": True, "policy": [{"all": True, "reservedSpace": "9GB"}]}),
                   "wanted": wanted})["drift"]  # fmt: skip
    assert (differs["label"], differs["drifted"], differs["wanted"]) == ("file differs", True, RULES)
    told = of_a_host(gc={"enabled": True, "policy": [{"all": True, "maxUsedSpace": "1GB"}]}, findings=[])
    for restart, label in ((False, "in force"), (True, "restart needed"), (None, "effect not known")):
        told["gc_policy"]["restart_required"] = restart
        assert row({"facts": told, "wanted": wanted})["drift"]["label"] == label
    bad = row({"facts": told, "wanted": {"problem": "no such policy"}})["drift"]
    assert (bad["label"], bad["drifted"], bad["warnings"]) == ("not known", False, ["no such policy"])


def test_days_until_full_are_told_where_the_growth_is_known():
    def days(growth):
        told = of_a_host()
        told["builders"][0]["working_set"] = {"growth": growth} if growth else growth
        return row({"facts": told})["days_until_full"]

    assert days({"bytes_per_day": 20 * GB, "since": 0, "looks": 3}) == 2.5
    assert [days(one) for one in (None, {"bytes_per_day": 0}, {"bytes_per_day": -GB}, {"bytes_per_day": None})] == [
        None
    ] * 4
    assert row({"facts": of_a_host()})["days_until_full"] is None


def test_findings_are_grouped_over_the_fleet():
    def found(code, size, severity="warning"):
        return {"code": code, "severity": severity, "bytes": size, "message": f"{size} bytes", "remedy": "do"}

    model = report(
        {
            "a": {"facts": of_a_host(findings=[found("x", 5), found("x", 7), found("y", 1, "critical")])},
            "b": {"facts": of_a_host(findings=[found("x", 6)])},
            "c": {"failure": "away"},
        },
        7,
    )
    assert [(one["code"], one["bytes"], one["hosts"]) for one in model["findings"]] == [
        ("y", 1, ["a"]), ("x", 18, ["a", "b"])
    ]  # fmt: skip
    assert model["findings"][1]["message"] == "7 bytes" and model["findings"][1]["example"] == "a"


def test_a_preview_that_failed_is_no_figure_to_trust_and_says_why():
    steps = [{"planned": {"count": 2, "bytes": 5, "ids": []}}, {"planned": {"count": 1, "bytes": 1, "ids": []}}]
    told = row({"facts": of_a_host(), "preview": {"steps": steps, "predicted_bytes": 6, "kept": []}})["cleanup"]
    assert told == {"bytes": 6, "count": 3, "failed": "", "kept": []}
    failed = row({"facts": of_a_host(), "preview": {"failed": True, "msg": "busy"}})["cleanup"]
    assert (failed["bytes"], failed["failed"]) == (None, "busy")
    assert row({"facts": of_a_host(), "preview": {"skipped": True}})["cleanup"] is None


def test_images_and_records_are_told_longest_unused_first():
    told = of_a_host([record("new"), record("old", used="2026-01-01T00:00:00Z")])
    told["images"]["list"] = [{"id": "b", "last_used_at": None, "created_at": 9}, {"id": "a", "last_used_at": 5}]
    images, records = by_last_use(row({"facts": told}))
    assert [one["id"] for one in images] == ["a", "b"] and [one["id"] for one in records] == ["old", "new"]


@pytest.mark.parametrize("start", ["=", "+", "-", "@", "\t=", " =", "\r"])
def test_no_cell_of_the_csv_is_a_formula(start):
    name = f'{start}cmd|"/c calc"!A1,\n'
    lines = list(csv.reader(report_csv(report({name: {"failure": name}}, 7)).splitlines(keepends=True)))
    assert len(lines) == 2 and len(lines[0]) == len(lines[1])
    assert [lines[1][0], lines[1][2]] == [f"'{name}"] * 2


def test_a_fleet_of_recorded_hosts_is_told_whole():
    hosts = fleet(60)
    known = {one["inventory_hostname"]: {
        "facts": one["report_looked"].get("ansible_facts", {}).get("buildcache"), "preview": one.get("cleanup_result"),
        "failure": one["report_looked"].get("msg"), "unreachable": one["report_looked"].get("unreachable"),
    } for one in hosts}  # fmt: skip
    model = report(known, 1.8e9)
    assert sorted(one["host"] for one in model["hosts"]) == sorted(known)
    for one in model["hosts"]:
        if one["status"] == "ok":
            assert abs(sum(one["parts"].values()) - one["total_bytes"]) < GB, one["host"]
    assert len(list(csv.DictReader(report_csv(model).splitlines()))) == 60
    assert json.loads(json.dumps(model)) == model
