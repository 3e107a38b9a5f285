# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Random stores for trials, and how a preview is held to the run."""

from __future__ import annotations

import builds
import engine
import fleet
import lived_in
from engine import MB

EDGE = 256 * 1024  # bytes by which a limit on free space may be met or not, whatever the disk's other users write
OWN_FILES = 48 * 1024  # bytes of small files and directories that a layer has beside its data, and no engine counts


def assert_settled(options, records, done, again, said):
    """Assert that a second run changes nothing, but for parents: the removal of their children may have been a use of
    them, which by then is long enough ago."""
    removed = {name for step in again["steps"] for name in step["removed"]["ids"]}
    if "unused_for" in options:
        removed -= {parent for name in done["steps"][2]["removed"]["ids"] for parent in engine.parents(records[name])}
    assert not removed, (said, again["steps"])


def stays(result):
    """Return what a result says of what stays; what the disk gained less is known only afterwards."""
    return {
        one["reason"]: (one["count"], one["bytes"]) for one in result["kept"] if one["reason"] != "disk_gained_less"
    }


def planned_ids(result):
    return [step["planned"]["ids"] for step in result["steps"]]


def compare(planned, removed, said):
    """Assert that a step removed what was planned, whichever of the uncertain records went."""
    uncertain = set(planned.get("uncertain", ()))
    certain = set(planned["ids"]) - uncertain
    assert certain <= set(removed["ids"]), (said, "not removed", certain - set(removed["ids"]))
    surprises = set(removed["ids"]) - set(planned["ids"]) - uncertain
    assert not surprises, (said, "not planned", surprises)


def fill(chance, host):
    """Return a script that makes a few builds in chains and forks, tags, untags, and runs containers."""
    mounts = fleet.hosts()[host]["lab_kind"] != "docker20"  # whose Dockerfile frontend knows no mounts
    script = lived_in.life(chance) if chance.random() < 0.7 else ""
    for _build in range(chance.randint(1, 3)):
        dockerfile = builds.some_steps(chance, least=0, mounts=0.15 if mounts else 0)
        if chance.random() < 0.2:
            # A stage that the image only copies from: its records are never exported.
            dockerfile += "FROM scratch\nCOPY --from=0 /bin/busybox /bin/busybox\n"
        text = builds.build(f"image{chance.randrange(4)}:1", dockerfile)
        script += text * chance.choice((1, 1, 2))
    if chance.random() < 0.3:
        script += f"docker tag image{chance.randrange(4)}:1 other:{chance.randrange(3)} 2>/dev/null || true\n"
    if chance.random() < 0.3:
        script += f"docker rmi image{chance.randrange(4)}:1 >/dev/null 2>&1 || true\n"
    if chance.random() < 0.3:
        # One that has ended, or one that runs for longer than any trial takes.
        image, command = f"image{chance.randrange(4)}:1", chance.choice(("true", "sleep 900"))
        detach = "--detach --stop-signal KILL" if command != "true" else ""
        script += f"docker run {detach} --network none {image} /bin/busybox {command} >/dev/null 2>&1 || true\n"
    return script


def assert_freed(preview, done, said):
    """Assert that the disk gained what was foreseen."""
    predicted, freed = preview["predicted_bytes"], done["freed_bytes"]
    objects = sum(step["removed"]["count"] for step in done["steps"])
    uncounted = 0.05 * max(predicted, freed) + MB + OWN_FILES * objects
    assert abs(predicted - freed) <= uncounted, (said, predicted, freed, objects)
