# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The restart with every edge faked: what goes wrong at any step is undone. On real hosts: tests/fleet."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import time

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import restart as _restart
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import state as _state
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import way_back as _way_back
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.history import History
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.policy import terms
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.reader import from_daemon_json
from ansible_collections.buildfleet.buildcache.tests.unit.faked_host import NEW, OLD, VERSION
from ansible_collections.buildfleet.buildcache.tests.unit.restarting import lock_is_free, put, seen, write

HAND = OLD.replace("{", '{"debug": true, ', 1)
TOO_SLOW = BuildcacheError("systemctl did not end within 20 s.")


@pytest.mark.parametrize(
    ("fault", "says"),
    [
        (("restart", BuildcacheError("service docker start failed: no")), "service docker start failed: no"),
        (("restart", OSError(errno.ENOMEM, "Cannot allocate memory")), "OSError: .*Cannot allocate memory"),
        (("stop_limit", TOO_SLOW), "did not end within 20 s"),
        (("stop", None), "did not stop within 0 s"),
        (("start", None), r"did not start within 0 s \(health_timeout\)"),
        (("answer", None), r"did not answer within 0 s \(health_timeout\)"),
        (("has_failed", TOO_SLOW), "did not end within 20 s"),
    ],
)
def test_whatever_goes_wrong_from_the_restart_on_is_undone(host, run, fault, says):
    write(host, NEW)
    host.fault = fault
    result = run()
    assert result["failed"] and result["rolled_back"] and result["restarted"], result
    assert host.restarts == [NEW, OLD] and host.text == OLD
    assert re.search(says, result["msg"]) and "It said: no such size" in result["msg"], result
    assert "put back, and dockerd serves with it again" in result["msg"]
    assert seen(host)[2].in_effect.restart_required is False
    known = _state.history(str(host.file))
    assert known.started.text == OLD and known.before is None


def test_the_way_back_is_a_change_of_the_policy_in_the_audit_log(host, run, tmp_path):
    log = tmp_path / "audit.jsonl"
    asked = {"audit_log": str(log), "run_id": "nightly-7"}
    assert not run(**asked)["rolled_back"] and not log.exists()
    write(host, NEW)
    host.fault = ("restart", BuildcacheError("no"))
    result = run(**asked)
    assert result["failed"] and result["audit"] == {"path": str(log), "run": "nightly-7", "entries": 1}, result
    (entry,) = map(json.loads, log.read_text().splitlines())
    assert (entry["event"], entry["file"], entry["why"]["rolled_back"]) == ("policy_changed", str(host.file), True)
    assert [entry["old"], entry["new"]] == [
        terms(from_daemon_json(json.loads(one)["builder"], VERSION)) for one in (NEW, OLD)
    ]


def test_no_restart_is_begun_whose_way_back_could_not_be_logged(host, run, tmp_path):
    write(host, NEW)
    result = run(audit_log=str(tmp_path / "missing" / "audit.jsonl"))
    assert result["failed"] and not host.restarts and "there is no directory" in result["msg"], result


def test_where_no_restart_was_begun_nothing_is_stopped(host, run):
    write(host, NEW)
    said = "systemctl --no-block restart docker failed: Unit has a bad unit file setting."
    host.fault = ("begin", BuildcacheError(said))
    host.end = None
    result = run()
    assert result["failed"] and result["rolled_back"] and not result["restarted"], result
    assert host.restarts == [NEW] and host.text == OLD
    assert "could not be begun" in result["msg"] and "was put back, and dockerd was not restarted" in result["msg"]
    assert seen(host)[2].in_effect.restart_required is False


def test_what_has_started_is_what_the_next_failure_goes_back_to(host, run):
    write(host, NEW)
    assert run()["restarted"] and host.restarts == [NEW]
    assert not run()["changed"]
    known = _state.history(str(host.file))
    assert known == History(started=known.started) and known.started.text == NEW


def test_where_the_file_of_before_does_not_start_either_the_last_that_did_is_taken(host, run):
    write(host, NEW)
    run()
    put(host, HAND)
    # Later than the restart, which the fake has in the future.
    host.processes[host.pid] = time.time() - 10
    write(host, OLD)
    host.fault, host.bad = ("start", None), (OLD, HAND)
    result = run()
    assert result["rolled_back"] and host.restarts == [NEW, OLD, HAND, NEW] and host.text == NEW, result


