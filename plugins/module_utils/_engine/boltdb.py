# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A reader of bolt databases, in which dockerd, BuildKit and containerd keep which layer belongs to what.

Source of the format: go.etcd.io/bbolt, page.go, bucket.go and db.go. A file is an array of pages; two meta pages point
to the root of a B+ tree of buckets, the one with the higher transaction id is in force. Writers never change a page
in place, so a reader needs no lock as long as no transaction ends while it reads.
"""

from __future__ import annotations

import struct

from .._base.errors import BuildcacheError

_PAGE = struct.Struct("<QHHI")
_META = struct.Struct("<IIIIQQQQQQ")
_BRANCH = struct.Struct("<IIQ")
_LEAF = struct.Struct("<IIII")
_BUCKET = struct.Struct("<QQ")
_MAGIC, _VERSION = 0xED0CDAED, 2
_IS_BRANCH, _IS_LEAF, _IS_BUCKET = 0x01, 0x02, 0x01
_TRIES = 5


class Unreadable(BuildcacheError):
    """A database is missing, not ours to read, or not in the known format."""


def read(path):
    """Return the database at ``path`` as nested dicts: bytes keys to bytes values, or to dicts for buckets.

    Raises Unreadable.
    """
    try:
        for _try in range(_TRIES):
            with open(path, "rb") as file:
                data = file.read()
                file.seek(0)
                transaction, page_size, root = _meta(data)
                if _meta(file.read(2 * page_size))[0] == transaction:
                    return _bucket(data, page_size, root * page_size)
    except (OSError, struct.error, RecursionError, ValueError) as problem:
        raise Unreadable(f"{path} cannot be read: {problem}") from problem
    raise Unreadable(f"{path} was written to at every try to read it.")


def _meta(data):
    """Return the transaction id, the page size and the root page of the meta page in force."""
    metas = []
    page_size = _META.unpack_from(data, _PAGE.size)[2]
    for number in range(2):
        magic, version, _size, _flags, root, _sequence, _freelist, _pages, transaction, _sum = _META.unpack_from(
            data, number * page_size + _PAGE.size
        )
        if (magic, version) == (_MAGIC, _VERSION):
            metas.append((transaction, page_size, root))
    if not metas:
        raise ValueError("it is no bolt database")
    return max(metas)


def _bucket(data, page_size, offset):
    bucket = {}
    for flags, key, start, length in _entries(data, page_size, offset):
        if not flags & _IS_BUCKET:
            bucket[key] = data[start : start + length]
            continue
        root, _sequence = _BUCKET.unpack_from(data, start)
        # A small bucket stands in its entry, as a page of its own behind the bucket's header.
        bucket[key] = _bucket(data, page_size, root * page_size if root else start + _BUCKET.size)
    return bucket


def _entries(data, page_size, offset):
    _id, flags, count, _overflow = _PAGE.unpack_from(data, offset)
    for number in range(count):
        entry = offset + _PAGE.size + 16 * number
        if flags & _IS_LEAF:
            kind, position, key_size, size = _LEAF.unpack_from(data, entry)
            start = entry + position
            yield kind, data[start : start + key_size], start + key_size, size
        elif flags & _IS_BRANCH:
            _position, _size, page = _BRANCH.unpack_from(data, entry)
            yield from _entries(data, page_size, page * page_size)
        else:
            raise ValueError("a page is neither branch nor leaf")
