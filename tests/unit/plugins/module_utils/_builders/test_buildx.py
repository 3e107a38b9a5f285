# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How the docker command is run, and what is made of its failures."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import (
    BuilderError,
    DeadlineReached,
    NoBuildx,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders import buildx as _builders
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders import command as _command
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders.nodes import Node

CONNECTION = {
    "docker_host": "unix:///var/run/docker.sock",
    "timeout": 60,
    "tls": False,
    "validate_certs": False,
    "ca_path": None,
    "client_cert": None,
    "client_key": None,
}
TLS = {**CONNECTION, "docker_host": "tcp://far:2376", "tls": True, "ca_path": "/ca.pem"}


class Failed(Exception):
    def __init__(self, return_code, stderr=""):
        super().__init__(stderr)
        self.return_code, self.stderr = return_code, stderr


class FakeWhales:
    """python-on-whales as far as it is used: a client that knows its settings, and what runs its commands."""

    def __init__(self):
        self.commands = []
        self.answers = {}

    def client(self, client_call=None, **settings):
        words = [word for name, value in settings.items() for word in (f"--{name}", str(value))]
        return type("Client", (), {"docker_cmd": ["docker", *words]})

    def run(self, command, env):
        self.commands.append((command, env))
        answer = next((said for words, said in self.answers.items() if words in " ".join(command)), "")
        if isinstance(answer, Exception):
            raise answer
        return answer


@pytest.fixture
def whales(monkeypatch):
    fake = FakeWhales()
    monkeypatch.setattr(_command, "_python_on_whales", lambda: (fake.client, fake.run, Failed))
    return fake


def test_a_listing_is_one_command(whales):
    assert _builders.Buildx(CONNECTION).nodes() == ()
    ((command, environment),) = whales.commands
    assert command == [
        *("timeout", "61", "docker", "--host", "unix:///var/run/docker.sock", "buildx", "ls", "--format", "json")
    ]
    assert environment == {}


def test_a_buildx_that_is_too_old_is_asked_for_its_version(whales):
    whales.answers = {"buildx ls": Failed(1, "unknown flag: --format"), "version": "github.com/docker/buildx v0.12.1 x"}
    with pytest.raises(BuilderError, match="buildx 0.12.1 on this host cannot list.*0.13 is the first"):
        _builders.Buildx(CONNECTION).nodes()


def test_a_listing_that_fails_for_another_reason_is_told_as_it_is(whales):
    whales.answers = {"buildx ls": Failed(1, "ERROR: no such thing"), "version": "github.com/docker/buildx v0.29.1 x"}
    with pytest.raises(BuilderError, match="buildx ls --format.*ERROR: no such thing"):
        _builders.Buildx(CONNECTION).nodes()


@pytest.mark.parametrize("listing", ["unknown flag: --format", "docker: 'buildx' is not a docker command."])
def test_a_docker_command_without_buildx_is_known(whales, listing):
    missing = "docker: 'buildx' is not a docker command.\nSee 'docker --help'"
    whales.answers = {"buildx ls": Failed(125, listing), "version": Failed(1, missing)}
    with pytest.raises(NoBuildx, match="no buildx.*is not a docker command"):
        _builders.Buildx(CONNECTION).nodes()
    options = {**CONNECTION, "buildx_config": None}
    assert _builders.nodes_for({**options, "builders": ["all"]}) == (None, ())
    with pytest.raises(BuilderError, match="builders: ci: This host has no buildx"):
        _builders.nodes_for({**options, "builders": ["ci"]})


def test_the_engines_own_builder_alone_runs_nothing(whales):
    assert _builders.nodes_for({**CONNECTION, "builders": ["default"], "buildx_config": None}) == (None, ())
    assert whales.commands == []


@pytest.mark.parametrize(
    ("connection", "endpoint", "words"),
    [
        (CONNECTION, None, "--host unix:///var/run/docker.sock"),
        (CONNECTION, "default", "--host unix:///var/run/docker.sock"),
        (CONNECTION, "unix:///run/docker.sock", "--host unix:///var/run/docker.sock"),
        (CONNECTION, "unix:///run/user/7/docker.sock", "--host unix:///run/user/7/docker.sock"),
        (CONNECTION, "far", "--context far"),
        (TLS, None, "--host tcp://far:2376 --tls True --tlsverify False --tlscacert /ca.pem"),
        (TLS, "unix:///run/docker.sock", "--host unix:///run/docker.sock"),
    ],
)
def test_each_endpoint_is_reached_at_its_own_address(whales, connection, endpoint, words):
    buildx = _builders.Buildx(connection)
    buildx.run("ps", endpoint=endpoint)
    assert words in " ".join(whales.commands[0][0])
    node = Node("ci", "docker-container", "ci0", endpoint or "default", "running")
    assert buildx.is_here(node) == (words.split()[:2] == ["--host", connection["docker_host"]])


def test_time_that_runs_out_is_the_runs_deadline_or_the_options_time_out(whales):
    whales.answers = {"prune": Failed(124)}
    with pytest.raises(DeadlineReached) as caught:
        _builders.Buildx(CONNECTION).run("prune", patience=5)
    assert caught.value.cut_off and whales.commands[-1][0][:2] == ["timeout", "6"]
    with pytest.raises(BuilderError, match="prune.*did not end within 60 s"):
        _builders.Buildx(CONNECTION).run("prune")


def test_another_users_configuration_is_used_as_that_user(whales, tmp_path, monkeypatch):
    config = tmp_path / ".docker" / "buildx"
    config.mkdir(parents=True)
    owner = config.stat()
    monkeypatch.setattr(_command.os, "geteuid", lambda: 0)
    monkeypatch.setattr(_command.os, "stat", lambda _path: type("S", (), {"st_uid": 7, "st_gid": owner.st_gid}))
    _builders.Buildx(CONNECTION, str(config)).run("ps")
    command, environment = whales.commands[0]
    assert command[:4] == ["setpriv", "--reuid=7", f"--regid={owner.st_gid}", "--init-groups"]
    assert environment == {"BUILDX_CONFIG": str(config), "DOCKER_CONFIG": str(config.parent)}


def test_a_configuration_that_is_not_there_is_named(whales):
    with pytest.raises(BuilderError, match="buildx_config: /nowhere: No such file"):
        _builders.Buildx(CONNECTION, "/nowhere")


def test_a_builder_that_goes_meanwhile_is_said_to_be_gone(whales):
    with pytest.raises(BuilderError, match="Builder ci is gone"):
        _builders.Buildx(CONNECTION).now(Node("ci", "docker-container", "ci0", "default", "running"))
