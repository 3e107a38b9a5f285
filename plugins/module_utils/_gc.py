# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""BuildKit's prune algorithm as a pure function: which records go, in which order, and why the others stay.

Source: BuildKit, cache/manager.go: Prune, pruneOnce, calculateKeepBytes, sortDeleteRecords (0.8 to 0.32).
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from dataclasses import dataclass

from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._records import NEVER_WITHOUT_ALL
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import parse_timestamp, version_tuple


@dataclass(frozen=True)
class _Version:
    """What differs from one BuildKit to the next, by the first engine version that has it.

    ``rank_start`` is where the ranks of sortDeleteRecords begin; ``limits`` whether there are three limits instead of
    one; ``min_free_alone`` whether a minimum of free space that is met, and stands alone, keeps everything.
    """

    since: tuple
    rank_start: int
    limits: bool
    min_free_alone: bool


# Source: BuildKit, cache/manager.go of 0.22, 0.21, 0.17 and 0.16. The first row not newer than the engine holds.
_VERSIONS = (
    _Version((28, 2), rank_start=1, limits=True, min_free_alone=True),
    _Version((28, 1), rank_start=0, limits=True, min_free_alone=True),
    _Version((27, 4), rank_start=0, limits=True, min_free_alone=False),
    _Version((0, 0), rank_start=0, limits=False, min_free_alone=False),
)


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


def engine_keep_bytes(total, free, engine_version, reserved=0, max_used=0, min_free=0):
    """Return the cap that an engine's own GC makes of a rule's limits, 0 for none; see keep_bytes.

    Raises BadOption for ``min_free`` on an engine that knows only one limit.
    """
    version = _version(engine_version)
    if not (reserved or max_used or min_free):
        return 0
    if not version.limits:
        if min_free:
            raise BadOption(f"min_free_space: engine {engine_version} does not know it; 27.4 is the first that does.")
        return max(reserved, max_used)
    if min_free and free >= min_free and not max_used:
        # BuildKit 0.17 to 0.20 take this for no limit at all and remove every match; since then one record goes.
        return max(total if version.min_free_alone else 0, reserved)
    return keep_bytes(total, free, reserved, max_used, min_free)


@dataclass(frozen=True)
class Removals:
    """The records that a rule removes, in order, and the ids of those of which not all go.

    BuildKit leaves open which of several records with the same rank goes first. Where a cap ends a removal among such
    records, ``uncertain`` has the ids of all of them: some are in ``records``, and any of the others may go instead.
    """

    records: list
    uncertain: frozenset = frozenset()


def removals(records, rule, engine_version, now, total=None):
    """Return the Removals of a rule.

    ``now`` in nanoseconds since the epoch; ``total`` is what counts against a cap, total_bytes(records) unless given.
    Without a cap the order is by layers, children before their parents; within a layer BuildKit has none. With a cap
    it is BuildKit's own; of several records with one rank the least used comes first, as it does where BuildKit's
    sort is stable (up to a dozen candidates).
    """
    by_id = {record.id: record for record in records}
    children = dict.fromkeys(by_id, 0)
    for record in records:
        for parent in record.parents:
            if parent in children:
                children[parent] += 1
    removable = {record.id for record in records if reason_to_keep(record, rule, now) is None}
    leaves = [by_id[record_id] for record_id in sorted(removable) if not children[record_id]]

    def freed_parents(record):
        """Return the parents whose last child this record was and that may go themselves."""
        freed = []
        for parent in record.parents:
            if parent in children:
                children[parent] -= 1
                if not children[parent] and parent in removable:
                    freed.append(by_id[parent])
        return freed

    if not rule.keep_bytes:
        return Removals(_layer_by_layer(leaves, freed_parents))
    total = total_bytes(records) if total is None else total
    queue = _Queue((by_id[record_id] for record_id in removable), _version(engine_version).rank_start)
    return _least_worth_first(queue, leaves, freed_parents, total, rule.keep_bytes)


def _layer_by_layer(layer, freed_parents):
    removed = []
    while layer:
        removed += layer
        layer = sorted((parent for record in layer for parent in freed_parents(record)), key=lambda one: one.id)
    return removed


def _least_worth_first(queue, leaves, freed_parents, left, keep):
    removed, ties = [], []
    for record in leaves:
        queue.push(record)
    while left >= keep and queue.size:
        record, tied = queue.pop()
        removed.append(record)
        if tied:
            ties.append(tied)
        left -= record.size
        for parent in freed_parents(record):
            queue.push(parent)
    gone = {record.id for record in removed}
    return Removals(removed, frozenset(name for tied in ties if not tied <= gone for name in tied))


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


