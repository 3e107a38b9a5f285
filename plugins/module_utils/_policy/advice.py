# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A GC policy for each group of like hosts, by a fleet's facts: as large as what builds work with. Pure."""

from __future__ import annotations

import json
from math import ceil
from typing import NamedTuple

from .._base.errors import BadOption
from .._base.records import EMBEDDED, NEVER_WITHOUT_ALL
from .._base.units import SECOND, docker_size, human_size, parse_duration, parse_size, version_tuple
from .._cache.gc import total_bytes
from .._cache.working_set import idle_for, made_per_day, used_within
from .dialects import FIRST_WITH_MIN_FREE
from .what_if import gc_plan, records_in

GIB = 1 << 30
MOST_MORE = 2
"""How many times what was seen a host is taken to work with, at most, whose build cache goes back less far than is
asked for."""

_STEPS = 8
"""Into how many steps a chart has the advised size."""


class Wish(NamedTuple):
    """What is asked for: to ``keep`` what was used within that time (as text, and in nanoseconds ``within``), and to
    leave ``min_free`` (as text) of the disk, on that ``percentile`` of the hosts of a group."""

    keep: str
    within: int
    min_free: str
    percentile: int


class _Host(NamedTuple):
    """What advice goes by, of one host: bytes and nanoseconds. ``used`` has the ids of the records that were used
    within the time, ``used_bytes`` of which ``private_bytes`` are not shared. ``room`` is what its build cache may
    take, None where its disk is not known; ``goes_back`` the idle time of the record that nobody used for longest."""

    name: str
    facts: dict
    records: dict
    used: frozenset
    used_bytes: int
    private_bytes: int
    made_per_day: int
    goes_back: int
    needs: int
    room: int | None


def gc_advice(hosts, keep="7d", min_free="10%", percentile=90, labels=None):
    """Return a GC policy for each group of like hosts, and what it would do.

    ``hosts`` is {name: the facts of buildcache_facts with records, or a text that says why there are none}. Hosts are
    alike that have the same text, or list of texts, in ``labels``, {name: text}, a disk of about the same size, and
    engines that can keep the same limits. The answer has the shape that the filter gc_advice describes. Raises
    BadOption where an option cannot be meant.
    """
    wish = _wish(keep, min_free, percentile)
    if not isinstance(hosts, dict) or not hosts:
        raise BadOption("hosts: give the facts of one host or more, as a dictionary of hosts' names.")
    groups, without = {}, []
    for name in sorted(hosts):
        why = _unusable(hosts[name])
        if why:
            without.append({"host": name, "why": why})
            continue
        group = (_label((labels or {}).get(name)), _disk_class(hosts[name]), _measures_free_space(hosts[name]))
        groups.setdefault(group, []).append(_host(name, hosts[name], wish))
    return {
        "keep": wish.keep,
        "min_free": wish.min_free,
        "percentile": wish.percentile,
        "groups": [_group(key, groups[key], wish) for key in sorted(groups)],
        "without_facts": without,
    }


def as_yaml(rules):
    """Return rules as YAML in one line, to be pasted; without the quotes that a callback would write in its own way."""
    return "gc_policy_rules: " + json.dumps(rules).replace('"', "")


def _wish(keep, min_free, percentile):
    size = parse_size(str(min_free), "min_free")
    if size.percent and size.value >= 90:
        raise BadOption(f"min_free: {min_free} of the disk free leaves no room for a build cache. Give less than 90%.")
    if isinstance(percentile, bool) or not str(percentile).strip().isdigit() or not 1 <= int(percentile) <= 100:
        raise BadOption(f"percentile: {percentile!r} is no whole number from 1 to 100.")
    keep = str(keep).strip()
    return Wish(keep, parse_duration(keep, "keep"), str(min_free).strip(), int(percentile))


def _unusable(facts):
    """Return why facts tell nothing to advise by, "" where they do."""
    if isinstance(facts, str) and facts:
        return facts
    if not isinstance(facts, dict) or not facts.get("engine") or not facts.get("builders"):
        return "there are no facts of it"
    builder = facts["builders"][0]
    if builder["name"] != EMBEDDED:
        return "the facts are not of the engine's own builder; leave out builders, or name default first"
    if builder["record_count"] is None:
        return f"the engine cannot list its build cache: {builder['error']}"
    if "records" not in builder:
        return "the facts have no records; collect them with records: true"
    return ""


def _label(given):
    return ", ".join(map(str, given)) if isinstance(given, (list, tuple)) else str(given or "")


def _disk_class(facts):
    """Return the power of two, in GiB, that the size of the disk is at most; 0 where it is not known.

    What is sold as 128 GB and what remains of it as a file system are in one class.
    """
    disks = facts["filesystems"]
    return 1 << max(ceil(disks[0]["total_bytes"] / GIB) - 1, 0).bit_length() if disks else 0


