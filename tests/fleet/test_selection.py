# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""types and filters: what is selected goes, all else stays."""

from __future__ import annotations

import builds
import daemon
import engine
import fleet
import pytest

CACHE_MOUNT = 'RUN --mount=type=cache,target=/cache ["/bin/busybox", "dd", "if=/dev/zero", "of=/cache/c", "count=9"]\n'


@pytest.fixture
def filled(lab, empty):
    """Hosts with shared and private records of all the types that their engines make offline: {host: State}."""
    fleet.shell(
        {
            host: builds.build("image", f"{builds.FROM_SCRATCH}{builds.write('/image', 1)}")
            + builds.build("stages", builds.stages({"one": 1, "two": 1}))
            # The Dockerfile frontend built into 20.10 knows no mounts.
            + (builds.build("mount", builds.FROM_SCRATCH + CACHE_MOUNT) if variables["lab_has_buildx"] else "")
            for host, variables in lab.items()
        }
    )
    daemon.forget_early_looks()
    return engine.look()


def prune_by_turns(filled, selections):
    """Prune by each selection, twice, without touching the images, and return the {host: State} of then.

    A selection is its options, its {option: {host: value}}, and what gives the ids that it is to remove:
    ``expected(host, state)``. The second time nothing must go.
    """
    state = filled
    for options, per_host, expected in selections:
        options = {"images": "keep", **options}
        first, again = fleet.play([fleet.task("buildcache_prune", options, per_host=per_host)] * 2)
        before, state = state, engine.look()
        for host, result in fleet.succeeded(first).items():
            gone = set(before[host].records) - set(state[host].records)
            assert gone == expected(host, before[host]), (host, options, per_host)
            assert set(result["steps"][2]["removed"]["ids"]) == gone and result["changed"] == bool(gone), host
            assert not again[host]["changed"] and not again[host]["failed"], (host, options, per_host)
    return state


def of_types(*types):
    """Return what gives the ids of the private records of these types."""
    return lambda _host, state: {
        name for name, record in state.records.items() if record["Type"] in types and not record["Shared"]
    }


def test_types_select_records(lab, filled):
    for host, state in filled.items():
        types = {record["Type"] for record in state.records.values()}
        assert {"regular", "source.local"} <= types and state.shared, (host, types)
        assert ("exec.cachemount" in types) == lab[host]["lab_has_buildx"], (host, types)

    state = prune_by_turns(
        filled,
        [
            ({"types": ["source.local"]}, {}, of_types("source.local")),
            ({"types": ["exec.cachemount", "regular"]}, {}, of_types("exec.cachemount", "regular")),
        ],
    )

    for host, one in state.items():
        assert set(one.records) == filled[host].shared, host


def test_filters_select_records(filled):
    parents = {
        host: {parent for record in state.records.values() for parent in engine.parents(record)}
        for host, state in filled.items()
    }
    leaves = {host: min(of_types("regular")(host, state) - parents[host]) for host, state in filled.items()}

    state = prune_by_turns(
        filled,
        [
            ({}, {"filters": {host: {"id": name} for host, name in leaves.items()}}, lambda host, _: {leaves[host]}),
            ({"all": True, "filters": {"private": True}}, {}, lambda _before, state: set(state.records) - state.shared),
        ],
    )

    options = {"images": "keep", "all": True, "filters": {"shared": True}}
    first, again = fleet.play([fleet.task("buildcache_prune", options)] * 2)

    for host, one in engine.look().items():
        gone = set(state[host].records) - set(one.records)
        cache = first[host]["steps"][2]
        assert gone and set(cache["planned"]["ids"]) == set(cache["removed"]["ids"]) == gone, host
        assert one.shared == set() and not again[host]["changed"], host
        # The containerd store (28.5.2) no longer calls a record shared whose shared child has gone.
        assert one.records == {} or host in fleet.of_store("containerd"), (host, one.records)
        assert len(one.images) == len(filled[host].images), host
