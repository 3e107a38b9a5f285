# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a wanted GC policy is in force on a host, by collected facts. Pure."""

from __future__ import annotations

from .._base.units import parse_size
from .edit import MANAGED, wanted_policy, warnings_of_engine
from .idle import IDLE_CODES, idle_traps
from .in_effect import digest
from .policy import SIZE_OPTIONS, Policy, PolicyRule


def compare(facts, options):
    """Return how the facts of buildcache_facts stand to the policy of the options ``state``, ``enabled``, ``rules`` and
    ``unsupported`` of buildcache_gc_policy.

    The answer is a dict: ``in_file`` and ``in_effect``, whether the policy is that of the file, and what dockerd obeys
    (None where that is not known), and ``warnings``, what the engine cannot do of it, as sentences. ``in_force`` is
    whether buildcache_gc_policy would find nothing to do, to restart for, or to warn of. Raises BadOption as
    wanted_policy does.
    """
    engine, told = facts["engine"], facts["gc_policy"]
    in_file = _in_file(told["in_file"])
    wanted = wanted_policy(options, engine["version"], _disk(facts), in_file)
    same = None
    if in_file is not None:
        taken_away = not set(MANAGED) & set(told["file_keys"])
        same = taken_away if wanted.policy is None else _says(told, wanted.policy, in_file)
    idle = idle_traps(wanted.asked) if wanted.asked else ()
    warnings = [*warnings_of_engine(engine["version"]), *wanted.missing, *map(str, idle)]
    traps = {finding["code"] for finding in facts["findings"] if finding["code"].startswith("gc_")}
    if wanted.asked:
        # Told from the rules as they were asked for, not from the file's, where each type is a rule.
        traps -= IDLE_CODES
    if "enabled" in told["file_keys"] or "policy" not in told["file_keys"]:
        # It is a trap only where a policy waits for that key.
        traps.discard("gc_disabled")
    obeyed = _obeyed(told["restart_required"]) if same else None
    return {
        "in_file": same,
        "in_effect": obeyed,
        "warnings": warnings,
        "in_force": bool(same and obeyed and not warnings and not traps),
    }


def _says(told, policy, in_file):
    if policy.rules is None:
        policy = Policy(policy.enabled, default_sizes=in_file.default_sizes)
    return digest(policy) == told["digest"]


def _obeyed(restart_required):
    return None if restart_required is None else not restart_required


def _in_file(terms):
    """Return of the Policy in the file what a wanted one hangs on, its sizes; None where there is none to read."""
    if terms is None:
        return None
    rules = terms["rules"]
    return Policy(
        enabled=terms["enabled"],
        rules=None if rules is None else tuple(PolicyRule(**_sizes(rule)) for rule in rules),
        default_sizes=tuple({**dict.fromkeys(SIZE_OPTIONS, 0), **_sizes(terms.get("default_sizes") or {})}.values()),
    )


def _sizes(told):
    return {name: parse_size(told[name], name).in_bytes(0) for name in SIZE_OPTIONS if name in told}


def _disk(facts):
    """Return the bytes of the file system of the engine's own directory, by which it takes percentages."""
    disks, root = facts["filesystems"], facts["engine"]["root_dir"]
    disk = next((disk for disk in disks if disk["path"] == root), disks[0] if disks else None)
    return disk and disk["total_bytes"]
