# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The GC policy in a buildkitd.toml: read, and written so that all else in the file stays. Pure, over tomlkit.

Sources: BuildKit, cmd/buildkitd/config/config.go and gcpolicy.go (0.10 to 0.32).
"""

from __future__ import annotations

import sys

from .._base.errors import BadOption, BuilderError
from .._base.units import SECOND, parse_size
from .._policy.policy import Policy, PolicyRule
from .._policy.reader import (
    engine_age,
    engine_size,
    rule_with_alternatives,
)
from .._policy.spelling import to_buildkitd_toml

_SIZES = ("reservedSpace", "maxUsedSpace", "minFreeSpace")
_OLDER = {"reservedSpace": ("gckeepstorage", "keepBytes")}
_READS_AS = "29"
"""The engine that reads sizes and durations as BuildKit does: with Go's own functions for both."""


def policy_in_toml(text, filesystem_bytes=None):
    """Return the Policy that BuildKit reads from the text of a buildkitd.toml, None where it cannot be told.

    ``filesystem_bytes`` is what percentages are taken of. An empty list of rules means the default rules there.
    Raises BuilderError for text that is no TOML.
    """
    try:
        worker = _worker(_parsed(text).unwrap())
        enabled = worker.get("gc", True)
        sizes = tuple(_bytes(worker, key, filesystem_bytes) for key in _SIZES)
        rules = worker.get("gcpolicy") or None
        return Policy(
            enabled=bool(enabled),
            rules=rules and tuple(_rule(rule, filesystem_bytes) for rule in rules),
            default_sizes=sizes,
        )
    except (BadOption, AttributeError, TypeError, ValueError):
        return None


def toml_with_policy(text, policy, buildkit_version):
    """Return the text of a buildkitd.toml with a Policy, or without one for None. All else stays, comments too."""
    tomlkit = _tomlkit()
    document = _parsed(text)
    if "worker" not in document:
        document["worker"] = tomlkit.table(is_super_table=True)
    kind = _kind(document["worker"])
    if kind not in document["worker"]:
        document["worker"][kind] = tomlkit.table()
    worker = document["worker"][kind]
    section = {} if policy is None else to_buildkitd_toml(policy, buildkit_version)
    worker.pop("gcpolicy", None)
    if policy is None:
        worker.pop("gc", None)
    else:
        worker["gc"] = section["gc"]
    if section.get("gcpolicy"):
        rules = tomlkit.aot()
        for found in section["gcpolicy"]:
            rule = tomlkit.table()
            rule.update(found)
            rules.append(rule)
        worker["gcpolicy"] = rules
    if not worker:
        del document["worker"][kind]
    if not document["worker"]:
        del document["worker"]
    return tomlkit.dumps(document)


def _worker(data):
    workers = data.get("worker") or {}
    return workers.get(_kind(workers)) or {}


def _kind(workers):
    """Return the worker that BuildKit runs: the one of its own, unless only the one of containerd is switched on."""
    containerd, own = workers.get("containerd") or {}, workers.get("oci") or {}
    return "containerd" if containerd.get("enabled") and own.get("enabled") is False else "oci"


def _rule(rule, filesystem_bytes):
    reserved, max_used, min_free = (_bytes(rule, key, filesystem_bytes) for key in _SIZES)
    found = PolicyRule(
        unused_for=_age(rule.get("keepDuration")),
        all=bool(rule.get("all")),
        reserved_space=reserved,
        max_used_space=max_used,
        min_free_space=min_free,
    )
    return rule_with_alternatives(found, rule.get("filters") or ())


def _age(age):
    """Return nanoseconds: a number is seconds, with or without quotes, and other text as Go reads it."""
    if not age or isinstance(age, int):
        return (age or 0) * SECOND
    return int(age) * SECOND if age.isdecimal() else engine_age(age, _READS_AS)


def _bytes(section, key, filesystem_bytes):
    size = next((section[name] for name in (key, *_OLDER.get(key, ())) if section.get(name)), 0)
    if isinstance(size, int):
        return size
    if not size.endswith("%"):
        return engine_size(size, _READS_AS)
    if not filesystem_bytes:
        raise ValueError(size)
    return int(parse_size(size, key).in_bytes(filesystem_bytes))


def _parsed(text):
    tomlkit = _tomlkit()
    try:
        return tomlkit.parse(text)
    except tomlkit.exceptions.ParseError as problem:
        raise BuilderError(
            f"The builder's buildkitd.toml is no TOML: {problem}. Correct it, then run again."
        ) from problem


def _tomlkit():
    try:
        import tomlkit
        import tomlkit.exceptions
    except ImportError as problem:
        raise BuilderError(
            f"A builder's policy needs tomlkit, which cannot be imported by {sys.executable} on this host ({problem}). "
            "The role buildfleet.buildcache.prepare installs it: set prepare_buildx: true, and "
            "ansible_python_interpreter as it says."
        ) from problem
    return tomlkit
