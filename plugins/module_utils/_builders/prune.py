# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Acting on the builders beyond the engine's own: each by itself, so that one that fails leaves the others done."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .._base.errors import BuildcacheError
from .._base.records import BUILD_CACHE, RUNNING, STOPPED, Observation
from .._cache.plan import plan
from .._cache.steps import Planned, of_records
from .._engine.observe import as_looked_at
from .._engine.prune import Done, do, prune_records
from .buildx import nodes_for
from .clear import plan_orphans, remove_orphans
from .nodes import Node, volume_sizes


@dataclass(frozen=True)
class Chosen:
    """A Node that is to be pruned.

    ``client`` talks to it and ``before`` is the Observation of it, None where that cannot be; ``planned`` is what is to
    go, ``here`` whether its data is the engine's, ``skipped`` or ``error`` why nothing will happen to it, and
    ``state_bytes`` what the volume of a stopped one holds.
    """

    node: Node
    planned: Planned = Planned(BUILD_CACHE, (), 0)
    client: object = None
    before: Observation | None = None
    here: bool = False
    skipped: str | None = None
    error: str | None = None
    state_bytes: int = 0


@dataclass(frozen=True)
class Pruned:
    """What was done to a Chosen: a Done, and the Observation afterwards, None where it was not asked."""

    chosen: Chosen
    done: Done
    after: Observation | None = None

    @property
    def node(self):
        """The Node."""
        return self.chosen.node


class Others:
    """The other builders that are to be pruned, and what is left of builders that are gone if that is to go."""

    def __init__(self, options, wanted, client, filesystems):
        """``filesystems`` are those of the engine behind the EngineClient as its own steps leave them. Raises BadOption
        for a builder that is not there, and BuilderError where buildx cannot be asked."""
        self._wanted, self._client, self._bootstrap = wanted, client, options["bootstrap_stopped"]
        self._buildx, nodes = nodes_for(options) if wanted.build_cache else (None, ())
        self._chosen = choose(wanted, self._buildx, nodes, filesystems, client, self._bootstrap)
        self._options, self._orphans = options, ()
        if options["remove_orphaned_state"]:
            self._orphans = (plan_orphans(options, client, wanted.orphans_older_than),)

    def pretend(self):
        """Return what prune() would, without asking anyone for anything."""
        return [Pruned(one, Done(one.planned, error=one.error), _left(one)) for one in self._chosen], self._orphans

    def prune(self, deadline):
        """Prune; return the Pruned of each builder, and the Orphans as a tuple, empty where they were not to go."""
        pruned = [_prune(self._wanted, self._buildx, one, deadline, self._bootstrap) for one in self._chosen]
        return pruned, tuple(remove_orphans(self._options, self._client, one, deadline) for one in self._orphans)


def choose(wanted, buildx, nodes, filesystems, client, bootstrap):
    """Return the Chosen of each Node.

    ``filesystems`` are those of the engine behind the EngineClient as its own steps leave them, and ``bootstrap`` is
    whether stopped builders are to be started. What earlier nodes free counts for the later ones.
    """
    chosen, filesystems = [], list(filesystems)
    stopped = any(node.status == STOPPED for node in nodes)
    volumes = volume_sizes(client.volumes()) if stopped else {}
    for node in nodes:
        one = _choose(wanted, buildx, node, filesystems, bootstrap)
        if one.here and node.status == STOPPED:
            one = replace(one, state_bytes=volumes.get(node.state_volume, 0))
        if one.here and one.planned.bytes and filesystems:
            last, gain = filesystems[-1], one.planned.bytes
            filesystems[-1] = last._replace(free=last.free + gain, available=last.available + gain)
        chosen.append(one)
    return chosen


def _choose(wanted, buildx, node, filesystems, bootstrap):
    try:
        if node.status == RUNNING or node.trouble:
            client = buildx.node_client(node)
            seen = as_looked_at(client.observe(wanted.needs_disk), client.records)
            before = _on_engines_disk(seen, buildx.is_here(node), filesystems)
            # Marks are those of the file system with the engine's images.
            same = before.filesystems[:1] == tuple(filesystems[:1])
            mine = _of_cache_alone(wanted if same else wanted._replace(goal=None))
            return Chosen(node, _planned(mine, before), client, before, buildx.is_here(node))
    except BuildcacheError as problem:
        return Chosen(node, error=str(problem))
    why = "It does not exist yet, or no longer: buildx makes it when it is next used."
    if node.status == STOPPED and bootstrap:
        why = "It is stopped, and what it holds shows only once a run without check mode has started it."
    elif node.status == STOPPED:
        why = "It is stopped; bootstrap_stopped: true starts it, prunes it and stops it again."
    return Chosen(node, here=buildx.is_here(node), skipped=why)


def _on_engines_disk(seen, here, filesystems):
    """Return the Observation with the engine's own disk figures where its data is on the engine's disk."""
    own = filesystems[-1] if filesystems else None
    if here and own and seen.filesystems and seen.filesystems[0].total == own.total:
        return seen._replace(filesystems=(own,))
    return seen


def _planned(wanted, seen):
    steps, _left = plan(wanted, seen)
    rules = tuple(rule for step in steps for rule in step.rules)
    if not wanted.stages:
        return steps[-1]
    # The rules of all stages are one step here: nothing else goes in between.
    return of_records(rules, seen)[0]


def _of_cache_alone(wanted):
    """Return what is wanted of a builder that has no images and no containers."""
    return wanted._replace(
        containers="keep",
        images="keep",
        images_remove=(),
        embedded=True,
        stages=tuple(map(_of_cache_alone, wanted.stages)),
    )


def _left(one):
    """Return the Observation of a Chosen once its plan is done."""
    if one.before is None:
        return None
    gone = set(one.planned.ids)
    return one.before._replace(records=tuple(record for record in one.before.records if record.id not in gone))


def _prune(wanted, buildx, one, deadline, bootstrap):
    """Prune a Chosen. A builder that is started for it is stopped again."""
    if bootstrap and one.node.status == STOPPED:
        return _prune_started(wanted, buildx, one, deadline)
    if not one.planned.ids:
        return Pruned(one, Done(one.planned, error=one.error), one.before)
    work = prune_records(one.planned.rules, one.before, one.client, one.client.records, deadline)
    return Pruned(one, *do(one.planned, work, one.before, lambda: one.before._replace(records=one.client.records())))


def _prune_started(wanted, buildx, one, deadline):
    """Start a stopped builder, prune it, and stop it again unless somebody has come to use it."""
    try:
        started = buildx.start(one.node)
    except BuildcacheError as problem:
        return Pruned(one, Done(one.planned, error=f"It could not be started: {problem}"))
    pruned = _prune(wanted, buildx, _choose(wanted, buildx, started, (), bootstrap=False), deadline, bootstrap=False)
    done = pruned.done
    try:
        if any(record.in_use for record in buildx.node_client(started).records()):
            raise BuildcacheError("a build has begun to use it")
        buildx.stop(one.node)
    except BuildcacheError as problem:
        done = replace(done, error=done.error or f"It was started to be pruned, and still runs: {problem}.")
    return Pruned(replace(pruned.chosen, node=one.node), done, pruned.after)
