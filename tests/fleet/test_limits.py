# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""reserved_space, max_used_space and min_free_space: enough goes, no more than that, and the least used first."""

from __future__ import annotations

import builds
import engine
import fleet
import pytest
from engine import MB

SIZE = 8  # MB
PRECISION = 1024  # bytes, of a percentage with five decimals
TOUCHED = ("seldom", "often")
STAGES = dict.fromkeys((*(f"once{number}" for number in range(6)), *TOUCHED), SIZE)


@pytest.fixture
def filled(empty):
    """Hosts with eight private records, two of them used once more than the others and later."""
    dockerfile = builds.stages(STAGES)
    touch = "".join(builds.build(name, dockerfile, "--target", name) for name in TOUCHED)
    fleet.shell(builds.build("stages", dockerfile) + touch + f"docker rmi {' '.join(TOUCHED)} >/dev/null")
    return engine.look()


def stages(state, names):
    """Return the ids of the records of these stages that are left."""
    marks = [f"of=/{name} " for name in names]
    return {name for name, record in state.records.items() if any(mark in record["Description"] for mark in marks)}


def written(text, size, state):
    """Return a size of bytes as an option's value, in one of the spellings "{bytes}B" and "{percent:.5f}%"."""
    return text.format(bytes=size, percent=100 * size / state.total)


def prune(per_host, twice=False):
    """Prune with these {option: {host: value}}, twice if asked: the second time nothing must go. Return {host: result}
    of the first."""
    first, *again = fleet.play([fleet.task("buildcache_prune", {"images": "keep"}, per_host=per_host)] * (1 + twice))
    for results in again:
        assert not any(result["changed"] for result in fleet.succeeded(results).values()), results
    return fleet.succeeded(first)


def test_a_limit_removes_the_least_used_records_and_no_more_than_it_must(filled):
    state = filled
    for limit, spare, twice in (
        ({"reserved_space": "{bytes}B"}, 0.5, True),
        ({"max_used_space": "{bytes}B"}, 1.5, True),
        ({"max_used_space": "{percent:.5f}%"}, 0.5, False),
        # What is reserved stays, whatever the other limits ask for.
        ({"reserved_space": "{bytes}B", "max_used_space": "1MB", "min_free_space": "100%"}, 0.5, True),
    ):
        before = state
        caps = {host: one.private_bytes - int(spare * SIZE * MB) for host, one in before.items()}

        results = prune(
            {
                option: {host: written(text, caps[host], before[host]) for host in caps}
                for option, text in limit.items()
            },
            twice,
        )

        state = engine.look()
        for host, result in results.items():
            removed = result["steps"][2]["removed"]["ids"]
            assert removed and set(removed) == set(before[host].records) - set(state[host].records), (host, limit)
            left = state[host].private_bytes
            one_less = left + before[host].records[removed[-1]]["Size"]
            assert left < caps[host] + PRECISION and one_less >= caps[host] - PRECISION, (host, limit, left, caps[host])
            assert stages(state[host], TOUCHED) == stages(before[host], TOUCHED), (host, limit)
            assert "within_limit" in {one["reason"] for one in result["kept"]}, (host, limit)
    # One of the records that were used but once is left, and both others.
    assert {host: len(stages(one, STAGES)) for host, one in state.items()} == dict.fromkeys(state, 3)


def test_min_free_space_is_what_the_file_system_has_free_afterwards(filled):
    state = filled
    unmoved = prune({"min_free_space": {host: f"{one.free - SIZE * MB}B" for host, one in state.items()}})
    assert not any(result["changed"] for result in unmoved.values()), unmoved
    for text, twice in (("{bytes}B", True), ("{percent:.5f}%", False)):
        before = state
        wanted = {host: one.free + int(1.5 * SIZE * MB) for host, one in before.items()}

        texts = {host: written(text, wanted[host], before[host]) for host in wanted}
        results = prune({"min_free_space": texts}, twice)

        state = engine.look()
        for host, result in results.items():
            assert result["filesystems"]["after"][0]["free_bytes"] >= wanted[host], host
            assert wanted[host] <= state[host].free < wanted[host] + SIZE * MB, (host, wanted[host], state[host].free)
            assert stages(state[host], TOUCHED) == stages(before[host], TOUCHED), host
            assert len(stages(state[host], STAGES)) == len(stages(before[host], STAGES)) - 2, host

    prune({"min_free_space": dict.fromkeys(state, "100%")})

    for host, one in engine.look().items():
        assert set(one.records) == filled[host].shared, f"{host}: what cannot be met removes all that may go"
