# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to what a full host can give up without dockerd: a Source for each step."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from typing import NamedTuple

from .._base.errors import BuildcacheError
from .._rescue.ballast import BESIDE
from .._rescue.plan import (
    BALLAST,
    CONTAINER_LOGS,
    JOURNAL,
    PACKAGE_CACHES,
    REMOVE,
    TRUNCATE,
    Given,
    Item,
    beyond,
)
from .ballast import found_ballast, remove_ballast
from .files import directories_in, files_in, give_up, on_disk, reason

JOURNALS = "/var/log/journal"
"""The journal that outlives a boot; that in /run is in memory."""

_CONTAINER = re.compile(r"[0-9a-f]{64}")
_ROTATED = re.compile(r"(?:\.\d+(?:\.gz)?)?")
"""What the names of logs that were rotated end with, and nothing for the live one (moby, daemon/logger/loggerutils)."""

_REMAPPED = re.compile(r"\d+\.\d+")
"""The engine's directory below its own root with userns-remap, by the user and the group."""

_ARCHIVED = re.compile(r".+@.*-([0-9a-f]{16})\.journal|.+@([0-9a-f]{16})-[0-9a-f]{16}\.journal~")
"""An archived journal has its time in its name (systemd, journal-vacuum.c)."""

_ANY_JOURNAL = re.compile(r".+\.journal~?")

CACHES = (
    # apt-get clean: cmdline/apt-get.cc and apt-pkg/clean.cc.
    ("/var/cache/apt", ("archives", "archives/partial"), r".+\.deb|.+\.FAILED", ("apt-get", "clean")),
    # dnf/repo.py, CACHE_FILES; libdnf5 keeps files of the same kinds.
    ("/var/cache/dnf", None, r".+\.(?:rpm|solvx?|asc|(?:xml|yaml)(?:\.\w+)?)", ("dnf", "clean", "all")),
    ("/var/cache/libdnf5", None, r".+\.(?:rpm|solvx?|asc|(?:xml|yaml)(?:\.\w+)?)", ("dnf", "clean", "all")),
    # yum 3, yum/__init__.py, cleanPackages and the like.
    ("/var/cache/yum", None, r".+\.(?:rpm|(?:xml|sqlite)(?:\.\w+)?)", ("yum", "clean", "all")),
)
"""Where package managers keep what they fetch again: the directory, those below it (None for all), the names of files,
and the command that clears it."""

_DEEPEST = 5


class Source(NamedTuple):
    """Where a step finds what can be given up: the directory whose file system gains, the Items, how they go (a
    function of Items to the paths that went and what went wrong), whether all of them go together, and "" or why it
    could not be looked at."""

    step: str
    directory: str
    items: tuple[Item, ...]
    give_up: object
    together: bool = False
    error: str = ""

    def gives(self, items):
        """Give up these Items, and return what was Given but for the bytes. Raises nothing."""
        try:
            paths, problems = self.give_up(items) if items else ((), ())
        except (BuildcacheError, OSError) as error:
            paths, problems = (), (str(error) if isinstance(error, BuildcacheError) else reason(error),)
        error = f"{len(problems)} of {len(items)} failed: {'; '.join(problems[:3])}." if problems else ""
        return Given(self.step, tuple(items), tuple(paths), error=error)


def looked_at(step, directory, look):
    """Return the Source that ``look()`` returns, or one without Items where it could not be looked at."""
    try:
        return look()
    except OSError as error:
        return Source(step, directory, (), None, error=f"{error.filename} cannot be read: {reason(error)}.")


def ballast(path):
    """Return the Source of a ballast, and the Ballast, None where there is none. Raises BadOption for a path that is
    none."""
    found, items = found_ballast(path), []
    if found:
        items += [Item(path, found.allocated)] if found.mode else []
        with suppress(OSError):
            beside = os.lstat(f"{path}{BESIDE}")
            items.append(Item(f"{path}{BESIDE}", on_disk(beside), inodes=found.inodes + 1))
    directory = os.path.dirname(path)
    return Source(BALLAST, directory, tuple(items), lambda items: remove_ballast(path), together=True), found


def container_logs(root, over):
    """Return the Source of containers' log files below the engine's ``root`` with more than ``over`` bytes.

    Where dockerd or a shim appends to one it is emptied, and never unlinked: they would go on in a file without a name.
    Raises OSError.
    """
    items = []
    for base in (root, *(f"{root}/{name}" for name in directories_in(root) if _REMAPPED.fullmatch(name))):
        for container in filter(_CONTAINER.fullmatch, directories_in(base, "containers")):
            # The drivers json-file and local (moby, daemon/logger); others keep no files here.
            for below, live in (((), f"{container}-json.log"), (("local-logs",), "container.log")):
                for name, status in files_in(base, "containers", container, *below):
                    end = name[len(live) :] if name.startswith(live) else None
                    if end is not None and _ROTATED.fullmatch(end) and on_disk(status) > over:
                        path = "/".join((base, "containers", container, *below, name))
                        items.append(Item(path, on_disk(status), REMOVE if end else TRUNCATE))
    return Source(CONTAINER_LOGS, root, tuple(items), lambda items: give_up(root, items))


def journal(over, run):
    """Return the Source of the journal beyond ``over`` bytes; ``run`` as for service_manager. Raises OSError."""
    base, items = os.path.realpath(JOURNALS), []
    for name in directories_in(base):
        files = []
        for file, status in files_in(base, name):
            if _ANY_JOURNAL.fullmatch(file):
                archived = _ARCHIVED.fullmatch(file)
                when = int(next(filter(None, archived.groups())), 16) if archived else 0
                files.append((f"{base}/{name}/{file}", on_disk(status), when, bool(archived)))
        # Each directory has the limit for itself.
        items += beyond(files, over)
    command = ["journalctl", f"--directory={base}", f"--vacuum-size={over}"]
    return Source(JOURNAL, base, tuple(items), lambda items: _by_command(items, [command], run), together=True)


def package_caches(run):
    """Return the Source of what package managers keep and fetch again, of those that are here. Raises OSError."""
    items, commands = [], []
    for base, below, pattern, command in CACHES:
        if not (os.path.isdir(base) and not os.path.islink(base) and _is_here(command[0])):
            continue
        names = [tuple(one.split("/")) for one in below] if below else _all_below(base)
        for parts in names:
            for name, status in files_in(base, *parts):
                if re.fullmatch(pattern, name):
                    items.append(Item("/".join((base, *parts, name)), on_disk(status)))
                    commands += [] if list(command) in commands else [list(command)]
    directory = next((os.path.dirname(base) for base, *_rest in CACHES if os.path.isdir(base)), "/var/cache")
    return Source(
        PACKAGE_CACHES, directory, tuple(items), lambda items: _by_command(items, commands, run), together=True
    )


def _all_below(base, *parts):
    found = [parts]
    if len(parts) < _DEEPEST:
        for name in directories_in(base, *parts):
            found += _all_below(base, *parts, name)
    return found


def _is_here(program):
    return any(os.access(os.path.join(path, program), os.X_OK) for path in os.environ.get("PATH", "").split(":"))


def _by_command(items, commands, run):
    """Run the commands; return the paths that are gone, and what went wrong."""
    problems = []
    for command in commands:
        try:
            status, printed, errors = run(command)
        except (OSError, ValueError) as error:
            problems.append(f"{' '.join(command)} cannot be run: {error}")
            continue
        if status:
            said = (errors or printed).strip().splitlines() or [f"exit status {status}"]
            problems.append(f"{' '.join(command)}: {said[-1]}")
    return [one.path for one in items if not os.path.lexists(one.path)], problems
