# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One GC policy in the terms of this collection, whatever engine obeys it. Pure.

A policy is an ordered list of rules. How an engine version spells it stands in _dialects.py, what can be wrong with
a spelling in _lint.py.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._plan import record_filters
from ansible_collections.buildfleet.buildcache.plugins.module_utils._records import NEVER_WITHOUT_ALL
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import (
    SECOND,
    docker_size,
    go_duration,
    parse_duration,
    parse_size,
)

TYPES = ("regular", "source.local", "source.git.checkout", "exec.cachemount", *NEVER_WITHOUT_ALL)
"""The types of records (BuildKit, client/diskusage.go)."""

BOUNDLESS = 2**50
"""A ``max_used_space``, in bytes, that no build cache reaches. It stands beside a ``min_free_space`` that is meant
alone: without it BuildKit since 0.21 removes one record at every run though there is enough space, and 0.17 to 0.20
remove everything."""

LONGEST_SPARED = 24 * 3600 * SECOND
"""The longest age, in nanoseconds, beside which a size still is a limit. What builds used within it stays whatever the
size; a disk has to have room for the builds of a day in any case."""

_RULE_OPTIONS = ("types", "unused_for", "all", "reserved_space", "max_used_space", "min_free_space", "filters")
_SIZE_OPTIONS = ("reserved_space", "max_used_space", "min_free_space")


@dataclass(frozen=True)
class PolicyRule:
    """One rule. Sizes in bytes and ``unused_for`` in nanoseconds, 0 where not set.

    ``types`` is () for every type. ``id`` is a part of the id; ``shared`` is True for shared records only, False for
    private only. ``other`` are filters of a host's own that have no name among our terms, as they were found.
    """

    types: tuple[str, ...] = ()
    unused_for: int = 0
    all: bool = False
    reserved_space: int = 0
    max_used_space: int = 0
    min_free_space: int = 0
    id: str | None = None
    description: str | None = None
    shared: bool | None = None
    other: tuple[str, ...] = ()

    @property
    def selects(self):
        """Whether records are chosen by more than their type, age and size. The private ones are all that a rule
        without ``all`` ever removes, and that a size counts."""
        return bool(self.id or self.description or self.other or self.shared)

    @property
    def limits(self):
        """Whether the rule keeps the records of its types below a size, or removes them all."""
        return not self.selects and self.unused_for <= LONGEST_SPARED and (self.limited or not self.unused_for)

    @property
    def limited(self):
        """Whether any size ends the removal."""
        return bool(self.reserved_space or self.max_used_space or self.min_free_space)


@dataclass(frozen=True)
class Policy:
    """A GC policy. ``rules`` is None for the default rules of the engine, which ``default_sizes`` (reserved, maximum
    used, minimum free, in bytes; 0 where not set) then shape."""

    enabled: bool = True
    rules: tuple[PolicyRule, ...] | None = None
    default_sizes: tuple[int, int, int] = (0, 0, 0)

    @property
    def meaning(self):
        """What the policy comes to: equal for two policies that have the same effect on every record."""
        if not self.enabled or self.rules == ():
            return ("nothing is removed",)
        if self.rules is None:
            return ("default rules", self.default_sizes)
        return tuple(_canonical(map(settled, self.rules)))


@dataclass(frozen=True)
class Trap:
    """Something about a policy that an engine would refuse, ignore, or read otherwise than it looks.

    ``code`` is stable and has a row in docs/gc_policy_traps.md; ``where`` is a path such as builder.gc.policy[0].
    ``stops`` is whether the engine refuses to start with it.
    """

    code: str
    where: str
    message: str
    stops: bool = False

    def __str__(self):
        return f"{self.where}: {self.message} [{self.code}]"


