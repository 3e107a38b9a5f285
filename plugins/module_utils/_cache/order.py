# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes one by one until a cap is met, and what else could: BuildKit leaves open who of equals goes first. Pure.

Source: BuildKit, cache/manager.go, prune (0.8 to 0.32).
"""

from __future__ import annotations

from copy import copy

from .._base.units import format_timestamp, parse_timestamp
from .queue import Queue

_PATIENCE = 2_600_000
"""How many records may be copied to follow other choices: all that there are among some ten thousand records."""


class Lineage:
    """Who builds on whom while records go, and which parents that makes look used.

    ``used`` has the records that look used, by id.
    """

    def __init__(self, records, removable, now, started_at=None, by_age=False):
        """``removable`` are the ids of the records that may go, ``started_at`` when the engine started, None where
        nothing comes to look used; ``by_age`` whether what looks used may no longer go. Times in nanoseconds.
        """
        self.by_id = {record.id: record for record in records}
        self.removable = removable
        self.used = {}
        self._by_age = by_age
        self._too_young = set()
        self._children = dict.fromkeys(self.by_id, 0)
        self._old_children = {}
        self._old = set()
        self._latest_use = now
        for record in records:
            old = record.parents and started_at and (parse_timestamp(record.created_at) or 0) < started_at
            if old:
                self._old.add(record.id)
            for parent in record.parents:
                if parent in self._children:
                    self._children[parent] += 1
                    if old:
                        self._old_children[parent] = self._old_children.get(parent, 0) + 1
        if self._old:
            # An earlier rule's removals may have been uses that are later than now.
            self._latest_use = max(now, *(parse_timestamp(record.last_used_at) or 0 for record in records))

    def fork(self):
        """Return a copy that goes its own way."""
        twin = copy(self)
        twin._too_young = set(self._too_young)
        for name in ("used", "_children", "_old_children"):
            setattr(twin, name, dict(getattr(self, name)))
        return twin

    def leaves(self):
        """Return the records that may go now."""
        return [self.by_id[name] for name in sorted(self.removable) if not self._children[name]]

    def times_of_use(self):
        """Return the times at which removals can make records look used, in nanoseconds since the epoch."""
        return range(self._latest_use + 1, self._latest_use + 1 + len(self._old_children))

    def remove(self, record):
        """Take a record out; return the parents whose last child it was and that may go themselves."""
        freed = []
        for parent in record.parents:
            if parent not in self._children:
                continue
            self._children[parent] -= 1
            if record.id in self._old:
                self._old_children[parent] -= 1
                if not self._old_children[parent]:
                    self._use(parent)
            if not self._children[parent] and parent in self.removable and parent not in self._too_young:
                freed.append(self.used.get(parent) or self.by_id[parent])
        return freed

    def _use(self, name):
        record = self.by_id[name]
        # One after the other, so that each has a time of its own.
        used_at = format_timestamp(self._latest_use + 1 + len(self.used))
        self.used[name] = record._replace(last_used_at=used_at, usage_count=record.usage_count + 1)
        if self._by_age:
            self._too_young.add(name)


class _Walk:
    """One way to remove record by record. ``state`` is the same for two ways on which the same follows."""

    def __init__(self, lineage, rank_start, left, cap):
        candidates = [lineage.by_id[name] for name in lineage.removable]
        self.lineage = lineage
        self.queue = Queue(candidates, rank_start, lineage.times_of_use())
        self.left, self.cap = left, cap
        self.removed = []
        self.state = 0
        for record in lineage.leaves():
            self.queue.push(record)

    @property
    def ended(self):
        return self.left < self.cap or not self.queue.size

    def fork(self):
        twin = copy(self)
        twin.lineage, twin.queue, twin.removed = self.lineage.fork(), self.queue.fork(), list(self.removed)
        return twin

    def take(self, record):
        """Remove a record that has been taken from the queue."""
        self.removed.append(record)
        self.left -= record.size
        used = len(self.lineage.used)
        for parent in self.lineage.remove(record):
            self.queue.push(parent)
        self.state ^= hash(record.id)
        if len(self.lineage.used) > used:
            # The order of uses is the order of the times of last use.
            self.state ^= hash((record.id, used))

    def others(self, tied, record_id):
        """Yield a walk for every other choice among equals."""
        for name in tied:
            if name != record_id:
                twin = self.fork()
                twin.take(twin.queue.take_named(name))
                yield twin


def least_worth_first(lineage, rank_start, total, cap, enough=None):
    """Return the records that go until less than ``cap`` of ``total`` bytes is left, in order; those that look used by
    then, by id; and the ids of those that go by one choice among equals and stay by another.

    ``rank_start`` is where ranks begin (see Queue). ``enough(record)`` is told of each and can end it sooner. Where
    there are too many choices to follow them all, everything that may go from there on is among those ids.
    """
    walk = _Walk(lineage, rank_start, total, cap)
    beginning = walk.fork()
    states, choices = {walk.state}, False
    while not walk.ended:
        group, tied = walk.queue.first()
        choices = choices or bool(tied)
        record = walk.queue.take(group)
        walk.take(record)
        states.add(walk.state)
        if enough and enough(record):
            walk.cap = beginning.cap = walk.left + 1
    uncertain = _uncertain(walk.removed, beginning, states) if choices else frozenset()
    return walk.removed, walk.lineage.used, uncertain


def _uncertain(removed, walk, states):
    """Return the ids of the records that go by one choice and stay by another.

    ``walk`` is at the beginning of the way that ``removed`` is the end of; ``states`` are all states on it.
    """
    gone, uncertain = {record.id for record in removed}, set()
    patience = _PATIENCE
    while not walk.ended:
        group, tied = walk.queue.first()
        record_id = walk.queue.head(group).id
        todo = list(walk.others(tied, record_id))
        while todo:
            patience -= len(walk.lineage.by_id)
            if patience < 0:
                return frozenset(walk.lineage.removable.difference(one.id for one in walk.removed) | uncertain)
            other = todo.pop()
            while other.state not in states:
                states.add(other.state)
                if other.ended:
                    uncertain |= gone.symmetric_difference(one.id for one in other.removed)
                    break
                its_group, its_tied = other.queue.first()
                todo += other.others(its_tied, other.queue.head(its_group).id)
                other.take(other.queue.take(its_group))
        walk.take(walk.queue.take(group))
    return frozenset(uncertain)
