# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order in which a layer's holders must let go, and what the result says where they don't."""

from __future__ import annotations

import builds
import engine
import fleet
from engine import MB

LITTLE = MB  # what metadata may come to
LAYER = 16  # MB


def test_untagged_images_free_nothing_while_the_build_cache_holds_their_layers(empty):
    hosts = fleet.of_store("graphdriver")
    fleet.shell(builds.generations("app:latest", 2, LAYER), hosts)
    before = engine.look(hosts)
    assert all(len(state.untagged) == 1 for state in before.values())

    results = fleet.prune({"build_cache": False}, on=hosts)

    between = engine.look(hosts)
    for host, gain in engine.gained(before, between).items():
        assert between[host].untagged == set() and between[host].tags == {"app:latest"}, host
        assert set(results[host]["steps"][1]["removed"]["ids"]) == before[host].untagged, host
        assert abs(gain) < LITTLE, (host, gain)
        assert abs(results[host]["freed_bytes"]) < LITTLE, (host, results[host]["freed_bytes"])
        assert results[host]["predicted_bytes"] < LITTLE, (host, results[host]["predicted_bytes"])
        assert "build_cache_kept" in {one["reason"] for one in results[host]["kept"]}, host

    results = fleet.prune(on=hosts)

    after = engine.look(hosts)
    for host, gain in engine.gained(between, after).items():
        assert gain > LAYER * MB, (host, gain)
        assert abs(results[host]["freed_bytes"] - gain) < LITTLE, (host, results[host]["freed_bytes"], gain)


def test_removing_an_image_leaves_the_bytes_of_the_records_that_hold_its_layers(empty):
    fleet.shell(builds.generations("app:latest", 1, LAYER))
    before = engine.look()

    results = fleet.prune({"images": "unused", "build_cache": False})

    between = engine.look()
    gains = engine.gained(before, between)
    for host, state in between.items():
        assert state.images == [], host
        assert set(state.records) == set(before[host].records), host
        assert empty[host].free - state.free > state.private_bytes - LITTLE, (host, state.private_bytes)
        assert abs(results[host]["predicted_bytes"] - gains[host]) < LITTLE, (host, gains[host])
    # The containerd store has unpacked the image once more, for containers.
    for host in fleet.of_store("graphdriver"):
        assert abs(gains[host]) < LITTLE, (host, gains[host])

    results = fleet.prune()

    after = engine.look()
    for host, gain in engine.gained(between, after).items():
        assert after[host].records == {}, host
        assert gain > between[host].private_bytes - LITTLE, (host, gain)
        assert abs(results[host]["freed_bytes"] - gain) < LITTLE, (host, results[host]["freed_bytes"], gain)
        assert abs(results[host]["predicted_bytes"] - gain) < LITTLE, (host, results[host]["predicted_bytes"], gain)


def test_one_run_frees_what_untagged_images_and_build_cache_hold_together(empty):
    fleet.shell(builds.generations("app:latest", 2, LAYER))
    before = engine.look()

    results = fleet.prune()

    between = engine.look()
    for host, gain in engine.gained(before, between).items():
        assert gain > LAYER * MB, (host, gain)
        assert abs(results[host]["freed_bytes"] - gain) < LITTLE, (host, results[host]["freed_bytes"], gain)
        assert between[host].tags == {"app:latest"} and between[host].untagged == set(), host

    fleet.prune({"images": "unused"})

    for host, state in engine.look().items():
        assert state.images == [] and state.records == {}, host
        assert abs(empty[host].free - state.free) < 2 * MB, (host, empty[host].free - state.free)
