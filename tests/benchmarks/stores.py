# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a large store takes: python -m tests.benchmarks.stores RECORDS IMAGES LAYERS ROUNDS.

A graph driver's store on disk, and the engine's answer about it. Measured are reading the answer, reading the store,
the plan of a run that removes images and cache under a limit, and the facts. Writes as JSON the seconds of each round,
and in mebibytes how far the process grew.
"""

from __future__ import annotations

import gc
import hashlib
import json
import random
import resource
import sys
import tempfile
import time
from pathlib import Path

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import image_from_api, record_from_api
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import parse_timestamp
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.options import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.plan import plan
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.stores import with_store
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.uses import with_uses
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import Daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.facts import facts

from ..unit.bolt_writer import write
from ..unit.holdings import filesystem, observation, options
from .records import api_records

NOW = parse_timestamp("2026-02-01T00:00:00Z")
DEEPEST = 12  # layers of an image
_STAGED = {
    "stages": [
        {"unused_for": "20d"},
        {"images": "unused", "images_unused_for": "20d"},
        {"images": "unused", "all": True},
    ],
    "high_watermark": "2",
}
"""A run that goes down to its last stage: nothing is available."""


def main():
    """Measure; half of the cache's bytes are to go, and all images that have no tag."""
    records, images, layers, rounds = map(int, sys.argv[1:])
    chance = random.Random(records)
    with tempfile.TemporaryDirectory() as directory:
        root = Path(directory)
        answer = json.dumps(_fill(root, chance, api_records(records), images, layers))
        measured, memory = [], 0
        for _round in range(rounds):
            gc.collect()
            before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
            times, start = {}, time.perf_counter()
            usage = json.loads(answer)
            held = (tuple(map(record_from_api, usage["BuildCache"])), tuple(map(image_from_api, usage["Images"])))
            seen = _seen(root, *held)
            times["reading the answer"], start = time.perf_counter() - start, time.perf_counter()
            seen = with_store(seen)
            times["reading the store"], start = time.perf_counter() - start, time.perf_counter()
            half = sum(record.size for record in seen.records) // 2
            steps, _left = plan(wanted_from_options(options(all=True, max_used_space=str(half))), seen)
            times["the plan"], start = time.perf_counter() - start, time.perf_counter()
            used = with_uses(seen, {})
            times["the last uses"], start = time.perf_counter() - start, time.perf_counter()
            staged, _left = plan(wanted_from_options(options(**_STAGED, low_watermark=str(half))), used)
            times["the plan of a run with stages"], start = time.perf_counter() - start, time.perf_counter()
            facts(seen, Daemon())
            times["the facts"] = time.perf_counter() - start
            times["all of it"] = sum(times.values())
            memory = memory or resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
            measured.append(times)
    removed = {step.step: len(step.ids) for step in steps}
    removed["stages"] = {f"{step.stage} {step.step}": len(step.ids) for step in staged}
    print(json.dumps({"rounds": measured, "memory": memory / 1024, "removed": removed}))


def _seen(root, records, images):
    seen = observation(records, images, filesystems=[filesystem(10**12, 10**11)])
    engine = seen.engine._replace(
        root_dir=str(root), data_dirs=(str(root),), image_store="graphdriver", storage_driver="overlay2", now=NOW
    )
    return seen._replace(engine=engine)


def _fill(root, chance, records, images, layers):
    """Write the store, and return the answer of /system/df about it: chains of layers that fork, an image on the end of
    many, two in three of them with a tag, and a record for each layer."""
    base = root / "image" / "overlay2"
    chains, diffs, depths = [], {}, {}
    for number in range(layers):
        parent = chance.choice(chains) if number and chance.random() < 0.95 else None
        parent = None if parent and depths[parent] == DEEPEST else parent
        diff = _digest(f"layer {number}")
        chain = _digest(f"{parent} {diff}") if parent else diff
        chains.append(chain)
        diffs[chain], depths[chain] = [*diffs.get(parent, ()), diff], depths.get(parent, 0) + 1
        directory = base / "layerdb" / "sha256" / chain.partition(":")[2]
        directory.mkdir(parents=True)
        for name, text in (("diff", diff), ("cache-id", f"{number:025}"), ("size", "40000000"), ("parent", parent)):
            if text:
                (directory / name).write_text(text)
    content = base / "imagedb" / "content" / "sha256"
    content.mkdir(parents=True)
    entries = []
    for number, chain in enumerate(chance.sample(chains, images)):
        config = json.dumps({"number": number, "rootfs": {"type": "layers", "diff_ids": diffs[chain]}})
        name = _digest(config)
        (content / name.partition(":")[2]).write_text(config)
        size = 40_000_000 * depths[chain]
        tags = [f"team/app{number}:1"] if number % 3 else []
        entries.append({"Id": name, "RepoTags": tags, "Size": size, "SharedSize": size // 2, "Created": 1_760_000_000})
    regular = [entry for entry in records if entry["Type"] == "regular"][:layers]
    pairs = zip(regular, chains, strict=False)
    snapshots = {entry["ID"].encode(): {b"chainid": chain.encode()} for entry, chain in pairs}
    (root / "buildkit").mkdir()
    write(root / "buildkit" / "snapshots.db", snapshots)
    return {"BuildCache": records, "Images": entries}


def _digest(text):
    return f"sha256:{hashlib.sha256(text.encode()).hexdigest()}"


if __name__ == "__main__":
    main()
