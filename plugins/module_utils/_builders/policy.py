# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The GC policy of a container builder: in the buildkitd.toml that buildx keeps for it, and in its container.

buildx copies the file into a node's container when it makes that, and never again (buildx, driver/docker-container).
So a policy comes into force by a new container, which mounts the old one's volume and has its cache.
"""

from __future__ import annotations

import base64
import binascii
import fcntl
import io
import json
import os
import tarfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace

from .._base.errors import (
    BadOption,
    BuildcacheError,
    BuilderError,
)
from .._base.records import RUNNING, STOPPED
from .._engine.config_file import read_config, write_config
from .._policy.edit import asked_policy
from .._policy.idle import idle_traps
from .._policy.in_effect import obeys, reported_policy
from .._policy.policy import Policy, terms
from .._policy.spelling import supported, to_buildkitd_toml
from .buildkitd_toml import (
    policy_in_toml,
    toml_with_policy,
)
from .buildx import Buildx
from .instances import buildx_directory
from .nodes import Node, chosen_nodes

_FILE = "buildkitd.toml"
_IN_CONTAINER = f"/etc/buildkit/{_FILE}"
_POLL = 1.0


@dataclass(frozen=True)
class _Target:
    """The buildkitd.toml that a node is to have: its text before and after, the Policy in it, None for none, and what
    there is to say of that."""

    node: Node
    before: str
    text: str
    policy: Policy | None
    warnings: tuple[str, ...] = ()


def put_policy(options, drain_seconds, check_mode, atomic_move):
    """Give a container builder the policy that the module's options ask for; return the result and the warnings.

    ``drain_seconds`` is how long running builds are waited for. With ``recreate_builder`` its containers are made anew
    where they do not obey it; where that goes wrong the old file and containers are put back. Raises BuildcacheError.
    """
    buildx = Buildx(options, options["buildx_config"])
    nodes = chosen_nodes([options["builder"]], buildx.nodes())
    _check(options, nodes)
    directory = buildx_directory(options["buildx_config"])
    with _store_lock(directory, options["timeout"]):
        store = read_config(os.path.join(directory, "instances", options["builder"]))
        targets = [_target(options, buildx, node, _text_of(store.data, node)) for node in nodes]
        changed = any(one.text != one.before for one in targets)
        if changed and not check_mode:
            # Written as buildx writes it, so that a diff of the file shows nothing else.
            write_config(store, json.dumps(_with_texts(store.data, targets), separators=(",", ":")), atomic_move)

    def put_back():
        with _store_lock(directory, options["timeout"]):
            now = read_config(store.path)
            if now.text != store.text:
                write_config(now, store.text, atomic_move)

    stale = [one for one in targets if _is_stale(buildx, one)]
    recreates, made = bool(stale and options["recreate_builder"]), {}
    if recreates and not check_mode:
        made, stale = _recreate(buildx, stale, drain_seconds, put_back), []
    first = targets[0]
    result = {
        "changed": changed or recreates,
        "rendered": to_buildkitd_toml(first.policy, _version(options, first.node)) if first.policy else {},
        "restart_required": bool(stale),
        "in_effect": _in_effect(buildx, made.get(first.node.name, first.node)),
        "in_effect_source": "buildx" if first.node.reported is not None else "container",
        "diff": {"before": _section(first.before), "after": _section(first.text)},
    }
    return result, [sentence for one in targets for sentence in one.warnings]


def _check(options, nodes):
    driver = nodes[0].driver if nodes else "docker"
    if driver == "docker":
        raise BadOption(
            f"builder: {options['builder']} is the engine's own, whose policy is in daemon.json. Leave the option out."
        )
    if driver != "docker-container":
        raise BadOption(
            f"builder: {options['builder']} is run by the driver {driver}; only one of the driver docker-container "
            "has its buildkitd.toml from buildx. Change that file where BuildKit runs."
        )
    for node in nodes:
        if node.trouble:
            raise BuilderError(node.trouble)


def _version(options, node):
    version = node.version or options["engine_version"]
    if not version:
        raise BadOption(
            f"Builder {node.label} is {node.status}, so that the version of its BuildKit is not known. Start it "
            "(docker buildx inspect --bootstrap), or give the version in engine_version."
        )
    return version


def _target(options, buildx, node, text):
    version = _version(options, node)
    disk = buildx.node_client(node).filesystem() if node.status == RUNNING else None
    total = disk and disk.total
    before = policy_in_toml(text, total)
    asked = asked_policy(options, total, before)
    if asked is None:
        return _Target(node, text, toml_with_policy(text, None, version), None)
    policy, missing = supported(asked, version, options["unsupported"] == "approximate", product="BuildKit")
    if policy.rules is None and before:
        policy = policy._replace(default_sizes=before.default_sizes)
    same = before and before.meaning == policy.meaning
    said = (*missing, *map(str, idle_traps(asked, one_type_each=False)))
    return _Target(node, text, text if same else toml_with_policy(text, policy, version), policy, said)


def _is_stale(buildx, target):
    """Whether a node's container is not one of the file as it is to be. A node without one gets it when it is made."""
    node, policy = target.node, target.policy
    if node.status not in (RUNNING, STOPPED):
        return False
    if node.status == RUNNING and node.reported is not None and policy and policy.rules:
        return not obeys(reported_policy(node.reported), policy)
    return _text_in_container(buildx, node) != target.text