@pytest.mark.parametrize("corrupted", [None, NEW + "}", NEW.replace("33GB", "33Q")])
def test_a_file_with_which_dockerd_would_not_start_is_put_back_before_a_restart(host, run, corrupted):
    write(host, NEW)
    if corrupted:
        put(host, corrupted)
    else:
        host.program.write_text("#!/bin/sh\necho http://bob:hush@proxy: no; exit 1\n")
    result = run()
    assert result["failed"] and result["rolled_back"] and not result["restarted"], result
    assert "was put back, and dockerd was not restarted" in result["msg"] and "hush" not in result["msg"]
    assert host.restarts == [] and host.text == OLD
    # It is known again that dockerd obeys it, though the file is younger.
    assert seen(host)[2].in_effect.restart_required is False


def test_what_a_hand_has_broken_is_left_to_it(host, run):
    put(host, "{")
    result = run()
    assert result["failed"] and not result["rolled_back"] and host.text == "{"
    assert "was left. dockerd was not restarted and serves as before" in result["msg"]


def test_another_policy_than_the_one_that_was_written_is_not_put_in_force(host, run):
    write(host, NEW)
    rendered = json.loads(NEW)["builder"]["gc"]
    put(host, OLD.replace("21GB", "44GB"))
    result = run(rendered=rendered)
    assert result["failed"] and "has another GC policy by now" in result["msg"], result
    assert host.restarts == [] and "44GB" in host.text
    write(host, NEW)
    assert run(rendered=rendered)["restarted"]


def test_a_container_that_starts_during_the_wait_for_builds_is_not_stopped(host, run):
    def and_start_one():
        host.running.append("late")
        return 0

    write(host, NEW)
    host.builds = [1, and_start_one, 0]
    result = run(drain_timeout="10s")
    assert result["failed"] and "would stop 1 running containers (late)" in result["msg"], result
    assert host.restarts == []


def test_builds_are_waited_for_without_the_lock_and_looked_for_with_it(host, run):
    free = []

    def note(number):
        def asked():
            free.append(lock_is_free())
            return number

        return asked

    write(host, NEW)
    # The second time none runs, but one starts before the lock is had.
    host.builds = [note(1), note(0), note(1), note(0), note(0)]
    assert run(drain_timeout="10s")["restarted"]
    assert free == [True, True, False, True, False]
    host.processes[host.pid] = time.time() - 10
    write(host, OLD)
    host.builds = [2]
    result = run()
    assert result["failed"] and "A build still runs after 100ms (drain_timeout)" in result["msg"]


def test_what_others_ask_dockerd_for_is_waited_for(host, run):
    write(host, NEW)
    host.requests = [["a push"], ["a push"], [], ["a build", "a save"], []]
    assert run(drain_timeout="10s")["restarted"]
    assert host.requests == []
    host.processes[host.pid] = time.time() - 10
    write(host, OLD)
    host.requests = [["a build", "a save"]] * 1000
    result = run()
    assert result["failed"] and not result["restarted"]
    assert "A build and a save still run after 100ms (drain_timeout)" in result["msg"]


def test_containers_that_are_waited_for_do_not_forbid_a_restart(host, run):
    write(host, NEW)
    host.running = ["job", "service"]
    result = run(drain_containers=["ci.job=job"])
    assert result["failed"] and "would stop 1 running containers (service)" in result["msg"]
    host.running = ["job"]
    result = run(drain_containers=["ci.job=job"])
    assert result["failed"] and "1 of the containers to wait for still run after 100ms" in result["msg"]

    def the_job_ends():
        host.running = []
        return 0

    host.builds = [0, 0, the_job_ends, 0]
    result = run(drain_containers=["ci.job"], drain_timeout="10s")
    assert result["restarted"] and result["containers"] == []


def test_what_a_failed_restart_goes_back_to_has_live_restore_too(host, run, monkeypatch):
    monkeypatch.setattr(os, "kill", lambda pid, number: None)
    host.running = ["alive"]
    write(host, NEW)
    host.fault, host.bad = ("start", None), (_restart.with_value(NEW, ("live-restore",), True),)
    result = run(live_restore=True)
    assert result["rolled_back"], result
    assert json.loads(host.text) == {**json.loads(OLD), "live-restore": True}


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ({"docker_host": "tcp://10.9.9.9:2376"}, "is on another host"),
        ({"docker_host": "ssh://root@build1"}, "is on another host"),
        ({}, "process of dockerd cannot be found"),
    ],
)
def test_what_cannot_be_seen_from_here_is_not_restarted(host, run, options, says):
    write(host, NEW)
    host.processes[100] = None
    result = run(planned=True, **options)
    assert result["failed"] and says in result["msg"], result
    assert host.restarts == [] and not result["changed"]


