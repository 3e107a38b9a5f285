# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import math

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.asked import rules_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import (
    Daemon,
    InEffect,
    digest,
    gc_status,
    in_effect,
    look,
    restart_required,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.policy import Policy, PolicyRule
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.reader import from_daemon_json
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.spelling import supported, to_daemon_json
from ansible_collections.buildfleet.buildcache.tests.unit.examples import examples
from ansible_collections.buildfleet.buildcache.tests.unit.policies import ENGINES, reported, rule_lists

GB = 2**30
HOUR = 3600 * SECOND
NEWEST = ENGINES[-1]
OURS = Policy(rules=(PolicyRule(unused_for=48 * HOUR, max_used_space=GB),))
OTHER = Policy(rules=(PolicyRule(max_used_space=2 * GB),))


@settings(deadline=None, max_examples=examples(150))
@given(
    rule_lists, st.booleans(), st.sampled_from(ENGINES[-6:]), st.randoms(), st.integers(0, SECOND + SECOND // 1000 - 1)
)
def test_a_daemon_that_was_started_with_the_file_obeys_it(options, enabled, version, random, late):
    asked, _missing = supported(Policy(enabled, rules_from_options(options)), version, approximate=True)
    section = to_daemon_json(asked, version)
    in_file = from_daemon_json({"gc": section}, version)

    def shuffle(clauses):
        return random.sample(clauses, len(clauses))

    entries = reported(section, shuffle, late) if enabled else []
    found = in_effect(in_file, entries, None, 0)
    assert (found.source, found.restart_required) == ("buildx", False)
    assert found.policy.meaning == asked.meaning
    assert not restart_required(Daemon(reported=entries), found, in_file)


def entry(age=0, include_all=False, reserved=0, max_used=0, min_free=0, text=""):
    return {
        "all": include_all,
        "filter": [text],
        "keepDuration": age,
        "reservedSpace": reserved,
        "maxUsedSpace": max_used,
        "minFreeSpace": min_free,
    }


@pytest.mark.parametrize(
    ("entries", "required"),
    [
        ([entry(48 * HOUR + 5, max_used=GB)], False),
        ([entry(48 * HOUR + 5, reserved=GB)], False),
        ([entry(49 * HOUR, max_used=GB)], True),
        ([entry(48 * HOUR, max_used=GB + 1)], True),
        ([entry(48 * HOUR, True, max_used=GB)], True),
        ([entry(48 * HOUR, max_used=GB, text="private")], True),
        ([entry(48 * HOUR, max_used=GB, text='description=="')], True),
        ([entry(48 * HOUR, max_used=GB), entry()], True),
        ([], True),
    ],
)
def test_any_difference_to_the_report_is_drift(entries, required):
    found = in_effect(OURS, entries, 100.0, 0)
    assert (found.source, found.restart_required) == ("buildx", required)
    # What is now written may be what the daemon obeys, other than the file before.
    before = in_effect(OTHER, entries, 100.0, 0)
    assert before.restart_required
    assert restart_required(Daemon(reported=entries), before, OURS) is required


COMMA = "type==source.local,type==exec.cachemount,type==source.git.checkout"
BILLION = 10**9


def shares(disk, version="28.5.2"):
    """The default sizes of a disk of so many bytes."""
    parts = ((10, 100), (80, 100), (20, 100)) if version == "28.5.2" else ((1, 10), (1, 80), (1, 20))
    return [(disk * part // whole // GB + 1) * BILLION for part, whole in parts]


def default_rules(reserved=10 * BILLION, max_used=78 * BILLION, min_free=20 * BILLION, comma=COMMA):
    """DefaultGCPolicy of moby, builder-next/worker/gc.go, 28.5.2."""
    sizes = (reserved, max_used, min_free)
    return [
        entry(48 * HOUR, max_used=max(round(reserved / 100 * math.e * math.pi * 1.618034), 512 * 10**6), text=comma),
        entry(60 * 24 * HOUR, False, *sizes),
        entry(0, False, *sizes),
        entry(0, True, *sizes),
    ]


@pytest.mark.parametrize(
    ("in_file", "entries", "required"),
    [
        (Policy(), default_rules(), False),
        (Policy(default_sizes=(GB, 0, 0)), default_rules(GB, 0, 0), False),
        (Policy(default_sizes=(GB, 0, 0)), default_rules(), True),
        (Policy(), default_rules(*shares(3 * 10**9)), False),
        (Policy(), default_rules(*shares(4 * 10**12)), False),
        (Policy(), default_rules(*shares(10**11, "28.5.0")), False),
        (Policy(), default_rules()[1:], True),
        # The sizes of the file were taken out.
        (Policy(), default_rules(5 * GB, 0, 0), True),
        (Policy(), default_rules(5 * BILLION, 0, 0), True),
        (Policy(), default_rules(5 * GB, 40 * GB, 10 * GB), True),
        (Policy(), default_rules(5 * BILLION, 50 * BILLION, 10 * BILLION), True),
        # The rules stand in the file as many copy them from the manual, and then not any more.
        (
            Policy(),
            [
                entry(48 * HOUR, reserved=512 * 2**20),
                entry(1440 * HOUR, reserved=10 * GB),
                entry(reserved=10 * GB),
                entry(0, True, reserved=10 * GB),
            ],
            True,
        ),
        (Policy(), default_rules(comma=""), True),
        (Policy(), [default_rules()[0], *default_rules(20 * BILLION, 160 * BILLION, 40 * BILLION)[1:]], True),
        (Policy(), [*default_rules()[:3], entry(0, True, *shares(10**12))], True),
        (
            Policy(),
            [
                *default_rules()[:2],
                entry(0, False, 10 * BILLION, 78 * BILLION, 20 * BILLION, "private"),
                default_rules()[3],
            ],
            True,
        ),
        (Policy(), [], True),
        (OURS, default_rules(), True),
        (Policy(enabled=False), default_rules(), True),
        (Policy(enabled=False), [], False),
        (Policy(rules=()), [], False),
    ],
)
def test_the_default_rules_are_known_by_their_shape(in_file, entries, required):
    assert in_effect(in_file, entries, None, 0).restart_required is required
    # Also where the file said something else until now.
    assert restart_required(Daemon(reported=entries), in_effect(OTHER, entries, None, 0), in_file) is required


@pytest.mark.parametrize(
    ("in_file", "entries", "started", "since", "expected"),
    [
        (OURS, None, 10, 5, InEffect(OURS, "start_time", False)),
        (OURS, None, 10, 10, InEffect(OURS, "start_time", False)),
        (OURS, None, 10, 11, InEffect(None, "start_time", True)),
        (OURS, None, None, 5, InEffect(None, "unknown", None)),
        # A restart with a file that the engine refuses would be its last.
        (None, None, 10, 11, InEffect(None, "unknown", None)),
        (None, None, 10, 5, InEffect(None, "unknown", None)),
        (None, [entry(max_used=2 * GB)], 10, 5, InEffect(OTHER, "buildx", None)),
    ],
)
def test_without_a_report_the_files_time_tells(in_file, entries, started, since, expected):
    assert in_effect(in_file, entries, started, since) == expected


def seen(history):
    """Return what the file says, when it was written to and the daemon was started, and the last look.

    ``history`` is what happened, each at its moment: the file was written (with this time, saying ours or another
    policy) or deleted, the daemon was started, or a run looked.
    """
    policies = {"ours": OURS, "other": OTHER, "deleted": Policy()}
    says, changed_at, started_at, last = Policy(), None, None, None
    for event, moment in (step.split("@") for step in history.split()):
        if event == "start":
            started_at = float(moment)
        elif event == "look":
            last = look(says, changed_at, started_at, last, float(moment))
        else:
            says, changed_at = policies[event], float(moment)
    return says, changed_at, started_at, last


@pytest.mark.parametrize(
    ("history", "obeyed"),
    [
        ("ours@1 start@2 look@3", True),
        ("start@1 ours@2 look@3", False),
        ("start@2 look@3 look@4", True),
        # Touched: without an earlier look that may have been a change.
        ("ours@1 start@2 look@3 ours@4 look@5", True),
        ("ours@1 start@2 ours@3 look@4", False),
        # Changed.
        ("ours@1 start@2 look@3 other@4 look@5", False),
        ("ours@1 start@2 look@3 other@4 look@5 look@6", False),
        ("ours@1 start@2 look@3 other@4 start@5 look@6", True),
        ("ours@1 start@2 other@3 look@4 start@5 look@6", True),
        # Changed and changed back: what was seen in between is not known to be undone.
        ("ours@1 start@2 look@3 other@4 ours@5 look@6", True),
        ("ours@1 start@2 look@3 other@4 look@5 ours@6 look@7", False),
        ("ours@1 start@2 look@3 other@4 start@5 ours@6 look@7", False),
        # Deleted.
        ("ours@1 start@2 deleted@3 look@4", False),
        ("ours@1 start@2 look@3 deleted@4 look@5", False),
        ("ours@1 start@2 look@3 deleted@4 start@5 look@6", True),
        # The time of the file was set.
        ("ours@1 start@2 look@3 other@0.5 look@5", False),
        ("ours@1 start@2 look@3 other@0.5 start@5 look@6", True),
        ("start@1 ours@99 look@3 look@4", False),
    ],
)
def test_by_its_history_a_file_is_in_effect_or_not(history, obeyed):
    says, _changed_at, started_at, last = seen(history)
    assert in_effect(says, None, started_at, last.since).restart_required is not obeyed
    assert last.digest == digest(says)


@pytest.mark.parametrize(
    ("history", "required"),
    [
        # The file is as at the last look or was changed since, when OURS is written to it at the end.
        ("other@1 start@2", True),
        ("other@1 look@3", True),
        ("other@1 start@2 look@3", True),
        ("ours@1 start@2 look@3", False),
        ("ours@1 start@2 look@3 other@4", False),
        ("ours@1 start@2 look@3 other@4 start@5", True),
        ("start@2 ours@3 look@4 other@5", True),
    ],
)
def test_what_is_written_may_be_what_the_daemon_was_started_with(history, required):
    says, changed_at, started_at, last = seen(history)
    daemon = Daemon(changed_at=changed_at, started_at=started_at, last=last, now=9.0)
    since = look(says, changed_at, started_at, last, 9.0).since
    assert restart_required(daemon, in_effect(says, None, started_at, since), OURS) is required


def test_a_digest_is_of_the_meaning_alone():
    same = Policy(rules=(PolicyRule(unused_for=48 * HOUR, reserved_space=GB),))
    assert digest(OURS) == digest(same) != digest(OTHER)
    assert digest(None) == ""
    assert OURS.meaning == same.meaning


def test_a_status_has_what_the_file_says_what_is_obeyed_and_the_traps():
    config = {"builder": {"gc": {"policy": [{"maxUsedSpace": "2GB", "keepDuration": "1h"}]}}}
    status = gc_status(Daemon(config=config, changed_at=5.0, started_at=7.0, now=9.0), NEWEST)
    assert (status.in_file.meaning, status.in_effect.restart_required) == (OTHER.meaning, False)
    assert [trap.code for trap in status.traps] == ["gc_key_ignored"]
    assert gc_status(Daemon(config={}, started_at=7.0), "26.1.5").in_file == Policy(enabled=False)


@pytest.mark.parametrize("config", [None, {"builder": {"gc": []}}])
def test_of_a_file_that_cannot_be_used_nothing_is_claimed(config):
    status = gc_status(Daemon(config=config, problem="broken", started_at=7.0, now=9.0), NEWEST)
    assert status.in_file is None
    assert status.in_effect == InEffect(None, "unknown", None)
