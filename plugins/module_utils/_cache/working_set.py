# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What builds work with: how much of a build cache was used within a time, and how much is made in a day. Pure."""

from __future__ import annotations

from .._base.units import SECOND, parse_duration, parse_timestamp

WITHIN = ("1h", "6h", "1d", "3d", "7d", "14d", "30d", "60d")
"""The times within which facts tell what was used."""

DAY = 24 * 3600 * SECOND
_MADE_WITHIN = 7 * DAY
"""How far back a day's records are reckoned from: a week has its weekend."""


def idle_for(record, now):
    """Return for how many nanoseconds nobody used a Record, None where that is not known.

    What is in use is used now. One that was never used is as old as it is; a time to come, as of another clock, is now.
    """
    if record.in_use:
        return 0
    at = parse_timestamp(record.last_used_at) or parse_timestamp(record.created_at)
    return None if at is None else max(now - at, 0)


def used_within(records, now, duration):
    """Return the records that somebody used within that many nanoseconds before ``now``."""
    return [record for record, idle in _idle(records, now) if idle <= duration]


def _idle(records, now):
    """Return the records of which it is known for how long nobody used them, each with that."""
    known = ((record, idle_for(record, now)) for record in records)
    return [(record, idle) for record, idle in known if idle is not None]


def made_per_day(records, now):
    """Return the bytes of records that a day makes, by those of the last seven days, or since the oldest record.

    None where no record tells when it was made. A cache that is younger than a day has had one day. What is gone again
    does not count: nobody knows of it.
    """
    made = [(parse_timestamp(record.created_at), record.size) for record in records]
    made = [(max(now - at, 0), size) for at, size in made if at is not None]
    if not made:
        return None
    days = max(min(max(age for age, _size in made), _MADE_WITHIN), DAY) / DAY
    return round(sum(size for age, size in made if age <= _MADE_WITHIN) / days)


def working_set(records, now, growth=None):
    """Return what facts tell of how a builder's Records are used.

    ``now`` in nanoseconds since the epoch, ``growth`` what growth.growth() says of the disk. The answer is a dict:
    ``used_within`` for each time of WITHIN, ``made_per_day`` in bytes, ``reused`` and ``growth``. Bytes are of all
    records, ``private_bytes`` of those alone that a policy's size counts.
    """
    used, known = {}, _idle(records, now)
    for within in WITHIN:
        duration = parse_duration(within, within)
        found = [record for record, idle in known if idle <= duration]
        private = sum(record.size for record in found if not record.shared)
        used[within] = {**_sum(found), "private_bytes": private}
    return {
        "used_within": used,
        "made_per_day": made_per_day(records, now),
        "reused": _sum([record for record in records if record.usage_count > 1]),
        "growth": growth,
    }


def _sum(records):
    return {"bytes": sum(record.size for record in records), "records": len(records)}
