# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""unused_for: what was used lately stays, and so do its ancestors."""

from __future__ import annotations

import time

import builds
import daemon
import engine
import fleet
import pytest
from trials import QUIET, ROOM

FAMILY = f"{builds.FROM_SCRATCH}{builds.write('/parent', 4)}{builds.write('/child', 4)}"
OTHER = f"{builds.FROM_SCRATCH}{builds.write('/other', 4)}"


def named(state, path):
    """Return the ids of the records of the step that wrote a path."""
    return {name for name, record in state.records.items() if f"of={path} " in record["Description"]}


def test_a_young_child_keeps_its_ancestors_until_all_go_in_one_run(lab, empty):
    fleet.shell(builds.build("family", FAMILY) + builds.build("other", OTHER) + "docker rmi family other >/dev/null")
    before = engine.look()
    time.sleep(QUIET)
    # All is cached, and used by that.
    rebuilt = time.monotonic()
    fleet.shell(builds.build("family", FAMILY) + "docker rmi family >/dev/null")

    younger = {"unused_for": f"{time.monotonic() - rebuilt + ROOM:.0f}s"}
    first, again = fleet.play([fleet.task("buildcache_prune", younger)] * 2)

    between = engine.look()
    for host, state in between.items():
        removed = set(first[host]["steps"][2]["removed"]["ids"])
        assert removed == set(before[host].records) - set(state.records), host
        assert named(before[host], "/other") and named(before[host], "/other") <= removed, host
        (child,) = named(state, "/child")
        assert state.records[child]["LastUsedAt"] > before[host].records[child]["LastUsedAt"], host
        old = {name for name in state.records if state.records[name] == before[host].records[name]}
        # BuildKit 0.8 uses the whole chain of a cached step, later ones its end only: the parent and the tools are old.
        assert len(old) == (0 if lab[host]["lab_kind"] == "docker20" else 2), (host, old)
        assert not old or named(state, "/parent") <= old, host
        reasons = {one["reason"]: one["count"] for one in first[host]["kept"]}
        assert reasons.get("has_child", 0) == len(old), (host, reasons)
        assert reasons["too_young"] == len(state.records) - len(old), (host, reasons)
        assert not again[host]["changed"], host
    time.sleep(1)

    last, again = fleet.play([fleet.task("buildcache_prune", {"unused_for": "1s"})] * 2)

    for host, state in engine.look().items():
        assert state.records == {}, host
        assert set(last[host]["steps"][2]["removed"]["ids"]) == set(between[host].records), host
        assert not again[host]["changed"], host


@pytest.fixture
def unlooked_at(lab):
    """The hosts whose builds can mount caches, with nobody else to look at them: without garbage collection."""
    # The frontend of the oldest knows no mounts.
    on = [host for host in lab if lab[host]["lab_kind"] != "docker20"]
    fleet.shell(daemon.KEEP, on)
    daemon.put_without_gc(on)
    daemon.restart(on)
    yield on
    fleet.shell(daemon.BACK, on)


def test_a_cache_mount_that_is_first_looked_at_has_been_used_by_that(empty, unlooked_at):
    line = builds.do("echo > /cache/done").replace("RUN ", "RUN --mount=type=cache,target=/cache ", 1)
    fleet.shell(builds.build("mounts", builds.FROM_SCRATCH + line) + "docker rmi mounts >/dev/null", unlooked_at)
    time.sleep(4)

    previews = fleet.prune({"images": "keep", "unused_for": "3s"}, check=True, on=unlooked_at)

    for host, state in engine.look(unlooked_at).items():
        (mount,) = [name for name, record in state.records.items() if record["Type"] == "exec.cachemount"]
        planned = previews[host]["steps"][2]["planned"]["ids"]
        assert planned and mount not in planned, (host, planned, state.records)
