# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A GC policy for each group of like hosts: its size, whom it fits, what it would do, and that engines take it."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import BUILD_CACHE
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND, format_timestamp
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.advice import gc_advice
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.asked import rules_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.edit import wanted_policy
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.idle import idle_traps
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import Daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.lint import traps
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.policy import Policy, policy_traps
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.spelling import to_daemon_json
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.facts import facts
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import DAY, NOW, filesystem, observation, record

GB = 1 << 30


def cached(name, gigabytes, used, made=30.0, **given):
    """A record of so many GB that was used and made so many days ago."""
    times = {"used": format_timestamp(NOW - int(used * DAY) * SECOND)}
    times["created_at"] = format_timestamp(NOW - int(made * DAY) * SECOND)
    return record(name, int(gigabytes * GB), **times, **given)


def host(*records, disk=100.0, other=20.0, version="28.5.2", **more):
    """The facts of a host with these records, on a disk of so many GB with so many GB of other things."""
    held = sum(one.size for one in records if not one.shared)
    disks = [filesystem(int(disk * GB), int((disk - other) * GB) - held)]
    seen = observation(records, filesystems=disks, version=version)._replace(**more)
    return facts(seen, Daemon({}), with_records=True)


def used(gigabytes, **given):
    """A host that uses so many GB, made of late and long ago, and holds as much that nobody uses."""
    return host(cached("old", gigabytes, used=20), cached("new", gigabytes, used=1, made=20, usage_count=9), **given)


def group(hosts, **options):
    """The one group that the hosts are."""
    (found,) = gc_advice(hosts, **options)["groups"]
    return found


def test_the_size_keeps_what_was_used_within_the_time_and_has_room_for_a_day():
    one = host(
        cached("old", 9, used=8, made=8), cached("shared", 2, used=3, shared=True), cached("new", 7, used=1, made=3)
    )
    found = group({"a": one})
    # A day makes one of the seven of the last week.
    assert found["size_bytes"] == 10 * GB
    (told,) = found["hosts"]
    assert (told["used_bytes"], told["made_per_day"], told["needs_bytes"]) == (9 * GB, GB, 10 * GB)
    assert told["room_bytes"] == (100 - 20 - 10) * GB
    assert told["goes_back_far_enough"] and told["misfits"] == []
    assert told["removes"] == {"records": 1, "bytes": 9 * GB}
    assert (told["rebuilt_bytes"], told["reused_bytes"]) == (0, 0)


def test_what_goes_though_it_was_used_is_what_would_be_built_again():
    small = {f"small {number}": used(10) for number in range(9)}
    found = group({**small, "large": host(cached("old", 5, used=9), *(cached(n, 10, 1, usage_count=2) for n in "abc"))})
    assert found["size_bytes"] == 10 * GB
    (large,) = (one for one in found["hosts"] if one["host"] == "large")
    assert large["removes"] == {"records": 4, "bytes": 35 * GB}
    assert large["rebuilt_bytes"] == large["reused_bytes"] == 30 * GB
    assert large["misfits"] == ["its working set is larger: it needs 30GB"]
    assert all(one["misfits"] == [] for one in found["hosts"] if one is not large)


@pytest.mark.parametrize(("percentile", "size"), [(1, 1), (50, 5), (90, 9), (91, 10), (100, 10)])
def test_the_size_is_that_of_so_many_percent_of_the_hosts(percentile, size):
    found = group({str(number): used(number) for number in range(1, 11)}, percentile=percentile)
    assert found["size_bytes"] == size * GB
    assert sum(not one["misfits"] for one in found["hosts"]) == size


def test_the_size_is_none_for_which_disks_have_no_room_and_the_hosts_are_named():
    found = group({"a": used(40, other=70), "b": used(10, other=80)}, min_free="5GB", percentile=50)
    assert found["size_bytes"] == 10 * GB
    found = group({"a": used(40, other=70), "b": used(10, other=80)}, min_free="5GB", percentile=100)
    assert found["size_bytes"] == 15 * GB
    assert [one["misfits"] for one in found["hosts"]] == [["its working set is larger: it needs 40GB"], []]
    found = group({"a": used(10), "b": used(10, other=95)}, percentile=50)
    (why,) = found["hosts"][1]["misfits"]
    assert why == "its disk is too small: beside what else it holds, and with 10% free, it has room for 0B"


def test_a_cache_that_goes_back_less_far_is_taken_to_be_worked_with_more_and_twice_as_much_at_most():
    for days, size in ((7, 8), (5, 12), (1, 16)):
        found = group({"a": host(cached("first", 8, used=days, made=9))})
        assert found["size_bytes"] == size * GB, days
        assert found["hosts"][0]["goes_back_far_enough"] is (days == 7)
    assert group({"a": host()})["size_bytes"] == GB


