# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Random GC policies as people write them into daemon.json, and what they get wrong."""

from __future__ import annotations

import copy

_SIZES = ("20GB", "20gb", "20g", "20 GB", "20GiB", "512m", "1.5GB", "21474836480", "1000000b", "1T", "3kb")
_AGES = ("48h", "1h30m", "0.5h", "90s", "100ms", "720h0m0s", "1h1m1s1ms1us1ns")
_TYPES = ("regular", "source.local", "source.git.checkout", "exec.cachemount")


def rule(chance, version):
    """Return a rule that an engine of that version (a tuple) reads as it looks, in one of many spellings."""
    made = {}
    if chance.random() < 0.3:
        made[chance.choice(("all", "All"))] = chance.random() < 0.7
    if version < (28,):
        made[chance.choice(("keepStorage", "keepstorage", "KeepStorage"))] = chance.choice(_SIZES)
    else:
        for key in ("reservedSpace", "maxUsedSpace", "keepStorage"):
            if chance.random() < 0.4:
                made[chance.choice((key, key.lower()))] = chance.choice(_SIZES)
        if "maxUsedSpace" in made and chance.random() < 0.3:
            made["minFreeSpace"] = chance.choice(_SIZES)
    filters = _filters(chance, version, made)
    if filters:
        pairs = list(filters.items())
        if chance.random() < 0.3 or None in filters.values():
            made["filter"] = {key: {} if value is None else {value: True} for key, value in pairs}
        else:
            made[chance.choice(("filter", "Filter"))] = [f"{key}={value}" for key, value in pairs]
    return made


def _filters(chance, version, made):
    found = {}
    if chance.random() < 0.5:
        found[chance.choice(("unused-for", "until"))] = chance.choice(_AGES)
    if chance.random() < 0.4:
        found["type"] = chance.choice(_TYPES)
    if chance.random() < 0.2:
        found["id"] = chance.choice(("abc", "^q1", "z$", "0"))
    if chance.random() < 0.2 and version >= (27,):
        found["description"] = chance.choice(('"mount / from exec"', "plain", '"a, \\"b\\" / c"'))
    if chance.random() < 0.2:
        found[chance.choice(("private", "mutable", "immutable"))] = None
    if chance.random() < 0.1 and (made.get("all") or made.get("All")):
        found["shared"] = None
    return found


def policy(chance, version):
    """Return a list of such rules, the last of which is a ceiling."""
    ceiling = {"keepStorage" if version < (28,) else "maxUsedSpace": chance.choice(_SIZES)}
    return [rule(chance, version) for _rule in range(chance.randint(0, 3))] + [ceiling]


_BAD_SIZES = (
    "10Q", "10%", "", " 1GB", "1GB ", "+1GB", "-1GB", ".5GB", "1.GB", "1_0GB", "0x10GB", "1e3", "1e3GB", "GB", "1 000",
    "\u0661GB", "1GBB", "1GiBB", "1iB", "1,5GB", "1..5GB", "1.5.5GB", "99999999999999999999", "NaN", "Inf", "1EB", "0",
    20, 1.5, True, None, [], {"a": 1}, "9PB", "9999999PB", "20  GB", "20\tGB", "20GB\n",
)  # fmt: skip
_BAD_AGES = (
    "2d", "1w", "48", "0", "0s", "-48h", "+48h", "48 h", "1h 30m", "h", "", "1.5.5h", "1_0h", "\u0664h", "2026-01-01",
    "2026-01-01T00:00:00Z", "1136073845", "1136073845.5", "yesterday", "1e3h", "3000000h", "24H", "1h,2h", "\u221eh",
    "-48", "+48", "-0", "+0", "-0s", "-+48h", "-.5h", "-1.5h", "2026-01-01T05:06", "2026-01-01T05:06:07+01:00",
)  # fmt: skip
_BAD_FILTERS = (
    "label=a", "parents=a", "parent=a", "inuse=true", "inuse", "type", "type=", "type==regular", "type!=regular",
    "type~=reg", "type=Regular", "type=regular,type=frontend", "type=regular,private", "type=internal", "type= regular",
    "id=(", "id=a|b", "id=/a", 'id="a"', "id=a,b", "id=[", "id=*", "id=a b", "description=two words", "shared=true",
    "description=/a", 'description="a', "description==a", "private=true", "mutable=false", "private", "shared",
    "immutable", "=", "=a", "", " ", "a", "Type=regular", " type = regular", "unused-for", "until=", "type=a=b",
    "description=a\\", 'description="\\q"', "id=a\x00", "description=\u00e9", "type=regular;x", "id=..",
)  # fmt: skip


