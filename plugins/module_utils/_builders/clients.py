# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to what builders hold: each kind is observed and pruned by the same methods.

``run`` and ``run_command`` are those of a DockerCommand.
"""

from __future__ import annotations

import shutil
import time

from .._base.errors import BuildcacheError, BuilderError
from .._base.records import Engine, Observation
from .._base.units import parse_timestamp
from .._engine.observe import observe, records_of
from .nodes import (
    filesystem_from_stat,
    prune_arguments,
    pruned_from_buildctl,
    records_from_buildctl,
)

_STATE = "/var/lib/buildkit"
"""Where a container builder has its cache (buildx, util/confutil, DefaultBuildKitStateDir)."""


class EngineNode:
    """A builder that is embedded in another engine."""

    def __init__(self, client):
        """``client`` is the EngineClient of that engine."""
        self._client = client

    def observe(self, with_disk):
        """Return its Observation, with nothing but the records; its disks are measured in any case."""
        seen = observe(self._client)
        return Observation(seen.engine, seen.records, (), (), 0, seen.filesystems)

    def records(self):
        """Return its Records."""
        return records_of(self._client.disk_usage())

    def prune_build_cache(self, rule, deadline):
        """Remove what the Rule selects; return the answer as the Engine API gives it."""
        return self._client.prune_build_cache(rule, deadline)


class _BuildkitNode:
    """A BuildKit of its own, which is asked by its own buildctl."""

    def __init__(self, node, run):
        self._node, self._run = node, run

    def observe(self, with_disk):
        """Return its Observation: the records and, where that is asked for and can be measured, the file system."""
        disk = self.filesystem() if with_disk else None
        engine = Engine(
            version=self._node.engine_version,
            api_version="",
            image_store="",
            storage_driver="",
            root_dir=_STATE,
            data_dirs=(),
            live_restore=False,
            now=time.time_ns(),
            started_at=self._started_at(),
        )
        return Observation(engine, self.records(), (), (), 0, (disk,) if disk else ())

    def records(self):
        """Return its Records."""
        return records_from_buildctl(self._buildctl("du", "--format", "{{json .}}"))

    def prune_build_cache(self, rule, deadline):
        """Remove what the Rule selects; return the answer as the Engine API gives it."""
        text = self._buildctl(*prune_arguments(rule), patience=deadline.remaining())
        ids, size = pruned_from_buildctl(text)
        return {"CachesDeleted": ids, "SpaceReclaimed": size}

    def filesystem(self):
        """Return the Filesystem that its cache is on, None where it cannot be measured."""
        return None

    def _started_at(self):
        return None


class ContainerNode(_BuildkitNode):
    """A running node of the driver docker-container."""

    def filesystem(self):
        """Return the Filesystem that its cache is on, None where it cannot be measured: an image may have no stat."""
        try:
            return filesystem_from_stat(_STATE, self._exec("stat", "-f", "-c", "%S %b %f %a %c %d", _STATE))
        except BuildcacheError:
            return None

    def _buildctl(self, *arguments, patience=None):
        return self._exec("buildctl", *arguments, patience=patience)

    def _started_at(self):
        text = self._run(
            "inspect", "--format", "{{.State.StartedAt}}", self._node.container, endpoint=self._node.endpoint
        )
        return parse_timestamp(text.strip())

    def _exec(self, *command, patience=None):
        return self._run("exec", self._node.container, *command, endpoint=self._node.endpoint, patience=patience)


class RemoteNode(_BuildkitNode):
    """A running node of the driver remote, asked by the host's own buildctl."""

    def __init__(self, node, run_command):
        """Raises BuilderError where the host has no buildctl."""
        super().__init__(node, run_command)
        if not shutil.which("buildctl"):
            raise BuilderError(
                f"Builder {node.builder} is remote, and only BuildKit's own buildctl tells its records exactly. There "
                "is none on this host: install it, or prune the builder where it runs."
            )
        self._command = ["buildctl", "--addr", node.endpoint]
        for option, name in (("cacert", "ca"), ("cert", "cert"), ("key", "key"), ("servername", "servername")):
            if node.options.get(option):
                self._command += [f"--tls{name}", node.options[option]]

    def _buildctl(self, *arguments, patience=None):
        return self._run([*self._command, *arguments], patience)
