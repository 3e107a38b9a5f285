# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When each image was last used, of all that tells it; no engine keeps that itself. Pure.

What counts: a container that was made from it, also one that an earlier run saw; its arrival, by a pull, a load, a
build or a tag; when it was made; the build cache's use of records with its very layers; and the use of what was made on
it, whose layers stay as long.
"""

from __future__ import annotations

from .._base.records import LastUse
from .._base.units import SECOND, parse_timestamp

CONTAINER, SEEN, BUILD, ARRIVED, CREATED, CHILD = "container", "seen", "build", "arrived", "created", "child"
"""What a last use is known by: a container, one that an earlier run saw, the build cache, a pull, load, build or tag,
the image's own date, and the use of an image that was made on it."""


def last_uses(observation, seen=None):
    """Return the LastUse of each image of which anything is known, by id.

    ``seen`` is when earlier runs saw images in use: {id: nanoseconds since the epoch}.
    """
    uses = {}
    by_record, store = _uses_of_chains(observation), observation.store
    by_container = seen_in_use(observation)
    for image in observation.images:
        # Of equal ones the first is named.
        known = [
            (by_container.get(image.id, 0), CONTAINER),
            ((seen or {}).get(image.id, 0), SEEN),
            (max((by_record.get(top, 0) for top in store.tops.get(image.id, ())), default=0) if store else 0, BUILD),
            (image.arrived, ARRIVED),
            (_made(image, observation.engine.now), CREATED),
        ]
        at, by = max(known, key=lambda one: one[0])
        if at:
            uses[image.id] = LastUse(at, by)
    _hand_down(uses, observation)
    return uses


def _hand_down(uses, observation):
    """Give the images that others were made on, by a commit or by any build, the last use of these where it is later:
    as long as they stay, so do the layers of the one below."""
    images, store = {image.id: image for image in observation.images}, observation.store
    by_top = {}
    for name, chains in store.tops.items() if store else ():
        for chain in chains:
            by_top.setdefault(chain, []).append(name)
    # The latest first, so that each is given its last at once.
    for name in sorted(uses, key=lambda name: -uses[name].at):
        below, image = [], images[name]
        while image.parent in images:
            image = images[image.parent]
            below.append(image.id)
        for layer in store.layers.get(name, ()) if store else ():
            below += by_top.get(layer.rpartition(" ")[2], ())
        for one in below:
            if one in images and (one not in uses or uses[one].at < uses[name].at):
                uses[one] = LastUse(uses[name].at, CHILD)


def seen_in_use(observation):
    """Return when containers are known to have used images: {id: nanoseconds since the epoch}; now where one runs."""
    found = {}
    for one in observation.containers:
        used = observation.engine.now if one.running else max(one.created * SECOND, one.ended)
        found[one.image_id] = max(used, found.get(one.image_id, 0))
    return found


def arrival(image, now):
    """Return when an image arrived or was made, in nanoseconds since the epoch, 0 where neither is known."""
    return max(image.arrived, _made(image, now))


def _made(image, now):
    # A date to come is none.
    return image.created * SECOND if image.dated and image.created * SECOND <= now else 0


def uses_of_records(records):
    """Return when records were last used, by id in nanoseconds since the epoch: themselves, or what builds on them.
    From Engine 23.0 on, a build that finds the end of a chain in the cache leaves what is below it as it was."""
    by_id = {record.id: record for record in records}
    used = {}
    for time, name in sorted(((parse_timestamp(one.last_used_at) or 0, one.id) for one in records), reverse=True):
        todo = [name]
        while todo:
            one = todo.pop()
            if one in by_id and one not in used:
                used[one] = time
                todo += by_id[one].parents
    return used


def _uses_of_chains(observation):
    """Return when the build cache last used layers, by their chain: {chain id: nanoseconds since the epoch}."""
    chains = {}
    for name, time in uses_of_records(observation.records).items() if observation.store else ():
        chain = observation.store.record_chains.get(name)
        if chain:
            chains[chain] = max(time, chains.get(chain, 0))
    return chains
