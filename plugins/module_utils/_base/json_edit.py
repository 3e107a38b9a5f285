# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One value changed in the text of a daemon.json, every other byte kept. Pure: text in, text out.

A path is as json_text has it."""

from __future__ import annotations

import json
import re

from .json_text import BLANK, BYTE_ORDER_MARK, descend, name_at, parse

_INDENT = "    "


def with_value(text, path, value):
    """Return ``text`` with ``value`` at ``path``, or without what is there where ``value`` is None.

    Every other byte stays. Keys that are there keep their spelling; a new value is indented as the document is.
    Removing a value removes the objects around it that it leaves empty. Without a text, None or blank, the document
    is a new one. Raises BadConfig as parse does, and where the path leads through something that is no object.
    """
    if text is not None and text.startswith(BYTE_ORDER_MARK):
        return BYTE_ORDER_MARK + with_value(text[1:], path, value)
    if text is None or not text.strip(BLANK):
        return text if value is None else json.dumps(_nested(path, value), indent=_INDENT) + "\n"
    parse(text)
    objects = descend(text, path[:-1])
    return _without(text, objects, path) if value is None else _with(text, objects, path, value)


def _with(text, objects, path, value):
    depth = len(objects) - 1
    owner, members = objects[depth]
    if members:
        place, rest = members.get(name_at(path[depth], depth)), path[depth + 1 :]
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
    if depth < len(path) - 1 or name_at(path[depth], depth) not in objects[depth][1]:
        return text
    while depth and len(objects[depth][1]) == 1:
        depth -= 1
    owner, members = objects[depth]
    member, others = members[name_at(path[depth], depth)], list(members.values())
    at = others.index(member)
    if len(others) == 1:
        start, end = owner.value + 1, owner.end - 1
    elif member is others[-1]:
        start, end = others[at - 1].end, member.end
    else:
        start, end = member.start, others[at + 1].start
    return text[:start] + text[end:]


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
