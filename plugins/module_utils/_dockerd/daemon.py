# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Observing dockerd as the host has it: its configuration file, its process, and the GC policy that it reports."""

from __future__ import annotations

import os
import re
import time
from typing import NamedTuple

from .._base.errors import (
    BadOption,
    BuildcacheError,
    EngineError,
)
from .._base.json_text import BadConfig
from .._base.units import version_tuple
from .._engine.address import socket_path
from .._engine.client import EngineClient
from .._engine.config_file import read_config
from .._engine.home import listening_dockerd
from .._engine.host import PID_FILE, filesystems, pid_in, start_of
from .._policy.history import (
    Version,
    about_to_write,
    observed,
)
from .._policy.in_effect import Daemon, LastLook, digest, look
from .own import config_path, own_home, read_by
from .state import (
    history,
    keep_history,
    keep_last_look,
    last_look,
)

DATA_ROOT = "/var/lib/docker"
"""Where dockerd keeps its data unless told otherwise (moby, cmd/dockerd/config_unix.go)."""

_FIRST_REPORTING = (28, 0)
"""The first engine that tells buildx which GC policy it obeys (28.5.2 does, 26.1.5 does not)."""


class EngineFigures(NamedTuple):
    """What a policy is rendered by: the engine's version, and the PID of its dockerd, None where none runs. Where the
    engine was asked, ``docker_host`` is where, and ``root`` its directory; else they are None."""

    version: str
    pid: int | None
    docker_host: str | None = None
    root: str | None = None

    def filesystem_bytes(self, config):
        """Return the size of the file system that the engine measures, None where it is not known."""
        disk = filesystems([self.root or _path(config.data, "data-root", DATA_ROOT)])
        return disk[0].total if disk else None


def engine_figures(options, elsewhere):
    """Return the EngineFigures by the module's options; ``elsewhere`` is as for EngineClient.

    Raises EngineError, and BadOption for an engine that cannot be shown to be one of this host: its file is not here.
    """
    version = options["engine_version"]
    if version:
        if not re.match(r"\d+\.\d+", version):
            raise BadOption(f"engine_version: {version!r} is no version. Write one such as 28.5.2.")
        return EngineFigures(version, listening_dockerd(options["docker_host"]))
    try:
        client = EngineClient(options, elsewhere)
        info = client.info()
    except EngineError as error:
        raise EngineError(f"{error} To write the policy while the engine does not run, set engine_version.") from error
    home = own_home(client.docker_host, lambda: info, "the file that would be written is")
    return EngineFigures(client.version["Version"], home.pid, client.docker_host, info.get("DockerRootDir"))


def observe_daemon(config, reported_by, engine_version=None, docker_host=None, pid=None):
    """Return the Daemon with this ConfigFile. Where ``docker_host`` is given, the engine there is asked as well.

    ``reported_by(docker_host)`` returns the GC rules that the engine there says it obeys, None where it does not tell.
    ``pid`` is that of dockerd where it is known; else it is looked for in its PID file. Raises BadOption where dockerd
    reads another file.
    """
    pid = pid or pid_in(pid_file(config.data, docker_host))
    if docker_host:
        _require_read(config.path, pid)
    asked = docker_host and version_tuple(engine_version) >= _FIRST_REPORTING
    return Daemon(
        config=config.data,
        changed_at=config.changed_at,
        started_at=start_of(pid),
        reported=reported_by(docker_host) if asked else None,
        last=last_look(config.path),
        now=time.time(),
        text=config.text,
    )


def pid_file(config, docker_host=None):
    """Return where dockerd keeps its PID, by its configuration or beside the socket at ``docker_host``."""
    socket = socket_path(docker_host)
    return _path(config, "pidfile", os.path.join(os.path.dirname(socket), "docker.pid") if socket else PID_FILE)


def _path(config, key, default):
    """Return a path in a configuration, whose types nobody has checked yet."""
    value = config.get(key)
    return value if value and isinstance(value, str) else default


def _require_read(path, pid):
    """Raise BadOption where the dockerd with this PID reads another configuration file than ``path``."""
    reads = read_by(pid)
    if reads and os.path.realpath(reads) != path:
        raise BadOption(
            f"config_file: dockerd does not read {path}, but {reads}; see its flag --config-file. Name that, or leave "
            "the option out."
        )


def local_daemon(reported_by, engine_version, docker_host, config_file, pid):
    """Return the Daemon of this host with this PID (see observe_daemon), which may have a configuration file that
    cannot be used. ``config_file`` is the path that was asked for, None for the one that dockerd reads."""
    try:
        config = read_config(config_path(config_file, pid))
    except BuildcacheError as problem:
        # One that may not be read here may well be good; one with bad content is not.
        bad = str(problem) if isinstance(problem, BadConfig) else None
        return Daemon(config=None, problem=bad, started_at=start_of(pid), now=time.time())
    try:
        return observe_daemon(config, reported_by, engine_version, docker_host, pid)
    except BadOption:
        # What dockerd reads is not in that file.
        return Daemon(config=None, started_at=start_of(pid), now=time.time())


def remember(config, policy, daemon):
    """Keep what this run saw of a ConfigFile, which says this Policy, for the next run."""
    seen = look(policy, config.changed_at, daemon.started_at, daemon.last, time.time())
    last = daemon.last
    if last and seen.digest == last.digest and seen.since == last.since and (daemon.started_at or 0) <= last.seen:
        return
    keep_last_look(config.path, seen)


def version_of(config, policy, daemon):
    """Return the Version of a ConfigFile, which says this Policy."""
    return Version(config.text, look(policy, config.changed_at, daemon.started_at, daemon.last, daemon.now))


def known_history(config, policy, daemon):
    """Return the History of a ConfigFile, which says this Policy, by what is kept and by what is seen now."""
    version = version_of(config, policy, daemon)
    return observed(history(config.path), version, config.changed_at, daemon.started_at)


def keep_way_back(config, policy, daemon, new):
    """Keep the text of a ConfigFile, which says this Policy, before it is written over with the Edited ``new``.

    Raises BuildcacheError.
    """
    now = time.time()
    written = Version(new.text, LastLook(digest(new.policy), now, now))
    known = known_history(config, policy, daemon)
    keep_history(config.path, about_to_write(known, version_of(config, policy, daemon), written))
