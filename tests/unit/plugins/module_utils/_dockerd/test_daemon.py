# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import io
import json
import os
import pwd
import time

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption, EngineError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import daemon as _daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import own as _own
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd import state as _state
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import state as _kept
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.config_file import ConfigFile, read_config
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.home import Home
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.history import History
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import LastLook, digest, gc_status
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.policy import Policy, PolicyRule

ON = Policy(rules=(PolicyRule(max_used_space=2**30),))


def reported_by(docker_host):
    """An engine that reports its own address in the place of rules."""
    return [docker_host]


@pytest.fixture(autouse=True)
def host(tmp_path, monkeypatch):
    """A host of which nothing is known, and on which no command is run."""
    monkeypatch.setattr(_kept, "directory", lambda: str(tmp_path / "state"))
    monkeypatch.setattr(_daemon, "PID_FILE", str(tmp_path / "pid"))
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
    daemon = _daemon.local_daemon(reported_by, "26.1.5", None, str(path), None)
    assert (daemon.config, daemon.problem, daemon.started_at) == (config, None, None)
    # Without a file it is the directory that has changed.
    assert daemon.changed_at == (os.stat(str(host)).st_mtime if text is None else os.stat(str(path)).st_ctime)
    assert gc_status(daemon, "26.1.5").in_file == in_file


@pytest.mark.parametrize("text", ["{", "[]", '{"builder": "gc"}', '{"token": "hush",}'])
def test_a_configuration_that_cannot_be_used_is_a_problem_and_no_policy(host, text):
    path = host / "daemon.json"
    path.write_text(text)
    daemon = _daemon.local_daemon(reported_by, "28.5.2", None, str(path), None)
    assert daemon.config is None
    assert daemon.problem.startswith(f"{path}: line 1, ") and "hush" not in daemon.problem
    assert gc_status(daemon, "28.5.2").in_file is None


def test_the_start_of_the_daemon_is_found_by_the_pid_file_that_it_was_told(host):
    (host / "other.pid").write_text(str(os.getpid()))
    config = config_at(host / "daemon.json", json.dumps({"pidfile": str(host / "other.pid")}))
    assert 0 < time.time() - _daemon.observe_daemon(config, reported_by).started_at < 7200
    assert _daemon.observe_daemon(config_at(host / "plain.json"), reported_by).started_at is None


@pytest.mark.parametrize(
    ("flags", "owner", "reads"),
    [
        (["-H", "fd://"], 0, "/etc/docker/daemon.json"),
        (["-H", "fd://"], 65534, "{home}/.config/docker/daemon.json"),
        (["--config-file", "{0}/daemon.json"], 0, "{0}/daemon.json"),
        (["--config-file", "{0}/other.json"], 65534, "{0}/other.json"),
        (["--config-file={0}/other.json", "--debug"], 0, "{0}/other.json"),
        (["--config-file="], 0, None),
        (["--config-file", "other.json"], 0, None),
    ],
)
def test_the_file_that_dockerd_reads_is_the_one_that_counts(host, monkeypatch, flags, owner, reads):
    command = ["dockerd", *(flag.format(host) for flag in flags)]
    monkeypatch.setattr(_own, "command_of", lambda pid: command if pid == 17 else [])
    monkeypatch.setattr(_own, "owner_of", lambda pid: owner)
    reads = reads and reads.format(host, home=pwd.getpwuid(65534).pw_dir)
    assert _own.config_path(None, 17) == (reads or "/etc/docker/daemon.json")
    assert _own.config_path(None, None) == "/etc/docker/daemon.json"
    assert _own.config_path("/asked.json", 17) == "/asked.json"
    config, engine = config_at(host / "daemon.json"), ("26.1.5", f"unix://{host}/docker.sock")
    if reads in (None, config.path):
        assert _daemon.observe_daemon(config, reported_by, *engine, 17).config == {}
        assert _daemon.local_daemon(reported_by, *engine, config.path, 17).config == {}
    else:
        with pytest.raises(BadOption, match=f"config_file: dockerd does not read {config.path}, but {reads};"):
            _daemon.observe_daemon(config, reported_by, *engine, 17)
        assert _daemon.local_daemon(reported_by, *engine, config.path, 17).config is None
    # One that is not asked may be that of another system.
    assert _daemon.observe_daemon(config, reported_by, pid=17).config == {}