def settled(rule):
    """Return the rule with the sizes that come to the same in the fewest words (see _gc.keep_bytes).

    Without a minimum of free space the larger of the other two is the cap; where at least as much is reserved as may
    be used, that is the cap, and free space does not count.
    """
    if not rule.min_free_space or rule.reserved_space >= rule.max_used_space > 0:
        cap = max(rule.reserved_space, rule.max_used_space)
        return replace(rule, reserved_space=0, max_used_space=cap, min_free_space=0)
    return rule


def _canonical(rules):
    """Yield rules that are the same for all ways to say the same.

    With a size the order of types counts: each type is a rule of its own to an engine, and the first ones go first,
    until the size is met. Without one, all that is old enough goes; only where a record lies below one of a later type
    (a cache mount over a layer) does it go with the run after.
    """
    last = None
    for rule in rules:
        if last and last.types and rule.types and not rule.limited and _alike(last, rule):
            last = replace(last, types=tuple(sorted({*last.types, *rule.types})))
            continue
        if last:
            yield last
            last = None
        if rule.limited and rule.types:
            yield from (replace(rule, types=(kind,)) for kind in rule.types)
        else:
            last = replace(rule, types=tuple(sorted(set(rule.types))))
    if last:
        yield last


def _alike(one, other):
    return replace(one, types=other.types) == other


def grouped(rules):
    """Yield the rules, those that follow one another and are for different types, but otherwise the same, as one."""
    last = None
    for rule in rules:
        if last and last.types and rule.types and not set(last.types) & set(rule.types) and _alike(last, rule):
            last = replace(last, types=last.types + rule.types)
            continue
        if last:
            yield last
        last = rule
    if last:
        yield last


def rules_from_options(options, filesystem_bytes=None, present=()):
    """Return the PolicyRules that the option ``rules`` asks for.

    ``options`` is a list of dicts by the names of the public interface, ``filesystem_bytes`` what percentages are taken
    of. Those are rounded, and a size that is ``present`` (bytes) and within 1.5 % is taken as it is, so that a second
    run has nothing to change. Raises BadOption where a rule cannot be used.
    """
    return tuple(_rule(f"rules[{number}]", rule, filesystem_bytes, present) for number, rule in enumerate(options))


def _rule(name, options, filesystem_bytes, present):
    unknown = sorted(set(options) - set(_RULE_OPTIONS))
    if unknown:
        raise BadOption(f"{name}: {', '.join(unknown)} is not known; known are {', '.join(_RULE_OPTIONS)}.")
    for option in ("unused_for", *_SIZE_OPTIONS):
        if options.get(option) is not None and not str(options[option]).strip():
            raise BadOption(f"{name}: {option} is empty. Leave it out where no limit is meant.")
    types = options.get("types")
    if types is not None and not types:
        raise BadOption(f"{name}: types is an empty list. Leave it out for records of every type.")
    strange = [kind for kind in types or () if kind not in TYPES]
    if strange:
        raise BadOption(f"{name}: {', '.join(map(repr, strange))} is no type of records; those are {', '.join(TYPES)}.")
    include_all = bool(options.get("all"))
    try:
        selected = record_filters(options.get("filters"), include_all)
    except BadOption as problem:
        raise BadOption(f"{name}: {problem}") from problem
    unused_for = options.get("unused_for")
    sizes = {
        option: _bytes(parse_size(str(options[option]), f"{name}: {option}"), name, filesystem_bytes, present)
        for option in _SIZE_OPTIONS
        if options.get(option) is not None
    }
    if sizes.get("min_free_space") and not sizes.get("max_used_space"):
        sizes["max_used_space"] = BOUNDLESS
    return PolicyRule(
        types=tuple(dict.fromkeys(types or ())),
        unused_for=parse_duration(str(unused_for), f"{name}: unused_for") if unused_for is not None else 0,
        all=include_all,
        **sizes,
        **selected,
    )


