# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import time

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils import _daemon, _state
from ansible_collections.buildfleet.buildcache.plugins.module_utils._config_file import ConfigFile, read_config
from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import BadOption, EngineError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._history import History
from ansible_collections.buildfleet.buildcache.plugins.module_utils._in_effect import LastLook, digest, gc_status
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy import Policy, PolicyRule

ON = Policy(rules=(PolicyRule(max_used_space=2**30),))


@pytest.fixture(autouse=True)
def host(tmp_path, monkeypatch):
    """A host of which nothing is known, and on which no command is run."""
    monkeypatch.setattr(_state, "directory", lambda: str(tmp_path / "state"))
    monkeypatch.setattr(_daemon, "PID_FILE", str(tmp_path / "pid"))
    monkeypatch.setattr(_daemon, "reported_rules", lambda docker_host: [docker_host])
    return tmp_path


def config_at(path, text="{}"):
    path.write_text(text)
    return read_config(str(path))


@pytest.mark.parametrize(
    ("text", "config", "in_file"),
    [
        ('{"builder": {"gc": {"enabled": true}}}', {"builder": {"gc": {"enabled": True}}}, Policy()),
        ("", {}, Policy(enabled=False)),
        (None, {}, Policy(enabled=False)),
        ('{"builder": {"gc": {"enabled": "yes"}}}', {"builder": {"gc": {"enabled": "yes"}}}, None),
        ('{"pidfile": 1}', {"pidfile": 1}, Policy(enabled=False)),
        ('{"pidfile": ["x"]}', {"pidfile": ["x"]}, Policy(enabled=False)),
    ],
)
def test_the_daemon_is_seen_through_its_configuration(host, text, config, in_file):
    path = host / "daemon.json"
    config_at(path, text or "")
    if text is None:
        path.unlink()
    daemon = _daemon.local_daemon("26.1.5", None, str(path))
    assert (daemon.config, daemon.problem, daemon.started_at) == (config, None, None)
    # Without a file it is the directory that has changed.
    assert daemon.changed_at == (os.stat(str(host)).st_mtime if text is None else os.stat(str(path)).st_ctime)
    assert gc_status(daemon, "26.1.5").in_file == in_file


@pytest.mark.parametrize("text", ["{", "[]", '{"builder": "gc"}', '{"token": "hush",}'])
def test_a_configuration_that_cannot_be_used_is_a_problem_and_no_policy(host, text):
    path = host / "daemon.json"
    path.write_text(text)
    daemon = _daemon.local_daemon("28.5.2", None, str(path))
    assert daemon.config is None
    assert daemon.problem.startswith(f"{path}: line 1, ") and "hush" not in daemon.problem
    assert gc_status(daemon, "28.5.2").in_file is None


def test_the_start_of_the_daemon_is_found_by_the_pid_file_that_it_was_told(host):
    (host / "other.pid").write_text(str(os.getpid()))
    config = config_at(host / "daemon.json", json.dumps({"pidfile": str(host / "other.pid")}))
    assert 0 < time.time() - _daemon.observe_daemon(config).started_at < 7200
    assert _daemon.observe_daemon(config_at(host / "plain.json")).started_at is None


@pytest.mark.parametrize(
    ("flags", "owner", "reads"),
    [
        (["-H", "fd://"], 0, None),
        (["-H", "fd://"], 1000, "daemon.json"),
        (["--config-file", "{0}/daemon.json"], 0, "daemon.json"),
        (["--config-file", "{0}/other.json"], 1000, "other.json"),
        (["--config-file={0}/other.json", "--debug"], 0, "other.json"),
        (["--config-file", "other.json"], 0, "daemon.json"),
    ],
)
def test_a_file_that_dockerd_does_not_read_is_not_taken_for_its_configuration(host, monkeypatch, flags, owner, reads):
    command = ["dockerd", *(flag.format(host) for flag in flags)]
    monkeypatch.setattr(_daemon, "command_of", lambda pid: command if pid == 17 else [])
    monkeypatch.setattr(_daemon, "owner_of", lambda pid: owner)
    (host / "docker.pid").write_text("17")
    config, engine = config_at(host / "daemon.json"), ("26.1.5", f"unix://{host}/docker.sock")
    if reads == "daemon.json":
        assert _daemon.observe_daemon(config, *engine).config == {}
    else:
        other = host / reads if reads else "/etc/docker/daemon.json"
        with pytest.raises(BadOption, match=f"config_file: dockerd does not read {config.path}, but {other};"):
            _daemon.observe_daemon(config, *engine)
    assert _daemon.local_daemon(*engine, config.path).config == ({} if reads == "daemon.json" else None)
    # One that is not asked may be that of another system.
    assert _daemon.observe_daemon(config).config == {}


