# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Writes bolt databases, for tests of their reader: whole trees at once, with branch pages where a bucket is large."""

from __future__ import annotations

import struct

PAGE = 4096
MAGIC, VERSION = 0xED0CDAED, 2


def write(path, tree, transactions=(1, 2), per_page=8):
    """Write nested dicts of bytes as a database; ``transactions`` are those of the two meta pages."""
    pages = {}
    root = _bucket(tree, pages, per_page)
    for number, transaction in enumerate(transactions):
        meta = struct.pack("<IIIIQQQQQQ", MAGIC, VERSION, PAGE, 0, root, 0, 0, len(pages) + 2, transaction, 0)
        pages[number] = struct.pack("<QHHI", number, 4, 0, 0) + meta
    with open(path, "wb") as file:
        for number in range(max(pages) + 1):
            file.write(pages.get(number, b"").ljust(PAGE, b"\0"))


def _bucket(tree, pages, per_page):
    """Write a bucket; return the number of its root page."""
    entries = []
    for key, value in sorted(tree.items()):
        if not isinstance(value, dict):
            entries.append((0, key, value))
        elif len(value) <= 2 and not any(isinstance(inner, dict) for inner in value.values()):
            entries.append((1, key, struct.pack("<QQ", 0, 0) + _leaf([(0, *one) for one in sorted(value.items())])))
        else:
            entries.append((1, key, struct.pack("<QQ", _bucket(value, pages, per_page), 0)))
    leaves = [entries[start : start + per_page] for start in range(0, len(entries), per_page)] or [[]]
    numbers = [_add(_leaf(leaf), pages) for leaf in leaves]
    if len(numbers) == 1:
        return numbers[0]
    return _add(_branch([(leaf[0][1], number) for leaf, number in zip(leaves, numbers)]), pages)


def _add(page, pages):
    number = len(pages) + 2
    pages[number] = page
    # A page longer than one goes on in the next ones.
    for extra in range(1, -(-len(page) // PAGE)):
        pages[number + extra] = page[extra * PAGE : (extra + 1) * PAGE]
    pages[number] = page[:PAGE]
    return number


def _leaf(entries):
    header, data = b"", b""
    for number, (flags, key, value) in enumerate(entries):
        position = 16 * (len(entries) - number) + len(data)
        header += struct.pack("<IIII", flags, position, len(key), len(value))
        data += key + value
    return struct.pack("<QHHI", 0, 2, len(entries), 0) + header + data


def _branch(entries):
    header, data = b"", b""
    for number, (key, page) in enumerate(entries):
        header += struct.pack("<IIQ", 16 * (len(entries) - number) + len(data), len(key), page)
        data += key
    return struct.pack("<QHHI", 0, 1, len(entries), 0) + header + data