@pytest.mark.parametrize(
    ("groups", "refused"),
    [
        (["0::/system.slice/docker.service", "0::/system.slice/docker.service"], False),
        (["0::/system.slice/second.service", "0::/system.slice/docker.service"], True),
        (["0::/user.slice/u/app.slice/docker.service/evac", "0::/user.slice/u/app.slice/docker.service"], False),
        (["4:cpu:/x.service\n1:name=systemd:/system.slice/a.service", "1:name=systemd:/system.slice/b.service"], True),
        (["0::/init.scope", "0::/system.slice/docker.service"], False),
        (["0::/system.slice/docker.service", None], False),
    ],
)
def test_the_service_is_that_of_the_dockerd(monkeypatch, groups, refused):
    texts = {f"/proc/{pid}/cgroup": text for pid, text in zip((17, 18), groups) if text is not None}

    def opened(path, **_how):
        if path in texts:
            return io.StringIO(texts[path] + "\n")
        raise FileNotFoundError(path)

    monkeypatch.setattr(_own, "open", opened, raising=False)
    if refused:
        with pytest.raises(
            BadOption, match=r"service: the dockerd at docker_host \(PID 17\) is run by .*, not by docker"
        ):
            _own.require_service(17, 18, "docker")
    else:
        _own.require_service(17, 18, "docker")


def test_the_state_of_a_user_is_in_the_home_directory(host, monkeypatch):
    monkeypatch.undo()
    monkeypatch.setattr(_kept.os, "geteuid", lambda: 1000)
    monkeypatch.setenv("HOME", str(host))
    for base in ("", "relative"):
        monkeypatch.setenv("XDG_STATE_HOME", base)
        assert _kept.directory() == str(host / ".local" / "state" / "buildcache")
    monkeypatch.setenv("XDG_STATE_HOME", "/x")
    assert _kept.directory() == "/x/buildcache"
    monkeypatch.setattr(_kept.os, "geteuid", lambda: 0)
    assert _kept.directory() == "/var/lib/buildcache"


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
    config = config_at(host / "daemon.json")
    assert _daemon.observe_daemon(config, reported_by, version, docker_host).reported == reported


def test_what_a_run_saw_the_next_one_knows(host):
    config = config_at(host / "daemon.json")
    other = ConfigFile("/other.json", "{}", {}, 18.0)
    for one, policy in ((config, ON), (other, Policy())):
        _daemon.remember(one, policy, _daemon.observe_daemon(one, reported_by))
    last = _daemon.observe_daemon(config, reported_by).last
    assert (last.digest, last.since) == (digest(ON), config.changed_at)
    assert 0 <= time.time() - last.seen < 60
    assert _daemon.observe_daemon(other, reported_by).last.digest == digest(Policy())
    assert os.listdir(str(host / "state")) == ["last_looks.json"]


def test_what_is_known_already_is_not_written_again(host):
    (host / "run.pid").write_text(str(os.getpid()))
    config = config_at(host / "daemon.json", json.dumps({"pidfile": str(host / "run.pid")}))
    _daemon.remember(config, ON, _daemon.observe_daemon(config, reported_by))
    state = host / "state" / "last_looks.json"
    before = state.read_text()
    # A touch is no change of the policy.
    touched = config_at(host / "daemon.json", config.text)
    _daemon.remember(touched, ON, _daemon.observe_daemon(touched, reported_by))
    assert state.read_text() == before
    _daemon.remember(touched, Policy(), _daemon.observe_daemon(touched, reported_by))
    last = _daemon.observe_daemon(touched, reported_by).last
    assert last.digest == digest(Policy()) and last.since == touched.changed_at


