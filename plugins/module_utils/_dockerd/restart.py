# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Restarting dockerd so that it obeys its configuration file, when no build runs."""

from __future__ import annotations

import os
import signal
import time
from contextlib import suppress

from .._base.errors import BuildcacheError, EngineError
from .._base.json_edit import with_value
from .._engine.client import EngineClient
from .._engine.config_file import put_back, read_config, write_config
from .._engine.host import start_of
from .._policy.history import History, mapped
from .daemon import known_history, remember, version_of
from .running import ANSWER, NotBegun, NotHealthy, pid_of, running
from .state import keep_history

LIVE_RESTORE = ("live-restore",)

_POLL = 0.5
ANSWERS_WITHIN = 60
"""Seconds for a dockerd whose start is over to answer and to obey its file."""
_RELOAD_LIMIT = 15


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
    return before._replace(config=config)


def restart(host, config):
    """Restart dockerd and return the Running that then answers and obeys the file. Raises NotHealthy, and NotBegun
    where the manager did not take the restart and dockerd runs as before."""
    old = pid_of(config, host)
    started = start_of(old)
    limit = host.health_timeout or host.service.start_limit()
    try:
        host.service.restart()
    except (BuildcacheError, OSError) as problem:
        if started is None or start_of(old) != started or host.service.under_way():
            raise
        raise NotBegun(f"A restart could not be begun: {problem}") from problem
    _wait_for_end(host, old, started)
    return answered(host, config, limit, started)


def begun_again(host):
    """Start a dockerd that does not serve, or wait for the start that goes on; return the Running. Raises as restart(),
    and BadConfig for a file that dockerd would refuse."""
    config = read_config(host.config_file)
    if host.service.under_way() and not host.service.has_failed():
        return answered(host, config, host.health_timeout or host.service.start_limit())
    return restart(host, config)


def answered(host, config, limit, started=None):
    """Wait for a start of dockerd; return the Running that answers and obeys the file. Raises NotHealthy.

    ``limit`` is how many seconds it has, ``started`` when the process started that went before it.
    """
    end = time.monotonic() + limit
    new = None
    while time.monotonic() < end:
        time.sleep(_POLL)
        if host.service.has_failed():
            raise NotHealthy("dockerd did not start.")
        if not (host.health_timeout or host.service.under_way()):
            # Its start is over by its own word.
            limit = min(limit, ANSWERS_WITHIN)
            end = min(end, time.monotonic() + limit)
        # Not before there is a new process: asking the socket would have systemd start one.
        new = start_of(pid_of(config, host))
        if new in (None, started):
            continue
        try:
            EngineClient({**host.connection, "timeout": ANSWER}, host.elsewhere)
            after = running(host)
        except EngineError:
            continue
        if after.status.in_effect.restart_required:
            raise NotHealthy("dockerd came back, but does not obey the GC policy in its file.")
        return after
    said = "did not start" if new in (None, started) else "did not answer"
    by = "health_timeout" if host.health_timeout else "set health_timeout to give it longer"
    raise NotHealthy(f"dockerd {said} within {limit:.0f} s ({by}).")


def _wait_for_end(host, pid, started):
    """Wait until the old process is gone, as long as its manager does: stopping its containers may take long."""
    if started is None:
        return
    limit = host.service.stop_limit()
    end = time.monotonic() + limit + ANSWER
    while start_of(pid) == started:
        if time.monotonic() > end:
            raise NotHealthy(f"dockerd did not stop within {limit:.0f} s.")
        time.sleep(_POLL / 5)


def note_success(after):
    """Keep what dockerd has started with, for the next time. Raises BuildcacheError where that cannot be kept."""
    # So that a later change of another key is not taken for a change of the policy.
    remember(after.config, after.status.in_file, after.daemon)
    keep_history(after.config.path, History(started=version_of(after.config, after.status.in_file, after.daemon)))
