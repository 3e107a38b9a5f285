# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to what is left of builders that nobody has any more: jobs make them with a configuration of their own,
which goes with the job, while container and volume stay."""

from __future__ import annotations

import re

from .._base.errors import BuildcacheError
from .._base.records import Orphan
from .._base.units import parse_timestamp
from .command import DockerCommand
from .instances import known_nodes
from .nodes import records_from_buildctl, volume_sizes

# The state volume of a container builder, and its container (buildx, driver/docker-container/driver.go and
# store/nodegroup.go).
_STATE_VOLUME = re.compile(r"buildx_buildkit_(?P<node>.+)_state")
_CONTAINER = re.compile(r"buildx_buildkit_(?P<node>.+)")


def find_orphans(options, client, volumes):
    """Return the Orphans of the engine behind an EngineClient; each with a container that runs is asked what it does,
    by the docker command. ``volumes`` are the engine's, which it takes long to measure."""
    found = orphans(volumes, client.containers(), known_nodes(options["buildx_config"]))
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


def orphans(volumes, containers, known_nodes):
    """Return the Orphans of an engine: what is left of nodes that nobody has any more.

    ``volumes`` are entries of the Engine API with their usage, ``containers`` of its list of all containers,
    ``known_nodes`` the names of all nodes that any user of the host has. A volume that another container mounts, even a
    stopped one, is not among them.
    """
    states = {}
    for volume in volumes:
        found = _STATE_VOLUME.fullmatch(volume["Name"])
        if found:
            states[found["node"]] = volume
    sizes = volume_sizes(volumes)
    left = {}
    for container in containers:
        names = [name.lstrip("/") for name in container.get("Names") or ()]
        for found in filter(None, map(_CONTAINER.fullmatch, names)):
            volume = states.get(found["node"], {}).get("Name", "")
            left[found["node"]] = Orphan(found["node"], found.group(), volume, sizes.get(volume, 0))
    for node, volume in states.items():
        if node not in left and (volume.get("UsageData") or {}).get("RefCount") == 0:
            used_at = parse_timestamp(volume.get("CreatedAt"))
            left[node] = Orphan(node, "", volume["Name"], sizes[volume["Name"]], used_at)
    return tuple(one for node, one in sorted(left.items()) if node not in known_nodes)