@pytest.mark.parametrize(
    "text",
    ["", "[]", "{", '{"PATH": 1}', '{"PATH": {"digest": "a"}}', '{"PATH": {"digest": "a", "since": "?", "seen": 1}}'],
)
def test_a_memory_that_cannot_be_read_is_none(host, text):
    config = config_at(host / "daemon.json")
    (host / "state").mkdir()
    (host / "state" / "last_looks.json").write_text(text.replace("PATH", config.path))
    assert _daemon.observe_daemon(config, reported_by).last is None
    _daemon.remember(config, ON, _daemon.observe_daemon(config, reported_by))
    assert isinstance(_daemon.observe_daemon(config, reported_by).last, LastLook)


def test_a_run_that_cannot_remember_goes_on(host):
    (host / "state").write_text("a file where a directory belongs")
    config = config_at(host / "daemon.json")
    _daemon.remember(config, ON, _daemon.observe_daemon(config, reported_by))
    assert _daemon.observe_daemon(config, reported_by).last is None


class Engine:
    """An engine as EngineClient has it."""

    version = {"Version": "28.5.2+dfsg4"}

    def __init__(self, options, elsewhere):
        self.docker_host, self.root = options["docker_host"], options["root"]

    def info(self):
        return {"DockerRootDir": self.root}


def test_figures_are_the_engines_own(host, monkeypatch):
    monkeypatch.setattr(_daemon, "EngineClient", Engine)
    monkeypatch.setattr(_own, "home_of", lambda docker_host, info: Home(17, True))
    options = {"engine_version": None, "docker_host": "unix:///s", "root": str(host)}
    status = os.statvfs(str(host))
    found = _daemon.engine_figures(options, None)
    assert found == _daemon.EngineFigures("28.5.2+dfsg4", 17, "unix:///s", str(host))
    assert found.filesystem_bytes(config_at(host / "daemon.json")) == status.f_blocks * status.f_frsize


@pytest.mark.parametrize(
    ("home", "said"),
    [
        (Home(), "docker_host: The engine at unix:///s is on another host. Nothing was done, since the file"),
        (Home(None, False, "ssh listens."), "docker_host: ssh listens. Nothing was done, since the file"),
        (Home(17, False, "Another root."), "docker_host: Another root. Nothing was done"),
    ],
)
def test_an_engine_that_is_not_this_hosts_is_refused(host, monkeypatch, home, said):
    monkeypatch.setattr(_daemon, "EngineClient", Engine)
    monkeypatch.setattr(_own, "home_of", lambda docker_host, info: home)
    with pytest.raises(BadOption) as refused:
        _daemon.engine_figures({"engine_version": None, "docker_host": "unix:///s", "root": str(host)}, None)
    assert str(refused.value).startswith(said)


def test_with_a_version_the_engine_is_not_asked(host, monkeypatch):
    monkeypatch.setattr(_daemon, "EngineClient", None)
    monkeypatch.setattr(_daemon, "DATA_ROOT", str(host / "none"))
    options = {"engine_version": "28.5", "docker_host": f"unix://{host}/none.sock"}
    for text, has_disk in (("{}", False), ('{"data-root": 7}', False), (json.dumps({"data-root": str(host)}), True)):
        found = _daemon.engine_figures(options, None)
        assert found == _daemon.EngineFigures("28.5", None)
        assert bool(found.filesystem_bytes(config_at(host / "daemon.json", text))) == has_disk
    with pytest.raises(BadOption, match="engine_version: 'newest' is no version"):
        _daemon.engine_figures({"engine_version": "newest"}, None)


def test_where_no_engine_answers_the_way_without_it_is_named(host, monkeypatch):
    def no_engine(options, elsewhere):
        raise EngineError("Nobody answers.")

    monkeypatch.setattr(_daemon, "EngineClient", no_engine)
    with pytest.raises(EngineError, match=r"Nobody answers\. .* set engine_version"):
        _daemon.engine_figures({"engine_version": None}, None)
