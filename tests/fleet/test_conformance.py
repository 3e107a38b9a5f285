# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether the preview is what happens: random caches by real builds, random stores as years leave them, random
options; what is planned and what goes, what is said to stay and what stays, and that a second run changes nothing.

What cannot be compared is counted, and said at the end. The seed stands at the head of the report; see trials.py.
"""

from __future__ import annotations

import json
import random
import time

import builds
import comparison
import daemon
import engine
import fleet
import lived_in
import pytest
from trials import QUIET, ROOM, SEED, TRIALS
from variants import variants

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND, parse_timestamp

NOT_COMPARED = []
"""What was left out of a comparison, and why."""


@pytest.fixture(scope="module")
def counted(lab, registry):
    """A registry on every host; in the end it is told what was not compared."""
    yield
    print(
        f"SEED={SEED}, {TRIALS} trials on {len(lab)} hosts; not compared: {len(NOT_COMPARED)}", *NOT_COMPARED, sep="\n"
    )


@pytest.mark.parametrize("trial", variants(range(TRIALS), first=1))
def test_the_preview_names_what_the_run_removes(lab, counted, trial):
    chance = random.Random(f"{SEED} {trial}")
    print(f"SEED={SEED}, trial {trial}")
    if trial % 6 == 0:
        builds.empty_engines()
    if trial % 6 == 1:
        fleet.shell(lived_in.LEFTOVERS)
    fleet.shell({host: comparison.fill(random.Random(f"{SEED} {trial} {host}"), host) for host in lab})
    by_age = chance.random() < 0.1
    if by_age:
        time.sleep(QUIET)
        second_round = time.monotonic()
        fleet.shell({host: comparison.fill(random.Random(f"{SEED} {trial} {host} later"), host) for host in lab})
    restarted = chance.random() < 0.2
    if restarted:
        daemon.restart()
    busy = not by_age and chance.random() < 0.15
    if busy:
        fleet.shell(builds.start_slow("slow:1"))
    before = engine.look()
    options, per_host = _options(chance, before)
    age = 0
    if by_age:
        age = round(time.monotonic() - second_round + ROOM)
        options["unused_for"] = f"{age}s"
        per_host.pop("min_free_space", None)  # whose edges take too long to find out
    # A limit on free space is met to the byte, and a log line moves it: hosts on the edge of one record more or less
    # are told by previews with a little more and a little less.
    edges = [
        fleet.task("buildcache_prune", options, check=True, per_host=_shifted(per_host, shift))
        for shift in (-comparison.EDGE, comparison.EDGE)
        if "min_free_space" in per_host
    ]
    began = time.time()
    preview, *around, done, again = fleet.play(
        [
            fleet.task("buildcache_prune", options, check=True, per_host=per_host),
            *edges,
            fleet.task("buildcache_prune", options, per_host=per_host),
            fleet.task("buildcache_prune", options, per_host=per_host),
        ]
    )
    ended = time.time()
    if busy:
        fleet.shell(builds.LET_GO)
        _wait_for_builds()
    for host in lab:
        chosen = {**options, **{name: of[host] for name, of in per_host.items()}}
        said = f"{host}, SEED={SEED}, trial {trial}, {chosen}, in {ended - began:.0f} s"
        assert not done[host]["failed"], (said, done[host]["msg"])
        if any(comparison.planned_ids(one[host]) != comparison.planned_ids(preview[host]) for one in around):
            NOT_COMPARED.append(f"{said}: on the edge")
            continue
        if by_age and _comes_of_age(before[host].records, began - age, ended - age):
            NOT_COMPARED.append(f"{said}: a record came of age after the preview")
            continue
        # Shown where the trial fails, so that the plan can be made again without the host.
        seen = [before[host].records, before[host].images]
        print(f"{host}: {json.dumps([preview[host]['steps'], done[host]['steps'], *seen])}")
        for planned, removed in zip(preview[host]["steps"], done[host]["steps"], strict=True):
            comparison.compare(planned["planned"], removed["removed"], f"{said}: {planned['step']}")
        cache = done[host]["steps"][2]["removed"]
        sizes = before[host].records
        assert cache["bytes"] == sum(sizes[name]["Size"] for name in cache["ids"]), said
        if busy or by_age or "min_free_space" in per_host:
            NOT_COMPARED.append(f"{said}: the second run, and what stays: the host changes in between")
        else:
            comparison.assert_settled(options, before[host].records, done[host], again[host], said)
            if not preview[host]["steps"][2]["planned"]["uncertain"]:
                assert comparison.stays(preview[host]) == comparison.stays(done[host]), said
        if not busy and not preview[host]["steps"][2]["planned"]["uncertain"]:
            comparison.assert_freed(preview[host], done[host], said)


def _comes_of_age(records, earliest, latest):
    """Whether a record was last used between these times, in seconds since the epoch."""
    used = [parse_timestamp(one["LastUsedAt"]) for one in records.values()]
    return any(earliest <= at / SECOND <= latest for at in used if at is not None)


def _shifted(per_host, shift):
    """Return the options with a minimum of free space that is so many bytes larger."""
    return {"min_free_space": {host: str(int(size) + shift) for host, size in per_host["min_free_space"].items()}}


def _options(chance, before):
    """Return options for all hosts, and those that differ from host to host: {option: {host: value}}."""
    options = {
        "images": chance.choice(("keep", "dangling", "dangling", "unused")),
        "containers": chance.choice(("keep", "keep", "stopped")),
        "all": chance.random() < 0.4,
    }
    if options["images"] != "keep" and chance.random() < 0.3:
        options["images_older_than"] = chance.choice(("1s", "100d"))
    if chance.random() < 0.2:
        options["unused_for"] = "1s"  # all of them, but for parents that look used once their children go
    if chance.random() < 0.2:
        options["types"] = chance.choice((["regular"], ["source.local", "regular"], ["exec.cachemount"]))
    per_host = {}
    limit = chance.choice((None, None, "max_used_space", "max_used_space", "reserved_space", "min_free_space"))
    share = chance.random()
    for host, state in before.items() if limit else ():
        size = int(state.private_bytes * share) + 1
        per_host.setdefault(limit, {})[host] = str(state.free + size if limit == "min_free_space" else size)
    return options, per_host


def _wait_for_builds():
    end = time.monotonic() + 60
    while not all(answer.strip() == "0" for answer in fleet.shell(builds.ENDED).values()):
        assert time.monotonic() < end, "The builds did not end well."
        time.sleep(1)
