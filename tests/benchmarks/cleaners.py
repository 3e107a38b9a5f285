# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Ways to clean a build host: this collection's, and those of the docker command."""

from __future__ import annotations

import json
import tempfile

from .build_host import BuildHost, Look
from .tasks import fresh_environment, run_ansible

OURS = "buildcache_prune"
KEEP_STORAGE = "docker builder prune -f --keep-storage"
BUILDER_PRUNE = "docker builder prune -af"
SYSTEM_PRUNE = "docker system prune -af"

TRIES = 8
"""How often a smaller limit is tried."""


def clean(way: str, host: BuildHost, before: Look, wanted: int) -> Look:
    """Clean a host that holds what ``before`` says in one way; return what it then holds.

    ``wanted`` is how many bytes are to be freed, which OURS and KEEP_STORAGE heed.
    """
    if way == OURS:
        _ours(host, _options(before, wanted))
    elif way == KEEP_STORAGE:
        return _keep_storage(host, before, wanted)
    else:
        host.script(way)
    return host.look()


def _options(before: Look, wanted: int) -> dict:
    """The module's options that free so many bytes, of all that nothing runs on."""
    mark = before.available + wanted
    # Every image here is young, so its age protects none.
    chosen = {"containers": "stopped", "images": "unused", "protect_for": "0s"}
    return {**chosen, "high_watermark": str(mark - 1), "low_watermark": str(mark)}


def _ours(host: BuildHost, options: dict) -> None:
    with tempfile.TemporaryDirectory(prefix="bench-") as scratch:
        inventory = str(host.lab.directory / "inventory.yml")
        module = ["-m", f"buildfleet.buildcache.{OURS}", "-a", json.dumps(options)]
        run_ansible(["ansible", "-i", inventory, host.host.name, *module], fresh_environment(scratch))


def _keep_storage(host: BuildHost, before: Look, wanted: int) -> Look:
    """Prune to the limit that would free so many bytes if the records' sizes were those on disk, and then, as they are
    not, to smaller ones, until it is freed or no limit frees more."""
    # The flag's newer name; where buildx is not installed or old the command knows the older one alone.
    newer = "--reserved-space" in host.script("docker builder prune --help")
    flag, after, missing = "--reserved-space" if newer else "--keep-storage", before, wanted
    limit = before.private
    for _try in range(TRIES):
        limit = max(1, min(limit, after.private) - missing)
        host.script(f"docker builder prune --force {flag} {limit}")
        after = host.look()
        missing = wanted - (after.free - before.free)
        if missing <= 0 or limit == 1:
            break
    return after
