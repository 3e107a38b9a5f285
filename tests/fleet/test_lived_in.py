# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Previews of stores that others filled: each case by itself, on every host. test_conformance.py has random mixes."""

from __future__ import annotations

import builds
import fleet
import lived_in
import pytest
from engine import MB

PINNED = lived_in.name(1)


def exact(on=None, **options):
    """Preview, run and run again; assert that all three agree. Return {host: the ids of images that went}."""
    task = {"module": "buildcache_prune", "options": options}
    preview, done, again = fleet.play([fleet.task(**task, check=True), fleet.task(**task), fleet.task(**task)], on)
    for host, result in fleet.succeeded(done).items():
        foreseen = preview[host]
        for planned, removed in zip(foreseen["steps"], result["steps"], strict=True):
            assert sorted(planned["planned"]["ids"]) == sorted(removed["removed"]["ids"]), (host, planned, removed)
        assert foreseen["predicted_bytes"] == pytest.approx(result["freed_bytes"], rel=0.05, abs=MB), host
        assert not fleet.succeeded(again)[host]["changed"], (host, again[host]["steps"])
        kept = [[one for one in told["kept"] if one["reason"] != "disk_gained_less"] for told in (foreseen, result)]
        assert kept[0] == kept[1], host
        assert not foreseen.get("warnings"), host
    return {host: result["steps"][1]["removed"]["ids"] for host, result in done.items()}


def kept(host, result):
    """Return why images stay on a host: {reason: count}."""
    return {one["reason"]: one["count"] for one in result[host]["kept"]}


def test_images_go_with_all_their_tags_and_digests(empty, registry):
    first = lived_in.classic("a:1", [1]) + lived_in.push("a:1", lived_in.name(0), "1")
    moved = lived_in.classic("b:1", [2]) + lived_in.push("b:1", lived_in.name(0), "1")
    fleet.shell(f"{first}docker tag a:1 other:1\n{moved}")
    assert all(len(ids) >= 2 for ids in exact(images="unused").values())


def test_a_digest_alone_keeps_an_image_from_dangling_with_either_store(empty, registry):
    script = lived_in.classic("a:1", [3]) + lived_in.push("a:1", PINNED, "9") + "docker rmi a:1 >/dev/null\n"
    script += lived_in.pull_by_digest(PINNED, "9") + 'docker tag "$digest" pinned:1\n'
    fleet.shell(script + lived_in.classic("child:1", [1], base="pinned:1") + "docker rmi pinned:1 child:1 >/dev/null\n")
    assert not any(exact(images="dangling").values())
    for host in empty:
        assert kept(host, fleet.prune({"images": "dangling"})) == {"digest_image": 1}, host
    assert all(exact(images="unused").values())


def test_parents_go_with_their_last_child(empty):
    chain = lived_in.classic("a:1", [1, 2, 3]) + lived_in.commit("a:1", "b:1", 1) + lived_in.commit("b:1", "c:1", 2)
    fleet.shell(f"{chain}docker rmi a:1 b:1 >/dev/null\ndocker tag c:1 d:1\n")
    assert not any(exact(images="dangling").values())
    assert all(len(ids) >= 3 for ids in exact(images="unused").values())


def test_an_image_without_a_date_has_no_age(empty):
    dates = ("", "1970-01-01T00:00:00Z", "1980-01-01T00:00:01Z", "2020-01-01T00:00:00Z")
    fleet.shell("".join(lived_in.dated(f"dated:{number}", date) for number, date in enumerate(dates)))
    assert all(len(ids) == 1 for ids in exact(images="unused", images_older_than="30d").values())
    for host, result in fleet.prune({"images": "unused", "images_older_than": "30d"}).items():
        assert {one["reason"]: one["count"] for one in result["kept"]} == {"undated_image": 3}, host


def test_untagged_images_have_one_age_in_check_and_run(empty):
    fleet.shell(lived_in.dated("a:1", "2020-01-01T00:00:00Z") + lived_in.dated("a:1", "2021-01-01T00:00:00Z"))
    exact(images="dangling", images_older_than="30d")


def test_leftovers_of_a_crash_are_passed_over(empty):
    fleet.shell(lived_in.LEFTOVERS + builds.generations("app:1", 2, 2))
    try:
        exact(images="unused", all=True)
    finally:
        fleet.shell(lived_in.NO_LEFTOVERS)


def test_layers_of_an_image_that_was_removed_by_force_go_with_its_container(empty):
    build = builds.build("app:1", builds.FROM_SCRATCH + builds.write("/data", 3))
    fleet.shell(f"{build}docker run --network none app:1 /bin/busybox true\ndocker rmi --force app:1 >/dev/null\n")
    exact(containers="stopped", images="unused", all=True)


def test_what_stays_is_told_as_it_will_be(empty):
    used = lived_in.classic("base:1", [1, 2]) + lived_in.classic("kept:1", [3], base="base:1")
    used += "docker run --detach --network none kept:1 /bin/busybox sleep 900 >/dev/null\n"
    used += lived_in.classic("parent:1", [4])
    used += "docker run --detach --network none parent:1 /bin/busybox sleep 900 >/dev/null\n"
    used += lived_in.classic("child:1", [5], base="parent:1")
    fleet.shell(f"{used}{lived_in.classic('gone:1', [1, 2, 0])}docker tag gone:1 parent:1\n")
    exact(images="unused")
