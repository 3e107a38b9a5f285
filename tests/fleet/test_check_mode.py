# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Check mode changes nothing at all, and names the very objects that the run then removes."""

from __future__ import annotations

from pathlib import Path

import builds
import engine
import fleet
import pytest
from engine import MB

pytestmark = pytest.mark.any_engine

OPTIONS = (
    {},
    {"containers": "stopped", "images": "unused", "all": True},
    {"images": "unused", "images_older_than": "1s", "build_cache": False},
    {"images": "keep", "types": ["source.local", "regular"]},
    {"unused_for": "1s", "filters": {"private": True}},
    {"reserved_space": "1MB", "max_used_space": "0.1%", "min_free_space": "100%"},
)

# Engines since 20.10 tell of every prune, one that found nothing too.
EVENTS = "docker events --since {since} --until $(date +%s.%N)"


@pytest.fixture
def filled(empty):
    """Hosts with something for every step to remove: {host: State}."""
    fleet.shell(
        builds.generations("app:latest", 2, 4)
        + builds.build("job:1", f"{builds.FROM_SCRATCH}{builds.write('/job', 4)}")
        + builds.build("stages", builds.stages({"one": 4, "two": 4, "three": 4}))
        + "docker run --name job --network none job:1 /bin/busybox true\n"
    )
    return engine.look()


def test_check_mode_changes_nothing(filled):
    since = {host: text.strip() for host, text in fleet.shell("sleep 0.1; date +%s.%N").items()}

    runs = fleet.play([fleet.task("buildcache_prune", options, check=True, diff=True) for options in OPTIONS])

    events = fleet.shell({host: EVENTS.format(since=moment) for host, moment in since.items()})
    assert events == dict.fromkeys(filled, "")
    for host, state in engine.look().items():
        assert state.contents == filled[host].contents, host
    for options, results in zip(OPTIONS, runs, strict=True):
        for host, result in fleet.succeeded(results).items():
            planned = {step["step"]: step["planned"] for step in result["steps"]}
            removed = [step["removed"] for step in result["steps"]]
            assert removed == [{"count": 0, "bytes": 0, "ids": []}] * 3, (host, options)
            assert result["changed"] and result["reported_bytes"] == 0, (host, options)
            # Images alone free nothing that the build cache holds.
            assert result["predicted_bytes"] > 0 or options.get("build_cache") is False, (host, options)
            for step, plan in planned.items():
                shown = f"{step}: {plan['count']} to remove" in result["diff"]["before"]
                assert shown == (plan["count"] > 0), (host, options, result["diff"])
    for host, result in runs[1].items():
        counts = {step["step"]: step["planned"]["count"] for step in result["steps"]}
        assert counts == {"containers": 1, "images": len(filled[host].images), "build_cache": len(filled[host].records)}


def test_check_mode_names_the_records_that_the_run_then_removes(filled):
    caps = {host: f"{state.private_bytes - 6 * MB}B" for host, state in filled.items()}
    since = {host: text.strip() for host, text in fleet.shell("sleep 0.1; date +%s.%N").items()}
    tasks = [
        fleet.task("buildcache_prune", {"images": "keep", **options}, check=check, per_host=per_host)
        for options, per_host in (
            ({"types": ["source.local"]}, {}),
            ({}, {"max_used_space": caps}),
            ({"unused_for": "1s"}, {}),
            ({"all": True}, {}),
        )
        for check in (True, False)
    ]

    runs = fleet.play(tasks)

    after = engine.look()
    for previews, results in zip(runs[::2], runs[1::2], strict=True):
        for host, result in fleet.succeeded(results).items():
            planned = previews[host]["steps"][2]["planned"]
            removed = result["steps"][2]["removed"]
            assert planned["count"] > 0 and set(planned["ids"]) == set(removed["ids"]), host
            assert previews[host]["predicted_bytes"] == result["predicted_bytes"], host
    for host, state in after.items():
        removed = [name for results in runs[1::2] for name in results[host]["steps"][2]["removed"]["ids"]]
        assert sorted(removed) == sorted(filled[host].records) and state.records == {}, host
        assert state.contents["images"].keys() == filled[host].contents["images"].keys(), host
    # That the events above would have shown a prune.
    events = fleet.shell({host: EVENTS.format(since=moment) for host, moment in since.items()})
    assert all("builder prune" in text for text in events.values()), events


def test_check_mode_asks_the_engine_questions_only(filled):
    base = f"{builds.CONTEXT}/proxy"
    program = Path(__file__).with_name("recording_proxy.py").read_text()
    fleet.shell(
        f"cat >{base}.py <<'PROGRAM'\n{program}PROGRAM\nrm -f {base}.sock\n"
        f"setsid -f python3 {base}.py {base}.sock /run/docker.sock {base}.requests >{base}.log 2>&1 </dev/null\n"
        f"for _ in $(seq 100); do [ -S {base}.sock ] && exit; sleep 0.1; done; cat {base}.log >&2; exit 1"
    )

    tasks = [
        fleet.task("buildcache_prune", {**options, "docker_host": f"unix://{base}.sock"}, check=True, diff=True)
        for options in OPTIONS
    ]
    runs = fleet.play(tasks)
    asked = fleet.shell(f"cat {base}.requests; pkill --full {base}.sock")

    for results in runs:
        fleet.succeeded(results)
    for host, text in asked.items():
        requests = text.splitlines()
        assert [one for one in requests if not one.startswith("GET ")] == [], host
        assert len(requests) == 4 * len(OPTIONS), (host, requests)
