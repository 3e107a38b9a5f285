# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a full disk can give up, and how much of it must go. Pure."""

from __future__ import annotations

from typing import NamedTuple

from .._base.errors import BadOption
from .._base.units import Size, parse_size

BALLAST, CONTAINER_LOGS, JOURNAL, PACKAGE_CACHES = "ballast", "container_logs", "journal", "package_caches"
"""The steps, what costs least first: a file made to be given up, then what somebody might still read, then what is
fetched again."""

REMOVE, TRUNCATE = "remove", "truncate"
"""What happens to a file."""

DEFAULT = "default"
"""The name of the ballast that is laid where no path is given."""

_INODES_WITH_A_SIZE = 1
"""The percentage of inodes that must be free where ``until_free`` is a size and so says nothing of them: with none no
file can be made, however many bytes there are."""


class Wanted(NamedTuple):
    """What may be given up: ``ballast`` a path or DEFAULT, None for none; container logs and the journal beyond so many
    bytes, None for neither; ``package_caches``; and ``until_free`` a Size, None for all of it."""

    ballast: str | None
    container_logs_over: int | None
    journal_over: int | None
    package_caches: bool
    until_free: Size | None


class Item(NamedTuple):
    """A file that can be given up, or a directory of a ballast: its path, the bytes that it has on the disk, what
    happens to it, and how many inodes go with it where it is removed."""

    path: str
    bytes: int
    how: str = REMOVE
    inodes: int = 1


class Given(NamedTuple):
    """What a step has given up: the Items ``planned``, the ``paths`` that went, the bytes that the file system gained,
    and "" or what went wrong."""

    step: str
    planned: tuple[Item, ...] = ()
    paths: tuple[str, ...] = ()
    freed: int = 0
    error: str = ""

    @property
    def planned_bytes(self):
        """The bytes of the files that were to go."""
        return sum(one.bytes for one in self.planned)


def wanted_from_options(options):
    """Return the Wanted of the module's options. Raises BadOption for what cannot be meant."""
    ballast = options["ballast"]
    if ballast is not None and ballast != DEFAULT and not ballast.startswith("/"):
        raise BadOption(f"ballast: {ballast!r} is no absolute path. Name the file, or write {DEFAULT}.")
    until = options["until_free"]
    wanted = Wanted(
        ballast=ballast,
        container_logs_over=_bytes(options, "container_logs_over"),
        journal_over=_bytes(options, "journal_over"),
        package_caches=options["package_caches"],
        until_free=None if until is None else parse_size(until, "until_free"),
    )
    if not any(wanted[:4]):
        raise BadOption(
            "Nothing was named that may be given up. Set ballast, container_logs_over, journal_over or package_caches."
        )
    return wanted


def _bytes(options, name):
    if options[name] is None:
        return None
    size = parse_size(options[name], name)
    if size.percent:
        raise BadOption(f"{name}: {options[name]!r} is a percentage. Write a size, such as 100MB.")
    return size.in_bytes(0)


def enough(filesystem, until_free):
    """Whether a Filesystem has as much free as ``until_free``, a Size, or None for never.

    A percentage is one of the inodes as well.
    """
    if until_free is None:
        return False
    share = until_free.value if until_free.percent else _INODES_WITH_A_SIZE
    inodes = filesystem.inodes_total * share / 100
    return filesystem.available >= until_free.in_bytes(filesystem.total) and filesystem.inodes_available >= inodes


def chosen(items, filesystem, until_free, together=False):
    """Return those of the Items that have to go until enough is free, those with most bytes first; a tuple.

    ``together`` is for what goes by one command, all of it or nothing.
    """
    found = []
    for one in sorted(items, key=lambda item: (-item.bytes, item.path)):
        if enough(filesystem, until_free):
            break
        if together:
            return tuple(items)
        found.append(one)
        filesystem = without(filesystem, (one,))
    return tuple(found)


def without(filesystem, items):
    """Return a Filesystem as it would be without these Items."""
    size = sum(one.bytes for one in items)
    removed = sum(one.inodes for one in items if one.how == REMOVE)
    return filesystem._replace(
        free=filesystem.free + size,
        available=filesystem.available + size,
        inodes_available=filesystem.inodes_available + removed,
    )


def beyond(files, limit):
    """Return what a vacuum of the journal removes: of (path, bytes, when, whether it is archived) the archived ones,
    oldest first, until no more than ``limit`` bytes are left (systemd, journal-vacuum.c, journal_directory_vacuum)."""
    total, found = sum(size for _path, size, _when, _archived in files), []
    for path, size, _when, archived in sorted(files, key=lambda one: (one[2], one[0])):
        if archived and total > limit:
            found.append(Item(path, size))
            total -= size
    return tuple(found)
