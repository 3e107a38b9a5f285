# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Observing dockerd as the host has it: its configuration file, its process, and the GC policy that it reports."""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass

from ansible_collections.buildfleet.buildcache.plugins.module_utils._config_file import read_config
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import EngineClient
from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import (
    BadOption,
    BuildcacheError,
    EngineError,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._history import (
    Version,
    about_to_write,
    observed,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._host import (
    PID_FILE,
    command_of,
    filesystems,
    owner_of,
    pid_in,
    process_start,
    start_of,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._in_effect import Daemon, LastLook, digest, look
from ansible_collections.buildfleet.buildcache.plugins.module_utils._json_text import BadConfig
from ansible_collections.buildfleet.buildcache.plugins.module_utils._reported import reported_rules
from ansible_collections.buildfleet.buildcache.plugins.module_utils._state import (
    history,
    keep_history,
    keep_last_look,
    last_look,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import version_tuple

DAEMON_CONFIG = "/etc/docker/daemon.json"
DATA_ROOT = "/var/lib/docker"
"""Where dockerd keeps its data unless told otherwise (moby, cmd/dockerd/config_unix.go)."""

_FIRST_REPORTING = (28, 0)
"""The first engine that tells buildx which GC policy it obeys (28.5.2 does, 26.1.5 does not)."""


@dataclass(frozen=True)
class EngineFigures:
    """What a policy is rendered by: the engine's version, and the size in bytes of the file system that it measures
    (None where it is not known). ``docker_host`` is where the engine answered, None where it was not asked."""

    version: str
    filesystem_bytes: int | None
    docker_host: str | None


def engine_figures(options, config):
    """Return the EngineFigures by the module's options and the ConfigFile. Raises EngineError and BadOption."""
    version = options["engine_version"]
    if version:
        if not re.match(r"\d+\.\d+", version):
            raise BadOption(f"engine_version: {version!r} is no version. Write one such as 28.5.2.")
        root, docker_host = _path(config.data, "data-root", DATA_ROOT), None
    else:
        try:
            client = EngineClient(options)
            root = client.info().get("DockerRootDir") if client.is_local else None
        except EngineError as error:
            raise EngineError(
                f"{error} To write the policy while the engine does not run, set engine_version."
            ) from error
        version, docker_host = client.version["Version"], options["docker_host"]
    disk = filesystems([root]) if root else ()
    return EngineFigures(version, disk[0].total if disk else None, docker_host)


def observe_daemon(config, engine_version=None, docker_host=None, pid=None):
    """Return the Daemon with this ConfigFile. Where ``docker_host`` is given, the engine there is asked as well.

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
        reported=reported_rules(docker_host) if asked else None,
        last=last_look(config.path),
        now=time.time(),
        text=config.text,
    )


def pid_file(config, docker_host=None):
    """Return where dockerd keeps its PID, by its configuration or beside the socket at ``docker_host``."""
    socket = re.fullmatch(r"(?:unix://)?(/.+)", docker_host or "")
    return _path(
        config, "pidfile", os.path.join(os.path.dirname(socket.group(1)), "docker.pid") if socket else PID_FILE
    )


def _path(config, key, default):
    """Return a path in a configuration, whose types nobody has checked yet."""
    value = config.get(key)
    return value if value and isinstance(value, str) else default


def _require_read(path, pid):
    """Raise BadOption where the dockerd with this PID reads another configuration file than ``path``."""
    words = command_of(pid)
    # That of a rootless one is in a home directory.
    reads = DAEMON_CONFIG if words and owner_of(pid) == 0 else path
    for flag, following in zip(words, [*words[1:], ""]):
        name, _equals, value = flag.partition("=")
        if name == "--config-file":
            reads = value or following
    # A relative one starts at a directory that is not known here.
    if os.path.isabs(reads) and os.path.realpath(reads) != path:
        raise BadOption(
            f"config_file: dockerd does not read {path}, but {reads}; see its flag --config-file. Name that."
        )


def local_daemon(engine_version, docker_host, config_file=DAEMON_CONFIG):
    """Return the Daemon of this host, which may have a configuration file that cannot be used."""
    try:
        config = read_config(config_file)
    except BuildcacheError as problem:
        # One that may not be read here may well be good; one with bad content is not.
        bad = str(problem) if isinstance(problem, BadConfig) else None
        return Daemon(config=None, problem=bad, started_at=process_start(pid_file({}, docker_host)), now=time.time())
    try:
        return observe_daemon(config, engine_version, docker_host)
    except BadOption:
        # What dockerd reads is not in that file.
        return Daemon(config=None, started_at=process_start(pid_file(config.data, docker_host)), now=time.time())


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
