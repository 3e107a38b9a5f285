# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restarting dockerd so that it obeys its configuration file, or going back to the file that it obeyed."""

from __future__ import annotations

import errno
import os
import signal
import time
from contextlib import suppress
from dataclasses import dataclass, replace

from ansible_collections.buildfleet.buildcache.plugins.module_utils._config_file import (
    put_back,
    read_config,
    write_config,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._daemon import (
    known_history,
    observe_daemon,
    pid_file,
    remember,
    version_of,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import EngineClient
from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import (
    BuildcacheError,
    EngineError,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._history import (
    History,
    can_be_restarted,
    mapped,
    ways_back,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._host import command_of, pid_in, start_of
from ansible_collections.buildfleet.buildcache.plugins.module_utils._in_effect import gc_status
from ansible_collections.buildfleet.buildcache.plugins.module_utils._json_text import BadConfig, with_value
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy_reader import from_daemon_json
from ansible_collections.buildfleet.buildcache.plugins.module_utils._service import masked, patiently
from ansible_collections.buildfleet.buildcache.plugins.module_utils._state import (
    history,
    keep_history,
    keep_last_look,
)
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
    client = EngineClient(host.connection)
    config = read_config(host.config_file)
    pid = _pid(config, host)
    daemon = observe_daemon(config, client.version["Version"], host.connection["docker_host"], pid)
    return Running(client, pid, config, daemon, gc_status(daemon, client.version["Version"]))


def running_containers(client):
    """Return the names of the containers that a restart without live restore stops."""
    return sorted(
        name.lstrip("/")
        for container in client.containers()
        if container["State"] in ("running", "paused", "restarting")
        for name in container["Names"][:1]
    )


def refuse_other_policy(now, rendered):
    """Raise BuildcacheError where the file says a policy, but not the one that was ``rendered`` (``builder.gc`` as
    buildcache_gc_policy returns it; None for any)."""
    found = now.status.in_file
    if rendered is None or found is None:
        return
    wanted = from_daemon_json({"gc": rendered}, now.version)
    # The sizes of the default rules are the host's own.
    if wanted is None or replace(wanted, default_sizes=found.default_sizes).meaning != found.meaning:
        raise BuildcacheError(
            f"{now.config.path} has another GC policy by now than the one that was written: somebody else has changed "
            "it meanwhile. It was left so, and dockerd was not restarted. Run this again when the other has ended."
        )


def refuse_unseen(now):
    """Raise BuildcacheError where the end of a restart could not be seen."""
    if start_of(now.pid) is None:
        raise BuildcacheError(
            "The process of dockerd cannot be found, so that nobody could tell whether a restart went well; it was not "
            "begun. Set service to the name of dockerd's unit, or name the PID file by pidfile in its configuration."
        )


def refuse_without_way_back(now):
    """Raise BuildcacheError where nothing could be put back if dockerd did not start with its file."""
    if not can_be_restarted(known_history(now.config, now.status.in_file, now.daemon), now.config.text):
        raise BuildcacheError(
            f"{now.config.path} was changed by hand since dockerd started, and what it said before is not known: if "
            "dockerd did not start with it, nothing could be put back. dockerd was not restarted; do that by hand."
        )


def switch_on_live_restore(host, before):
    """Write live-restore into the configuration file, and have dockerd read it by a reload. Returns the Running.

    The files that a failed restart goes back to get it as well: without it, that restart would stop the containers.
    Raises NotHealthy, with the file as it was, where dockerd does not take it.
    """

    def with_live_restore(text):
        return with_value(text, LIVE_RESTORE, True)

    known = known_history(before.config, before.status.in_file, before.daemon)
    config = write_config(before.config, with_live_restore(before.config.text), host.replace)
    end = time.monotonic() + _RELOAD_LIMIT
    with suppress(OSError):
        os.kill(before.pid, signal.SIGHUP)
    while not before.client.info().get("LiveRestoreEnabled"):
        if time.monotonic() > end:
            put_back(config.path, before.config.text, host.replace)
            raise NotHealthy("dockerd was told to reload, but did not switch live restore on.")
        time.sleep(_POLL)
    keep_history(config.path, mapped(known, with_live_restore))
    return replace(before, config=config)


def validate(host, now):
    """Have the file checked, by ourselves and by the dockerd of this host with the flags of the one that runs; one
    without --validate has to run at least. Raises NotHealthy."""
    if now.status.in_file is None:
        said = " ".join(map(str, now.status.traps))
        raise NotHealthy(f"dockerd would not start with the GC policy in {now.config.path}. {said}")
    program, *flags = command_of(now.pid)
    if version_tuple(now.version) < _FIRST_WITH_VALIDATE:
        command, refused = [program, "--version"], "dockerd cannot be run"
    else:
        command, refused = [program, "--validate", *flags], "dockerd --validate refuses the file"
    try:
        status, printed = patiently(host.run, command)
    except BuildcacheError as problem:
        raise NotHealthy(f"dockerd cannot be run: {problem}") from problem
    if status:
        raise NotHealthy(f"{refused}: {masked(' '.join(printed.strip().splitlines()[-1:]))}")


def builds_running(client):
    """Return how many build-cache records running builds use."""
    return sum(bool(entry.get("InUse")) for entry in client.disk_usage()["BuildCache"])


def drain(client, end, timeout):
    """Wait until no build uses a record, at most until ``end`` (time.monotonic), ``timeout`` as the option gives it.

    Raises BuildcacheError where one still does.
    """
    while True:
        busy = builds_running(client)
        if not busy:
            return
        if time.monotonic() > end:
            raise BuildcacheError(
                f"A build still runs after {timeout} (drain_timeout): it uses {busy} build-cache records. "
                "dockerd was not restarted; the new policy takes effect with the next restart. Run this again when the "
                "builds have ended, or with a longer drain_timeout."
            )
        time.sleep(_DRAIN_POLL)


def restart(host, config):
    """Restart dockerd and return the Running that then answers and obeys the file. Raises NotHealthy."""
    old = _pid(config, host)
    started = start_of(old)
    host.service.restart()
    _wait_for_end(host, old, started)
    end = time.monotonic() + host.health_timeout
    new = None
    while time.monotonic() < end:
        time.sleep(_POLL)
        if host.service.has_failed():
            raise NotHealthy("dockerd did not start.")
        # Not before there is a new process: asking the socket would have systemd start one.
        new = start_of(_pid(config, host))
        if new in (None, started):
            continue
        try:
            EngineClient({**host.connection, "timeout": _ANSWER})
            after = running(host)
        except EngineError:
            continue
        if after.status.in_effect.restart_required:
            raise NotHealthy("dockerd came back, but does not obey the GC policy in its file.")
        return after
    said = "did not start" if new in (None, started) else "did not answer"
    raise NotHealthy(f"dockerd {said} within {host.health_timeout:.0f} s (health_timeout).")


def _wait_for_end(host, pid, started):
    """Wait until the old process is gone, as long as its manager does: stopping its containers may take long."""
    if started is None:
        return
    limit = host.service.stop_limit()
    end = time.monotonic() + limit + _ANSWER
    while start_of(pid) == started:
        if time.monotonic() > end:
            raise NotHealthy(f"dockerd did not stop within {limit:.0f} s.")
        time.sleep(_POLL / 5)


def note_success(after):
    """Keep what dockerd has started with, for the next time. Raises BuildcacheError where that cannot be kept."""
    # So that a later change of another key is not taken for a change of the policy.
    remember(after.config, after.status.in_file, after.daemon)
    keep_history(after.config.path, History(started=version_of(after.config, after.status.in_file, after.daemon)))


def go_back(host, restarted):
    """Put back the file that stood there before we wrote; where dockerd was ``restarted``, have it start with that, or
    with the last file that it is known to have started with.

    Returns whether there was such a file. Raises BuildcacheError where none can be put back, or none starts.
    """
    path = os.path.realpath(host.config_file)
    known = history(path)
    if restarted:
        # Started since by somebody else, dockerd does not have this one.
        known = replace(known, written=None)
        with suppress(BuildcacheError):
            keep_history(path, known)
    # What we have not written is no business of ours before it has come to a restart.
    elif not known.before:
        return False
    problem = None
    for version in ways_back(known, _text(path)):
        try:
            _write_back(path, version.text, host.replace)
            keep_last_look(path, version.look)
            if restarted:
                host.service.end()
                after = restart(host, read_config(path))
        except BuildcacheError as error:
            problem = error
        else:
            # What cannot be kept now is no reason to say that it is not put back.
            with suppress(BuildcacheError):
                if restarted:
                    note_success(after)
                else:
                    keep_history(path, replace(known, before=None, written=None))
            return True
        if not restarted:
            break
    if problem:
        raise problem
    return False


def serves(host):
    """Whether dockerd answers."""
    with suppress(BuildcacheError):
        # The socket of one that does not run would have systemd try to start it, which takes long.
        if start_of(_pid(read_config(host.config_file), host)) is not None:
            EngineClient({**host.connection, "timeout": _ANSWER})
            return True
    return False


def _write_back(path, text, change):
    try:
        # It may never have been good.
        with suppress(BadConfig):
            put_back(path, text, change)
    except BuildcacheError as problem:
        full = problem.__cause__
        while full is not None and getattr(full, "errno", None) not in (errno.ENOSPC, errno.EDQUOT):
            full = full.__cause__
        if full is None or text is None:
            raise
        # Where there is no room for a second file, there may be within the first; nobody reads it now.
        _overwrite(path, text, problem)


def _overwrite(path, text, problem):
    try:
        with open(path, "r+", encoding="utf-8", newline="") as file:
            file.write(text)
            file.truncate()
            file.flush()
            os.fsync(file.fileno())
    except OSError:
        raise problem from None


def _text(path):
    """Return the text of a file, None where there is none; whatever else is in its place is no text of ours."""
    try:
        with open(path, encoding="utf-8", errors="surrogateescape", newline="") as file:
            return file.read()
    except OSError:
        return None


def _pid(config, host):
    """Return the PID of dockerd: by its PID file, or by the service's manager; None where neither knows it."""
    pid = pid_in(pid_file(config.data, host.connection["docker_host"]))
    return pid if start_of(pid) is not None else host.service.main_pid()
