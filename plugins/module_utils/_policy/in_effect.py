# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which GC policy the running daemon obeys. Pure.

dockerd reads builder.gc at its start only, in every version (moby, daemon/reload.go).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from typing import NamedTuple

from .._base.units import SECOND
from .lint import traps
from .policy import Policy
from .reader import (
    from_daemon_json,
    from_report,
)

_HOURS = 3600 * SECOND

# The default rules since 28.0 (moby, builder-next/worker/gc.go, DefaultGCPolicy): ages and ``all``; the types of the
# first, which has a share of what is reserved (e * pi * phi percent), and at least so many bytes.
_DEFAULT_RULES = [(48 * _HOURS, False), (60 * 24 * _HOURS, False), (0, False), (0, True)]
_DEFAULT_TYPES = {"type==source.local", "type==exec.cachemount", "type==source.git.checkout"}
_FIRST_SHARE, _FIRST_LEAST = 0.138, 512 * 10**6


class InEffect(NamedTuple):
    """What the running daemon obeys: its Policy, None where that cannot be known; how it is known (``buildx``,
    ``start_time`` or ``unknown``); and whether a restart is needed for the file's policy, None where unknown."""

    policy: Policy | None
    source: str
    restart_required: bool | None


@dataclass(frozen=True)
class LastLook:
    """What an earlier run saw: the digest of the file's policy, the latest moment at which that can have become what
    it was, and when it was seen. Times in seconds since the epoch."""

    digest: str
    since: float
    seen: float


class Daemon(NamedTuple):
    """dockerd as the host has it. What cannot be known is None; times in seconds since the epoch.

    ``config`` is the dict of its configuration file, {} without one, ``text`` the whole of it, None without one, and
    ``problem`` says why that cannot be used;
    ``changed_at`` is when it came to be as it is, ``reported`` the GC rules that the engine says it obeys, ``last`` the
    LastLook of an earlier run.
    """

    config: dict | None = None
    problem: str | None = None
    changed_at: float | None = None
    started_at: float | None = None
    reported: list | None = None
    last: LastLook | None = None
    now: float = 0.0
    text: str | None = None


class Status(NamedTuple):
    """The GC policy of a host: what the engine would read from the file now, None where it could not or would not
    start with it; what it obeys; and the Traps in the file."""

    in_file: Policy | None
    in_effect: InEffect
    traps: tuple = ()


def gc_status(daemon, engine_version):
    """Return the Status of a Daemon."""
    found = tuple(traps(daemon.config or {}, engine_version, daemon.text))
    in_file = None
    if daemon.config is not None and not any(trap.stops for trap in found):
        in_file = from_daemon_json(daemon.config.get("builder"), engine_version)
    since = look(in_file, daemon.changed_at, daemon.started_at, daemon.last, daemon.now).since
    return Status(
        in_file=in_file,
        in_effect=in_effect(in_file, daemon.reported, daemon.started_at, since),
        traps=found,
    )


def digest(policy):
    """Return a short text that is the same for policies of the same meaning; "" for None."""
    return hashlib.sha256(repr(policy.meaning).encode()).hexdigest() if policy else ""


def look(policy, changed_at, started_at, last, now):
    """Return the LastLook of this run: when at the latest the file came to mean what it does.

    ``changed_at`` is when the file came to be as it is (None where unknown), ``started_at`` when the daemon started
    (None where unknown), ``last`` the LastLook before (or None). A file that was written to since, and means the same,
    has not changed; unless the daemon started in between, when it may have meant something else.
    """
    new = LastLook(digest(policy), changed_at or 0.0, now)
    if last is None or started_at is None or started_at > last.seen:
        return new
    if new.digest == last.digest:
        return replace(new, since=last.since)
    # The time of a file can be set; that it changed after the last look is certain.
    return replace(new, since=max(new.since, last.seen))


def in_effect(in_file, reported, started_at, since):
    """Return the InEffect of a host.

    ``in_file`` is the Policy that the engine would read now (None where it could not), ``reported`` the rules that
    the running one reports (None where it does not), ``since`` when the file last changed its meaning.
    """
    if reported is not None:
        obeyed = reported_policy(reported)
        rules = obeyed.rules or ()
        if in_file and in_file.enabled and in_file.rules is None and _are_default(rules, in_file.default_sizes):
            obeyed = in_file
        if in_file is None:
            return InEffect(obeyed, "buildx", None)
        same = obeys(obeyed, in_file)
        return InEffect(in_file if same else obeyed, "buildx", not same)
    if started_at is None or in_file is None:
        return InEffect(None, "unknown", None)
    if since <= started_at:
        return InEffect(in_file, "start_time", False)
    return InEffect(None, "start_time", True)


def reported_policy(reported):
    """Return the Policy of the rules that a running BuildKit reports to buildx, None where it reports none."""
    if reported is None:
        return None
    rules = from_report(reported)
    return Policy(enabled=bool(rules), rules=rules or None)


def _are_default(rules, sizes):
    """Whether these are the default rules, shaped by the sizes in the file or, without any, by that of the disk."""
    if [(rule.unused_for, rule.all) for rule in rules] != _DEFAULT_RULES:
        return False
    first, *others = rules
    least = max(others[0].reserved_space * _FIRST_SHARE, _FIRST_LEAST)
    found = {(one.reserved_space, one.max_used_space, one.min_free_space) for one in others}
    return (
        {*first.other, *(f"type=={kind}" for kind in first.types)} == _DEFAULT_TYPES
        and (first.reserved_space, first.min_free_space) == (0, 0)
        and abs(first.max_used_space - least) <= least / 100
        and not any(one.types or one.other or one.selects or one.shared is not None for one in others)
        and (found == {sizes} if any(sizes) else len(found) == 1 and _are_shares(*found.pop()))
    )


def _are_shares(reserved, max_used, min_free):
    """Whether these are 10, 80 and 20 % of one disk as an engine reckons them: in whole GiB, rounded up, of which each
    counts for 10^9 bytes. Engines to 28.5.0 take 1/10, 1/80 and 1/20."""
    if any(size % 10**9 or not size for size in (reserved, max_used, min_free)):
        return False
    tenth, most, least = (size // 10**9 for size in (reserved, max_used, min_free))
    right = 8 * tenth - 7 <= most <= 8 * tenth and 2 * tenth - 1 <= least <= 2 * tenth
    return right or (most, least) == ((tenth - 1) // 8 + 1, (tenth - 1) // 2 + 1)


def obeys(obeyed, policy):
    """Whether a daemon that obeys one Policy obeys the other.

    Ages a second apart are the same: an engine reckons them from a moment of its start, in whole seconds, and reports
    them with what that took (moby, builder-next/builder.go, toBuildkitPruneInfo).
    """
    if obeyed.rules and policy.rules and len(obeyed.rules) == len(policy.rules):
        pairs = zip(obeyed.rules, policy.rules)
        rules = (
            one._replace(unused_for=other.unused_for) if abs(one.unused_for - other.unused_for) <= SECOND else one
            for one, other in pairs
        )
        obeyed = obeyed._replace(rules=tuple(rules))
    return obeyed.meaning == policy.meaning


def restart_required(daemon, obeyed, policy):
    """Return whether a Daemon, which obeys ``obeyed`` (an InEffect), has to be restarted for a Policy that is now
    written to its file."""
    if policy and obeyed.policy and obeys(obeyed.policy, policy):
        return False
    # What the file says now may be what it said when the daemon started.
    since = look(policy, daemon.now, daemon.started_at, daemon.last, daemon.now).since
    return in_effect(policy, daemon.reported, daemon.started_at, since).restart_required is not False
