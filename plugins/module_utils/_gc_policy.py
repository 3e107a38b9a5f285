# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What to change in a daemon.json so that it says the policy that is wanted. Pure."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace

from ansible_collections.buildfleet.buildcache.plugins.module_utils._dialects import (
    DEFAULT_SIZE_KEYS,
    FIRST_WITH_GC,
    supported,
    to_daemon_json,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._in_effect import restart_required
from ansible_collections.buildfleet.buildcache.plugins.module_utils._json_text import (
    GC_PATH,
    BadConfig,
    parse,
    value_at,
    with_value,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._lint import traps
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy import (
    Policy,
    policy_traps,
    rules_from_options,
    terms,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy_reader import from_daemon_json
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import version_tuple

OLDEST_TESTED = (20, 10)
"""The oldest engine that the tests run."""

_MANAGED = ("enabled", "policy")


@dataclass(frozen=True)
class Wanted:
    """The policy that the options ask for, None for none; ``missing`` says what the engine cannot do of it."""

    policy: Policy | None
    missing: tuple[str, ...] = ()


@dataclass(frozen=True)
class Edited:
    """The configuration as it is to be: its text, its data before and after, and the Policy that the engine reads
    from it."""

    text: str | None
    before: dict
    data: dict
    policy: Policy | None
    changed: bool


def wanted_policy(options, engine_version, filesystem_bytes, in_file):
    """Return the Wanted of the module's options, for an engine of that version.

    ``filesystem_bytes`` is what percentages are taken of, None where it cannot be known; ``in_file`` the Policy that
    stands in the file. Raises BadOption for what cannot be used, and for what would not do what it looks like.
    """
    if version_tuple(engine_version) < FIRST_WITH_GC:
        raise BadOption(f"Engine {engine_version} knows no GC policy; 19.03 is the first that does. Upgrade it.")
    asked = asked_policy(options, filesystem_bytes, in_file)
    if asked is None or asked.rules is None:
        return Wanted(asked)
    policy, missing = supported(asked, engine_version, approximate=options["unsupported"] == "approximate")
    # What this collection writes is held to what it says of others' files.
    _refuse(traps({"builder": {"gc": to_daemon_json(policy, engine_version)}}, engine_version))
    return Wanted(policy, tuple(missing))


def asked_policy(options, filesystem_bytes, in_file):
    """Return the Policy that the module's options ask for, whoever is to obey it, None for none; see wanted_policy."""
    if options["state"] == "absent":
        if options["rules"] is not None:
            raise BadOption("rules: they have no effect with state=absent. Remove one of the two.")
        return None
    if options["rules"] is None:
        return Policy(enabled=options["enabled"])
    present = {
        size
        for rule in (in_file and in_file.rules) or ()
        for size in (rule.reserved_space, rule.max_used_space, rule.min_free_space)
    }
    asked = Policy(enabled=options["enabled"], rules=rules_from_options(options["rules"], filesystem_bytes, present))
    _refuse(policy_traps(asked))
    return asked


def _refuse(found):
    found = list(found)
    if found:
        raise BadOption("The policy is refused. " + " ".join(map(str, found)))


def edited(config, wanted, engine_version, in_file):
    """Return the Edited of a ConfigFile. Where the meaning is there already, nothing is changed, however it is spelled.

    ``in_file`` is the Policy that the engine reads from it now, None where it would not start (see _in_effect.Status).
    Only ``enabled`` and ``policy`` of ``builder.gc`` are written. The sizes of the default rules go when rules are
    written, beside which they mean nothing, or something else. Raises BadConfig where the rest of the file keeps
    dockerd from starting.
    """
    if wanted.policy is None:
        changes = dict.fromkeys(_MANAGED)
    else:
        policy = wanted.policy
        if policy.rules is None and in_file:
            policy = replace(policy, default_sizes=in_file.default_sizes)
        if in_file and in_file.meaning == policy.meaning:
            return Edited(config.text, config.data, config.data, in_file, changed=False)
        changes = {**dict.fromkeys(_MANAGED), **to_daemon_json(policy, engine_version)}
        if policy.rules is not None:
            changes.update(dict.fromkeys(DEFAULT_SIZE_KEYS))
    text = config.text
    for key, value in changes.items():
        text = with_value(text, (*GC_PATH, key), value)
    data = parse(text or "")
    stoppers = [trap for trap in traps(data, engine_version, text) if trap.stops]
    if stoppers:
        raise BadConfig(
            f"{config.path}: dockerd would not start with it, whatever policy is written into it. Correct it, then run "
            f"again. {' '.join(map(str, stoppers))}"
        )
    policy = from_daemon_json(data.get("builder"), engine_version)
    return Edited(text, config.data, data, policy, changed=text != config.text)


def policy_result(daemon, status, wanted, new, engine_version, with_diff=False):
    """Return the module's result, as described in its RETURN, from the Daemon and its Status before, and the Edited."""
    obeyed = status.in_effect
    result = {
        "changed": new.changed,
        "rendered": to_daemon_json(wanted.policy, engine_version) if wanted.policy else {},
        "restart_required": restart_required(daemon, obeyed, new.policy) if new.changed else obeyed.restart_required,
        "in_effect": terms(obeyed.policy) if obeyed.policy else None,
        "in_effect_source": obeyed.source,
    }
    if with_diff:
        result["diff"] = {"before": _section_text(new.before), "after": _section_text(new.data)}
    return result


def _section_text(data):
    """Return the section ``builder`` of a daemon.json for a diff. The other keys, which may hold credentials, never
    show."""
    found = value_at(data, GC_PATH[:1])
    return json.dumps({GC_PATH[0]: found}, indent=4) + "\n" if found is not None else ""


def warnings(wanted, new, engine_version):
    """Return what the engine cannot do of the policy, and what it misreads in the rest of the file, as sentences."""
    old = []
    if version_tuple(engine_version) < OLDEST_TESTED:
        old.append(
            f"Engine {engine_version} is older than 20.10: its policy is written by what its sources say and was never "
            "tried; dockerd does not check the file before a restart, and its API gives no build cache without walking "
            "all of it. Upgrade it."
        )
    return [*old, *wanted.missing, *map(str, traps(new.data, engine_version, new.text))]
