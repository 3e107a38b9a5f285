# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
import yaml
from ansible.errors import AnsibleFilterError

from ansible_collections.buildfleet.buildcache.plugins.filter.advice_summary import advice_summary
from ansible_collections.buildfleet.buildcache.plugins.filter.gc_advice import advised
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import Daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.facts import facts
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import filesystem, observation, record

GB = 1 << 30
HELD = [
    record("old", 4 * GB, used="2026-01-01T12:00:00Z", created_at="2025-12-01T12:00:00Z"),
    record("new", 3 * GB, created_at="2026-01-09T12:00:00Z"),
]


def host(records=None, **given):
    seen = observation(HELD if records is None else records, filesystems=[filesystem(100 * GB, 70 * GB)], **given)
    return facts(seen, Daemon({}), with_records=True)


def test_options_are_taken_as_variables_bring_them():
    assert advised({"a": host()}, percentile="50") == advised({"a": host()}, "7d", percentile=50)
    assert advised({"a": host()}, "30d")["keep"] == "30d"


@pytest.mark.parametrize(
    ("options", "problem"),
    [({"percentile": "most"}, "most"), ({"keep": "long"}, "long"), ({"labels": "ci"}, "labels"), ({"rule": 1}, "rule")],
)
def test_what_cannot_be_used_is_named(options, problem):
    with pytest.raises(AnsibleFilterError, match=f"gc_advice: .*{problem}"):
        advised({"a": host()}, **options)


def test_the_lines_say_what_is_advised_and_the_rules_can_be_pasted():
    hosts = {"a": host(), "b": host([record("new", 9 * GB)]), "away": "it is down"}
    advice = advised(hosts, labels={"a": "ci", "b": "ci"}, percentile=50)
    first, size, one, other, rules, away = advice_summary(advice)
    assert first == "group 1: ci, disks of up to 128GB, engines that keep free space, too; hosts: 2"
    assert size == (
        "  4GB of build cache keeps what was used within 7d, and has room for the builds of a day, on 1 of 2 "
        "(wanted: 50%, with 10% of the disk free)"
    )
    assert one == (
        "  a: used within 7d 3GB, made in a day 439MB, needs 3.4GB, room 67GB; would remove now 1 records with 4GB, of "
        "which 0B were used within 7d and 0B more than once"
    )
    assert "would remove now 1 records with 9GB, of which 9GB were used within 7d" in other
    assert "; its build cache goes back 1h, so that what it needs is a guess" in other
    assert other.endswith("; DOES NOT FIT: its working set is larger: it needs 18GB")
    assert away == "away: without facts: it is down"
    assert yaml.safe_load(rules) == {"gc_policy_rules": advice["groups"][0]["gc_policy_rules"]}


def test_an_older_engine_and_an_idle_host_are_told_as_such():
    lines = advice_summary(advised({"a": host([], version="26.1.5")}))
    assert lines[0] == "group 1: disks of up to 128GB, engines that keep a size alone; hosts: 1"
    assert "needs 0B, room 90GB" not in lines[2] and "would remove nothing now" in lines[2]
    assert yaml.safe_load(lines[3])["gc_policy_rules"][0] == {"unused_for": "7d", "max_used_space": "1GB"}
