# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to what tells of images' ages and last uses beside their store: what earlier runs saw, and the engine."""

from __future__ import annotations

from .._base.errors import BuildcacheError
from .._base.units import parse_timestamp
from .._cache.last_use import last_uses, seen_in_use
from .state import keep, kept, name_of

MOST_IMAGES = 10_000
"""How many images are remembered, those that were seen in use last."""


class Memory:
    """Which images runs have seen in use by containers, and when, on one engine. To remember is no condition for
    working: what cannot be read or written is not known."""

    def __init__(self, docker_host):
        """Read what is kept for the engine at this address; ``seen`` is {image id: nanoseconds since the epoch}."""
        self._file = name_of("images", docker_host)
        found = kept(self._file)
        pairs = found.items() if isinstance(found, dict) else ()
        self.seen = {name: at for name, at in pairs if isinstance(at, int) and at > 0}

    def keep(self, observation):
        """Remember what an Observation shows too, and forget images that are gone."""
        there = {image.id for image in observation.images}
        seen = {name: at for name, at in self.seen.items() if name in there}
        for name, at in seen_in_use(observation).items():
            if name in there:
                seen[name] = max(at, seen.get(name, 0))
        if seen == self.seen:
            return
        latest = sorted(seen.items(), key=lambda one: (-one[1], one[0]))[:MOST_IMAGES]
        try:
            keep(self._file, dict(latest))
        except OSError:
            return


def with_uses(observation, seen):
    """Return the Observation with the last uses of its images; ``seen`` is what a Memory has."""
    return observation._replace(uses=last_uses(observation, seen))


def with_ends(observation, client):
    """Return the Observation with the ends of its containers that do not run, which no list tells."""
    return observation._replace(
        containers=tuple(
            one if one.running else one._replace(ended=_time(client.container, one.id, "State", "FinishedAt"))
            for one in observation.containers
        )
    )


def with_arrivals(observation, client, ids):
    """Return the Observation with the arrivals of the images with these ids as the engine tells them, for want of their
    store: those of pulls and loads a graph driver's engine does not tell."""
    ids, images = set(ids), []
    for image in observation.images:
        if image.id in ids:
            image = image._replace(arrived=_time(client.image, image.id, "Metadata", "LastTagTime"))
        images.append(image)
    return observation._replace(images=tuple(images))


def _time(ask, name, section, key):
    """Return the nanoseconds since the epoch that the engine tells of one thing, 0 for none."""
    try:
        # One that the engine cannot show is not to keep the others.
        return parse_timestamp((ask(name).get(section) or {}).get(key)) or 0
    except BuildcacheError:
        return 0