@pytest.mark.parametrize(("restarts", "stands"), [(True, "dockerd is NOT serving"), (False, "serves as before")])
def test_a_file_that_cannot_be_put_back_is_said_as_it_is(host, run, monkeypatch, restarts, stands):
    def read_only(*_what):
        raise BuildcacheError("its file system is mounted read-only.")

    write(host, NEW)
    host.fault = ("start", None)
    if not restarts:
        host.program.write_text("#!/bin/sh\nexit 1\n")
    monkeypatch.setattr(_way_back, "put_back", read_only)
    result = run()
    assert result["failed"] and result["restarted"] is restarts and not result["rolled_back"]
    assert "Going back failed too: its file system is mounted read-only." in result["msg"] and stands in result["msg"]


def test_on_a_full_disk_the_file_of_before_is_put_into_the_new_one(host, run, monkeypatch):
    def full(*_what):
        raise BuildcacheError("there is no space left.") from OSError(errno.ENOSPC, "No space left on device")

    write(host, NEW)
    host.fault = ("start", None)
    monkeypatch.setattr(_way_back, "put_back", full)
    result = run()
    assert result["rolled_back"] and host.text == OLD and host.restarts == [NEW, OLD], result


def test_a_restart_that_went_well_is_one_though_nothing_can_be_kept(host, run, monkeypatch):
    def full(*_what):
        raise BuildcacheError("in_force.json cannot be written: there is no space left.")

    write(host, NEW)
    monkeypatch.setattr(_restart, "keep_history", full)
    result = run()
    assert result["restarted"] and not result.get("failed"), result
    assert "dockerd obeys the policy. But in_force.json cannot be written" in str(result["warnings"])


@pytest.mark.parametrize("fault", [("", None), ("start", None)])
def test_what_stops_with_dockerd_runs_again_however_it_ends(host, run, fault):
    write(host, NEW)
    host.fault = fault
    host.dependent, host.dead = ["agent.service", "dead.service"], ["dead.service"]
    result = run()
    assert result["failed"] and result["restarted"] and result["dependents"] == host.dependent, result
    assert result["rolled_back"] == bool(fault[0])
    said = "dockerd serves with it again. " if fault[0] else "dockerd obeys the policy. "
    assert f"{said}dead.service (failed): ran before and could not be started again" in result["msg"], result
    host.dead = []
    assert "agent.service" not in run().get("msg", "")


@pytest.mark.parametrize(("starting", "seconds"), [(True, 0.3), (False, 0.1)])
def test_a_start_has_what_its_manager_gives_it_and_an_answer_what_answers_take(
    host, run, monkeypatch, starting, seconds
):
    monkeypatch.setattr(_restart, "ANSWERS_WITHIN", 0.1)
    write(host, NEW)
    host.fault, host.patience, host.starting = ("answer", None), 0.3, starting
    began = time.monotonic()
    result = run(health_timeout=None)
    assert result["failed"] and "did not answer within 0 s (set health_timeout to give it longer)" in result["msg"]
    assert time.monotonic() - began >= seconds


@pytest.mark.parametrize("allowed", [False, True])
def test_a_dockerd_that_comes_back_with_another_store_is_undone(host, run, allowed):
    write(host, NEW)
    host.other = {"DockerRootDir": "/srv/other"}
    result = run(allow_store_change=allowed)
    assert result["restarted"] and result["rolled_back"] is not allowed, result
    assert allowed or "not as it was: its root directory is /srv/other, and was None." in result["msg"], result


def test_where_nothing_was_restarted_what_depends_on_dockerd_is_left_alone(host, run):
    write(host, NEW)
    host.dependent = host.dead = ["agent.service"]
    host.fault = ("begin", BuildcacheError("no"))
    assert "agent.service" not in run()["msg"]


def test_a_signal_does_not_end_it_while_dockerd_is_down(host, run):
    def and_be_told_to_end(real=host.restart):
        os.kill(os.getpid(), signal.SIGTERM)
        os.kill(os.getpid(), signal.SIGHUP)
        real()

    write(host, NEW)
    host.restart = and_be_told_to_end
    assert run()["restarted"] and host.restarts == [NEW]
