# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Observing the builders beyond the engine's own."""

from __future__ import annotations

from .._base.errors import BuildcacheError
from .._base.records import EMBEDDED, RUNNING, Builders
from .buildx import nodes_for
from .nodes import Seen, volume_sizes
from .orphans import find_orphans


def observe_builders(options, client):
    """Return the Builders that a module's options ask for; ``client`` is the EngineClient.

    One that cannot be asked says why. Raises BadOption where there is no such builder, and BuilderError where buildx
    cannot be asked.
    """
    names = options["builders"]
    buildx, nodes = nodes_for(options)
    volumes = client.volumes()
    sizes = volume_sizes(volumes)
    return Builders(
        embedded=bool({EMBEDDED, "all"}.intersection(names)),
        others=tuple(
            _seen(buildx, node, sizes.get(node.state_volume) if buildx.is_here(node) else None) for node in nodes
        ),
        orphans=find_orphans(options, client, volumes) if "all" in names else (),
    )


def _seen(buildx, node, state_bytes):
    if node.status != RUNNING and not node.trouble:
        return Seen(node, state_bytes=state_bytes)
    try:
        return Seen(node, buildx.node_client(node).observe(with_disk=False), state_bytes)
    except BuildcacheError as problem:
        return Seen(node, state_bytes=state_bytes, error=str(problem))
