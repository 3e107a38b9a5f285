# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Finding in audit logs when an object went, and why. Pure."""

from __future__ import annotations

import json
import re
from heapq import heappush, heapreplace
from typing import NamedTuple

from .._base.errors import BadOption
from .._base.units import human_size, parse_duration, parse_timestamp
from .._cache.patterns import Pattern, patterns
from .audit import POLICY_CHANGED, iso_time

_DATE = re.compile(r"(\d{4}-\d\d-\d\d)(T\d\d:\d\d:\d\d(?:Z|[+-]\d\d:\d\d))?")
_SHORTEST_ID = 12
_TEXTS = ("run", "kind", "id", "name", "file", "builder")


class Sought(NamedTuple):
    """An object as people name it: the word, and the Pattern that it is of images."""

    text: str
    pattern: Pattern

    def names(self, entry):
        """Whether it names what an entry of the log is of: an image by a tag, a digest or its id, anything else by its
        id or the beginning of that, or its name."""
        ids = [str(entry[key]) for key in ("id", "name", "file") if entry.get(key)]
        if self.text in ids:
            return True
        tags = entry.get("tags") or ()
        if self.pattern.id:
            return any(self._is_hash(one) for one in (entry.get("id") or "", *(tag.rpartition("@")[2] for tag in tags)))
        if len(self.text) >= _SHORTEST_ID and self.text.isalnum() and (entry.get("id") or "").startswith(self.text):
            return True
        return any(map(self.pattern.matches, tags))

    def _is_hash(self, text):
        return f"sha256:{text.rpartition(':')[2]}".startswith(self.pattern.id)


class Traced(NamedTuple):
    """The youngest entries that were found, the youngest first, how many there are in all, and how many lines could not
    be read."""

    entries: list
    count: int
    unreadable: int


def sought_from_option(text):
    """Return what the option ``object`` asks for. Raises BadOption for an empty one, and for a pattern that is none."""
    if not text.strip():
        raise BadOption("object: it is empty. Name a tag, a repository, a digest or an id; ** is every image.")
    (pattern,) = patterns([text], "object")
    return Sought(text.strip(), pattern)


def since_from_option(text, now):
    """Return from when on entries count, as their times are written: "" for all. ``text`` is a duration before ``now``,
    in nanoseconds since the epoch, a date, or a time of RFC 3339. Raises BadOption."""
    if text is None:
        return ""
    date = _DATE.fullmatch(text.strip())
    if not date:
        return iso_time(max(now - parse_duration(text, "since"), 0))
    try:
        return iso_time(parse_timestamp(date.group(1) + (date.group(2) or "T00:00:00Z")))
    except (ValueError, OverflowError, TypeError) as problem:
        raise BadOption(
            f"since: {text!r} is no date. Write one such as 2026-01-31, or a duration such as 14d."
        ) from problem


def traced(lines, sought, since, limit):
    """Return what is Traced of a Sought in the lines of logs, which are bytes, from a time on as since_from_option has
    it; no more than ``limit`` entries."""
    heap, count, unreadable = [], 0, 0
    for number, line in enumerate(lines):
        entry = read_line(line)
        if entry is None:
            unreadable += bool(line.strip())
        elif entry["time"] >= since and sought.names(entry):
            count += 1
            # By the number, entries of one time come in an order at all.
            item = (entry["time"], number, entry)
            if len(heap) < limit:
                heappush(heap, item)
            elif item > heap[0]:
                heapreplace(heap, item)
    return Traced([entry for _time, _number, entry in sorted(heap, reverse=True)], count, unreadable)


def read_line(line):
    """Return the entry of a log's line, None where it is none: it was cut off, or somebody else has written it."""
    try:
        entry = json.loads(line.decode("utf-8"))
    except (ValueError, RecursionError):
        return None
    if not isinstance(entry, dict) or not all(isinstance(entry.get(key), str) for key in ("time", "event")):
        return None
    tags = entry.get("tags") or []
    if not (isinstance(tags, list) and all(isinstance(tag, str) for tag in tags)):
        return None
    texts = (entry.get(key) for key in _TEXTS)
    whys = entry.get("why")
    return entry if isinstance(whys, dict) and all(isinstance(one, (str, type(None))) for one in texts) else None


def why_in_words(why):
    """Return why something went, as a line has it, in words: the options that chose it."""
    return ", ".join(name if value is True else f"{name} {_word(value)}" for name, value in why.items())


def _word(value):
    if isinstance(value, str):
        return value
    if isinstance(value, list) and all(isinstance(one, str) for one in value):
        return " ".join(value)
    return json.dumps(value)


def table(hosts, limit):
    """Return the lines of a table of what was found on all hosts, the youngest first and no more than ``limit``, and
    what there is to say of hosts of which not all is known.

    ``hosts`` has for each name the module's result, why it failed, and why there is no log, both "" where that is not
    so.
    """
    found = [(one["time"], host, one) for host, (result, *_why) in hosts.items() for one in result.get("entries", ())]
    found.sort(key=lambda one: one[:2], reverse=True)
    shown = [_row(host, entry) for _time, host, entry in found[:limit]]
    total = sum(result.get("count", 0) for result, *_why in hosts.values())
    lines = _aligned([_HEADINGS, *shown]) if shown else ["nothing was found"]
    if total > len(shown):
        lines.append(f"and {total - len(shown)} more")
    for host, (result, failure, no_log) in hosts.items():
        if failure or no_log:
            lines.append(f"{host}: {'not known' if failure else 'no log'}: {_one_line(failure or no_log)}")
        elif not result["files"]:
            lines.append(f"{host}: no log: there is no such file")
        elif result["unreadable"]:
            lines.append(f"{host}: {result['unreadable']} lines of the log cannot be read")
    return lines


_HEADINGS = ("host", "time", "what", "bytes", "why")


def _row(host, entry):
    size = entry.get("bytes")
    told = human_size(size) if isinstance(size, (int, float)) else "-"
    return tuple(map(_one_line, (host, entry["time"], _what(entry), told, why_in_words(entry["why"]))))


def _what(entry):
    if entry["event"] == POLICY_CHANGED:
        return f"policy in {entry.get('file')}"
    short = (entry.get("id") or "").rpartition(":")[2]
    short = short[:_SHORTEST_ID] if re.fullmatch("[0-9a-f]{64}", short) else short
    tags = entry.get("tags") or ()
    names = (
        [tag for tag in tags if "@" not in tag]
        or tags
        or [entry[key] for key in ("name", "type") if isinstance(entry.get(key), str)]
    )
    more = f" and {len(names) - 1} more" if len(names) > 1 else ""
    return f"{entry.get('kind')} {names[0]}{more} ({short})" if names else f"{entry.get('kind')} {short}"


def _one_line(text):
    """Return a text without what would draw on somebody's terminal."""
    return "".join(one if one.isprintable() else "?" for one in text)


def _aligned(rows):
    widths = [max(len(row[column]) for row in rows) for column in range(len(rows[0]))]
    return ["  ".join(cell.ljust(width) for cell, width in zip(row, widths)).rstrip() for row in rows]
