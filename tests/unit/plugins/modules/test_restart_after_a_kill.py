# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The next run after one that was ended by force in the midst of its restart."""

from __future__ import annotations

import time

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import state as _state
from ansible_collections.buildfleet.buildcache.tests.unit.faked_host import NEW, OLD
from ansible_collections.buildfleet.buildcache.tests.unit.restarting import write

TOLD = '{"storage-driver": "overlay2"}\n'


class TestAfterAKill:
    """A run was ended by force in the midst of its restart."""

    @pytest.fixture
    def cut(self, host):
        """cut(): dockerd does not serve, and NEW is in its file."""

        def cut(serves=False):
            write(host, NEW)
            left = _state.Left(("agent.service",), TOLD)
            _state._keep(_state._RESTARTS, str(host.file), left._asdict())
            if not serves:
                host.processes.pop(host.pid)
                host.pid = None

        return cut

    @pytest.mark.parametrize("starting", [False, True])
    def test_dockerd_is_started_with_its_file(self, host, run, cut, starting):
        cut()
        host.starting, host.patience, not_yet = starting, 1, iter([None, None])

        def main_pid():
            if starting and next(not_yet, 200):
                host.pid = 200
                host.processes.setdefault(200, time.time())
            return host.pid

        host.main_pid = main_pid
        result = run(bring_back=True)
        assert not result.get("failed") and result["restarted"], result
        assert "was cut off in its restart. It was started, and serves with" in str(result["warnings"])
        assert host.restarts == ([] if starting else [NEW]) and host.text == NEW
        assert _state.restart_left(str(host.file)) is None
        assert _state.history(str(host.file)).started.text == NEW

    def test_or_with_the_one_of_before(self, host, run, cut):
        cut()
        host.fault, host.dead = ("start", None), ["agent.service"]
        result = run(bring_back=True)
        assert result["failed"] and result["rolled_back"] and host.text == OLD, result
        assert "put back, and dockerd serves with it again" in result["msg"]
        assert "agent.service (failed): ran before" in str(result["warnings"])
        assert _state.restart_left(str(host.file)) is None

    def test_or_with_what_the_one_before_told_of_itself(self, host, run, cut):
        cut()
        host.fault, host.bad = ("start", None), (OLD, NEW)
        result = run(bring_back=True)
        assert result["failed"] and not result["rolled_back"] and host.text == TOLD, result
        assert "without a GC policy" in result["msg"]
        (copy,) = host.file.parent.glob("daemon.json.*~")
        assert str(copy) in result["msg"] and copy.read_text() == NEW and copy.stat().st_mode & 0o777 == 0o600

    def test_where_it_serves_what_stopped_with_it_is_started_and_the_run_goes_on(self, host, run, cut):
        cut(serves=True)
        host.dead = ["agent.service"]
        result = run()
        assert result["restarted"] and host.restarts == [NEW], result
        assert "agent.service (failed): ran before" in str(result["warnings"])

    def test_in_check_mode_it_is_said(self, host, run, cut):
        cut()
        result = run(_ansible_check_mode=True)
        assert result["failed"] and "a run without check mode brings it back" in result["msg"], result
        assert not host.restarts and _state.restart_left(str(host.file)).dependents == ("agent.service",)


def test_one_that_failed_at_boot_with_what_we_wrote_goes_back(host, run):
    write(host, NEW)
    host.processes.pop(host.pid)
    host.pid, host.failed, host.dependent, host.dead = None, True, ["agent.service"], ["agent.service"]
    result = run(_ansible_check_mode=True)
    assert result["failed"] and "failed with what an earlier run has written; a run without" in result["msg"], result
    host.fault = ("start", None)
    result = run()
    assert result["failed"] and result["rolled_back"] and host.restarts == [NEW, OLD] and host.text == OLD, result
    assert "dockerd serves with it again" in result["msg"] and "agent.service (failed)" in str(result["warnings"])


def test_a_dockerd_that_somebody_has_stopped_is_left_so(host, run):
    write(host, NEW)
    host.processes.pop(host.pid)
    host.pid = None
    for options in ({}, {"bring_back": True}):
        result = run(**options)
        assert result["failed"] and "Nobody answers" in result["msg"] and not host.restarts, result
