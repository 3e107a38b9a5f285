# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""BuildKit's prune algorithm as a pure function: which records go, in which order, and why the others stay.

Source: BuildKit, cache/manager.go: Prune, pruneOnce, calculateKeepBytes, sortDeleteRecords (0.8 to 0.32).
"""

from __future__ import annotations

from typing import NamedTuple

from .._base.errors import BadOption
from .._base.records import NEVER_WITHOUT_ALL
from .._base.units import parse_timestamp, version_tuple


class _Version(NamedTuple):
    """What differs from one BuildKit to the next, by the first engine version that has it.

    ``rank_start`` is where the ranks of sortDeleteRecords begin; ``limits`` whether there are three limits instead of
    one; ``min_free_alone`` whether a minimum of free space that is met, and stands alone, keeps everything;
    ``uses_parents`` whether the removal of a record that was there when the engine started counts as a use of its
    parents. (parentsOf hands the option NoUpdateLastUsed on inside a list, where it is not seen.)
    """

    since: tuple
    rank_start: int
    limits: bool
    min_free_alone: bool
    uses_parents: bool


# Source: BuildKit, cache/manager.go of 0.22, 0.21, 0.17, 0.10 and 0.8. The first row not newer than the engine holds.
_VERSIONS = (
    _Version((28, 2), rank_start=1, limits=True, min_free_alone=True, uses_parents=True),
    _Version((28, 1), rank_start=0, limits=True, min_free_alone=True, uses_parents=True),
    _Version((27, 4), rank_start=0, limits=True, min_free_alone=False, uses_parents=True),
    _Version((23, 0), rank_start=0, limits=False, min_free_alone=False, uses_parents=True),
    _Version((0, 0), rank_start=0, limits=False, min_free_alone=False, uses_parents=False),
)


class Rule(NamedTuple):
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


class Removals(NamedTuple):
    """The records that a rule removes, in order, and the ids of those of which not all go.

    BuildKit leaves open which of several records with the same rank goes first. ``uncertain`` has the ids of all that
    go by one choice and stay by another: some are in ``records``, and any of the others may go instead. ``used`` has
    the records that stay and that count as used by the removal of their children, as they are then, by id.
    """

    records: list
    uncertain: frozenset = frozenset()
    used: dict = {}


def removals(records, rule, engine_version, now, total=None, started_at=None, enough=None):
    """Return the Removals of a rule.

    ``now`` in nanoseconds since the epoch, and so is ``started_at``, when the engine started (None where unknown);
    ``total`` is what counts against a cap, total_bytes(records) unless given.
    Without a cap the order is by layers, children before their parents; within a layer BuildKit has none. With a cap
    it is BuildKit's own; of several records with one rank the least used comes first, as it does where BuildKit's
    sort is stable (up to a dozen candidates). With ``enough(record)``, which is told of each that goes, it is as with a
    cap, which is found when that answers True: less than what is left then, and one byte.
    """
    version = _version(engine_version)
    if rule.keep_bytes:
        total = total_bytes(records) if total is None else total
        if total < rule.keep_bytes:
            return Removals([])
    removable = {one.id for one in records if reason_to_keep(one, rule, now) is None}
    if not removable:
        return Removals([])
    # Imported here: a run with nothing to do has no need of it, and loading takes time on every host.
    from .order import Lineage, least_worth_first

    started_at = started_at if version.uses_parents else None
    lineage = Lineage(records, removable, now, started_at, by_age=bool(rule.unused_for))
    if rule.keep_bytes or enough:
        total, cap = total_bytes(records) if total is None else total, rule.keep_bytes or 1
        removed, used, uncertain = least_worth_first(lineage, version.rank_start, total, cap, enough)
    else:
        removed, used, uncertain = _layer_by_layer(lineage), lineage.used, frozenset()
    gone = {record.id for record in removed}
    return Removals(removed, uncertain, {name: record for name, record in used.items() if name not in gone})


def _layer_by_layer(lineage):
    removed, layer = [], lineage.leaves()
    while layer:
        removed += layer
        freed = [parent for record in layer for parent in lineage.remove(record)]
        layer = sorted(freed, key=lambda one: one.id)
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


def _version(engine_version):
    return next(row for row in _VERSIONS if version_tuple(engine_version) >= row.since)
