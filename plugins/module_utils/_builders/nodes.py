# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builders beyond the engine's own, as buildx and BuildKit name them. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, field

from .._base.errors import BadOption, BuildcacheError
from .._base.records import (
    EMBEDDED,
    INACTIVE,
    RUNNING,
    UNREACHABLE,
    Filesystem,
    Observation,
    Record,
    known_rules,
)
from .._base.units import go_duration, version_tuple

# The first engine with a BuildKit's arithmetic, as far as gc.py and plan.py tell engines apart.
_ENGINES = (
    ((0, 22), "28.2"),
    ((0, 21), "28.1"),
    ((0, 17), "27.4"),
    ((0, 14), "27.0"),
    ((0, 10), "23.0"),
    ((0, 0), "20.10"),
)

OLDEST_BUILDKIT = (0, 11)
"""The first BuildKit whose buildctl writes its records as JSON (BuildKit, cmd/buildctl/diskusage.go)."""

OLDEST_BUILDX = (0, 13)
"""The first buildx that lists its builders as JSON (buildx, commands/ls.go)."""


@dataclass(frozen=True)
class Node:
    """One node of a builder: whatever holds a build cache of its own.

    ``endpoint`` is the docker context or the address at which its engine is, or for the driver ``remote`` its own
    address; ``version`` that of its BuildKit and ``reported`` the GC rules that it says it obeys, where they are known;
    ``options`` its driver's options; ``error`` what buildx says of one that it cannot reach.
    """

    builder: str
    driver: str
    name: str
    endpoint: str
    status: str
    version: str | None = None
    reported: list | None = None
    options: dict = field(default_factory=dict)
    error: str | None = None

    @property
    def label(self):
        """What people call it: the builder, with the node where it has another name than the first."""
        return self.builder if self.name in (self.builder, f"{self.builder}0") else f"{self.builder} ({self.name})"

    @property
    def trouble(self):
        """Why it cannot be asked though it should be there, None where there is no such reason."""
        if self.error:
            return f"Builder {self.builder} cannot be reached: {self.error}"
        if self.driver != "docker-container" and self.status != RUNNING:
            return f"Builder {self.builder} does not answer at {self.endpoint}."
        return None

    @property
    def container(self):
        """The name of the container of a node of the driver docker-container."""
        return f"buildx_buildkit_{self.name}"

    @property
    def state_volume(self):
        """The name of the volume that holds its cache."""
        return f"{self.container}_state"

    @property
    def engine_version(self):
        """An engine with the arithmetic of the node's BuildKit."""
        return next(engine for first, engine in _ENGINES if version_tuple(self.version or "") >= first)


@dataclass(frozen=True)
class Seen:
    """What a Node holds: its Observation, None where it could not be asked, and why if that is an ``error``.

    ``state_bytes`` are those of the volume of a container builder, None where there is none that can be seen.
    """

    node: Node
    observation: Observation | None = None
    state_bytes: int | None = None
    error: str | None = None


def nodes_from_listing(text):
    """Return the Nodes that `docker buildx ls --format json` names, in its order, without the engine's own.

    Before 0.21 buildx repeats a builder's line for each of its nodes. Raises BuildcacheError where it is no JSON.
    """
    try:
        builders = {entry["Name"]: entry for entry in map(json.loads, text.splitlines())}
        return tuple(
            _node(entry, node)
            for name, entry in builders.items()
            if name != EMBEDDED
            for node in entry.get("Nodes") or ({},)
        )
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        raise BuildcacheError(f"buildx lists its builders in a form that is not known ({problem!r}).") from problem


def _node(builder, node):
    error = node.get("Err") or builder.get("Err")
    status = UNREACHABLE if error else node.get("Status") or INACTIVE
    return Node(
        builder=builder["Name"],
        # What cannot be reached has no driver; only the engine of a docker context is asked for so early.
        driver=builder.get("Driver") or "docker",
        name=node.get("Name") or builder["Name"],
        endpoint=node.get("Endpoint") or builder["Name"],
        status=status,
        version=(node.get("Version") or "").lstrip("v") or None,
        reported=known_rules(node.get("GCPolicy")),
        options=node.get("DriverOpts") or {},
        error=error,
    )


