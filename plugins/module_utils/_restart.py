# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restarting dockerd so that it obeys its configuration file, or going back to the file that it obeyed."""

from __future__ import annotations

import os
import signal
import time
from dataclasses import dataclass

from ansible_collections.buildfleet.buildcache.plugins.module_utils._config_file import (
    put_back,
    read_config,
    write_config,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._daemon import (
    in_force,
    keep_in_force,
    observe_daemon,
    pid_file,
    remember,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import EngineClient
from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import BuildcacheError, EngineError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._host import process_start
from ansible_collections.buildfleet.buildcache.plugins.module_utils._in_effect import gc_status
from ansible_collections.buildfleet.buildcache.plugins.module_utils._json_text import with_value
from ansible_collections.buildfleet.buildcache.plugins.module_utils._service import patiently
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import version_tuple

LIVE_RESTORE = ("live-restore",)

_FIRST_WITH_VALIDATE = (23, 0)
"""The first dockerd with --validate (moby, cmd/dockerd/options.go)."""

_ANSWER = 5
"""Seconds for a dockerd that is starting to answer one request."""

_POLL = 0.5
_DRAIN_POLL = 2
_RELOAD_LIMIT = 15


class NotHealthy(BuildcacheError):
    """dockerd did not come back, or not as it should."""


@dataclass(frozen=True)
class Host:
    """What a restart is done with: the connection options, the service's manager, the path of the configuration file,
    how long to wait (seconds) for health, ``replace`` as for write_config, and ``run`` as for service_manager."""

    connection: dict
    service: object
    config_file: str
    health_timeout: float
    replace: object
    run: object


@dataclass(frozen=True)
class Running:
    """dockerd before the restart: its client, its configuration file and the Status of its GC policy."""

    client: EngineClient
    config: object
    status: object

    @property
    def version(self):
        """Version of the engine."""
        return self.client.version["Version"]


def running(host):
    """Return the Running of a host. Raises EngineError, and BadConfig for a file that dockerd would refuse."""
    client = EngineClient(host.connection)
    config = read_config(host.config_file)
    daemon = observe_daemon(config, client.version["Version"], host.connection["docker_host"])
    return Running(client, config, gc_status(daemon, client.version["Version"]))


def running_containers(client):
    """Return the names of the containers that a restart without live restore stops."""
    return sorted(
        name.lstrip("/")
        for container in client.containers()
        if container["State"] in ("running", "paused", "restarting")
        for name in container["Names"][:1]
    )


def switch_on_live_restore(host, before):
    """Write live-restore into the configuration file, and have dockerd read it by a reload. Returns the Running.

    The file that a failed restart goes back to gets it as well: without it, that restart would stop the containers.
    Raises NotHealthy, with the file as it was, where dockerd does not take it.
    """
    text = with_value(before.config.text, LIVE_RESTORE, True)
    config = write_config(before.config, text, host.replace)
    os.kill(_pid(config, host), signal.SIGHUP)
    end = time.monotonic() + _RELOAD_LIMIT
    while not before.client.info().get("LiveRestoreEnabled"):
        if time.monotonic() > end:
            put_back(config.path, before.config.text, host.replace)
            raise NotHealthy("dockerd was told to reload, but did not switch live restore on.")
        time.sleep(_POLL)
    try:
        keep_in_force(config.path, with_value(in_force(config.path), LIVE_RESTORE, True))
    except LookupError:
        keep_in_force(config.path, text)
    return Running(before.client, config, before.status)


def validate(host, before):
    """Have the file checked, by ourselves and by the dockerd of this host with the flags of the one that runs.

    Raises NotHealthy.
    """
    if before.status.in_file is None:
        said = " ".join(map(str, before.status.traps))
        raise NotHealthy(f"dockerd would not start with the GC policy in {before.config.path}. {said}")
    if version_tuple(before.version) < _FIRST_WITH_VALIDATE:
        return
    with open(f"/proc/{_pid(before.config, host)}/cmdline", encoding="utf-8", errors="surrogateescape") as file:
        program, *flags = file.read().rstrip("\0").split("\0")
    status, printed = patiently(host.run, [program, "--validate", *flags])
    if status:
        raise NotHealthy(f"dockerd --validate refuses the file: {' '.join(printed.strip().splitlines()[-1:])}")


def drain(client, timeout):
    """Wait until no build uses a record, at most ``timeout`` seconds. Raises BuildcacheError where one still does."""
    end = time.monotonic() + timeout
    while True:
        busy = [entry for entry in client.disk_usage()["BuildCache"] if entry.get("InUse")]
        if not busy:
            return
        if time.monotonic() > end:
            raise BuildcacheError(
                f"A build still runs after {timeout:.0f} s (drain_timeout): it uses {len(busy)} build-cache records. "
                "dockerd was not restarted; the new policy takes effect with the next restart. Run this again when the "
                "builds have ended, or with a longer drain_timeout."
            )
        time.sleep(_DRAIN_POLL)


def restart(host, config):
    """Restart dockerd and return the Running that then answers and obeys the file. Raises NotHealthy."""
    pid_path = pid_file(config.data, host.connection["docker_host"])
    before = process_start(pid_path)
    host.service.restart()
    end = time.monotonic() + host.health_timeout
    while time.monotonic() < end:
        time.sleep(_POLL)
        if host.service.has_failed():
            raise NotHealthy("dockerd did not start.")
        # Not before there is a new process: asking the socket would have systemd start one.
        if process_start(pid_path) in (None, before):
            continue
        try:
            EngineClient({**host.connection, "timeout": _ANSWER})
            after = running(host)
        except EngineError:
            continue
        if after.status.in_effect.restart_required:
            raise NotHealthy("dockerd came back, but does not obey the GC policy in its file.")
        # So that a later change of another key is not taken for a change of the policy.
        now = observe_daemon(after.config, after.version, host.connection["docker_host"])
        remember(after.config, after.status.in_file, now)
        return after
    said = "did not start" if process_start(pid_path) in (None, before) else "did not answer"
    raise NotHealthy(f"dockerd {said} within {host.health_timeout:.0f} s (health_timeout).")


def go_back(host, restarted):
    """Put back the file that dockerd last obeyed and, where it was ``restarted``, start it with that.

    Returns whether there was such a file. Raises NotHealthy where dockerd does not come back with it either.
    """
    path = os.path.realpath(host.config_file)
    try:
        text = in_force(path)
    except LookupError:
        return False
    put_back(path, text, host.replace)
    if restarted:
        host.service.end()
        restart(host, read_config(path))
    return True


def _pid(config, host):
    path = pid_file(config.data, host.connection["docker_host"])
    try:
        with open(path, encoding="ascii") as file:
            return int(file.read())
    except (OSError, ValueError) as problem:
        raise NotHealthy(f"The PID of dockerd is not in {path}.") from problem
