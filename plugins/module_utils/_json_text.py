# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One value changed in the text of a daemon.json, every other byte kept. Pure: text in, text out.

dockerd finds the keys of the top level in a map, so these are exact; the keys below go into structs of Go, whose
decoder takes them in any case (moby, daemon/config/config.go; Go, encoding/json). A path is a tuple of keys from the
top level down, such as ("builder", "gc").
"""

from __future__ import annotations

import json
import re
from typing import NamedTuple

from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import BuildcacheError

GC_PATH = ("builder", "gc")

# dockerd takes a byte order mark and an empty file since 23.0 (getConflictFreeConfiguration, as above).
_BYTE_ORDER_MARK = "\ufeff"
_BLANK = " \t\r\n"
_INDENT = "    "
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
    if text.startswith(_BYTE_ORDER_MARK):
        text = text[1:]
    if not text.strip(_BLANK):
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
    _descend(text, GC_PATH)
    return data


def value_at(data, path):
    """Return the value at ``path`` in what parse returned, None where there is none."""
    for depth, key in enumerate(path):
        if not isinstance(data, dict):
            return None
        data = {_name(own, depth): value for own, value in data.items()}.get(_name(key, depth))
    return data


def with_value(text, path, value):
    """Return ``text`` with ``value`` at ``path``, or without what is there where ``value`` is None.

    Every other byte stays. Keys that are there keep their spelling; a new value is indented as the document is.
    Removing a value removes the objects around it that it leaves empty. Without a text, None or blank, the document
    is a new one. Raises BadConfig as parse does, and where the path leads through something that is no object.
    """
    if text is not None and text.startswith(_BYTE_ORDER_MARK):
        return _BYTE_ORDER_MARK + with_value(text[1:], path, value)
    if text is None or not text.strip(_BLANK):
        return text if value is None else json.dumps(_nested(path, value), indent=_INDENT) + "\n"
    parse(text)
    objects = _descend(text, path[:-1])
    return _without(text, objects, path) if value is None else _with(text, objects, path, value)


def _with(text, objects, path, value):
    depth = len(objects) - 1
    owner, members = objects[depth]
    if members:
        place, rest = members.get(_name(path[depth], depth)), path[depth + 1 :]
    else:
        place, rest = owner, path[depth:]
    indent, line_end = _layout(text, *objects[0])
    last = place or list(members.values())[-1]
    margin, first_of_line = _margin(text, last.start)
    new = json.dumps(_nested(rest, value), indent=indent).replace("\n", line_end + margin)
    if place:
        return text[: place.value] + new + text[place.end :]
    gap = line_end + margin if first_of_line else " "
    return f"{text[: last.end]},{gap}{json.dumps(path[depth])}: {new}{text[last.end :]}"


def _without(text, objects, path):
    depth = len(objects) - 1
    if depth < len(path) - 1 or _name(path[depth], depth) not in objects[depth][1]:
        return text
    while depth and len(objects[depth][1]) == 1:
        depth -= 1
    owner, members = objects[depth]
    member, others = members[_name(path[depth], depth)], list(members.values())
    at = others.index(member)
    if len(others) == 1:
        start, end = owner.value + 1, owner.end - 1
    elif member is others[-1]:
        start, end = others[at - 1].end, member.end
    else:
        start, end = member.start, others[at + 1].start
    return text[:start] + text[end:]


def _descend(text, path):
    """Return the objects on the way along ``path``, as far as there are any: pairs of a place and _members."""
    start = _skip(text, 0)
    place = _Member(start, start, _decoder.raw_decode(text, start)[1])
    objects = []
    for depth in range(len(path) + 1):
        if text[place.value] != "{":
            raise _bad(text, place.value, "no object, in braces, where one belongs")
        objects.append((place, _members(text, place.value, depth)))
        place = objects[-1][1].get(_name(path[depth], depth)) if depth < len(path) else None
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
        name = _name(key, depth)
        if name in members:
            raise _bad(text, at, "a key that this object already has; which of them counts is unclear")
        members[name] = _Member(at, value, _decoder.raw_decode(text, value)[1])
        at = _skip(text, members[name].end)
        if text[at] == ",":
            at = _skip(text, at + 1)
    return members


def _name(key, depth):
    return key.casefold() if depth else key


def _skip(text, at):
    while text[at] in _BLANK:
        at += 1
    return at


def _nested(path, value):
    for key in reversed(path):
        value = {key: value}
    return value


def _layout(text, place, members):
    """Return the indentation of one level, None for a document on one line, and the end of a line."""
    line_end = re.search(r"\r?\n|$", text).group() or "\n"
    if members and "\n" not in text[place.value : place.end]:
        return None, line_end
    outer = len(_margin(text, place.start)[0])
    margins = (_margin(text, member.start) for member in members.values())
    return next((margin[outer:] for margin, first_of_line in margins if first_of_line), _INDENT), line_end


def _margin(text, at):
    """Return the blank that the line of ``at`` starts with, and whether only that stands before ``at``."""
    line = text[text.rfind("\n", 0, at) + 1 : at]
    margin = line[: len(line) - len(line.lstrip(" \t"))]
    return margin, margin == line


def _bad(text, at, what):
    line, column = text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at)
    return BadConfig(f"line {line}, column {column}: {what}. {_ADVICE}")
