# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Marks and stages: a run does nothing below its high mark, and above it goes as far as it must, as previews say."""

from __future__ import annotations

import json
import random

import builds
import comparison
import engine
import fleet
import pytest
from engine import MB
from trials import SEED, TRIALS
from variants import variants

EDGE = 32 * 1024  # bytes: nobody builds, and no container writes, while a trial is under way
OWN_DIRECTORIES = 16 * 1024  # bytes

LADDERS = (
    None,
    None,
    [{}, {"images": "unused"}, {"images": "unused", "containers": "stopped", "all": True}],
    [{"build_cache": False}, {}, {"images": "unused"}],
    [{"max_used_space": "30MB"}, {"max_used_space": "1MB"}, {"images": "unused", "max_used_space": "1MB", "all": True}],
    [
        {"images": "unused", "images_keep_last": 2, "images_unused_for": "1s"},
        {"images": "unused", "images_keep_last": 1, "images_unused_for": "0.1s"},
        {"images": "unused", "images_unused_for": "0.001s", "containers": "stopped"},
    ],
)


def marks(before, high, low):
    """Marks of what is to be available, so many bytes more than there is: {option: {host: size}}."""
    available = {host: state.disk["f_bavail"] * state.disk["f_frsize"] for host, state in before.items()}
    return {
        "high_watermark": {host: str(int(available[host] + high[host])) for host in available},
        "low_watermark": {host: str(int(available[host] + low[host])) for host in available},
    }


def steps(result):
    return [(step.get("stage"), step["step"]) for step in result["steps"]]


def test_below_the_high_mark_nothing_goes(lab, empty):
    fleet.shell(builds.generations("app:latest", 2, 4))
    before = engine.look()
    idle = {"high_watermark": "99.9%", "low_watermark": "1%"}
    role = {f"cleanup_{name}": value for name, value in idle.items()}
    role["cleanup_stages"] = [{"images": "keep"}, {"images": "unused"}]
    status, output = fleet.playbook("cleanup", "-e", json.dumps(role))
    assert status == 0 and output.count("predicted 0B, below its high marks, still held: ") == len(lab), output
    idle["images"] = "unused"
    for result in fleet.prune(idle).values():
        assert not result["changed"] and result["wanted_bytes"] == result["shortfall_bytes"] == 0, result
        assert {one["reason"] for one in result["kept"]} <= {"within_marks", "has_child", "shared"}, result
    assert {host: state.ids for host, state in engine.look().items()} == {host: before[host].ids for host in before}


def test_above_it_what_was_used_least_recently_goes_until_the_low_mark(lab, empty):
    """Images and build cache in one order: of three projects, the one that was built first goes, whole."""
    projects = [builds.build(f"project{n}:1", builds.FROM_SCRATCH + builds.write(f"/p{n}", 12)) for n in range(3)]
    fleet.shell("sleep 1.1\n".join(projects))
    before = engine.look()
    some = dict.fromkeys(lab, 8 * MB)
    limits = marks(before, dict.fromkeys(lab, MB), some)
    how = {"images": "unused", "fail_on_shortfall": True}
    preview, done, again = fleet.play([fleet.task("buildcache_prune", how, check=check, per_host=limits, diff=check)
                                       for check in (True, False, False)])  # fmt: skip
    after = engine.look()
    for host, result in fleet.succeeded(done).items():
        planned = [step["planned"]["ids"] for step in preview[host]["steps"]]
        assert planned == [step["removed"]["ids"] for step in result["steps"]], (host, preview[host]["steps"])
        assert after[host].tags == {"project1:1", "project2:1"}, (host, after[host].tags)
        assert result["wanted_bytes"] <= result["freed_bytes"] and result["shortfall_bytes"] == 0, (host, result)
        (used,) = result["steps"][1]["planned"]["last_used"].values()
        assert used["by"] in ("build", "arrived", "created") and ", unused for " in preview[host]["diff"]["before"], (
            host
        )
        assert not again[host]["changed"] and again[host]["wanted_bytes"] == 0, (host, again[host]["steps"])
        assert {one["reason"] for one in result["kept"]} <= {"within_marks", "has_child", "shared"}, result["kept"]