def _version(engine_version):
    return next(row for row in _VERSIONS if version_tuple(engine_version) >= row.since)


class _Queue:
    """Candidates in the order of sortDeleteRecords, kept cheap while they come and go.

    BuildKit sorts all candidates anew for every record it removes, by u/U + c/N: u is the rank of a candidate's last
    use among the U distinct ones, c that of its usage count among the N distinct ones. Within one usage count the
    least recently used comes first, so only the heads of one heap per usage count compete. Their ranks stand in a
    list, in order of the usage counts, and are shifted when a distinct time comes or goes.
    """

    def __init__(self, records, start):
        """``records`` are all that may ever be pushed, ``start`` is where ranks begin."""
        self.size = 0
        self._start = start
        self._times = {record.id: parse_timestamp(record.last_used_at) or 0 for record in records}
        distinct = sorted(set(self._times.values()) - {0})
        self._places = {time: place for place, time in enumerate(distinct, 1)}
        self._present = [0] * (len(distinct) + 1)
        self._distinct = 0
        self._tree = [0] * (len(distinct) + 1)
        self._counts, self._heaps, self._heads, self._ranks, self._uses = [], [], [], [], []

    def push(self, record):
        """Add a candidate."""
        time = self._times[record.id]
        self._note(time, 1)
        group = bisect_left(self._counts, record.usage_count)
        if group == len(self._counts) or self._counts[group] != record.usage_count:
            for column, value in (
                (self._counts, record.usage_count),
                (self._heaps, []),
                (self._heads, 0),
                (self._ranks, 0),
            ):
                column.insert(group, value)
            self._rank_counts()
        heapq.heappush(self._heaps[group], (time, record.id, record))
        self._rank_head(group)
        self.size += 1

    def pop(self):
        """Remove the first candidate; return it and the ids of all that rank the same, or () where it is alone."""
        times = self._start + self._distinct
        if times and self._uses:
            worths = [rank / times + use for rank, use in zip(self._ranks, self._uses)]
            best = min(worths)
            group = worths.index(best)
            tied = _first_ids(self._heaps[group])
            if worths.count(best) > 1:
                tied = [name for heap, worth in zip(self._heaps, worths) if worth == best for name in _first_ids(heap)]
        else:
            # Go divides 0 by 0 and sorts by what is no number: any order is as good.
            group, tied = 0, [name for heap in self._heaps for _time, name, _record in heap]
        return self._take(group), frozenset(tied) if len(tied) > 1 else ()

    def _take(self, group):
        time, _id, record = heapq.heappop(self._heaps[group])
        self.size -= 1
        self._note(time, -1)
        if self._heaps[group]:
            self._rank_head(group)
        else:
            for column in (self._counts, self._heaps, self._heads, self._ranks):
                del column[group]
            self._rank_counts()
        return record

    def _rank_counts(self):
        """Rank the usage counts anew: each one's share of the highest rank, none where that is 0."""
        first = self._start + (1 if self._counts and self._counts[0] else 0)
        highest = first + len(self._counts) - 1
        self._uses = [(first + group) / highest for group in range(len(self._counts))] if highest > 0 else []

    def _rank_head(self, group):
        """Rank the last use of the first record of a group: the distinct times up to it (a Fenwick tree)."""
        self._heads[group] = self._heaps[group][0][0]
        place, rank = self._places.get(self._heads[group], 0), self._start
        while place:
            rank += self._tree[place]
            place &= place - 1
        self._ranks[group] = rank

    def _note(self, time, step):
        """Note that a candidate with this time came (1) or went (-1)."""
        if not time:
            return
        place = self._places[time]
        before = self._present[place]
        self._present[place] = before + step
        if before and before + step:
            return
        self._distinct += step
        self._ranks = [rank + step if head > time else rank for head, rank in zip(self._heads, self._ranks)]
        while place < len(self._tree):
            self._tree[place] += step
            place += place & -place


def _first_ids(heap):
    """Return the ids of the entries of a heap that have the first one's time."""
    time, found, todo = heap[0][0], [heap[0][1]], [1, 2]
    while todo:
        place = todo.pop()
        if place < len(heap) and heap[place][0] == time:
            found.append(heap[place][1])
            todo += (2 * place + 1, 2 * place + 2)
    return found
