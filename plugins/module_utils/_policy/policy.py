# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""One GC policy in the terms of this collection, whatever engine obeys it. Pure.

A policy is an ordered list of rules. How an engine version spells it stands in dialects.py, what can be wrong with
a spelling in lint.py.
"""

from __future__ import annotations

from typing import NamedTuple

from .._base.records import CACHE_MOUNT, NEVER_WITHOUT_ALL
from .._base.units import (
    SECOND,
    docker_size,
    go_duration,
)

TYPES = ("regular", "source.local", "source.git.checkout", CACHE_MOUNT, *NEVER_WITHOUT_ALL)
"""The types of records (BuildKit, client/diskusage.go)."""

BOUNDLESS = 2**50
"""A ``max_used_space``, in bytes, that no build cache reaches. It stands beside a ``min_free_space`` that is meant
alone: without it BuildKit since 0.21 removes one record at every run though there is enough space, and 0.17 to 0.20
remove everything."""

LONGEST_SPARED = 24 * 3600 * SECOND
"""The longest age, in nanoseconds, beside which a size still is a limit. What builds used within it stays whatever the
size; a disk has to have room for the builds of a day in any case."""

SIZE_OPTIONS = ("reserved_space", "max_used_space", "min_free_space")


class PolicyRule(NamedTuple):
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


class Policy(NamedTuple):
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


class Trap(NamedTuple):
    """Something about a policy that an engine would refuse, ignore, or read otherwise than it looks.

    ``code`` is stable and has a row in docs/gc_policy_traps.md; ``where`` is a path such as builder.gc.policy[0].
    ``stops`` is whether the engine refuses to start with it, ``idle`` whether it does nothing worse than nothing.
    """

    code: str
    where: str
    message: str
    stops: bool = False
    idle: bool = False

    @property
    def severity(self):
        """That of the finding: critical, warning or info."""
        return "critical" if self.stops else "info" if self.idle else "warning"

    def __str__(self):
        return f"{self.where}: {self.message} [{self.code}]"


def settled(rule):
    """Return the rule with the sizes that come to the same in the fewest words (see gc.keep_bytes).

    Without a minimum of free space the larger of the other two is the cap; where at least as much is reserved as may
    be used, that is the cap, and free space does not count.
    """
    if not rule.min_free_space or rule.reserved_space >= rule.max_used_space > 0:
        cap = max(rule.reserved_space, rule.max_used_space)
        return rule._replace(reserved_space=0, max_used_space=cap, min_free_space=0)
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
            last = last._replace(types=tuple(sorted({*last.types, *rule.types})))
            continue
        if last:
            yield last
            last = None
        if rule.limited and rule.types:
            yield from (rule._replace(types=(kind,)) for kind in rule.types)
        else:
            last = rule._replace(types=tuple(sorted(set(rule.types))))
    if last:
        yield last


def _alike(one, other):
    return one._replace(types=other.types) == other


def grouped(rules):
    """Yield the rules, those that follow one another and are for different types, but otherwise the same, as one."""
    last = None
    for rule in rules:
        if last and last.types and rule.types and not set(last.types) & set(rule.types) and _alike(last, rule):
            last = last._replace(types=last.types + rule.types)
            continue
        if last:
            yield last
        last = rule
    if last:
        yield last


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


def sizes_contradict(reserved, max_used):
    """Return what is wrong with two sizes (bytes, 0 where not set), "" for nothing; see gc.keep_bytes."""
    if not 0 < max_used < reserved:
        return ""
    return (
        f"{docker_size(reserved)} is reserved, and only {docker_size(max_used)} may be used: what is reserved wins, "
        "and the other limit is never kept. Reserve no more than may be used."
    )


def _rule_traps(rule, where):
    contradiction = sizes_contradict(rule.reserved_space, rule.max_used_space)
    if contradiction:
        yield Trap("gc_sizes_contradict", where, contradiction)
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
    selects = rule._replace(other=tuple(clause for clause in rule.other if clause != "immutable")).selects
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
    return {option: docker_size(size) for option, size in zip(SIZE_OPTIONS, sizes) if size}