def spoilt(chance, version):
    """Return a policy in which something is wrong, or at least unusual; it need not be a list of rules any more."""
    rules = copy.deepcopy(policy(chance, version))
    one = chance.choice(rules)
    size_keys = (
        ("keepStorage",) if version < (28,) else ("reservedSpace", "maxUsedSpace", "minFreeSpace", "keepStorage")
    )
    what = chance.randrange(12)
    if what <= 2:
        one[chance.choice(size_keys)] = chance.choice(_BAD_SIZES)
    elif what <= 4:
        one["filter"] = [f"{chance.choice(('until', 'unused-for'))}={chance.choice(_BAD_AGES)}"]
    elif what <= 7:
        one["filter"] = [chance.choice(_BAD_FILTERS)] + ["type=regular"] * (chance.random() < 0.3)
    elif what == 8:
        one["filter"] = chance.choice(
            (
                ["until=1h", "unused-for=1h"], ["type=regular", "type=source.local"], ["until=1h", "until=2h"],
                "type=regular", {"type": "regular"}, {"type": ["regular"]}, {"type": {"regular": "yes"}}, {"type": {}},
                {"type": {"regular": False}}, {"type": {"a": True, "b": True}}, {"unused-for": {"48h": True}},
                {"Type": {"regular": True}}, {"unused-for": None}, {"private": None}, {"private": {"true": True}}, [7],
                [None], 7, {}, {"": {}}, {"unused-for": {"48h": True}, "until": {"1h": True}},
            )
        )  # fmt: skip
    elif what == 9:
        for key in ("keepStorage", "keepstorage", "KeepStorage", "reservedSpace", "maxUsedSpace", "minFreeSpace"):
            one.pop(key, None)
        one.update(chance.choice(({}, {"keepDuration": "48h"}, {"minFreeSpace": "1GB"}, {"maxUsedSpace": "1GB"})))
    elif what == 10:
        one.update(chance.choice(({"all": "yes"}, {"all": 1}, {"all": None}, {"keepDuration": 48}, {"unknown": [1]})))
    else:
        rules[rules.index(one)] = chance.choice((None, [], "rule", 7, {}))
    return rules


_DEFAULTS = ("defaultKeepStorage", "defaultReservedSpace", "defaultMaxUsedSpace", "defaultMinFreeSpace")
_HISTORY_AGES = ("48h", "3600", "", "-1h", 3600, 3600.5, "2d", None, True)
_SPOILT_SECTIONS = (
    ("gc", ([], "gc", None, {})),
    (
        "history",
        ([], None, {"maxEntries": "50"}, {"maxEntries": 5.5}, {"MaxEntries": 7}, {"maxEntries": None}, {"x": 1}),
    ),
    (
        "entitlements",
        ([], None, {"network-host": "yes"}, {"Security-Insecure": 1}, {"device": 1}, {"network-host": None}),
    ),
)


def section(chance, version):
    """Return a section ``builder`` of daemon.json in one of many spellings, half of them with something wrong or
    unusual in it."""
    gc = {chance.choice(("enabled", "Enabled", "ENABLED")): chance.choice((True, True, True, False, None))}
    for key in _DEFAULTS:
        if chance.random() < 0.3:
            gc[chance.choice((key, key.lower()))] = chance.choice(_SIZES)
    rules = chance.choice(("none", None, [], policy(chance, version)))
    if rules != "none":
        gc[chance.choice(("policy", "Policy"))] = rules
    made = {chance.choice(("gc", "GC", "Gc")): gc}
    if chance.random() < 0.3:
        made["history"] = {"maxAge": 3600 if (24,) <= version < (25,) else "48h", "maxEntries": 50}
    if chance.random() < 0.3:
        made["Entitlements"] = {"network-host": True}
    what = chance.randrange(12)
    if what == 0:
        gc[next(iter(gc))] = chance.choice(("true", 1, [], "yes"))
    elif what <= 2:
        gc[chance.choice(_DEFAULTS)] = chance.choice(_BAD_SIZES)
    elif what == 3:
        made = {"gc": {"enabled": True, "Policy": chance.choice(({}, "all", True, [7], spoilt(chance, version)))}}
    elif what == 4:
        made["history"] = {"maxAge": chance.choice(_HISTORY_AGES)}
    elif what == 5:
        key, values = chance.choice(_SPOILT_SECTIONS)
        made = {key: chance.choice(values)}
    return made