def test_hosts_are_alike_by_disk_engine_and_label_whatever_their_order():
    hosts = {
        "e": used(1, disk=64),
        "d": used(1, disk=65),
        "c": used(1, disk=127),
        "b": used(1, disk=127, version="20.10.24"),
        "a": used(1, disk=127, version="28.0.1"),
        "f": used(1),
        "g": used(1),
    }
    advice = gc_advice(hosts, labels={"f": ["ci", "large"], "g": "release", "c": None})
    assert gc_advice(dict(reversed(hosts.items())), labels={"f": ["ci", "large"], "g": "release"}) == advice
    assert [
        (one["label"], one["disk_up_to_bytes"] // GB, one["free_space"], [each["host"] for each in one["hosts"]])
        for one in advice["groups"]
    ] == [
        ("", 64, True, ["e"]),
        ("", 128, False, ["a", "b"]),
        ("", 128, True, ["c", "d"]),
        ("ci, large", 128, True, ["f"]),
        ("release", 128, True, ["g"]),
    ]


def test_free_space_is_asked_for_where_the_engine_measures_the_disk_that_holds_the_layers():
    (one,) = facts(observation(), Daemon({}), with_records=True)["filesystems"]
    two = used(1)
    two["filesystems"].insert(0, {**one, "path": "/var/lib/containerd", "total_bytes": 100 * GB})
    elsewhere = {**used(1), "filesystems": []}
    for facts_of_host, known in ((two, True), (elsewhere, False)):
        found = group({"a": facts_of_host})
        assert not any("min_free_space" in rule for rule in found["gc_policy_rules"])
        assert (found["disk_up_to_bytes"] is not None, found["hosts"][0]["room_bytes"] is not None) == (known, known)
    assert all(rule["min_free_space"] == "10%" for rule in group({"a": used(1)})["gc_policy_rules"])


def test_the_points_of_a_chart_say_what_share_a_size_keeps():
    one = host(cached("old", 9, used=8), cached("shared", 4, used=3, shared=True), cached("new", 4, used=1))
    found = group({"a": one, "b": used(2)}, percentile=100)
    points = {point["size_bytes"] / GB: point["kept_share"] for point in found["points"]}
    assert found["size_bytes"] == 8 * GB and len(points) == 16
    # Of ten: the shared four, and of each host's own as much as there is room for.
    assert (points[1], points[2], points[4], points[8], points[16]) == (0.6, 0.8, 1, 1, 1)
    assert {point["kept_share"] for point in group({"a": host()})["points"]} == {1.0}


@pytest.mark.parametrize("version", ["19.3.15", "20.10.24", "26.1.5", "27.5.1", "28.0.1", "28.1.0", "28.5.2", "29.7.2"])
@pytest.mark.parametrize("keep", ["12h", "7d"])
def test_every_engine_takes_the_rules_and_nothing_about_them_is_a_trap(version, keep):
    found = group({"a": used(12, version=version)}, keep=keep, min_free="12.5%")
    rules = found["gc_policy_rules"]
    asked = {"state": "present", "enabled": True, "rules": rules, "unsupported": "fail"}
    wanted = wanted_policy(asked, version, 99 * GB, None)
    assert not wanted.missing
    policy = Policy(rules=rules_from_options(rules, 99 * GB))
    assert [*policy_traps(policy), *idle_traps(policy)] == []
    written = {"builder": {"gc": to_daemon_json(wanted.policy, version)}}
    assert list(traps(written, version)) == []


BROKEN = used(1)
BROKEN["builders"][0].pop("records")


@pytest.mark.parametrize(
    ("told", "why"),
    [
        ("Connection refused", "Connection refused"),
        ("", "there are no facts of it"),
        (None, "there are no facts of it"),
        ({}, "there are no facts of it"),
        ({"engine": {}, "builders": []}, "there are no facts of it"),
        (BROKEN, "the facts have no records; collect them with records: true"),
        (
            host(unread=((BUILD_CACHE, "layer does not exist"),)),
            "the engine cannot list its build cache: layer does not exist",
        ),
        (
            {**used(1), "builders": [{"name": "ci"}]},
            "the facts are not of the engine's own builder; leave out builders, or name default first",
        ),
    ],
)
def test_hosts_without_facts_are_named_and_why(told, why):
    advice = gc_advice({"away": told, "here": used(1)})
    assert advice["without_facts"] == [{"host": "away", "why": why}]
    assert [one["host"] for one in advice["groups"][0]["hosts"]] == ["here"]


@pytest.mark.parametrize(
    ("hosts", "options", "problem"),
    [
        ({}, {}, "hosts: give the facts"),
        ([], {}, "hosts: give the facts"),
        (None, {"keep": ""}, "keep: '' is not a duration"),
        (None, {"keep": "0s"}, "keep: '0s' is no time"),
        (None, {"keep": "a week"}, "keep: 'a week' is not a duration"),
        (None, {"min_free": "much"}, "min_free: 'much' is not a size"),
        (None, {"min_free": "0"}, "min_free: '0' is less than a byte"),
        (None, {"min_free": "95%"}, "min_free: 95% of the disk free leaves no room"),
        (None, {"percentile": 0}, "percentile: 0 is no whole number"),
        (None, {"percentile": 101}, "percentile: 101 is no whole number"),
        (None, {"percentile": True}, "percentile: True is no whole number"),
        (None, {"percentile": "half"}, "percentile: 'half' is no whole number"),
    ],
)
def test_what_cannot_be_meant_is_refused(hosts, options, problem):
    with pytest.raises(BadOption) as refusal:
        gc_advice({"a": used(1)} if hosts is None else hosts, **options)
    assert problem in str(refusal.value)
