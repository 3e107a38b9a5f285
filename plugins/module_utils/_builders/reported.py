# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Asking the engine's own builder for the GC policy that it obeys, over python-on-whales."""

from __future__ import annotations

import json
import tempfile

from .._base.errors import BuilderError
from .._base.records import EMBEDDED, RUNNING, known_rules
from .command import DockerCommand

_TIME_LIMIT = 60
"""Seconds for buildx to answer."""


def reported_rules(docker_host):
    """Return the GCPolicy entries of the BuildKit embedded in the engine at ``docker_host``, as it obeys them.

    None where they cannot be had: no python-on-whales, no buildx, an engine or a buildx that does not tell.
    An engine before 28.0 tells of none, as does a later one whose garbage collection is off: ask only later ones.
    """
    connection = {"docker_host": docker_host, "timeout": _TIME_LIMIT, "tls": False, "validate_certs": False}
    # Without the user's own builders, each of which would be asked as well.
    with tempfile.TemporaryDirectory(prefix="buildcache-") as nothing:
        try:
            listed = DockerCommand(connection, nothing).run("buildx", "ls", "--format", "json")
            nodes = [node for line in listed.splitlines() for node in _own_nodes(json.loads(line))]
        except (BuilderError, ValueError):
            return None
    return known_rules(nodes[0].get("GCPolicy") or []) if nodes else None


def _own_nodes(builder):
    """Return the running nodes of the builder `default`, the engine's own."""
    if builder.get("Name") != EMBEDDED:
        return []
    return [node for node in builder.get("Nodes") or () if node.get("Status") == RUNNING]
