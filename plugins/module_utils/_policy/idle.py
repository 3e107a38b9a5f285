# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which rules of a policy are idle: taking them out changes nothing, whatever the build cache and the disk. Pure.

It follows from the algorithm (see gc.py). A rule ends when less than its cap is left, or when nothing that it selects
can be removed. What was passed over because another record builds on it can be removed later, if another rule takes
that one: so it matters what stands between two rules. Free space may change between two rules by more than what was
removed (others write, and some file systems and stores free late), so a cap is compared by its bounds over all of it.
"""

from __future__ import annotations

from math import inf
from typing import NamedTuple

from .._base.records import NEVER_WITHOUT_ALL
from .policy import Trap

IDLE_CODES = frozenset({"gc_limit_idle", "gc_rule_idle"})
"""The codes of the Traps that idle_traps() yields."""


class Idle(NamedTuple):
    """A rule that is idle: its place in the list, and those of the rules that leave it nothing, before it or after it.

    ``but_for_shared`` is whether it holds for caches without shared records only. A rule with ``all`` takes the bytes
    of shared records off its count, though they never were in it, and so can stop while more is left than its size.
    """

    number: int
    by: tuple[int, ...]
    but_for_shared: bool = False


def idle_rules(rules, one_type_each=True):
    """Return the Idle of a list of PolicyRules, in order; each can be taken out alone, and all together.

    ``one_type_each`` is whether each type of a rule is a rule of its own to who obeys it, as to an engine, or all are
    one, as to buildkitd.
    """
    parts = [
        (number, part)
        for number, rule in enumerate(rules)
        for part in (_by_type(rule) if one_type_each else [rule])
        # These have a trap of their own.
        if not _selects_nothing(part)
    ]
    always = _whole(parts, _idle_parts(parts, shared=True))
    private = _whole(parts, _idle_parts(parts, shared=False))
    found = [Idle(number, by) for number, by in always.items()]
    found += [Idle(number, by, but_for_shared=True) for number, by in private.items() if number not in always]
    return tuple(sorted(found, key=lambda one: one.number))


def idle_traps(policy, where="rules", one_type_each=True):
    """Yield the Traps of a policy's idle rules, and of its idle limits."""
    rules = policy.rules or ()
    for number, rule in enumerate(rules):
        if rule.min_free_space and rule.reserved_space == rule.max_used_space:
            yield Trap(
                "gc_limit_idle",
                f"{where}[{number}]",
                "As much is reserved as may be used, so that free space never counts: what is reserved stays even "
                "where the disk is full. Reserve less, or take the minimum of free space out.",
                idle=True,
            )
    for one in idle_rules(rules, one_type_each):
        others = " and ".join(f"{where}[{number}]" for number in one.by)
        if max(one.by) > one.number and not one.but_for_shared:
            said = f"The rule is idle: all that it removes goes by {others} as well. Take it out."
        elif one.but_for_shared:
            said = (
                f"The rule is idle but for an oddity: {others} selects no less and stops no sooner, except that the "
                "bytes of shared records that go, which no size counts, count as removed. Take it out."
            )
        else:
            said = (
                f"The rule is idle: after {others}, nothing that it selects is left to be removed, or less than its "
                "size is left. Take it out, or put it first."
            )
        yield Trap("gc_rule_idle", f"{where}[{one.number}]", said, idle=True)


def _by_type(rule):
    return [rule._replace(types=(kind,)) for kind in rule.types] or [rule]


def _whole(parts, idle):
    """Return {number of a rule: numbers of those that leave it nothing} for the rules all of whose parts are idle."""
    found = {}
    for place, (number, _part) in enumerate(parts):
        found.setdefault(number, []).append(idle.get(place))
    return {number: tuple(sorted({parts[one][0] for one in by})) for number, by in found.items() if None not in by}


def _idle_parts(parts, shared):
    """Return {place of an idle part: place of the one that leaves it nothing}; ``shared`` is whether there may be
    shared records."""
    rules = [part for _number, part in parts]
    idle = {}
    for place, rule in enumerate(rules):
        by = _made_idle_before(rules, place, rule, idle, shared)
        if by is not None:
            idle[place] = by
    # From the end, so that the one named is not idle itself.
    for place in reversed(range(len(rules))):
        if place not in idle:
            by = _made_idle_after(rules, place, idle, shared)
            if by is not None:
                idle[place] = by
    return idle


def _made_idle_before(rules, place, rule, idle, shared):
    """Return the place of the rule after which this one finds nothing to do, None where there is none."""
    later = [rule]
    for before in reversed(range(place)):
        if before in idle:
            continue
        one = rules[before]
        # Nothing in between makes removable what this one passed over.
        if all(_covers(one, other) for other in later) and _leaves_less(one, rule, shared):
            return before
        later.append(one)
    return None


def _made_idle_after(rules, place, idle, shared):
    """Return the place of a later rule that removes all that this one does, None where there is none."""
    rule, earlier = rules[place], [rules[place]]
    # What is idle only for this one is not without it, so that all in between count.
    for after in range(place + 1, len(rules)):
        one = rules[after]
        if after not in idle and all(_covers(one, other) for other in earlier):
            # Of the same records the same go first; one that stops no sooner goes on where the other has stopped. Not
            # one that minds free space, which may not have grown yet by what the other has removed.
            alike = not one.min_free_space and all(_covers(each, one) for each in earlier)
            if not one.limited or (alike and _leaves_less(one, rule, shared)):
                return after
        earlier.append(one)
    return None


def _leaves_less(one, other, shared):
    """Whether, where a rule has stopped at its cap, less than the other's cap is left."""
    if not one.limited:
        return True
    counts_right = not shared or not one.all or one.shared is False
    return counts_right and _highest_cap(one) <= _lowest_cap(other)


def _highest_cap(rule):
    """Return the cap that a rule has where enough is free (see gc.engine_keep_bytes)."""
    return max(rule.reserved_space, rule.max_used_space) if rule.max_used_space or not rule.min_free_space else inf


def _lowest_cap(rule):
    """Return the cap that a rule has where nothing is free; 0 for one that removes all."""
    return rule.reserved_space if rule.min_free_space else max(rule.reserved_space, rule.max_used_space)


def _covers(one, other):
    """Whether a rule selects all records that the other does, in every cache."""
    return (
        (not one.types or (bool(other.types) and set(other.types) <= set(one.types)))
        and one.unused_for <= other.unused_for
        and (one.all or not _needs_all(other))
        and (one.id is None or (other.id is not None and one.id in other.id))
        and (one.description is None or one.description == other.description)
        and (one.shared is None or one.shared == (other.shared if other.all else False))
        and (not one.other or one.other == other.other)
    )


def _needs_all(rule):
    """Whether the rule selects what no rule without ``all`` does."""
    plain = rule.types and not set(rule.types) & set(NEVER_WITHOUT_ALL)
    return rule.all and not (plain and rule.shared is False)


def _selects_nothing(rule):
    return not rule.all and (bool(rule.shared) or bool(rule.types and set(rule.types) <= set(NEVER_WITHOUT_ALL)))
