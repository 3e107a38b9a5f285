# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a rehearsal's outcome means for a restart."""

from __future__ import annotations

import json

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.rehearsal import NotRehearsed
from ansible_collections.buildfleet.buildcache.tests.unit.faked_host import NEW, OLD
from ansible_collections.buildfleet.buildcache.tests.unit.restarting import put, write

HAND = json.dumps({**json.loads(NEW), "log-opts": {"nope": "1"}})
SAID = "failed to start daemon: unknown log opt"
CANNOT = NotRehearsed("the engine is rootless.")


def test_what_is_in_force_and_unchanged_is_not_rehearsed(host, run):
    for options in ({}, {"planned": True, "_ansible_check_mode": True}):
        assert run(**options)["rehearsed"] is False
    assert host.rehearsals == 0


def test_what_we_have_written_is_rehearsed_and_put_back_where_it_does_not_start(host, run):
    write(host, NEW)
    host.refusals[NEW] = SAID
    result = run()
    assert result["failed"] and result["rolled_back"] and not result["restarted"] and host.text == OLD, result
    assert f"One started beside it said: {SAID}" in result["msg"] and host.restarts == []


@pytest.mark.parametrize("check_mode", [False, True])
def test_what_waits_in_the_file_is_found_before_anything_is_written(host, run, check_mode):
    put(host, HAND)
    host.refusals[HAND] = SAID
    result = run(planned=check_mode, _ansible_check_mode=check_mode)
    assert result["failed"] and not result["changed"] and host.text == HAND and host.restarts == [], result
    assert SAID in result["msg"]


def test_a_file_that_nobody_knows_is_put_in_force_where_a_start_with_it_was_tried(host, run):
    put(host, HAND)
    result = run()
    assert result["restarted"] and result["rehearsed"] and host.restarts == [HAND], result


@pytest.mark.parametrize(("options", "why"), [({}, str(CANNOT)), ({"rehearse": False}, "rehearse is off")])
def test_without_a_trial_it_takes_a_way_back(host, run, options, why):
    put(host, HAND)
    host.refusals = dict.fromkeys((HAND, NEW), CANNOT)
    result = run(**options)
    assert result["failed"] and not result["changed"] and host.restarts == [] and host.text == HAND
    assert "what it said before is not known" in result["msg"] and why in result["msg"]
    put(host, OLD)
    write(host, NEW)
    result = run(**options)
    assert result["restarted"] and not result["rehearsed"], result
    assert options or str(CANNOT) in str(result["warnings"])


def test_what_starts_with_no_file_starts_with_what_was_told(host, run):
    put(host, HAND)
    host.fault, host.bad = ("start", None), (HAND,)
    result = run()
    assert result["failed"] and result["restarted"] and not result["rolled_back"], result
    assert "It serves with what the one that ran told of itself" in result["msg"]
    assert "log-opts" not in host.text and host.pid in host.processes
    (copy,) = host.file.parent.glob("daemon.json.*~")
    assert copy.read_text() == HAND
