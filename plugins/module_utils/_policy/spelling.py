# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How much of a GC policy a version of the engine, or of BuildKit alone, can obey, and how that is spelled. Pure.

The way back is reader.py; sources are those of dialects.py."""

from __future__ import annotations

import json

from .._base.errors import BadOption
from .._base.units import (
    SECOND,
    docker_size,
    go_duration,
    version_tuple,
)
from .._cache.filters import FIRST_WITH_DESCRIPTION
from .dialects import FIRST_WITH_MIN_FREE, Dialect, dialect
from .policy import BOUNDLESS, settled

_FIRST_WITH = {
    "engine": {"min_free_space": FIRST_WITH_MIN_FREE, "description": FIRST_WITH_DESCRIPTION},
    "BuildKit": {"min_free_space": (0, 17), "description": (0, 14)},
}


# ``text``: whether sizes and durations may be text; before, they are bytes and seconds.
_BUILDKITS = (
    Dialect((0, 17, 0), ("reservedSpace", "maxUsedSpace", "minFreeSpace")),
    Dialect((0, 12, 0), ("keepBytes",)),
    Dialect((0, 0, 0), ("keepBytes",), text=False),
)


def supported(policy, version, approximate=False, product="engine"):
    """Return the Policy as far as an engine (or, by ``product``, a "BuildKit") can obey it, and what is missing as
    sentences.

    Raises BadOption, naming rule and version, where it cannot do what a rule asks; with ``approximate`` the rule is
    replaced by the nearest that removes no more, or left out.
    """
    rules, missing = [], []
    for number, rule in enumerate(policy.rules or ()):
        lack = _lack(rule, version_tuple(version), _FIRST_WITH[product])
        if not lack:
            # Free space that never counts is not asked for, since engines before 28.0.2 fail with the mere key.
            rules.append(settled(rule) if rule.min_free_space else rule)
            continue
        what, first, instead = lack
        what = (
            f"rules[{number}]: {product} {version} does not know {what}; {'.'.join(map(str, first))} is the first "
            "that does"
        )
        if not approximate:
            raise BadOption(
                f"{what}. With unsupported=approximate the nearest rule that removes no more takes its place. "
                "[gc_rule_unsupported]"
            )
        rules += instead
        missing.append(f"{what}. The rule is {'kept without it' if instead else 'left out'}.")
    if policy.rules and not rules:
        raise BadOption(f"No rule is left: {' '.join(missing)} [gc_rule_unsupported]")
    return (policy._replace(rules=tuple(rules)) if policy.rules else policy), missing


def _lack(rule, version, first_with):
    """Return what a version cannot do of a rule, the first that can, and what may stand in its place; None for
    nothing."""
    if rule.description and version < first_with["description"]:
        return "the filter description", first_with["description"], []
    if settled(rule).min_free_space and version < first_with["min_free_space"]:
        # Free space only ever lowers the cap below max_used_space. Without that, the rule may have to keep everything.
        bounded = rule.max_used_space < BOUNDLESS
        return "min_free_space", first_with["min_free_space"], [rule._replace(min_free_space=0)] if bounded else []
    return None


def to_daemon_json(policy, engine_version):
    """Return what ``builder.gc`` of daemon.json holds for a Policy: a dict of ``enabled`` and, where the policy has
    rules, ``policy``."""
    section = {"enabled": policy.enabled}
    if policy.rules is not None:
        keys = dialect(engine_version).sizes
        section["policy"] = [_daemon_rule(rule, kind, keys) for rule in policy.rules for kind in rule.types or (None,)]
    return section


def _daemon_rule(rule, kind, keys):
    """Return one rule of daemon.json: an engine cannot say "this type or that", so ``kind`` is one of them or None."""
    filters = {}
    if kind:
        filters["type"] = kind
    if rule.unused_for:
        filters["unused-for"] = go_duration(rule.unused_for)
    if rule.id:
        filters["id"] = rule.id
    if rule.description:
        # The engine glues key and value together to an expression of containerd's filter language.
        filters["description"] = json.dumps(rule.description, ensure_ascii=False)
    found = {}
    if rule.all:
        found["all"] = True
    if rule.shared is not None:
        # Only the older form of filters, an object, can name one without a value.
        flag = {"shared" if rule.shared else "private": {}}
        found["filter"] = {**{key: {value: True} for key, value in filters.items()}, **flag}
    elif filters:
        found["filter"] = [f"{key}={value}" for key, value in filters.items()]
    found.update(_spelled_sizes(rule, keys, docker_size))
    return found


def _spelled_sizes(rule, keys, spell):
    if len(keys) == 1:
        return {keys[0]: spell(max(rule.reserved_space, rule.max_used_space))}
    sizes = (rule.reserved_space, rule.max_used_space, rule.min_free_space)
    return {key: spell(size) for key, size in zip(keys, sizes) if size}


def to_buildkitd_toml(policy, buildkit_version):
    """Return what a worker's section of buildkitd.toml holds for a Policy: a dict of ``gc`` and, where the policy has
    rules, ``gcpolicy``. An empty list of rules means the default rules there, and is therefore written as gc = false.
    """
    if policy.rules == ():
        return {"gc": False}
    section = {"gc": policy.enabled}
    if policy.rules is not None:
        row = next(row for row in _BUILDKITS if version_tuple(buildkit_version) >= row.since)
        section["gcpolicy"] = [_buildkitd_rule(rule, row) for rule in policy.rules]
    return section


def _buildkitd_rule(rule, row):
    found = {"all": rule.all}
    if rule.unused_for:
        # Rounded up where only whole seconds can be said: never younger than asked.
        found["keepDuration"] = go_duration(rule.unused_for) if row.text else -(-rule.unused_for // SECOND)
    shared_filters = [f"id~={rule.id}"] if rule.id else []
    if rule.description:
        shared_filters.append(f"description=={json.dumps(rule.description, ensure_ascii=False)}")
    if rule.shared is not None:
        shared_filters.append("shared" if rule.shared else "private")
    # A list is an OR, a comma an AND.
    alternatives = [",".join([f"type=={kind}", *shared_filters]) for kind in rule.types]
    if alternatives or shared_filters:
        found["filters"] = alternatives or [",".join(shared_filters)]
    found.update(_spelled_sizes(rule, row.sizes, docker_size if row.text else int))
    return found
