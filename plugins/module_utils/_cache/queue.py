# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The order in which BuildKit removes records under a cap. Pure.

Source: BuildKit, cache/manager.go, sortDeleteRecords (0.8 to 0.32).
"""

from __future__ import annotations

import heapq
from bisect import bisect_left
from copy import copy

from .._base.units import parse_timestamp


class Queue:
    """Candidates in the order of sortDeleteRecords, kept cheap while they come and go.

    BuildKit sorts all candidates anew for every record it removes, by u/U + c/N: u is the rank of a candidate's last
    use among the U distinct ones, c that of its usage count among the N distinct ones. Within one usage count the
    least recently used comes first, so only the heads of one heap per usage count compete. Their ranks stand in a
    list, in order of the usage counts, and are shifted when a distinct time comes or goes.
    """

    def __init__(self, records, start, later=()):
        """``records`` are all that may ever be pushed, ``later`` the times of last use that they may have got by then
        (nanoseconds since the epoch), ``start`` is where ranks begin.
        """
        self.size = 0
        self._start = start
        # By their texts, since each is needed again when its record comes.
        self._times = {text: parse_timestamp(text) or 0 for text in {record.last_used_at for record in records}}
        distinct = sorted({*self._times.values(), *later} - {0})
        self._places = {time: place for place, time in enumerate(distinct, 1)}
        self._present = [0] * (len(distinct) + 1)
        self._distinct = 0
        self._tree = [0] * (len(distinct) + 1)
        self._counts, self._heaps, self._heads, self._ranks, self._uses = [], [], [], [], []

    def push(self, record):
        """Add a candidate."""
        time = self._times.get(record.last_used_at)
        if time is None:
            time = parse_timestamp(record.last_used_at)
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

    def first(self):
        """Return the group whose head goes first, and the ids of all that rank the same, () where it is alone."""
        times = self._start + self._distinct
        if not times or not self._uses:
            # Go divides 0 by 0 and sorts by what is no number: any order is as good.
            tied = [record.id for heap in self._heaps for _time, _id, record in heap]
            return 0, tied if len(tied) > 1 else ()
        worths = [rank / times + use for rank, use in zip(self._ranks, self._uses)]
        best = min(worths)
        group = worths.index(best)
        tied = _first_ids(self._heaps[group])
        if worths.count(best) > 1:
            tied = [name for heap, worth in zip(self._heaps, worths) if worth == best for name in _first_ids(heap)]
        return group, tied if len(tied) > 1 else ()

    def head(self, group):
        """Return the first record of a group."""
        return self._heaps[group][0][2]

    def take(self, group):
        """Remove the first record of a group and return it."""
        time, _id, record = heapq.heappop(self._heaps[group])
        self._taken(group, time)
        return record

    def take_named(self, name):
        """Remove the record with this id and return it."""
        for group, heap in enumerate(self._heaps):
            for place, (time, entry_id, record) in enumerate(heap):
                if entry_id == name:
                    heap[place] = heap[-1]
                    heap.pop()
                    heapq.heapify(heap)
                    self._taken(group, time)
                    return record
        raise KeyError(name)

    def _taken(self, group, time):
        self.size -= 1
        self._note(time, -1)
        if self._heaps[group]:
            self._rank_head(group)
        else:
            for column in (self._counts, self._heaps, self._heads, self._ranks):
                del column[group]
            self._rank_counts()

    def fork(self):
        """Return a copy that goes its own way."""
        twin = copy(self)
        for name in ("_counts", "_heads", "_ranks", "_uses", "_present", "_tree"):
            setattr(twin, name, list(getattr(self, name)))
        twin._heaps = [list(heap) for heap in self._heaps]
        return twin

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
    time, found, todo = heap[0][0], [heap[0][2].id], [1, 2]
    while todo:
        place = todo.pop()
        if place < len(heap) and heap[place][0] == time:
            found.append(heap[place][2].id)
            todo += (2 * place + 1, 2 * place + 2)
    return found