def chosen_nodes(names, nodes):
    """Return those of the Nodes that the option ``builders`` names, all for ``all``. Raises BadOption for others."""
    if "all" in names:
        return nodes
    known = {node.builder for node in nodes}
    strange = [name for name in names if name not in known and name != EMBEDDED]
    if strange:
        raise BadOption(
            f"builders: there is no builder {', '.join(map(repr, strange))}; there are "
            f"{', '.join([EMBEDDED, *sorted(known)])}. Each user has builders of his own: see the option buildx_config."
        )
    return tuple(node for node in nodes if node.builder in names)


def records_from_buildctl(text):
    """Return the Records that `buildctl du --format '{{json .}}'` writes: a list, or null where there are none.

    Raises BuildcacheError where it is none.
    """
    try:
        return tuple(_record(entry) for entry in json.loads(text) or ())
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        raise BuildcacheError(f"BuildKit lists its records in a form that is not known ({problem!r}).") from problem


def _record(entry):
    return Record(
        id=entry["id"],
        type=entry.get("recordType") or "regular",
        size=entry.get("size") or 0,
        shared=bool(entry.get("shared")),
        in_use=bool(entry.get("inUse")),
        parents=tuple(entry.get("parents") or ()),
        usage_count=entry.get("usageCount") or 0,
        last_used_at=entry.get("lastUsedAt"),
        created_at=entry.get("createdAt"),
        description=entry.get("description") or "",
    )


def pruned_from_buildctl(text):
    """Return the ids and the bytes of what `buildctl prune --format '{{json .}}'` says it removed, a record a line.

    Raises BuildcacheError where it says something else.
    """
    try:
        removed = [json.loads(line) for line in text.splitlines() if line.strip()]
        return [entry["id"] for entry in removed], sum(entry.get("size") or 0 for entry in removed)
    except (AttributeError, KeyError, TypeError, ValueError) as problem:
        raise BuildcacheError(f"BuildKit lists what it removed in a form that is not known ({problem!r}).") from problem


def prune_arguments(rule):
    """Return the arguments by which `buildctl prune` removes what a Rule selects.

    The cap goes in as megabytes with a fraction, which buildctl multiplies and cuts (cmd/buildctl/prune.go): half a
    byte more keeps what it cuts from being a byte less.
    """
    arguments = ["prune", "--format", "{{json .}}"]
    if rule.all:
        arguments.append("--all")
    if rule.unused_for:
        arguments += ["--keep-duration", go_duration(rule.unused_for)]
    if rule.keep_bytes:
        arguments += ["--keep-storage", f"{(rule.keep_bytes + 0.5) / 1e6:.7f}"]
    clauses = []
    if rule.type:
        clauses.append(f"type=={rule.type}")
    if rule.id:
        clauses.append(f"id~={rule.id}")
    if rule.description:
        clauses.append(f"description=={json.dumps(rule.description, ensure_ascii=False)}")
    if rule.shared is not None:
        clauses.append("shared" if rule.shared else "private")
    return [*arguments, "--filter", ",".join(clauses)] if clauses else arguments


def filesystem_from_stat(path, text):
    """Return the Filesystem that `stat -f -c '%S %b %f %a %c %d'` describes: block size, blocks, free and available
    ones, inodes, free inodes. Raises BuildcacheError where that is not what the text holds."""
    try:
        block, blocks, free, available, inodes, free_inodes = map(int, text.split())
    except ValueError as problem:
        raise BuildcacheError(f"stat describes {path} in a form that is not known: {text!r}.") from problem
    return Filesystem(path, 0, block * blocks, block * free, block * available, inodes, free_inodes)


def volume_sizes(volumes):
    """Return the bytes of each volume by name; ``volumes`` are entries of the Engine API with their usage."""
    return {volume["Name"]: max((volume.get("UsageData") or {}).get("Size", 0), 0) for volume in volumes}
