# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The rules of a GC policy as options ask for them, read and checked. Pure."""

from __future__ import annotations

from .._base.errors import BadOption
from .._base.units import parse_duration, parse_size
from .._cache.filters import record_filters
from .policy import BOUNDLESS, SIZE_OPTIONS, TYPES, PolicyRule

_RULE_OPTIONS = ("types", "unused_for", "all", "reserved_space", "max_used_space", "min_free_space", "filters")


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
    for option in ("unused_for", *SIZE_OPTIONS):
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
        for option in SIZE_OPTIONS
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
