# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Observing dockerd as the host has it: its configuration file, its process, and the GC policy that it reports."""

from __future__ import annotations

import errno
import json
import os
import re
import time
from contextlib import suppress
from dataclasses import asdict, dataclass

from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders import reported_rules
from ansible_collections.buildfleet.buildcache.plugins.module_utils._config_file import read_config
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import EngineClient
from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import (
    BadOption,
    BuildcacheError,
    EngineError,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._host import (
    PID_FILE,
    filesystems,
    process_start,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._in_effect import Daemon, LastLook, look
from ansible_collections.buildfleet.buildcache.plugins.module_utils._json_text import BadConfig
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import version_tuple

DAEMON_CONFIG = "/etc/docker/daemon.json"
DATA_ROOT = "/var/lib/docker"
"""Where dockerd keeps its data unless told otherwise (moby, cmd/dockerd/config_unix.go)."""

_IN_FORCE = "/var/lib/buildcache/in_force.json"
"""The configuration files that dockerd last obeyed: what to put back when it does not start with a new one. They may
hold credentials, so that only root may read this."""

_LAST_LOOKS = "/var/lib/buildcache/last_looks.json"
"""What buildcache_gc_policy saw when it last ran, by configuration file (see _in_effect.look)."""

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


def observe_daemon(config, engine_version=None, docker_host=None):
    """Return the Daemon with this ConfigFile. Where ``docker_host`` is given, the engine there is asked as well."""
    asked = docker_host and version_tuple(engine_version) >= _FIRST_REPORTING
    return Daemon(
        config=config.data,
        changed_at=config.changed_at,
        started_at=process_start(pid_file(config.data, docker_host)),
        reported=reported_rules(docker_host) if asked else None,
        last=_recall(config.path),
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


def local_daemon(engine_version, docker_host, config_file=DAEMON_CONFIG):
    """Return the Daemon of this host, which may have a configuration file that cannot be used."""
    try:
        config = read_config(config_file)
    except BuildcacheError as problem:
        # One that may not be read here may well be good; one with bad content is not.
        bad = str(problem) if isinstance(problem, BadConfig) else None
        return Daemon(config=None, problem=bad, started_at=process_start(), now=time.time())
    return observe_daemon(config, engine_version, docker_host)


def remember(config, policy, daemon):
    """Keep what this run saw of a ConfigFile, which says this Policy, for the next run."""
    seen = look(policy, config.changed_at, daemon.started_at, daemon.last, time.time())
    last = daemon.last
    if last and seen.digest == last.digest and seen.since == last.since and (daemon.started_at or 0) <= last.seen:
        return
    # Only a worse answer hangs on it: without the file's history, any write to it counts as a change of policy.
    with suppress(OSError):
        _keep(_LAST_LOOKS, config.path, asdict(seen))


def keep_in_force(path, text, obeyed=True):
    """Keep the text of the configuration file at ``path``, None for no file, which dockerd obeys.

    Where it is not known that it is ``obeyed``, it is kept only where there is nothing better. Raises BuildcacheError.
    """
    if not obeyed and path in _kept(_IN_FORCE):
        return
    try:
        _keep(_IN_FORCE, path, text)
    except OSError as problem:
        if problem.errno in (errno.EACCES, errno.EPERM):
            # Who may not write there may not restart dockerd either.
            return
        raise BuildcacheError(
            f"{_IN_FORCE} cannot be written: {problem.strerror}. It is needed to put {path} back; nothing was changed."
        ) from problem


def in_force(path):
    """Return the text of the configuration file at ``path`` that dockerd last obeyed, None for no file.

    Raises LookupError where that is not known.
    """
    return _kept(_IN_FORCE)[path]


def _recall(path):
    with suppress(KeyError, TypeError, ValueError):
        found = _kept(_LAST_LOOKS)[path]
        return LastLook(str(found["digest"]), float(found["since"]), float(found["seen"]))
    return None


def _keep(file, key, value):
    os.makedirs(os.path.dirname(file), mode=0o755, exist_ok=True)
    # Nobody else writes meanwhile: whoever does holds the host's lock.
    descriptor = os.open(f"{file}.new", os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with open(descriptor, "w", encoding="utf-8") as new:
        json.dump({**_kept(file), key: value}, new)
        new.flush()
        os.fsync(new.fileno())
    os.replace(f"{file}.new", file)


def _kept(file):
    try:
        with open(file, encoding="utf-8") as kept:
            found = json.load(kept)
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}
