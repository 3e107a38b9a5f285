# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The text of a daemon.json, read as dockerd reads it. Pure; json_edit.py changes it.

dockerd finds the keys of the top level in a map, so these are exact; the keys below go into structs of Go, whose
decoder takes them in any case (moby, daemon/config/config.go; Go, encoding/json). A path is a tuple of keys from the
top level down, such as ("builder", "gc").
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from .errors import BuildcacheError

GC_PATH = ("builder", "gc")

# dockerd takes a byte order mark and an empty file since 23.0 (getConflictFreeConfiguration, as above).
BYTE_ORDER_MARK = "\ufeff"
BLANK = " \t\r\n"
_ADVICE = "Correct the file, then run again."
_STRING_OR_CONSTANT = re.compile(r'"(?:[^"\\]+|\\.)*"|(NaN|-?Infinity)')
_decoder = json.JSONDecoder()


class Object(dict):
    """An object as it was written: ``pairs`` has its members in their order, also those whose key comes again."""

    def __init__(self, pairs):
        super().__init__(pairs)
        self.pairs = pairs


def names_twice(value, exact=False):
    """Return the names that more than one member of an object has, to Go's decoder of a struct or, if ``exact``, of a
    map: {name: [values]}. {} for what is no object."""
    found = {}
    for key, one in (getattr(value, "pairs", None) or value.items()) if isinstance(value, dict) else ():
        found.setdefault(key if exact else key.lower(), []).append(one)
    return {name: values for name, values in found.items() if len(values) > 1}


class BadConfig(BuildcacheError):
    """A configuration cannot be used as it is. The message never quotes it, because its values may be secrets."""


class _Member(NamedTuple):
    """Where a member of an object stands in the text: its key, its value and the end of that."""

    start: int
    value: int
    end: int


def parse(text):
    """Return what ``text`` holds, as a dict, in which objects are Objects; blank text is {}.

    Raises BadConfig, with line and column, where dockerd would refuse the text or where it is unclear which of two
    keys counts: at the top level, in ``builder`` and in ``builder.gc``.
    """
    if text.startswith(BYTE_ORDER_MARK):
        text = text[1:]
    if not text.strip(BLANK):
        return {}
    try:
        data = json.loads(text, object_pairs_hook=Object)
    except json.JSONDecodeError as error:
        raise _bad(text, error.pos, "no valid JSON. dockerd takes neither comments nor trailing commas") from None
    except (ValueError, RecursionError):
        raise BadConfig(f"a number with thousands of digits, or values nested hundreds deep. {_ADVICE}") from None
    for token in _STRING_OR_CONSTANT.finditer(text):
        if token.group(1):
            raise _bad(text, token.start(), "NaN or Infinity, which JSON does not have")
    descend(text, GC_PATH)
    return data


def value_at(data, path):
    """Return the value at ``path`` in what parse returned, None where there is none."""
    for depth, key in enumerate(path):
        if not isinstance(data, dict):
            return None
        data = {name_at(own, depth): value for own, value in data.items()}.get(name_at(key, depth))
    return data


def descend(text, path):
    """Return the objects on the way along ``path``, as far as there are any: pairs of a place and _members."""
    start = _skip(text, 0)
    place = _Member(start, start, _decoder.raw_decode(text, start)[1])
    objects = []
    for depth in range(len(path) + 1):
        if text[place.value] != "{":
            raise _bad(text, place.value, "no object, in braces, where one belongs")
        objects.append((place, _members(text, place.value, depth)))
        place = objects[-1][1].get(name_at(path[depth], depth)) if depth < len(path) else None
        # To Go's decoder null is the same as nothing.
        if place is None or text.startswith("null", place.value):
            break
    return objects


def _members(text, start, depth):
    """Return the members of the object whose brace is at ``start``, by _name and in their order."""
    members = {}
    at = _skip(text, start + 1)
    while text[at] != "}":
        key, key_end = _decoder.raw_decode(text, at)
        value = _skip(text, _skip(text, key_end) + 1)
        name = name_at(key, depth)
        if name in members:
            raise _bad(text, at, "a key that this object already has; which of them counts is unclear")
        members[name] = _Member(at, value, _decoder.raw_decode(text, value)[1])
        at = _skip(text, members[name].end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return members


def name_at(key, depth):
    return key.casefold() if depth else key


def _skip(text, at):
    while text[at] in BLANK:
        at += 1
    return at


def _bad(text, at, what):
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    return BadConfig(f"line {line}, column {column}: {what}. {_ADVICE}")