def _measures_free_space(facts):
    """Whether the engine can keep free space on the disk that holds the layers: it measures its own directory."""
    return version_tuple(facts["engine"]["version"]) >= FIRST_WITH_MIN_FREE and len(facts["filesystems"]) == 1


def _host(name, facts, wish):
    records, now = records_in(facts), int(facts["engine"]["observed_at"] * SECOND)
    used, made = used_within(records, now, wish.within), made_per_day(records, now) or 0
    goes_back = max((idle_for(record, now) or 0 for record in records), default=0)
    # What was used within a time grows with it, and ever more slowly.
    more = min(wish.within / goes_back, MOST_MORE) if 0 < goes_back < wish.within else 1
    room = None
    if facts["filesystems"]:
        disk = facts["filesystems"][0]
        room = disk["free_bytes"] + total_bytes(records) - _min_free(wish, disk["total_bytes"])
    return _Host(
        name=name,
        facts=facts,
        records={record.id: record for record in records},
        used=frozenset(record.id for record in used),
        used_bytes=_bytes(used),
        private_bytes=total_bytes(used),
        made_per_day=made,
        goes_back=goes_back,
        needs=int(_bytes(used) * more) + made,
        room=room,
    )


def _min_free(wish, disk_bytes):
    return parse_size(wish.min_free, "min_free").in_bytes(disk_bytes)


def _group(key, hosts, wish):
    label, disk, free_space = key
    size = _size(hosts, wish)
    rules = _rules(size, wish.keep, wish.min_free if free_space else None)
    return {
        "label": label,
        "disk_up_to_bytes": disk * GIB or None,
        "free_space": free_space,
        "size_bytes": size,
        "hosts": [_told(host, size, rules, wish) for host in hosts],
        "gc_policy_rules": rules,
        "points": [{"size_bytes": at, "kept_share": _share(hosts, at)} for at in _sizes(size)],
    }


def _size(hosts, wish):
    """Return what a percentile of the hosts needs, but no more than as large a part of their disks has room for; in
    whole GiB, one at least."""
    needs = sorted(host.needs for host in hosts)
    rooms = sorted((host.room for host in hosts if host.room is not None), reverse=True)
    size = ceil(_nearest_rank(needs, wish.percentile) / GIB)
    if rooms:
        size = min(size, _nearest_rank(rooms, wish.percentile) // GIB)
    return max(size, 1) * GIB


def _nearest_rank(ordered, percentile):
    return ordered[ceil(len(ordered) * percentile / 100) - 1]


def _rules(size, keep, min_free):
    """Return the rules: what nobody used for that long goes first, then by BuildKit's order whatever is too much, and
    its own records last. Shared ones, which cost no space beside their images, stay."""
    limits = {"max_used_space": docker_size(size), **({"min_free_space": min_free} if min_free else {})}
    return [
        {"unused_for": keep, **limits},
        dict(limits),
        {"types": list(NEVER_WITHOUT_ALL), "all": True, **limits},
    ]


def _told(host, size, rules, wish):
    plan = gc_plan(host.facts, rules)
    removed = [host.records[name] for name in plan["removed"]["ids"]]
    return {
        "host": host.name,
        "engine_version": host.facts["engine"]["version"],
        "used_bytes": host.used_bytes,
        "made_per_day": host.made_per_day,
        "needs_bytes": host.needs,
        "room_bytes": host.room,
        "goes_back_seconds": host.goes_back // SECOND,
        "goes_back_far_enough": host.goes_back >= wish.within,
        "removes": {"records": len(removed), "bytes": _bytes(removed)},
        "rebuilt_bytes": _bytes([record for record in removed if record.id in host.used]),
        "reused_bytes": _bytes([record for record in removed if record.usage_count > 1]),
        "misfits": list(_misfits(host, size, wish)),
    }


def _misfits(host, size, wish):
    if host.needs > size:
        yield f"its working set is larger: it needs {human_size(host.needs)}"
    if host.room is not None and host.room < size:
        room = human_size(max(host.room, 0))
        yield f"its disk is too small: beside what else it holds, and with {wish.min_free} free, it has room for {room}"


def _sizes(size):
    return [size * step // _STEPS for step in range(1, 2 * _STEPS + 1)]


def _share(hosts, size):
    """Return the share of the bytes used within the time that a size keeps, over all hosts. Shared records stay, and
    of the others as much as it has room for."""
    held = sum(host.used_bytes for host in hosts)
    kept = sum(host.used_bytes - max(host.private_bytes - size, 0) for host in hosts)
    return round(kept / held, 4) if held else 1.0


def _bytes(records):
    return sum(record.size for record in records)