def _in_effect(buildx, node):
    if node.status != RUNNING:
        return None
    reported = node.reported is not None
    policy = reported_policy(node.reported) if reported else policy_in_toml(_text_in_container(buildx, node))
    return terms(policy) if policy else None


def _text_in_container(buildx, node):
    """Return the text of the file in a node's container, running or not; "" where that was made of none."""
    try:
        archive = buildx.run("cp", f"{node.container}:{_IN_CONTAINER}", "-", endpoint=node.endpoint)
    except BuilderError as problem:
        if "Could not find the file" in str(problem):
            return ""
        raise
    with tarfile.open(fileobj=io.BytesIO(archive.encode("utf-8"))) as files:
        return files.extractfile(_FILE).read().decode("utf-8")


def _recreate(buildx, stale, drain_seconds, put_back):
    """Make the containers of nodes anew, and return the Nodes as they are then, by name; where one does not come to
    obey, bring the old file and containers back."""
    made = {}
    try:
        for one in stale:
            _drain(buildx, one.node, drain_seconds)
            made[one.node.name] = one.node
            made[one.node.name] = _made_anew(buildx, one.node)
            if _is_stale(buildx, replace(one, node=made[one.node.name])):
                raise BuilderError(f"Builder {one.node.label} does not obey its buildkitd.toml.")
            made[one.node.name] = _as_it_was(buildx, one.node, made[one.node.name])
    except BuildcacheError as problem:
        put_back()
        try:
            for node in (one.node for one in stale if one.node.name in made):
                _as_it_was(buildx, node, _made_anew(buildx, node))
        except BuildcacheError as worse:
            raise BuilderError(f"{problem} Going back failed too: {worse} See to the builder by hand.") from problem
        raise BuilderError(f"{problem} The buildkitd.toml and the containers of before were put back.") from problem
    return made


def _as_it_was(buildx, node, now):
    """Stop a node that was stopped before, and return the Node as it is then."""
    if node.status != STOPPED:
        return now
    buildx.stop(node)
    return node


def _made_anew(buildx, node):
    try:
        buildx.run("rm", "--force", node.container, endpoint=node.endpoint)
    except BuilderError as problem:
        if "No such container" not in str(problem):
            raise
    return buildx.start(node)


def _drain(buildx, node, seconds):
    """Wait until no build uses a node's records."""
    if node.status != RUNNING:
        return
    end, client = time.monotonic() + seconds, buildx.node_client(node)
    while any(record.in_use for record in client.records()):
        if time.monotonic() >= end:
            raise BuilderError(f"Builder {node.label} was still building after {seconds:.0f} s. Raise drain_timeout.")
        time.sleep(_POLL)


@contextmanager
def _store_lock(directory, seconds):
    """Hold the lock that buildx takes whenever it changes its builders."""
    path, end = os.path.join(directory, ".lock"), time.monotonic() + seconds
    try:
        lock = open(path, "r+b")
    except OSError as problem:
        raise BuilderError(f"{path}, the lock of buildx, cannot be opened: {problem.strerror}.") from problem
    with lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except BlockingIOError as problem:
                if time.monotonic() >= end:
                    raise BuilderError(f"buildx holds the lock {path} for {seconds} s now. See why.") from problem
                time.sleep(0.1)
        yield


def _entry(data, node):
    return next(entry for entry in data.get("Nodes") or () if entry.get("Name") == node.name)


def _text_of(data, node):
    try:
        content = (_entry(data, node).get("Files") or {}).get(_FILE) or ""
        return base64.b64decode(content, validate=True).decode("utf-8")
    except (AttributeError, StopIteration, UnicodeDecodeError, binascii.Error) as problem:
        raise BuilderError(f"buildx keeps builder {node.label} in a form that is not known ({problem!r}).") from problem


def _with_texts(data, targets):
    data = json.loads(json.dumps(data))
    for one in targets:
        entry = _entry(data, one.node)
        content = base64.b64encode(one.text.encode("utf-8")).decode("ascii")
        entry["Files"] = dict(entry.get("Files") or {}, **{_FILE: content})
    return data


def _section(text):
    """Return the policy in a buildkitd.toml as it shows in a diff; other keys can hold credentials."""
    policy = policy_in_toml(text)
    return json.dumps(terms(policy), indent=4) + "\n" if policy else ""
