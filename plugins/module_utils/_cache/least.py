# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""As little as is needed, and of that what is worth least: images and build cache in one order of their last use. Pure.

Images go by their last use, and so many of them that no record would have to go that was used later than the next one
of them. How many that is is reckoned by the last use of records alone; which records go then, BuildKit decides by its
own order (order.py), under a cap that has as many go as are needed.
"""

from __future__ import annotations

from .._base.records import IMAGES
from .choose import planned_containers, planned_images
from .gc import reason_to_keep, total_bytes
from .last_use import uses_of_records
from .marks import Need
from .shared import Shared
from .steps import CONTAINERS, cache_rules, of_objects, of_records
from .tally import Tally


def least(wanted, observation, need):
    """Return the steps that let as much go as the Need asks for, and the Observation that they leave.

    All that is wanted is known to be enough.
    """
    containers, observation, need = _containers(wanted, observation, need)
    candidates = planned_images(wanted, observation) if not need.met else ()

    def with_images(number):
        """Return the steps with so many images, what they leave, and whether that is enough."""
        images, left = of_objects(IMAGES, _with_parents(candidates, number, observation), observation)
        rest = need.less(images.bytes, images.inodes)
        rules = cache_rules(wanted, left) if not rest.met else ()
        records, left = of_records(rules, left, _Until(rest, left))
        return (containers, images, records), left, rest.less(records.bytes, records.inodes).met

    few, many = -1, _how_many(candidates, wanted, observation, need) if candidates else 0
    found = with_images(many)
    # Records that the reckoning counted on may be held by others that stay.
    while not found[-1] and many < len(candidates):
        few, many = many, min(len(candidates), 2 * many + 1)
        found = with_images(many)
    # In a large store an image more or less in fifty is not worth the time.
    while few >= 0 and many - few > max(1, many // 50):
        middle = (few + many) // 2
        other = with_images(middle)
        few, many, found = (few, middle, other) if other[-1] else (middle, many, found)
    return found[:-1]


def _containers(wanted, observation, need):
    """Return the step that removes the oldest containers, and what it leaves of the Observation and the Need."""
    chosen, missing = [], need
    for one in sorted(planned_containers(wanted, observation), key=lambda one: (one.created, one.id)):
        if missing.met:
            break
        chosen.append(one)
        missing = missing.less(one.size)
    step, left = of_objects(CONTAINERS, chosen, observation)
    return step, left, need.less(step.bytes, step.inodes)


def _with_parents(candidates, number, observation):
    """Return the first images of the candidates, with those of the others that the engine removes with them: see
    choose.planned_images."""
    chosen = list(candidates[:number])
    gone = {image.id for image in chosen}
    children = {}
    for image in observation.images:
        children.setdefault(image.parent, set()).add(image.id)
    last_only = observation.engine.image_store != "containerd"
    for image in candidates[number:]:
        of_it = children.get(image.id)
        if image.untagged and of_it and (of_it <= gone if last_only else of_it & gone):
            gone.add(image.id)
            chosen.append(image)
    return chosen


def _how_many(candidates, wanted, observation, need):
    """Return how many images go, the first of the candidates, until the records that were used before the next one
    make up the rest."""
    tally, shared = Tally(observation), Shared(observation)
    pool = _Pool(cache_rules(wanted, observation), observation, shared, tally)
    for number, image in enumerate(candidates):
        use = (observation.uses or {}).get(image.id)
        if need.less(*pool.until(use.at if use else observation.engine.now)).met:
            return number
        need = need.less(*tally.release(image))
        for name in shared.without(image):
            pool.offer(name)
    return len(candidates)


class _Pool:
    """The records that may go by some rules and that no image holds, in order of their last use."""

    def __init__(self, rules, observation, shared, tally):
        self._shared, self._tally = shared, tally
        self._by_id, self._timed, used = {}, [], uses_of_records(observation.records)
        for record in observation.records:
            alone = record._replace(shared=False) if record.shared else record
            if any(reason_to_keep(alone, rule, observation.engine.now) is None for rule in rules):
                self._by_id[record.id] = record
                self._timed.append((used[record.id], record.id))
        self._timed.sort()
        self._passed, self._next = set(), 0
        self._bytes = self._inodes = 0
        caps = [rule.keep_bytes for rule in rules if rule.keep_bytes]
        self._most = max(0, total_bytes(observation.records) - max(caps)) if caps else None

    def until(self, time):
        """Return the bytes and the inodes of those that were used by then."""
        while self._next < len(self._timed) and self._timed[self._next][0] <= time:
            name = self._timed[self._next][1]
            self._passed.add(name)
            self._next += 1
            self._count(name)
        return self._bytes if self._most is None else min(self._bytes, self._most), self._inodes

    def offer(self, name):
        """Count a record that no image holds any more, where its time has come."""
        if name in self._passed:
            self._count(name)
        if self._most is not None and name in self._by_id:
            self._most += self._by_id[name].size

    def _count(self, name):
        if name not in self._shared.names:
            self._bytes += self._by_id[name].size
            self._inodes += self._tally.own_inodes(name)


class _Until:
    """Is told of each record that goes, and answers whether a Need is met by then.

    The cap that comes of it is on the bytes that are left; so it is the same whatever else happens on the disk.
    """

    def __init__(self, need, observation):
        self._bytes, self._inodes = need
        self._tally = Tally(observation)

    def __call__(self, record):
        size, inodes = self._tally.release(record)
        self._bytes -= size
        self._inodes -= inodes
        return Need(self._bytes, self._inodes).met
