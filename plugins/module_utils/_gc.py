# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""BuildKit's prune algorithm as a pure function: which records go, in which order, and why the others stay.

Source: BuildKit, cache/manager.go: Prune, pruneOnce, calculateKeepBytes, sortDeleteRecords (0.8 to 0.32).
"""

from __future__ import annotations

import heapq
import re
from bisect import bisect_left
from dataclasses import dataclass

from ansible_collections.buildfleet.buildcache.plugins.module_utils._records import NEVER_WITHOUT_ALL
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import parse_timestamp

# Where the ranks of sortDeleteRecords begin: 0 up to BuildKit 0.21, 1 from 0.22 (cache/manager.go of both).
# The first row whose engine version is not newer than the engine's holds.
_RANK_START = (((28, 2), 1), ((0, 0), 0))


@dataclass(frozen=True)
class Rule:
    """Which records one prune request removes, and where it stops.

    ``unused_for`` in nanoseconds. ``keep_bytes`` is the cap: removal stops once less than that is left, 0 means
    no cap. ``id`` is a part of the id; ``shared`` is True for shared records only, False for private only.
    """

    all: bool = False
    unused_for: int = 0
    type: str | None = None
    id: str | None = None
    description: str | None = None
    shared: bool | None = None
    keep_bytes: int = 0


def total_bytes(records):
    """Return the bytes that BuildKit holds against a limit: every record that is not shared, in use or not."""
    return sum(record.size for record in records if not record.shared)


def keep_bytes(total, free, reserved=0, max_used=0, min_free=0):
    """Return the cap that the three limits together make: removal goes on until less than that is left.

    All in bytes, 0 where a limit is not set; at least one must be. ``total`` is total_bytes(), ``free`` what the
    file system has free. The answer 0 asks to remove every match; ``total + 1`` or more asks for nothing.

    This is calculateKeepBytes of BuildKit 0.21 and later with one difference: where only ``min_free`` is set and
    met, BuildKit's answer is ``total``, which its own strict comparison takes as leave to remove one record at
    every run.
    """
    keep = max_used
    missing = min_free - free
    if missing > 0:
        keep = min(keep, total - missing) if keep else total - missing
    elif min_free and not keep:
        keep = total + 1
    return max(keep, reserved, 0)


def removals(records, rule, engine_version, now):
    """Return the records that the rule removes, in the order in which they go.

    ``now`` in nanoseconds since the epoch. Without a cap the order is by layers, children before their parents;
    within a layer BuildKit has none. With a cap it is BuildKit's own, ties in the order of the ids.
    """
    by_id = {record.id: record for record in records}
    children = dict.fromkeys(by_id, 0)
    for record in records:
        for parent in record.parents:
            if parent in children:
                children[parent] += 1
    removable = {record.id for record in records if reason_to_keep(record, rule, now) is None}
    leaves = [record_id for record_id in removable if not children[record_id]]

    def freed_parents(record):
        """Yield the ids of parents whose last child this record was and that may go themselves."""
        for parent in record.parents:
            if parent in children:
                children[parent] -= 1
                if not children[parent] and parent in removable:
                    yield parent

    if not rule.keep_bytes:
        return _peel(sorted(leaves), by_id, freed_parents)
    left = total_bytes(records)
    queue = _Queue(by_id[record_id] for record_id in removable)
    for record_id in leaves:
        queue.push(by_id[record_id])
    start = _rank_start(engine_version)
    removed = []
    while left >= rule.keep_bytes and len(queue):
        record = queue.pop(start)
        removed.append(record)
        left -= record.size
        for parent in freed_parents(record):
            queue.push(by_id[parent])
    return removed


def _peel(layer, by_id, freed_parents):
    removed = []
    while layer:
        removed += [by_id[record_id] for record_id in layer]
        layer = sorted(parent for record_id in layer for parent in freed_parents(by_id[record_id]))
    return removed


def reason_to_keep(record, rule, now):
    """Return why the rule does not touch this record, or None where only a child or the cap could keep it.

    The reasons: ``in_use``, ``internal``, ``shared``, ``too_young``, ``not_selected``.
    """
    if record.in_use:
        return "in_use"
    if not rule.all and record.type in NEVER_WITHOUT_ALL:
        return "internal"
    if not rule.all and record.shared:
        return "shared"
    if not _selected(record, rule):
        return "not_selected"
    last_used = parse_timestamp(record.last_used_at) if rule.unused_for else None
    if last_used is not None and last_used > now - rule.unused_for:
        return "too_young"
    return None


def _selected(record, rule):
    return (
        (rule.type is None or record.type == rule.type)
        and (rule.id is None or rule.id in record.id)
        and (rule.description is None or record.description == rule.description)
        and (rule.shared is None or record.shared == rule.shared)
    )


def _rank_start(engine_version):
    numbers = tuple(int(number) for number in re.findall(r"\d+", engine_version)[:2])
    return next((start for since, start in _RANK_START if numbers >= since), 0)


class _Queue:
    """Candidates in the order of sortDeleteRecords, kept cheap while they come and go.

    BuildKit sorts all candidates anew for every record it removes, by u/U + c/N: u is the rank of a candidate's
    last use among the U distinct ones, c that of its usage count among the N distinct ones. Within one usage count
    the least recently used comes first, so only the heads of one heap per usage count compete, and only the
    ranks of those heads are kept up to date.
    """

    def __init__(self, records):
        self._times = {record.id: parse_timestamp(record.last_used_at) or 0 for record in records}
        self._distinct = sorted(set(self._times.values()) - {0})
        self._tree = [0] * (len(self._distinct) + 1)
        self._present = {}
        self._heaps = {}
        self._ranks = {}
        self._size = 0

    def __len__(self):
        return self._size

    def push(self, record):
        """Add a candidate."""
        time = self._times[record.id]
        self._count(time, 1)
        heap = self._heaps.setdefault(record.usage_count, [])
        heapq.heappush(heap, (time, record.id, record))
        if heap[0][2] is record:
            self._ranks[record.usage_count] = self._rank(time)
        self._size += 1

    def pop(self, start):
        """Remove and return the first candidate; ``start`` is where ranks begin."""
        newest = start + len(self._present)
        counts = sorted(self._heaps)
        offset = start if counts[0] == 0 else start + 1
        most = offset + len(counts) - 1
        best = min(
            # Go divides 0/0 to NaN and sorts as it happens to; any order is as good then.
            (
                (start + self._ranks[count]) / (newest or 1) + (offset + index) / (most or 1),
                self._heaps[count][0][:2],
                count,
            )
            for index, count in enumerate(counts)
        )
        count = best[2]
        time, _id, record = heapq.heappop(self._heaps[count])
        self._size -= 1
        self._count(time, -1)
        if self._heaps[count]:
            self._ranks[count] = self._rank(self._heaps[count][0][0])
        else:
            del self._heaps[count], self._ranks[count]
        return record

    def _count(self, time, step):
        """Note that a candidate with this time came or went, and shift the ranks of the heads behind it."""
        if not time:
            return
        before = self._present.get(time, 0)
        self._present[time] = before + step
        if before and before + step:
            return
        if not before + step:
            del self._present[time]
        place = bisect_left(self._distinct, time) + 1
        while place < len(self._tree):
            self._tree[place] += step
            place += place & -place
        for count, heap in self._heaps.items():
            if heap and heap[0][0] > time and count in self._ranks:
                self._ranks[count] += step

    def _rank(self, time):
        """Return how many distinct times up to this one are present (a Fenwick tree); 0 for never used."""
        if not time:
            return 0
        place, rank = bisect_left(self._distinct, time) + 1, 0
        while place:
            rank += self._tree[place]
            place -= place & -place
        return rank
