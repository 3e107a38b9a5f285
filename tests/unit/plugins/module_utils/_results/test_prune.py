# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import inspect
import re
from pathlib import Path

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import (
    RUNNING,
    Builders,
    Filesystem,
    Orphan,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders.nodes import Node, Seen
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache import disk as _disk
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache import findings as _findings
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.findings import findings
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.kept import kept
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.options import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.plan import plan
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.steps import Planned
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import look as _look
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.prune import Done, decide, pretend
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy import lint as _lint
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy import policy as _policy
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import Daemon, digest, gc_status
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.diff import (
    LONGEST_LIST,
    objects,
    prune_diff,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.facts import facts
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.prune import failures, prune_result
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import (
    container,
    filesystem,
    image,
    observation,
    options,
    record,
)

QUIET = gc_status(Daemon({}), "28.5.2")
HELD = observation(
    records=[
        record("private", 10),
        record("shared", 20, shared=True),
        record("busy", 30, in_use=True),
        record("hidden", 40, type="internal"),
    ],
    images=[image("untagged", unique=5), image("run", ["a:1"], unique=6), image("idle", ["b:1"], unique=7)],
    containers=[container("1", "run", running=True), container("2", "idle")],
)


def test_findings_name_what_holds_space_the_most_severe_first_and_then_most_bytes():
    held = HELD._replace(images=(*HELD.images, image("pinned", unique=25, digests=("a@sha256:0",))))
    found = [(one.severity, one.code, one.bytes) for one in findings(held, QUIET, problem="daemon.json: line 3")]
    assert found == [
        ("critical", "config_unusable", 0),
        ("warning", "images_of_stopped_containers", 7),
        ("warning", "untagged_images", 5),
        ("info", "internal_records", 40),
        ("info", "records_in_use", 30),
        ("info", "images_by_digest_alone", 25),
        ("info", "shared_records", 20),
    ]


@pytest.mark.parametrize(
    ("policy", "severity"), [([{"filter": ["a=b"]}], "warning"), ("none", "critical"), ([], "warning")]
)
def test_what_stops_dockerd_at_its_next_start_is_critical(policy, severity):
    found = findings(observation(), gc_status(daemon({"policy": policy}), "28.5.2"))
    assert {one.severity for one in found} == {severity}


def test_a_clean_host_has_no_findings():
    assert findings(observation([record("private")], [image("a", ["a:1"])]), QUIET) == []


def test_an_image_that_also_runs_is_not_held_by_its_stopped_container():
    both = observation(images=[image("a")], containers=[container("1", "a"), container("2", "a", running=True)])
    assert findings(both, QUIET) == []


def test_few_inodes_are_found_and_a_file_system_without_a_number_of_them_is_not():
    full = Filesystem("/var/lib/docker", 1, 1000, 500, 500, 1000, 99)
    endless = Filesystem("/var/lib/docker", 1, 1000, 500, 500, 0, 0)
    assert [finding.code for finding in findings(observation(filesystems=[full]), QUIET)] == ["few_inodes"]
    assert findings(observation(filesystems=[endless]), QUIET) == []


def reasons(held, **given):
    return {one.reason: (one.count, one.bytes) for one in kept(wanted_from_options(options(**given)), held)}


def test_everything_that_stays_has_a_reason():
    held = observation(HELD.records[1:], HELD.images[1:], HELD.containers)
    assert reasons(held) == {
        "shared": (1, 20),
        "in_use": (1, 30),
        "internal": (1, 40),
        "running_containers_image": (1, 6),
        "stopped_containers_image": (1, 7),
    }
    assert reasons(observation([record("a")]), build_cache=False) == {"build_cache_kept": (1, 100)}
    assert reasons(observation([record("a")]), unused_for="2h") == {"too_young": (1, 100)}
    assert reasons(observation([record("a")]), types=["source.local"]) == {"not_selected": (1, 100)}
    assert reasons(observation([record("a")]), max_used_space="1GB") == {"within_limit": (1, 100)}
    assert reasons(observation(images=[image("a")]), images="keep") == {"images_kept": (1, 100)}
    assert reasons(observation(images=[image("a", ["a:1"])])) == {"tagged_image": (1, 100)}
    assert reasons(observation(images=[image("a", digests=("a@sha256:0",))])) == {"digest_image": (1, 100)}
    assert reasons(observation(images=[image("a")]), images_older_than="2d") == {"young_image": (1, 100)}
    assert reasons(observation(images=[image("a", created=0)]), images_older_than="2d") == {"undated_image": (1, 100)}
    family = observation(images=[image("a"), image("b", ["b:1"], parent="a")])
    assert reasons(family) == {"parent_image": (1, 100), "tagged_image": (1, 100)}
    assert reasons(observation(images=[image("a")]), images_filters={"label": "x"}) == {"image_not_selected": (1, 100)}


def test_a_parent_stays_for_its_child_and_a_refusal_is_named():
    chain = observation([record("parent"), record("child", parents=("parent",), in_use=True)])
    assert reasons(chain) == {"in_use": (1, 100), "has_child": (1, 100)}
    assert reasons(observation([record("a")])) == {"refused_by_engine": (1, 100)}


def test_the_diff_shows_the_largest_first_and_counts_the_rest():
    held = observation([record(f"r{number:03}", size=number) for number in range(LONGEST_LIST + 5)])
    steps = (("images", ()), ("build_cache", [one.id for one in held.records]))
    diff = prune_diff((step, objects(Done(Planned(step, (), 0)), held), ids) for step, ids in steps)
    lines = diff["before"].splitlines()
    assert lines[0] == "build_cache: 45 to remove, 990B"
    assert lines[1].split()[:2] == ["r044", "44B"]
    assert lines[-1] == "  and 5 more, 10B"
    assert len(lines) == LONGEST_LIST + 2
    assert diff["after"] == "build_cache: none to remove\n"


def test_a_preview_has_changed_without_having_done_anything():
    wanted = wanted_from_options(options())
    done, after = pretend(wanted, decide(wanted, HELD, None))
    result = prune_result(wanted, HELD, done, after, check_mode=True, with_diff=True)
    assert result["changed"] is True
    assert [step["planned"]["ids"] for step in result["steps"]] == [[], ["untagged"], ["private"]]
    assert all(step["removed"] == {"count": 0, "bytes": 0, "ids": []} for step in result["steps"])
    assert (result["predicted_bytes"], result["reported_bytes"], result["freed_bytes"]) == (15, 0, 0)
    assert "private" in result["diff"]["before"]


MEGABYTE = 2**20


def shortfalls(planned, claimed, freed, size=100, check_mode=False):
    """The shortfalls of a prune that removed one shared record: {reason: megabytes}."""
    wanted = wanted_from_options(options(all=True))
    before = observation([record("a", size * MEGABYTE, shared=True)], filesystems=[filesystem(free=500)])
    after = observation(filesystems=[filesystem(free=500 + freed * MEGABYTE)])
    step = Planned("build_cache", ("a",), planned * MEGABYTE)
    done = [Done(step) if check_mode else Done(step, ("a",), claimed * MEGABYTE)]
    result = prune_result(wanted, before, done, after, check_mode=check_mode, with_diff=False)
    return {one["reason"]: one["bytes"] / MEGABYTE for one in result["kept"]}


def test_bytes_that_the_engine_claims_and_the_disk_does_not_show_are_explained():
    assert shortfalls(planned=10, claimed=100, freed=10) == {"layers_held_by_images": 90}
    assert shortfalls(planned=100, claimed=100, freed=97) == {}
    assert shortfalls(planned=100, claimed=100, freed=60) == {"disk_gained_less": 40}
    assert shortfalls(planned=10, claimed=0, freed=0, check_mode=True) == {"layers_held_by_images": 90}
    assert shortfalls(planned=100, claimed=0, freed=0, check_mode=True) == {}


def test_what_was_too_young_when_it_was_decided_is_so_in_the_result_of_a_long_run():
    wanted = wanted_from_options(options(unused_for="2h"))
    held = observation([record("young")])
    done = [Done(step, ()) for step in plan(wanted, held)[0]]
    after = held._replace(engine=held.engine._replace(now=held.engine.now + 2 * 3600 * SECOND))
    result = prune_result(wanted, held, done, after, check_mode=False, with_diff=False)
    assert [one["reason"] for one in result["kept"]] == ["too_young"]


def test_a_failed_step_is_reported_beside_those_that_went_well():
    done = [Done(Planned("images", ("a",), 5), ("a",), 5), Done(Planned("build_cache", ("b",), 5), error="it broke")]
    result = prune_result(wanted_from_options(options()), HELD, done, HELD, check_mode=False, with_diff=False)
    assert failures(done) == "build_cache: it broke"
    assert result["changed"] is True
    assert "error" not in result["steps"][0]
    assert result["steps"][1]["error"] == "it broke"


def test_facts_add_up():
    found = facts(HELD, Daemon({"builder": {"gc": {"enabled": True}}}, started_at=17.5))
    assert found["images"] == {"count": 3, "untagged": 1, "in_use": 2, "size_bytes": 0, "reclaimable_bytes": 5}
    (builder,) = found["builders"]
    assert builder["size_bytes"] == 100
    assert (builder["shared_bytes"], builder["in_use_bytes"], builder["reclaimable_bytes"]) == (20, 30, 50)
    assert builder["by_type"]["internal"] == {"count": 1, "bytes": 40}
    assert "records" not in builder
    assert found["gc_policy"] == {
        "in_file": {"enabled": True, "rules": None},
        "in_effect": {"enabled": True, "rules": None},
        "in_effect_source": "start_time",
        "restart_required": False,
        "digest": digest(_policy.Policy()),
        "file_keys": ["enabled"],
    }
    assert found["engine"]["started_at"] == 17.5
    assert found["filesystems"][0]["used_percent"] == 55.6


def test_records_are_there_where_asked():
    found = facts(HELD, Daemon(), with_records=True)
    assert [one["id"] for one in found["builders"][0]["records"]] == ["private", "shared", "busy", "hidden"]
    assert found["gc_policy"]["in_file"] is None


def daemon(gc=None, **times):
    return Daemon({} if gc is None else {"builder": {"gc": gc}}, **times)


@pytest.mark.parametrize(
    ("version", "daemon", "codes"),
    [
        ("28.1.1", daemon(), ["gc_disabled"]),
        ("28.1.1", daemon({"policy": [{"maxUsedSpace": "20GB"}]}), ["gc_disabled"]),
        ("28.1.1", Daemon(None), []),
        ("28.1.1", daemon({"enabled": True}), []),
        ("28.2.0", daemon(), []),
        ("29.7.2", daemon({"Enabled": False}), ["gc_disabled"]),
        ("28.5.2", daemon({"policy": []}), ["gc_policy_empty"]),
        ("28.5.2", daemon({"policy": [{"filter": ["unused-for=48h"]}]}), ["gc_no_ceiling"]),
        ("28.5.2", daemon({"policy": [{"filter": ["type=regular,type=frontend"]}]}), ["gc_filter_comma"]),
        ("28.5.2", daemon({"policy": "none"}), ["gc_wrong_type"]),
        ("28.5.2", daemon({"policy": [{"filter": ["parents=a"]}, {"filter": ["label=b"]}]}), ["gc_filter_ignored"]),
        ("28.5.2", daemon(started_at=5, changed_at=6), ["daemon_older_than_config"]),
        ("28.5.2", daemon(started_at=6, changed_at=5), []),
        ("28.5.2", Daemon(None, problem="/etc/docker/daemon.json: line 3"), ["config_unusable"]),
    ],
)
def test_what_the_daemon_does_not_do_is_found(version, daemon, codes):
    found = findings(observation(version=version), gc_status(daemon, version), daemon.problem)
    assert [finding.code for finding in found] == codes


def test_data_on_two_file_systems_is_found():
    two = [filesystem(), filesystem()._replace(path="/other", device=2)]
    assert [one.code for one in findings(observation(filesystems=two), QUIET)] == ["data_on_two_filesystems"]


def test_old_records_below_young_ones_are_found():
    old, young = "2026-01-01T00:00:00Z", "2026-01-10T00:00:00Z"
    held = observation(
        [
            record("pinned", 10, used=old),
            record("child", 1, used=young, parents=("pinned",)),
            record("free", 20, used=old),
            record("old-parent", 30, used=old),
            record("old-child", 40, used=old, parents=("old-parent",)),
        ]
    )
    assert [(one.code, one.bytes) for one in findings(held, QUIET)] == [("pinned_records", 10)]


def test_every_finding_has_a_page():
    source = inspect.getsource(_findings) + inspect.getsource(_disk)
    codes = set(re.findall(r'(?:finding_of|_held)\(\s*"(\w+)"', source)) | set(
        re.findall(r'\(\s*"(\w+_records|records_in_use|orphaned_\w+)",', source)
    )
    assert len(codes) == 20
    # A Trap of the linter is a finding too; its row is in docs/gc_policy_traps.md, a page is for some.
    of_traps = set(re.findall(r'Trap\(\s*"(\w+)"', inspect.getsource(_lint) + inspect.getsource(_policy)))
    of_obstacles = set(re.findall(r'Obstacle\(\s*"(\w+)"', inspect.getsource(_look)))
    assert len(of_obstacles) == 7
    codes |= of_obstacles
    paths = (Path(__file__).parents[5] / "docs" / "findings").glob("*.md")
    pages = {path.stem: path.read_text(encoding="utf-8") for path in paths}
    assert set(_findings._SEVERITY) <= codes <= set(pages) <= codes | of_traps
    assert all(text.splitlines()[0].endswith(f": `{code}`") for code, text in pages.items())


@pytest.mark.parametrize(
    ("state", "held", "found"),
    [(3 * 2**30, 2**30, [2 * 2**30]), (3 * 2**30, 2 * 2**30, []), (2**30, 2**20, []), (None, 0, [])],
)
def test_a_volume_far_larger_than_its_builders_records_is_a_finding(state, held, found):
    seen = Seen(
        Node("ci", "docker-container", "ci0", "default", RUNNING), observation([record("a", held)]), state_bytes=state
    )
    of_builder = findings(observation(), QUIET, builders=Builders(others=(seen,)))
    assert [one.bytes for one in of_builder if one.code == "builder_state_larger"] == found


def test_what_is_left_of_builders_is_told_with_its_age_or_what_runs():
    seen = observation()
    hour = 3600 * SECOND
    orphans = (
        Orphan("a0", "buildx_buildkit_a0", "buildx_buildkit_a0_state", 7, seen.engine.now - 30 * hour),
        Orphan("b0", "buildx_buildkit_b0", "", 0, seen.engine.now, "a build runs"),
        Orphan("c0", "", "buildx_buildkit_c0_state", 5),
    )
    containers, volumes = findings(seen, QUIET, builders=Builders(orphans=orphans))
    assert (containers.code, containers.bytes) == ("orphaned_builders", 7)
    assert "buildx_buildkit_a0 (7B, idle for 1d6h), buildx_buildkit_b0 (0B, a build runs)." in containers.message
    assert (volumes.code, volumes.bytes) == ("orphaned_builder_state", 5)
    assert "buildx_buildkit_c0_state (5B, of no known age)." in volumes.message
