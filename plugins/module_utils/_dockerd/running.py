# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""dockerd as it runs on this host, and what a restart of it is done with."""

from __future__ import annotations

from contextlib import suppress
from typing import NamedTuple

from .._base.errors import BuildcacheError
from .._engine.client import EngineClient
from .._engine.config_file import read_config
from .._engine.home import listening_dockerd
from .._engine.host import pid_in, start_of
from .._policy.in_effect import gc_status
from .daemon import observe_daemon, pid_file

ANSWER = 5
"""Seconds for a dockerd that is starting to answer one request."""


class NotBegun(BuildcacheError):
    """A restart could not be begun: the dockerd that ran runs on."""


class NotHealthy(BuildcacheError):
    """dockerd did not come back, or not as it should."""


class Host(NamedTuple):
    """What a restart is done with: the connection options, the service's manager, the path of the configuration file,
    how long a start may take (seconds, None for as long as its manager lets it go on), ``replace`` as for
    write_config, ``run`` as for service_manager, ``reported_by`` as for observe_daemon, ``rehearse`` as
    Rehearsal.refusal, and ``elsewhere`` as for EngineClient."""

    connection: dict
    service: object
    config_file: str
    health_timeout: float | None
    replace: object
    run: object
    reported_by: object
    rehearse: object
    elsewhere: object = None


class Running(NamedTuple):
    """dockerd as it runs: its client, its PID (None where unknown), its configuration file, the Daemon that was
    observed, and the Status of its GC policy."""

    client: EngineClient
    pid: int | None
    config: object
    daemon: object
    status: object

    @property
    def version(self):
        """Version of the engine."""
        return self.client.version["Version"]


def running(host):
    """Return the Running of a host. Raises EngineError, BadConfig for a file that dockerd would refuse, and BadOption
    for one that it does not read."""
    client = EngineClient(host.connection, host.elsewhere)
    config = read_config(host.config_file)
    pid = pid_of(config, host)
    daemon = observe_daemon(config, host.reported_by, client.version["Version"], host.connection["docker_host"], pid)
    return Running(client, pid, config, daemon, gc_status(daemon, client.version["Version"]))


def serves(host):
    """Whether dockerd answers."""
    with suppress(BuildcacheError):
        # The socket of one that does not run would have systemd try to start it, which takes long.
        if start_of(pid_of(read_config(host.config_file), host)) is not None:
            EngineClient({**host.connection, "timeout": ANSWER}, host.elsewhere)
            return True
    return False


def pid_of(config, host):
    """Return the PID of dockerd: by its socket, its PID file, or the service's manager; None where none knows it."""
    docker_host = host.connection["docker_host"]
    pid = listening_dockerd(docker_host) or pid_in(pid_file(config.data, docker_host))
    return pid if start_of(pid) is not None else host.service.main_pid()
