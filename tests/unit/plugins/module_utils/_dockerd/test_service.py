# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import service as _service
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.service import service_manager


class Host:
    """Answers commands by their last words, and notes them."""

    def __init__(self, **answers):
        self.commands = []
        self.answers = answers

    def run(self, command):
        assert command[0] == "timeout"
        self.commands.append(" ".join(command[2:]))
        answers = (answer for words, answer in self.answers.items() if words in command)
        return next(answers, (0, "", ""))


def test_systemd_restarts_without_waiting_and_forgets_earlier_starts():
    host = Host()
    service_manager("systemd", "docker", host.run).restart()
    assert host.commands == [
        "systemctl reset-failed docker",
        "systemctl reset-failed docker.socket",
        "systemctl --no-block restart docker",
    ]


def test_a_users_engine_is_the_users_systemds(monkeypatch):
    monkeypatch.setenv("XDG_RUNTIME_DIR", "/run/user/7")
    host = Host(show=(0, "ActiveState=failed\n", ""))
    assert service_manager("systemd_user", "docker", host.run).has_failed()
    assert host.commands[0].startswith("systemctl --user show --property=") and host.commands[0].endswith(" docker")


def test_an_init_script_is_run_to_its_end():
    host = Host(service=(1, "", "docker: unrecognized service\n"))
    with pytest.raises(BuildcacheError, match="service docker start failed: docker: unrecognized service"):
        service_manager("sysvinit", "docker", host.run).restart()


@pytest.mark.parametrize(("status", "message"), [(124, "did not end within 20 s"), (127, "There is no systemctl")])
def test_a_manager_that_hangs_or_is_not_there_is_said(status, message):
    with pytest.raises(BuildcacheError, match=message):
        service_manager("systemd", "docker", Host(systemctl=(status, "", "")).run).restart()


def test_a_start_that_cannot_be_ended_is_killed_and_its_children_are_not(monkeypatch):
    monkeypatch.setattr(_service, "_PATIENCE", 0)
    host = Host(**{"is-active": (0, "activating\n", "")})
    service_manager("systemd", "docker", host.run).end()
    assert host.commands[-2:] == [
        "systemctl kill --kill-who=control --signal=KILL docker",
        "systemctl kill --kill-who=main --signal=KILL docker",
    ]


def test_trouble_is_what_dockerd_says_of_it_once_and_without_its_configuration():
    lines = [
        'time="x" level=info msg="Reloaded configuration" config="secret"',
        "failed to start daemon: no",
        'time="x" level=error msg="worse"',
        "failed to start daemon: no",
    ]
    host = Host(**{"_SYSTEMD_UNIT=docker.service": (0, "\n".join(lines), "")})
    found = service_manager("systemd", "docker", host.run).trouble(17.9)
    assert found == ["failed to start daemon: no", 'time="x" level=error msg="worse"']
    assert "--since=@17 " in host.commands[0]


@pytest.mark.parametrize(
    ("printed", "limit"),
    [("1min 30s", 90), ("45s", 45), ("1h 500ms", 3600.5), ("infinity", 600), ("", 600), ("3 blinks", 600)],
)
def test_a_stop_may_take_what_its_unit_gives_it(printed, limit):
    host = Host(**{"--property=TimeoutStopUSec": (0, f"TimeoutStopUSec={printed}\n", "")})
    assert service_manager("systemd", "docker", host.run).stop_limit() == limit


@pytest.mark.parametrize(
    ("given", "left", "reached", "limit"),
    [
        ("1min 30s", 5, 7, 270),
        ("infinity", 0, 0, 600),
        ("infinity", 10_000_000, 85_000_000, 600),
        ("infinity", 10_000_000, 310_000_000, 1500),
        # The last start never came to its end.
        ("infinity", 310_000_000, 10_000_000, 600),
        ("", "", "", 600),
    ],
)
def test_a_start_may_take_what_its_unit_gives_it_or_what_starts_take_here(given, left, reached, limit):
    last = {"InactiveExitTimestampMonotonic": left, "ActiveEnterTimestampMonotonic": reached}
    host = Units({"docker.service": {"TimeoutStartUSec": given, **last}})
    assert service_manager("systemd", "docker", host.run).start_limit() == limit


