# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A plan as people read it: the lines of a module's diff. Pure."""

from __future__ import annotations

from .._base.units import (
    SECOND,
    human_duration,
    human_size,
    parse_timestamp,
)

LONGEST_LIST = 40
"""The number of objects that a step shows, largest first; the rest is counted."""


def prune_diff(steps):
    """Return the ``before`` and ``after`` of a prune as Ansible's diff wants them.

    ``steps`` are tuples of a title, the objects() of the step, and the ids of those that it removes.
    """
    before, after = [], []
    for step, candidates, ids in steps:
        ids = set(ids)
        lines = [line for line in candidates if line[0] in ids]
        if not lines:
            continue
        lines.sort(key=lambda line: (-line[1], line[0]))
        total = sum(size for _id, size, _text in lines)
        before.append(f"{step}: {len(lines)} to remove, {human_size(total)}")
        before += [f"  {_short(name)}  {human_size(size):>6}  {text}" for name, size, text in lines[:LONGEST_LIST]]
        rest = lines[LONGEST_LIST:]
        if rest:
            before.append(f"  and {len(rest)} more, {human_size(sum(size for _id, size, _text in rest))}")
        after.append(f"{step}: none to remove")
    return {"before": _text(before), "after": _text(after)}


def _text(lines):
    return "".join(f"{line}\n" for line in lines)


def _short(name):
    return name.rpartition(":")[2][:12]


def objects(done, observation):
    """Return what the step of a Done can remove, as tuples of id, bytes and description.

    ``observation`` is what was there before; the step that removes volumes knows their bytes itself.
    """
    step = done.step
    if observation is None:
        return [(name, size, f"{name}, of a builder that is gone") for name, size in done.sizes.items()]
    now = observation.engine.now
    if step == "containers":
        return [(one.id, one.size, f"container of {one.image}") for one in observation.containers]
    if step == "images":
        return [
            (
                image.id,
                image.unique_size,
                f"{', '.join(image.tags or image.digests) or 'untagged'}, {_age(image, now)}{_use(image, observation)}",
            )
            for image in observation.images
        ]
    return [(record.id, record.size, _record_text(record, now)) for record in observation.records]


def _age(image, now):
    return f"{human_duration(max(now - image.created * SECOND, 0))} old" if image.dated else "without a date"


def _use(image, observation):
    use = (observation.uses or {}).get(image.id)
    return f", unused for {human_duration(max(observation.engine.now - use.at, 0))} ({use.by})" if use else ""


def _record_text(record, now):
    used = parse_timestamp(record.last_used_at)
    age = f"unused for {human_duration(max(now - used, 0))}" if used else "never used"
    shared = ", shared with an image" if record.shared else ""
    return f"{record.type}, {age}{shared}, {record.description}"
