# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The linter against the engines' own parsers, by starting dockerd: what it accepts, every engine starts and collects
garbage with; what it says stops an engine, does.

Accepted policies are started in batches, one list of rules after the other, since each rule is read on its own. Of
the spoilt ones, those that the linter accepts have to start as well: so what dockerd refuses, the linter has refused.
What is wrong without stopping dockerd starts in batches, and what stands around the rules one by one: dockerd has to
start exactly where the linter says so.
"""

from __future__ import annotations

import json
import random

import daemon
import fleet
import pytest
from policies import policy, section, spoilt
from trials import SEED

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import version_tuple
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.lint import traps

pytestmark = pytest.mark.deep

NUMBER = 300
BATCH = 60
SECTIONS = 7  # of each kind

MANY_START_WITH = [{"keepStorage": "1GB", "filter": ["unused-for=1m"]}]

# By a code, a policy that no engine, or none of those before the version, starts with.
STOPPERS = [
    ("gc_bad_size", [{"keepStorage": "10Q"}], None),
    ("gc_percentage", [{"keepStorage": "10%"}], None),
    ("gc_wrong_type", [{"keepStorage": 10}], None),
    ("gc_wrong_type", [{"keepStorage": "1GB", "filter": "type=regular"}], None),
    ("gc_two_values", [{"keepStorage": "1GB", "filter": ["type=regular", "type=internal"]}], None),
    ("gc_until_and_unused_for", [{"keepStorage": "1GB", "filter": ["until=1h", "unused-for=1h"]}], None),
    ("gc_bad_duration", [{"keepStorage": "1GB", "filter": ["unused-for=2d"]}], None),
    ("gc_keep_storage_missing", [{"filter": ["unused-for=48h"]}], (27, 5)),
    ("gc_filter_without_value", [{"keepStorage": "1GB", "filter": ["private"]}], (23, 0)),
]

# After GC has run: a second from the start, and a little.
_START = """
journalctl --rotate --vacuum-time=1s >/dev/null 2>&1 || true
systemctl reset-failed docker.service docker.socket 2>/dev/null || true
if timeout 30 systemctl start docker; then sleep 2; echo "started"; else echo "refused"; systemctl stop docker; fi
journalctl --unit docker --no-pager --output cat --since="@$before" | grep -E 'gc error|failed to start daemon|panic' \
    | head -3 | sed 's/^/   /' || true
systemctl stop docker.service docker.socket 2>/dev/null
"""


@pytest.fixture(scope="module")
def versions(lab):
    """The version of each host's engine; their configuration files are as they were again in the end."""
    found = {host: facts["engine"]["version"] for host, facts in fleet.facts().items()}
    fleet.shell(f"{daemon.KEEP}systemctl stop docker.service docker.socket 2>/dev/null")
    yield found
    fleet.shell(daemon.PUT_BACK)
    daemon.restart()


def _config(own, rules):
    gc = {"enabled": True, "policy": rules}
    return {**own, "builder": {"gc": gc}}


def _started(configs):
    """Start each host's dockerd with one configuration after the other: {host: [what it said]}."""
    scripts = {
        host: "".join(
            f"before=$(date +%s)\ncat >{daemon.CONFIG} <<'END-OF-CONFIG'\n{json.dumps(config)}\nEND-OF-CONFIG\n{_START}"
            "echo END-OF-ONE\n"
            for config in each
        )
        for host, each in configs.items()
    }
    printed = fleet.shell(scripts)
    return {host: text.split("END-OF-ONE\n")[:-1] for host, text in printed.items()}


def _own():
    return {host: json.loads(text or "{}") for host, text in daemon.texts().items()}


def _different(make, number, wanted=lambda one: True):
    """Return so many of what ``make`` makes, no two of them the same."""
    found = {}
    while len(found) < number:
        one = make()
        if wanted(one):
            found[json.dumps(one)] = one
    return list(found.values())


def _pools(version):
    """Return NUMBER policies that the linter accepts, and of NUMBER spoilt ones those that it accepts, and those that
    it does not accept and says that dockerd starts with them."""
    chance = random.Random(f"{SEED} {version}")
    number = version_tuple(version)

    def found(rules):
        return traps({"builder": {"gc": {"enabled": True, "policy": rules}}}, version)

    good = _different(lambda: policy(chance, number), NUMBER, lambda rules: not found(rules))
    bad = [(rules, found(rules)) for rules in _different(lambda: spoilt(chance, number), NUMBER)]
    harmless = [rules for rules, traps_of in bad if not traps_of]
    return good, harmless, [rules for rules, traps_of in bad if traps_of and not any(one.stops for one in traps_of)]


def _batches(own, pool):
    """Return configurations with the policies of a pool, one after the other in one list of rules."""
    return [
        _config(own, [rule for rules in pool[at : at + BATCH] for rule in rules]) for at in range(0, len(pool), BATCH)
    ]


def test_every_policy_that_the_linter_accepts_starts_and_collects(versions):
    own, configs = _own(), {}
    for host, version in versions.items():
        good, harmless, _bad = _pools(version)
        print(f"SEED={SEED}, {host}: {len(good)} accepted, {len(harmless)} spoilt accepted")
        assert len(harmless) < NUMBER / 2, host
        configs[host] = [_config(own[host], MANY_START_WITH), *_batches(own[host], good + harmless)]
    for host, said in _started(configs).items():
        for config, answer in zip(configs[host], said, strict=True):
            assert answer.strip() == "started", (host, answer, json.dumps(config))


def _sections(version, stopping):
    """Return sections ``builder`` of which the linter says that they stop dockerd, or that they do not."""
    chance = random.Random(f"{SEED} {version} {stopping}")

    def wanted(made):
        return any(trap.stops for trap in traps({"builder": made}, version)) is stopping

    return _different(lambda: section(chance, version_tuple(version)), SECTIONS, wanted)


def test_dockerd_starts_with_what_is_wrong_exactly_where_the_linter_says_so(versions):
    own, configs = _own(), {}
    for host, version in versions.items():
        both = _sections(version, stopping=False) + _sections(version, stopping=True)
        _good, _harmless, bad = _pools(version)
        assert bad, host
        configs[host] = _batches(own[host], bad) + [{**own[host], "builder": made} for made in both]
    for host, said in _started(configs).items():
        for number, (config, answer) in enumerate(zip(configs[host], said, strict=True), 1):
            expected = "started" if number <= len(said) - SECTIONS else "refused"
            assert answer.startswith(expected), (host, answer, json.dumps(config["builder"]))


def test_what_the_linter_says_stops_an_engine_does(versions):
    own, configs, codes = _own(), {}, {}
    for host, version in versions.items():
        held = [one for one in STOPPERS if one[2] is None or version_tuple(version) < one[2]]
        configs[host] = [_config(own[host], rules) for _code, rules, _until in held]
        codes[host] = [code for code, _rules, _until in held]
        for code, config in zip(codes[host], configs[host], strict=True):
            assert code in {trap.code for trap in traps(config, version)}, (host, config)
    for host, said in _started(configs).items():
        for code, answer in zip(codes[host], said, strict=True):
            assert answer.startswith("refused"), (host, code, answer)
