# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What is young stays, and what was used stays, by whatever tells of it."""

from __future__ import annotations

import time

import builds
import engine
import fleet
import lived_in
from trials import QUIET, ROOM

STATE = "/var/lib/buildcache/images-*.json"


def reasons(result):
    return {one["reason"]: one["count"] for one in result["kept"]}


def test_what_has_just_come_stays_however_old_it_is(lab, registry, empty):
    pulled = lived_in.name(2)
    fleet.shell(
        lived_in.dated("loaded:1", "2020-01-01T00:00:00Z")
        + lived_in.dated("pushed:1", "2020-01-01T00:00:00Z")
        + lived_in.push("pushed:1", pulled, "1")
        + f"docker rmi pushed:1 {pulled}:1 >/dev/null\ndocker pull --quiet {pulled}:1 >/dev/null\n"
        + lived_in.classic("", [1])
        + builds.build("built:1", builds.FROM_SCRATCH)
    )
    before = engine.look()
    young = {"images": "unused", "images_remove": ["loaded:*"], "build_cache": False, "protect_for": "1h"}
    kept, preview, gone = fleet.play(
        [
            fleet.task("buildcache_prune", young),
            fleet.task("buildcache_prune", {**young, "protect_for": "0.001s"}, check=True),
            fleet.task("buildcache_prune", {**young, "protect_for": "0.001s"}),
        ]
    )
    for host, result in fleet.succeeded(kept).items():
        assert not result["changed"] and reasons(result) == {
            "protected_image": len(before[host].images),
            **({"build_cache_kept": len(before[host].records)} if before[host].records else {}),
        }, (host, result["kept"])
        removed = {name for step in gone[host]["steps"] for name in step["removed"]["ids"]}
        assert removed == {name for step in preview[host]["steps"] for name in step["planned"]["ids"]}, host
        assert {image["Id"] for image in before[host].images} <= removed, host


def test_what_was_used_lately_stays_by_whatever_tells_of_it(lab, empty):
    """By a container that only an earlier run saw, by the build cache, by a tag, by what was made on it; of what nobody
    used nothing stays."""
    fleet.shell(
        "".join(
            builds.build(f"{name}:1", builds.FROM_SCRATCH + builds.write(f"/{name}", 1))
            for name in ("ran", "built", "base", "old")
        )
        + lived_in.dated("tagged:1", "2020-01-01T00:00:00Z")
    )
    time.sleep(QUIET)
    used = time.monotonic()
    fleet.shell("docker run --detach --name job --network none ran:1 /bin/busybox sleep 900 >/dev/null")
    fleet.prune({"images": "unused", "images_unused_for": "100d", "build_cache": False})
    fleet.shell(
        "docker rm --force job >/dev/null\n"
        + builds.build("built:1", builds.FROM_SCRATCH + builds.write("/built", 1))
        + "docker tag tagged:1 tagged:2\n"
        + builds.build("child:1", "FROM base:1\n" + builds.do("echo >/child"))
    )
    known = fleet.facts({"images": True})
    unused = {"images": "unused", "images_unused_for": f"{time.monotonic() - used + ROOM:.0f}s", "build_cache": False}
    preview, done, again = fleet.play(
        [fleet.task("buildcache_prune", unused, check=check, diff=check) for check in (True, False, False)]
    )
    after = engine.look()
    for host, result in fleet.succeeded(done).items():
        by = {image["tags"][0]: image["last_used_by"] for image in known[host]["images"]["list"]}
        assert by["ran:1"] == "seen" and by["tagged:1"] == "arrived", (host, by)
        assert by["built:1"] in ("build", "arrived") and by["base:1"] in ("build", "child"), (host, by)
        assert after[host].tags == {"ran:1", "built:1", "base:1", "child:1", "tagged:1", "tagged:2"}, (host, by)
        assert reasons(result)["image_used_lately"] == 5, (host, result["kept"])
        planned = preview[host]["steps"][1]["planned"]
        assert planned["ids"] == result["steps"][1]["removed"]["ids"] == list(planned["last_used"]), (host, planned)
        assert "old:1" in preview[host]["diff"]["before"] and "unused for " in preview[host]["diff"]["before"], host
        assert not again[host]["changed"], host
    # What is remembered is lost without harm.
    fleet.shell(f"test $(stat -c %a {STATE}) = 600; echo '[broken' | tee {STATE} >/dev/null")
    for host, result in fleet.prune(unused, check=True).items():
        (ran,) = (image["id"] for image in known[host]["images"]["list"] if image["tags"] == ["ran:1"])
        assert ran in result["steps"][1]["planned"]["ids"], (host, result["steps"])
