# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to what is left of builders that nobody has any more: jobs make them with a configuration of their own,
which goes with the job, while container and volume stay."""

from __future__ import annotations

from .._base.errors import BuildcacheError
from .._base.units import parse_timestamp
from .command import DockerCommand
from .instances import known_nodes
from .nodes import orphans, records_from_buildctl


def find_orphans(options, client):
    """Return the Orphans of the engine behind an EngineClient; each with a container that runs is asked what it does,
    by the docker command."""
    found = orphans(client.volumes(), client.containers(), known_nodes(options["buildx_config"]))
    return tuple(looked_at(one, options, client) if one.container else one for one in found)


def looked_at(orphan, options, client):
    """Return an Orphan with a container as it is now."""
    seen = client.container(orphan.container)
    state = seen.get("State") or {}
    if not state.get("Running"):
        return orphan._replace(used_at=_time(state.get("FinishedAt")) or _time(seen.get("Created")))
    try:
        command = DockerCommand(options, options["buildx_config"])
        text = command.run("exec", orphan.container, "buildctl", "du", "--format", "{{json .}}")
        records = records_from_buildctl(text)
    except BuildcacheError as problem:
        return orphan._replace(busy=f"it runs, and cannot be asked whether a build does ({problem})")
    uses = [_time(record.last_used_at) or 0 for record in records]
    busy = "a build runs" if any(record.in_use for record in records) else ""
    return orphan._replace(used_at=max([_time(state.get("StartedAt")) or 0, *uses]), busy=busy)


def _time(text):
    """Return an engine's time in nanoseconds, None for that of the year 1, which stands for never."""
    at = parse_timestamp(text) if text else None
    return at if at and at > 0 else None
