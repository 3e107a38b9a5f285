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
import json
import os
import tempfile
import time
from contextlib import contextmanager
from dataclasses import dataclass, replace

from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders import Buildx
from ansible_collections.buildfleet.buildcache.plugins.module_utils._buildkit import Node, chosen_nodes
from ansible_collections.buildfleet.buildcache.plugins.module_utils._buildkitd_toml import (
    policy_in_toml,
    toml_with_policy,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._config_file import read_config, write_config
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dialects import supported, to_buildkitd_toml
from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import (
    BadOption,
    BuildcacheError,
    BuilderError,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._gc_policy import asked_policy
from ansible_collections.buildfleet.buildcache.plugins.module_utils._in_effect import obeys, reported_policy
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy import Policy, terms
from ansible_collections.buildfleet.buildcache.plugins.module_utils._records import RUNNING, STOPPED

_FILE = "buildkitd.toml"
_IN_CONTAINER = f"/etc/buildkit/{_FILE}"
_POLL = 1.0


@dataclass(frozen=True)
class Wanted:
    """The buildkitd.toml that a node is to have: its text before and after, and the Policy in it, None for none."""

    node: Node
    before: str
    text: str
    policy: Policy | None
    missing: tuple[str, ...] = ()

    @property
    def changed(self):
        """Whether the file is to be written."""
        return self.text != self.before


def put_policy(options, drain_seconds, check_mode, atomic_move):
    """Give a container builder the policy that the module's options ask for; return the result and the warnings.

    ``drain_seconds`` is how long running builds are waited for. With ``recreate_builder`` its containers are made anew
    where they do not obey it; where that goes wrong the old file and containers are put back. Raises BuildcacheError.
    """
    buildx = Buildx(options, options["buildx_config"])
    nodes = chosen_nodes([options["builder"]], buildx.nodes())
    _check(options, nodes)
    path = os.path.join(_directory(options["buildx_config"]), "instances", options["builder"])
    with _store_lock(os.path.dirname(os.path.dirname(path)), options["timeout"]):
        store = read_config(path)
        wanted = [_wanted(options, buildx, node, _text_of(store.data, node)) for node in nodes]
        changed = any(one.changed for one in wanted)
        if changed and not check_mode:
            # Written as buildx writes it, so that a diff of the file shows nothing else.
            write_config(store, json.dumps(_with_texts(store.data, wanted), separators=(",", ":")), atomic_move)
    to_make = [one for one in wanted if _restart_required(buildx, one)]
    recreates = options["recreate_builder"] and bool(to_make)
    if recreates and not check_mode:
        _recreate(buildx, to_make, drain_seconds, lambda: _put_back(path, store.text, options, atomic_move))
        to_make = []
    seen = wanted[0]
    result = {
        "changed": changed or recreates,
        "rendered": to_buildkitd_toml(seen.policy, _version(options, seen.node)) if seen.policy else {},
        "restart_required": bool(to_make) if check_mode or not recreates else False,
        "in_effect": _in_effect(buildx, seen),
        "in_effect_source": "buildx" if seen.node.reported is not None else "container",
        "diff": {"before": _section(seen.before), "after": _section(seen.text)},
    }
    return result, [sentence for one in wanted for sentence in one.missing]


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


def _wanted(options, buildx, node, text):
    version = _version(options, node)
    disk = buildx.node_client(node).observe().filesystems if node.status == RUNNING else ()
    total = disk[0].total if disk else None
    before = policy_in_toml(text, total)
    asked = asked_policy(options, total, before)
    if asked is None:
        return Wanted(node, text, toml_with_policy(text, None, version), None)
    policy, missing = supported(asked, version, options["unsupported"] == "approximate", product="BuildKit")
    if policy.rules is None and before:
        policy = replace(policy, default_sizes=before.default_sizes)
    if before and before.meaning == policy.meaning:
        return Wanted(node, text, text, policy, tuple(missing))
    return Wanted(node, text, toml_with_policy(text, policy, version), policy, tuple(missing))


def _restart_required(buildx, wanted):
    """Whether a node's container is not one of the file as it is to be. A node without one gets it when it is made."""
    if wanted.node.status not in (RUNNING, STOPPED):
        return False
    if wanted.node.status == RUNNING and wanted.node.reported is not None and wanted.policy and wanted.policy.rules:
        return not obeys(reported_policy(wanted.node.reported), wanted.policy)
    return _text_in_container(buildx, wanted.node) != wanted.text


def _in_effect(buildx, wanted):
    node = wanted.node
    if node.status != RUNNING:
        return None
    node = buildx.now(node)
    policy = (
        reported_policy(node.reported)
        if node.reported is not None
        else policy_in_toml(_text_in_container(buildx, node))
    )
    return terms(policy) if policy else None


def _text_in_container(buildx, node):
    with tempfile.TemporaryDirectory(prefix="buildcache-") as directory:
        os.chmod(directory, 0o777)  # buildx may run as the owner of its configuration
        path = os.path.join(directory, _FILE)
        try:
            buildx.run("cp", f"{node.container}:{_IN_CONTAINER}", path, endpoint=node.endpoint)
        except BuilderError:
            # A container without one was made of no file.
            return ""
        with open(path, encoding="utf-8") as file:
            return file.read()


def _recreate(buildx, to_make, drain_seconds, put_back):
    """Make the containers of nodes anew; where one does not come to obey, bring the old ones back."""
    made = []
    try:
        for one in to_make:
            _drain(buildx, one.node, drain_seconds)
            made.append(one.node)
            after = _made_anew(buildx, one.node)
            if _restart_required(buildx, replace(one, node=after)):
                raise BuilderError(f"Builder {one.node.label} does not obey its buildkitd.toml.")
            if one.node.status == STOPPED:
                buildx.put_to_rest(one.node)
    except BuildcacheError as problem:
        put_back()
        try:
            for node in made:
                _made_anew(buildx, node)
                if node.status == STOPPED:
                    buildx.put_to_rest(node)
        except BuildcacheError as worse:
            raise BuilderError(f"{problem} Going back failed too: {worse} See to the builder by hand.") from problem
        raise BuilderError(f"{problem} The buildkitd.toml and the containers of before were put back.") from problem


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


def _directory(config):
    """Return where buildx has its configuration (buildx, util/confutil, ConfigDir)."""
    docker = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    return config or os.environ.get("BUILDX_CONFIG") or os.path.join(docker, "buildx")


@contextmanager
def _store_lock(directory, seconds):
    """Hold the lock that buildx takes whenever it changes its builders."""
    end = time.monotonic() + seconds
    with open(os.path.join(directory, ".lock"), "r+b") as lock:
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                break
            except OSError as problem:
                if time.monotonic() >= end:
                    raise BuilderError(f"buildx holds the lock {lock.name} for {seconds} s now. See why.") from problem
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


def _with_texts(data, wanted):
    data = json.loads(json.dumps(data))
    for one in wanted:
        entry = _entry(data, one.node)
        content = base64.b64encode(one.text.encode("utf-8")).decode("ascii")
        entry["Files"] = dict(entry.get("Files") or {}, **{_FILE: content})
    return data


def _put_back(path, text, options, atomic_move):
    with _store_lock(os.path.dirname(os.path.dirname(path)), options["timeout"]):
        now = read_config(path)
        if now.text != text:
            write_config(now, text, atomic_move)


def _section(text):
    """Return the policy in a buildkitd.toml as it shows in a diff; other keys can hold credentials."""
    policy = policy_in_toml(text)
    return json.dumps(terms(policy), indent=4) + "\n" if policy else ""
