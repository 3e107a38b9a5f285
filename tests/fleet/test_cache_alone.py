# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Pruning the build cache while images hold the same layers."""

from __future__ import annotations

import builds
import daemon
import engine
import fleet
import pytest
from engine import MB
from variants import variants

LITTLE = MB
LAYER = 16  # MB

RUN_ALL_IMAGES = """
for image in $(docker images --quiet --no-trunc); do
    docker run --rm --network none "$image" /bin/busybox ls -l /base
done
"""

# With the containerd store BuildKit remembers the layers of a record from when somebody first asks for disk usage
# (cache/refs.go, layerDigestChain). Where the record's build has not exported them then, it knows those of the record's
# ancestors at most, until dockerd is restarted.
LOOKED_AT_TOO_EARLY = f"""
(while [ ! -e {builds.CONTEXT}/built ]; do docker builder du; done) >/dev/null 2>&1 &
{builds.generations("app:latest", 2, LAYER)}
touch {builds.CONTEXT}/built
wait
rm {builds.CONTEXT}/built
"""


def test_without_all_the_layers_of_tagged_and_untagged_images_stay(empty):
    fleet.shell(builds.generations("app:latest", 2, LAYER))
    daemon.forget_early_looks()
    before = engine.look()
    for host, state in before.items():
        assert len(state.images) == (2 if host in fleet.of_store("graphdriver") else 1), host
        assert len(state.shared) == 2 + len(state.images), f"{host}: the tools, the base and what has an image"

    results = fleet.prune({"images": "keep"})

    for host, state in engine.look().items():
        assert set(state.records) == before[host].shared, host
        assert {image["Id"] for image in state.images} == {image["Id"] for image in before[host].images}, host
        removed = set(results[host]["steps"][2]["removed"]["ids"])
        assert removed == set(before[host].records) - before[host].shared, host
    fleet.shell(RUN_ALL_IMAGES)
    assert not any(result["changed"] for result in fleet.prune({"images": "keep"}).values())


@pytest.mark.parametrize("of_another", variants((False, True), first=1))
def test_a_preview_is_exact_where_the_engine_takes_layers_for_what_they_are_not(empty, of_another):
    hosts = fleet.of_store("containerd")
    if not hosts:
        pytest.skip(f"None of {', '.join(empty)} has containerd's image store.")
    if of_another:
        # One has just the layers that the records are built on.
        script = builds.build("tools:1", builds.FROM_SCRATCH) + LOOKED_AT_TOO_EARLY + "docker rmi app:latest\n"
    else:
        script = LOOKED_AT_TOO_EARLY
    before = _looked_at_too_early(script, hosts, of_another)

    preview = fleet.prune({"images": "keep"}, check=True, on=hosts)
    results = fleet.prune({"images": "keep"}, on=hosts)

    for host, gain in engine.gained(before, engine.look(hosts)).items():
        # More than the tools', or not even those.
        assert len(before[host].shared) > 1 if of_another else not before[host].shared, (host, before[host].records)
        planned, removed = (one[host]["steps"][2][part] for one, part in ((preview, "planned"), (results, "removed")))
        assert set(planned["ids"]) == set(removed["ids"]) == set(before[host].records) - before[host].shared, host
        assert abs(preview[host]["predicted_bytes"] - gain) < LITTLE, (host, preview[host], gain)
        assert abs(results[host]["freed_bytes"] - gain) < LITTLE, (host, results[host], gain)
        held = any(one["reason"] == "layers_held_by_images" for one in preview[host]["kept"])
        assert held is not of_another, (host, preview[host]["kept"])
    if not of_another:
        fleet.shell(RUN_ALL_IMAGES, hosts)


def _looked_at_too_early(script, hosts, of_another):
    """Run the script until a look has come too early on all hosts, and return what they hold then. It has to fall into
    the half second between a step and its export, which on a busy machine it can miss."""
    for _try in range(6):
        fleet.shell(script, hosts)
        before = engine.look(hosts)
        if all((len(state.shared) > 1) if of_another else not state.shared for state in before.values()):
            break
        builds.empty_engines()
    return before


def test_with_all_the_records_go_and_the_bytes_stay_while_an_image_holds_them(empty):
    fleet.shell(builds.generations("app:latest", 2, LAYER))
    before = engine.look()

    results = fleet.prune({"images": "keep", "all": True})

    after = engine.look()
    for host, gain in engine.gained(before, after).items():
        result, state = results[host], after[host]
        assert state.records == {}, host
        assert set(result["steps"][2]["removed"]["ids"]) == set(before[host].records), host
        assert empty[host].free - state.free > sum(image["Size"] for image in state.images) / 2, host
        assert abs(result["freed_bytes"] - gain) < LITTLE, (host, result["freed_bytes"], gain)
        assert abs(result["predicted_bytes"] - gain) < LITTLE, (host, result["predicted_bytes"], gain)
        held = result["reported_bytes"] - gain
        assert held > LAYER * MB, (host, held)
        reasons = {one["reason"]: one for one in result["kept"]}
        assert abs(reasons["layers_held_by_images"]["bytes"] - held) < LITTLE, (host, reasons)
        assert "images: unused" in reasons["layers_held_by_images"]["remedy"], host
    for host in fleet.of_store("graphdriver"):
        # The source of the build context, 2 MB, is all that nobody else holds.
        assert engine.gained(before, after)[host] < 3 * MB, host
    fleet.shell(RUN_ALL_IMAGES)

    fleet.prune({"images": "unused"})

    for host, state in engine.look().items():
        assert abs(empty[host].free - state.free) < 2 * MB, (host, empty[host].free - state.free)