@pytest.mark.parametrize(
    ("unit", "failed"),
    [
        ({"ActiveState": "failed"}, True),
        ({"ActiveState": "inactive"}, True),
        ({"ActiveState": "inactive", "Job": "7"}, False),
        ({"ActiveState": "activating", "SubState": "start-pre", "NRestarts": "0"}, False),
        ({"ActiveState": "activating", "SubState": "auto-restart", "NRestarts": "2"}, False),
        ({"ActiveState": "activating", "SubState": "auto-restart", "NRestarts": "3"}, True),
        ({"ActiveState": "active"}, False),
    ],
)
def test_a_start_that_goes_on_has_not_failed(unit, failed):
    host = Units({"docker.service": unit})
    assert service_manager("systemd", "docker", host.run).has_failed() is failed


@pytest.mark.parametrize(
    ("unit", "gave_up"),
    [
        ({"ActiveState": "failed"}, True),
        ({"ActiveState": "inactive", "SubState": "dead"}, False),
        ({"ActiveState": "activating", "SubState": "start-pre"}, False),
        ({"ActiveState": "activating", "SubState": "auto-restart"}, True),
        ({"ActiveState": "active", "SubState": "running"}, False),
    ],
)
def test_what_somebody_has_stopped_was_not_given_up(unit, gave_up):
    assert service_manager("systemd", "docker", Units({"docker.service": unit}).run).gave_up() is gave_up
    assert service_manager("sysvinit", "docker", Host().run).gave_up() is False


@pytest.mark.parametrize(("printed", "pid"), [("MainPID=17\n", 17), ("MainPID=0\n", None), ("", None)])
def test_the_main_process_is_the_managers(printed, pid):
    host = Host(**{"--property=MainPID": (0, printed, "")})
    assert service_manager("systemd", "docker", host.run).main_pid() == pid


def test_one_that_serves_may_take_its_time_to_stop(monkeypatch):
    monkeypatch.setattr(_service, "_PATIENCE", 0)
    states = iter(["active", "deactivating", "deactivating", "inactive"])

    def run(command):
        return 0, next(states) if "is-active" in command else "", ""

    service_manager("systemd", "docker", run).end()
    assert next(states, None) is None


RELOADED = 'level=info msg="Reloaded configuration: {\\"log-opts\\":{\\"splunk-token\\":\\"hush\\"}}"'


@pytest.mark.parametrize(
    ("line", "shown"),
    [
        (RELOADED, None),
        ('{"level":"info","msg":"Reloaded configuration: {hush}"}', None),
        ("proxyconnect http://bob:hush@proxy:3128: refused", "proxyconnect http://***@proxy:3128: refused"),
        ('bad URL "http://bob:h/us@h@proxy"', 'bad URL "http://***@proxy"'),
        (
            "unable to configure: log-opts: (from flag: map[a:(b)], from file: map[token:hush]), labels: (from flag: "
            "[], from file: [hush])",
            "unable to configure: log-opts: (the values are not shown), labels: (the values are not shown)",
        ),
    ],
)
@pytest.mark.parametrize("lines", ["_SYSTEMD_UNIT=docker.service", "--unit=docker"])
def test_credentials_are_not_among_the_last_words(lines, line, shown):
    host = Host(**{lines: (0, f"{line}\n", "")})
    assert service_manager("systemd", "docker", host.run).trouble(17.9) == ([shown] if shown else [])


def test_of_a_log_only_what_came_since_the_restart_is_read(tmp_path):
    manager = service_manager("sysvinit", "docker", Host().run)
    manager._log = str(tmp_path / "docker.log")
    with open(manager._log, "w") as log:
        log.write("an old failure\n")
    manager.restart()
    with open(manager._log, "a") as log:
        log.write("failed to start daemon: no\n")
    assert manager.trouble(0) == ["failed to start daemon: no"]
    with open(manager._log, "w") as log:
        log.write("anew\n")
    assert manager.trouble(0) == ["anew"]


