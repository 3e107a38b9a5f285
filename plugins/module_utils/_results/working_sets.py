# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What facts tell of how build caches are used, for those who ask for it. Pure."""

from __future__ import annotations

from .._base.records import BUILD_CACHE, Builders
from .._cache.working_set import working_set


def with_working_sets(told, observation, builders, growth):
    """Return facts, as facts() has told them of an Observation and Builders, with the ``working_set`` of each builder,
    None where its records are not known. ``growth`` of the disk is told with the engine's own."""
    builders, now = builders or Builders(), observation.engine.now
    own = None if BUILD_CACHE in dict(observation.unread) else working_set(observation.records, now, growth)
    sets = [own] if builders.embedded else []
    for seen in builders.others:
        sets.append(working_set(seen.observation.records, now) if seen.observation else None)
    entries = [{**entry, "working_set": one} for entry, one in zip(told["builders"], sets)]
    return {**told, "builders": entries}