def _bytes(size, name, filesystem_bytes, present):
    """Return a size in bytes: as it was given, or its share of the file system, to the nearest 1/128 or better."""
    if not size.percent:
        return size.in_bytes(0)
    if not filesystem_bytes:
        raise BadOption(
            f"{name}: a percentage needs the size of the file system that holds the engine's data, and that cannot be "
            "measured from where the module runs. Run it on the engine's host, or give sizes such as 20GB."
        )
    exact = size.in_bytes(filesystem_bytes)
    near = [one for one in present if abs(one - exact) * 64 <= exact]
    if near:
        return min(near, key=lambda one: abs(one - exact))
    step = 1 << max(exact.bit_length() - 8, 0)
    return (exact + step // 2) // step * step


def policy_traps(policy, where="rules"):
    """Yield the Traps of a policy that lie in what it asks for, however it is spelled."""
    if policy.rules is None:
        return
    if not policy.rules:
        yield Trap(
            "gc_policy_empty",
            where,
            "The list of rules is empty: nothing is ever removed. Leave it out to "
            "have the default rules, or add rules.",
        )
        return
    for number, rule in enumerate(policy.rules):
        yield from _rule_traps(rule, f"{where}[{number}]")
    limits = [rule for rule in policy.rules if rule.limits]
    kinds = {kind for rule in limits for kind in rule.types}
    missing = [kind for kind in TYPES if kind not in kinds and kind not in NEVER_WITHOUT_ALL]
    if missing and all(rule.types for rule in limits):
        yield Trap(
            "gc_no_ceiling",
            where,
            f"No rule keeps records of type {', '.join(missing)} below a size, but at most those that nobody used for "
            "more than a day: the build cache can grow until the disk is full. Add a last rule with a size alone, such "
            "as max_used_space: 20GB.",
        )


def _rule_traps(rule, where):
    hidden = [kind for kind in rule.types if kind in NEVER_WITHOUT_ALL]
    if hidden and not rule.all:
        yield Trap(
            "gc_policy_never_matches",
            where,
            f"Records of type {', '.join(hidden)} are only removed by a rule "
            "with all: true. Set it, or take the type out.",
        )
    if rule.shared and not rule.all:
        yield Trap(
            "gc_policy_never_matches",
            where,
            "Shared records are only removed by a rule with all: true. Set it, or take the filter out.",
        )
    everything = not rule.types or "regular" in rule.types
    # Nearly all records are immutable.
    selects = replace(rule, other=tuple(clause for clause in rule.other if clause != "immutable")).selects
    if everything and not rule.limited and not rule.unused_for and not selects:
        yield Trap(
            "gc_empties_cache",
            where,
            "The rule has neither a size nor an age: it removes every record that is "
            "not in use whenever the engine collects garbage. Give it max_used_space or unused_for.",
        )


def terms(policy):
    """Return a policy as a dict of our terms: ``enabled`` and ``rules``, null for the engine's default rules.

    The rules can be given to the option ``rules`` again, except where filters have no name among our terms; those
    stand in ``other_filters``.
    """
    rules = None if policy.rules is None else [_rule_terms(rule) for rule in grouped(map(settled, policy.rules))]
    found = {"enabled": policy.enabled, "rules": rules}
    if rules is None and any(policy.default_sizes):
        found["default_sizes"] = _sizes(policy.default_sizes)
    return found


def _rule_terms(rule):
    found = {"all": rule.all}
    if rule.types:
        found["types"] = list(rule.types)
    if rule.unused_for:
        found["unused_for"] = go_duration(rule.unused_for)
    implied = rule.min_free_space and rule.max_used_space == BOUNDLESS
    found.update(_sizes((rule.reserved_space, 0 if implied else rule.max_used_space, rule.min_free_space)))
    filters = {name: value for name, value in (("id", rule.id), ("description", rule.description)) if value}
    if rule.shared is not None:
        filters["shared" if rule.shared else "private"] = True
    if filters:
        found["filters"] = filters
    if rule.other:
        found["other_filters"] = list(rule.other)
    return found


def _sizes(sizes):
    return {option: docker_size(size) for option, size in zip(_SIZE_OPTIONS, sizes) if size}