def test_what_cannot_be_run_at_all_is_said():
    def run(command):
        raise OSError(12, "Cannot allocate memory")

    with pytest.raises(BuildcacheError, match="systemctl .* cannot be run: .*Cannot allocate memory"):
        service_manager("systemd", "docker", run).has_failed()


@pytest.mark.parametrize(
    ("status", "printed", "unmet"),
    [
        (0, "docker.service: ConditionPathExists=/run/there succeeded.\nConditions succeeded.\n", ()),
        (
            1,
            "docker.service: AssertPathExists=/run/a b failed.\nAsserts failed.\n"
            "docker.service: ConditionPathExists=!/run/there failed.\nConditions failed.\n",
            ("AssertPathExists=/run/a b", "ConditionPathExists=!/run/there"),
        ),
        (1, "Unknown command verb condition.\n", ()),
    ],
)
def test_conditions_that_do_not_hold_are_those_that_systemd_says_have_failed(status, printed, unmet):
    service = _service.service_manager("systemd", "docker", lambda command: (status, printed, ""))
    assert service.unmet() == unmet


class Units:
    """systemd with these units, {name: properties}; one that is started is as ``starts`` has it, "" for not at all."""

    def __init__(self, units, starts=()):
        self.units = {name: {"Id": name, "ActiveState": "active", **of_it} for name, of_it in units.items()}
        self.starts = {f"{name}.service": list(states) for name, states in dict(starts).items()}
        self.started = []

    def run(self, command):
        verb, *names = [word for word in command[3:] if not word.startswith("--")]
        if verb == "start":
            self.started += names
        for name, states in self.starts.items():
            if verb == "show" and name in self.started and states:
                self.units[name].update(states.pop(0))
        shown = [self.units.get(name) or self.units[f"{name}.service"] for name in names] if verb == "show" else []
        return 0, "\n\n".join("\n".join(f"{key}={value}" for key, value in one.items()) for one in shown), ""


def test_what_stops_with_the_service_is_found_through_others_but_not_what_starts_it():
    host = Units(
        {
            "docker.service": {
                "TriggeredBy": "docker.socket", "ConsistsOf": "docker.socket part.service",
                "RequiredBy": "agent.service", "BoundBy": "again.service idle.service",
            },
            "docker.socket": {},
            "part.service": {},
            "agent.service": {"RequiredBy": "job.service docker.service", "PropagatesStopTo": "agent.service"},
            "job.service": {},
            "again.service": {"ActiveState": "activating", "SubState": "auto-restart"},
            "idle.service": {"ActiveState": "inactive", "RequiredBy": "job.service", "UnitFileState": "enabled"},
        }
    )  # fmt: skip
    service = service_manager("systemd", "docker", host.run)
    assert service.dependents() == ["agent.service", "job.service", "part.service"]
    assert service.enabled_dependents() == ["idle.service"]
    assert service_manager("sysvinit", "docker", host.run).dependents() == []


DOWN, COMING, UP = {"ActiveState": "inactive"}, {"ActiveState": "activating"}, {"ActiveState": "active"}


@pytest.mark.parametrize(
    ("states", "left"),
    [
        ([UP], []),
        ([COMING, UP], []),
        ([{"Job": "12"}, {"Job": "0", **UP}], []),
        ([COMING, {"ActiveState": "failed"}], [("agent.service", "failed")]),
        ([DOWN], [("agent.service", "inactive")]),
        ([COMING], []),
        ([{**COMING, "SubState": "auto-restart"}], [("agent.service", "activating")]),
    ],
)
def test_what_does_not_run_is_started_once_and_waited_for(monkeypatch, states, left):
    slept = []
    monkeypatch.setattr(_service.time, "sleep", slept.append)
    monkeypatch.setattr(_service.time, "monotonic", lambda: sum(slept))
    host = Units({"agent.service": DOWN, "runs.service": UP}, {"agent": states})
    service = service_manager("systemd", "docker", host.run)
    assert service.start_again(["agent.service", "runs.service"], 2) == left
    assert host.started == ["agent.service"]
    assert service.start_again([], 0) == []
