# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""GC policies for tests of the pure rooms: generated ones, and what moby makes of a daemon.json."""

from __future__ import annotations

from hypothesis import strategies as st

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import NEVER_WITHOUT_ALL
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import parse_duration, parse_size
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.asked import rules_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.policy import TYPES, Policy, policy_traps

ENGINES = "19.03.15 20.10.24 23.0.1 24.0.7 26.1.5 27.4.1 27.5.1 28.0.1 28.0.4 28.1.1 28.2.0 28.5.2 29.7.2".split()
CEILING = {"max_used_space": "20GB"}

_sizes = st.sampled_from(["700", "512MB", "1.5GB", "9GB", "20GB", "1PB", "3PB"])
_ages = st.sampled_from(["1ns", "1500ms", "90s", "1h30m", "48h", "14d", "2600h"])
_descriptions = st.one_of(
    st.sampled_from(
        ["plain", "[2/3] RUN make", '5" disk, new', 'a,type==b,"', "\\", "a\nb\tc", "type==regular", " x "]
    ),
    # What the filter language has no word for is refused; see test_lint.
    st.text(st.characters(exclude_characters="\ufffd", exclude_categories=["Cs"]), min_size=1).filter(str.strip),
)


@st.composite
def _rules(draw):
    """One rule as the option ``rules`` takes it."""
    include_all = draw(st.booleans())
    kinds = [kind for kind in TYPES if include_all or kind not in NEVER_WITHOUT_ALL]
    filters = {"id": st.sampled_from(["x7", "abc"]), "description": _descriptions, "private": st.just(True)}
    return draw(
        st.fixed_dictionaries(
            {"all": st.just(include_all)},
            optional={
                "types": st.lists(st.sampled_from(kinds), min_size=1, max_size=3),
                "unused_for": _ages,
                "reserved_space": _sizes,
                "max_used_space": _sizes,
                "min_free_space": _sizes,
                "filters": st.fixed_dictionaries({}, optional=filters).filter(bool)
                | st.just({"shared" if include_all else "private": True}),
            },
        )
    )


def _is_sound(rules):
    return not list(policy_traps(Policy(rules=rules_from_options(rules))))


rule_lists = st.lists(_rules(), max_size=3).map(lambda rules: [*rules, CEILING]).filter(_is_sound)
"""Lists of rules as the option ``rules`` takes them, in which nothing is wrong."""


def reported(section, shuffle=list, late=0):
    """Return what `buildx ls` tells of an engine since 28.0 that was started with ``section`` as its builder.gc.

    Transcribed from moby, builder-next/controller.go (getGCPolicy) and builder.go (toBuildkitPruneInfo), 28.5.2.
    ``shuffle`` is the order in which Go walks a map, ``late`` the nanoseconds that it adds to ages.
    """
    return [_reported_rule(rule, shuffle, late) for rule in section["policy"]]


def _reported_rule(rule, shuffle, late):
    filters = rule.get("filter", {})
    if isinstance(filters, list):
        filters = {key: {value: True} for key, _equals, value in (text.partition("=") for text in filters)}
    age = next((value for key in ("until", "unused-for") for value in filters.get(key, ())), None)
    clauses = [
        key + "".join(("~=" if key == "id" else "==") + value for value in values)
        for key, values in filters.items()
        if key not in ("until", "unused-for")
    ]
    sizes = {key: rule.get(key, "0") for key in ("reservedSpace", "maxUsedSpace", "minFreeSpace")}
    return {
        "all": rule.get("all", False),
        "filter": [",".join(shuffle(clauses))],
        "keepDuration": parse_duration(age, "age") + late if age else 0,
        **{key: parse_size(text, key).in_bytes(0) if text != "0" else 0 for key, text in sizes.items()},
    }