def test_what_cannot_be_reached_is_said_and_fails_where_asked(lab, empty):
    fleet.shell(
        builds.build("held:1", builds.FROM_SCRATCH + builds.write("/held", 8))
        + "docker run --detach --name holds --network none held:1 /bin/busybox sleep 900 >/dev/null\n"
    )
    before = engine.look()
    limits = marks(before, dict.fromkeys(lab, 400 * MB), dict.fromkeys(lab, 500 * MB))
    stages = {"stages": [{"images": "dangling"}, {"images": "unused"}]}
    short, failed = fleet.play(
        [
            fleet.task("buildcache_prune", {**stages, "fail_on_shortfall": fail}, per_host=limits)
            for fail in (False, True)
        ]
    )
    fleet.shell("docker rm --force holds >/dev/null")
    for host, result in fleet.succeeded(short).items():
        assert result["shortfall_bytes"] > 480 * MB and steps(result)[-1] == (2, "build_cache"), (host, result)
        assert failed[host]["failed"] and "running_containers_image" in failed[host]["msg"], failed[host]["msg"]
        assert "MB are missing to the low mark" in failed[host]["msg"], failed[host]["msg"]


def test_inodes_have_marks_of_their_own(lab, empty):
    many = 'RUN ["/bin/busybox", "sh", "-c", "mkdir /many && cd /many && for n in $(seq 700); do echo $n >$n; done"]\n'
    projects = [builds.build(f"project{n}:1", builds.FROM_SCRATCH + builds.write(f"/p{n}", 1) + many) for n in range(3)]
    fleet.shell("sleep 1.1\n".join(projects))
    before = engine.look()
    left = {host: state.disk["f_favail"] for host, state in before.items()}
    limits = {"high_inodes": {host: str(number + 10) for host, number in left.items()}}
    limits["low_inodes"] = {host: str(number + 500) for host, number in left.items()}
    preview, done, again = fleet.play(
        [
            fleet.task("buildcache_prune", {"images": "unused"}, check=check, per_host=limits)
            for check in (True, False, False)
        ]
    )
    after = engine.look()
    for host, result in fleet.succeeded(done).items():
        assert comparison.planned_ids(preview[host]) == [step["removed"]["ids"] for step in result["steps"]], host
        assert after[host].tags == {"project1:1", "project2:1"}, (host, after[host].tags)
        assert 450 <= result["wanted_inodes"] <= 550 and 480 <= result["freed_inodes"] <= 1000, (host, result)
        assert result["shortfall_inodes"] == 0 and not again[host]["changed"], (host, result)


@pytest.mark.parametrize("trial", variants(range(max(TRIALS // 3, 1)), first=1))
def test_the_preview_of_stages_names_what_the_run_removes(lab, registry, trial):
    chance = random.Random(f"{SEED} stages {trial}")
    print(f"SEED={SEED}, trial {trial}")
    if trial % 4 == 0:
        builds.empty_engines()
    fleet.shell({host: comparison.fill(random.Random(f"{SEED} stages {trial} {host}"), host) for host in lab})
    before = engine.look()
    ladder = chance.choice(LADDERS)
    options = {"stages": ladder} if ladder else {"images": "unused", "all": chance.random() < 0.3}
    share = chance.uniform(0.05, 1.1)
    low = {host: share * (state.private_bytes + state.shared_bytes) + MB for host, state in before.items()}

    def at(shift):
        return marks(before, dict.fromkeys(lab, MB // 2), {host: size + shift for host, size in low.items()})

    tasks = [fleet.task("buildcache_prune", options, check=True, per_host=at(shift)) for shift in (0, -EDGE, EDGE)]
    tasks += [fleet.task("buildcache_prune", options, per_host=at(0))] * 2
    preview, *around, done, again = fleet.play(tasks)
    for host in lab:
        said = f"{host}, SEED={SEED}, trial {trial}, {options}, {low[host]}"
        assert not done[host]["failed"], (said, done[host]["msg"])
        if any(comparison.planned_ids(one[host]) != comparison.planned_ids(preview[host]) for one in around):
            print(f"{said}: on the edge, not compared")
            continue
        print(f"{host}: {json.dumps([preview[host]['steps'], done[host]['steps']])}")
        assert steps(preview[host]) == steps(done[host]), said
        for planned, removed in zip(preview[host]["steps"], done[host]["steps"], strict=True):
            comparison.compare(planned["planned"], removed["removed"], f"{said}: {planned['step']}")
        if any(step["planned"].get("uncertain") for step in preview[host]["steps"]):
            continue
        comparison.assert_freed(preview[host], done[host], said)
        foreseen, stays = comparison.stays(preview[host]), comparison.stays(done[host])
        assert {why: count for why, (count, _size) in foreseen.items()} == {
            why: count for why, (count, _size) in stays.items()
        }, said
        for why, (_count, size) in stays.items():
            # An image that shares a layer no longer: engines count a directory of it or not (28.5, containerd store).
            assert abs(foreseen[why][1] - size) <= OWN_DIRECTORIES, (said, why, foreseen[why][1], size)
        if not done[host]["shortfall_bytes"]:
            assert not again[host]["changed"], (said, again[host]["steps"])