def test_the_state_of_a_user_is_in_the_home_directory(host, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(_state.os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(host))
    for base in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", base)
        assert _state.directory() == str(host / ".local" / "state" / "buildcache")
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    assert _state.directory() == "/x/buildcache"
    monkeypatch.setattr(_state.os, "geteuid", lambda: 0)
    assert _state.directory() == "/var/lib/buildcache"


@pytest.mark.parametrize(
    "text", ["[]", '{"PATH": "an older format"}', '{"PATH": {"started": {"text": 1}, "before": 7}}']
)
def test_a_history_that_cannot_be_read_is_none(host, text):
    config = config_at(host / "daemon.json")
    (host / "state").mkdir()
    (host / "state" / "in_force.json").write_text(text.replace("PATH", config.path))
    assert _state.history(config.path) == History()


@pytest.mark.parametrize(
    ("version", "docker_host", "reported"),
    [("28.0.0", "unix:///s", ["unix:///s"]), ("27.5.1", "unix:///s", None), ("28.0.0", None, None), (None, None, None)],
)
def test_only_engines_that_tell_are_asked_for_their_policy(host, version, docker_host, reported):
    assert _daemon.observe_daemon(config_at(host / "daemon.json"), version, docker_host).reported == reported


def test_what_a_run_saw_the_next_one_knows(host):
    config = config_at(host / "daemon.json")
    other = ConfigFile("/other.json", "{}", {}, 18.0)
    for one, policy in ((config, ON), (other, Policy())):
        _daemon.remember(one, policy, _daemon.observe_daemon(one))
    last = _daemon.observe_daemon(config).last
    assert (last.digest, last.since) == (digest(ON), config.changed_at)
    assert 0 <= time.time() - last.seen < 60
    assert _daemon.observe_daemon(other).last.digest == digest(Policy())
    assert os.listdir(str(host / "state")) == ["last_looks.json"]


def test_what_is_known_already_is_not_written_again(host):
    (host / "run.pid").write_text(str(os.getpid()))
    config = config_at(host / "daemon.json", json.dumps({"pidfile": str(host / "run.pid")}))
    _daemon.remember(config, ON, _daemon.observe_daemon(config))
    state = host / "state" / "last_looks.json"
    before = state.read_text()
    # A touch is no change of the policy.
    touched = config_at(host / "daemon.json", config.text)
    _daemon.remember(touched, ON, _daemon.observe_daemon(touched))
    assert state.read_text() == before
    _daemon.remember(touched, Policy(), _daemon.observe_daemon(touched))
    last = _daemon.observe_daemon(touched).last
    assert last.digest == digest(Policy()) and last.since == touched.changed_at


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"PATH": 1}', '{"PATH": {"digest": "a"}}', '{"PATH": {"digest": "a", "since": "?", "seen": 1}}'],
)
def test_a_memory_that_cannot_be_read_is_none(host, text):
    config = config_at(host / "daemon.json")
    (host / "state").mkdir()
    (host / "state" / "last_looks.json").write_text(text.replace("PATH", config.path))
    assert _daemon.observe_daemon(config).last is None
    _daemon.remember(config, ON, _daemon.observe_daemon(config))
    assert isinstance(_daemon.observe_daemon(config).last, LastLook)


def test_a_run_that_cannot_remember_goes_on(host):
    (host / "state").write_text("a file where a directory belongs")
    config = config_at(host / "daemon.json")
    _daemon.remember(config, ON, _daemon.observe_daemon(config))
    assert _daemon.observe_daemon(config).last is None


class Engine:
    """An engine as EngineClient has it."""

    is_local = True
    version = {"Version": "28.5.2+dfsg4"}

    def __init__(self, options):
        self.options = options

    def info(self):
        return {"DockerRootDir": self.options["root"]}


def test_figures_are_the_engines_own(host, monkeypatch):
    monkeypatch.setattr(_daemon, "EngineClient", Engine)
    options = {"engine_version": None, "docker_host": "unix:///s", "root": str(host)}
    status = os.statvfs(str(host))
    disk = status.f_blocks * status.f_frsize
    found = _daemon.engine_figures(options, config_at(host / "daemon.json"))
    assert found == _daemon.EngineFigures("28.5.2+dfsg4", disk, "unix:///s")
    monkeypatch.setattr(Engine, "is_local", False)
    assert _daemon.engine_figures(options, config_at(host / "daemon.json")).filesystem_bytes is None


def test_with_a_version_the_engine_is_not_asked(host, monkeypatch):
    monkeypatch.setattr(_daemon, "EngineClient", None)
    monkeypatch.setattr(_daemon, "DATA_ROOT", str(host / "none"))
    options = {"engine_version": "28.5", "docker_host": "unix:///s"}
    for text, has_disk in (("{}", False), ('{"data-root": 7}', False), (json.dumps({"data-root": str(host)}), True)):
        found = _daemon.engine_figures(options, config_at(host / "daemon.json", text))
        assert (found.version, found.docker_host, bool(found.filesystem_bytes)) == ("28.5", None, has_disk)
    with pytest.raises(BadOption, match="engine_version: 'newest' is no version"):
        _daemon.engine_figures({"engine_version": "newest"}, config_at(host / "daemon.json"))


def test_where_no_engine_answers_the_way_without_it_is_named(host, monkeypatch):
    def no_engine(options):
        raise EngineError("Nobody answers.")

    monkeypatch.setattr(_daemon, "EngineClient", no_engine)
    with pytest.raises(EngineError, match=r"Nobody answers\. .* set engine_version"):
        _daemon.engine_figures({"engine_version": None}, config_at(host / "daemon.json"))
