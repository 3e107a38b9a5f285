# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What to change in a daemon.json so that it says the policy that is wanted. Pure."""

from __future__ import annotations

import json
from typing import NamedTuple

from .._base.errors import BadOption
from .._base.json_edit import with_value
from .._base.json_text import GC_PATH, BadConfig, parse, value_at
from .._base.units import version_tuple
from .asked import rules_from_options
from .dialects import DEFAULT_SIZE_KEYS, FIRST_WITH_GC
from .idle import idle_traps
from .in_effect import restart_required
from .lint import traps
from .policy import Policy, policy_traps, terms
from .reader import from_daemon_json
from .spelling import supported, to_daemon_json

OLDEST_TESTED = (20, 10)
"""The oldest engine that the tests run."""

MANAGED = ("enabled", "policy")
"""The keys of builder.gc that are written."""


class Wanted(NamedTuple):
    """The policy that the options ask for, None for none, as the engine can obey it; ``missing`` says what it cannot do
    of it, and ``asked`` is the policy as it was asked for, None where it has no rules."""

    policy: Policy | None
    missing: tuple[str, ...] = ()
    asked: Policy | None = None


class Edited(NamedTuple):
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
    return Wanted(policy, tuple(missing), asked)


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
    found = [trap for trap in found if not trap.idle]
    if found:
        raise BadOption("The policy is refused. " + " ".join(map(str, found)))


def edited(config, wanted, engine_version, in_file):
    """Return the Edited of a ConfigFile. Where the meaning is there already, nothing is changed, however it is spelled.

    ``in_file`` is the Policy that the engine reads from it now, None where it would not start (see in_effect.Status).
    Only ``enabled`` and ``policy`` of ``builder.gc`` are written. The sizes of the default rules go when rules are
    written, beside which they mean nothing, or something else. Raises BadConfig where the rest of the file keeps
    dockerd from starting.
    """
    if wanted.policy is None:
        changes = dict.fromkeys(MANAGED)
    else:
        policy = wanted.policy
        if policy.rules is None and in_file:
            policy = policy._replace(default_sizes=in_file.default_sizes)
        if in_file and in_file.meaning == policy.meaning:
            return Edited(config.text, config.data, config.data, in_file, changed=False)
        changes = {**dict.fromkeys(MANAGED), **to_daemon_json(policy, engine_version)}
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
    """Return what the engine cannot do of the policy, what of it is idle, and what the engine misreads in the rest of
    the file, as sentences."""
    found = traps(new.data, engine_version, new.text)
    if wanted.asked:
        # By the rules as they were asked for; in the file each type is a rule.
        found = [*idle_traps(wanted.asked), *(trap for trap in found if not trap.idle)]
    return [*warnings_of_engine(engine_version), *wanted.missing, *map(str, found)]


def warnings_of_engine(engine_version):
    """Return what is to be known of an engine that no test runs, as sentences."""
    if version_tuple(engine_version) >= OLDEST_TESTED:
        return []
    return [
        f"Engine {engine_version} is older than 20.10: its policy is written by what its sources say and was never "
        "tried; dockerd does not check the file before a restart, and its API gives no build cache without walking "
        "all of it. Upgrade it."
    ]
