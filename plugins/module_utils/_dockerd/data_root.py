# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where dockerd keeps its data, told without asking it: by its process, its unit and its configuration file."""

from __future__ import annotations

import os
from contextlib import suppress

from .._base.errors import BadOption, BuildcacheError
from .._engine.address import is_local
from .._engine.config_file import read_config
from .._engine.home import is_dockerd, listening_dockerd
from .._engine.host import PID_FILE, command_of, pid_in
from .flags import given
from .own import config_path
from .service import service_manager
from .unit import environment_files, start_command

DEFAULT = "/var/lib/docker"
"""Where it is unless told otherwise (moby, cmd/dockerd/config_unix.go)."""


def data_root(docker_host, asked, run, option="root_dir"):
    """Return the real path of dockerd's directory: the one ``asked`` for, or what its flags or its file say.

    dockerd need not run. ``run`` is as for service_manager, ``option`` the name of what asked. Raises BadOption for an
    engine of another host, or where it cannot be told.
    """
    require_here(docker_host)
    if asked is not None:
        if not os.path.isdir(asked) or os.path.realpath(asked) == "/":
            raise BadOption(
                f"{option}: {asked or repr(asked)} is no directory of an engine. Name the one that holds its data."
            )
        return os.path.realpath(asked)
    pid = listening_dockerd(docker_host) or pid_in(PID_FILE)
    pid = pid if is_dockerd(pid) else None
    words = command_of(pid) if pid else _words_of_unit(run)
    for value in given(words[1:], "data-root")[-1:]:
        return os.path.realpath(value)
    path = (given(words[1:], "config-file") or [config_path(None, pid)])[-1]
    try:
        value = read_config(path).data.get("data-root")
    except BuildcacheError as problem:
        raise BadOption(f"{problem} Set {option} to dockerd's directory; the file need not be read then.") from problem
    return os.path.realpath(value if value and isinstance(value, str) else DEFAULT)


def require_here(docker_host):
    """Raise BadOption for an engine of another host: its disk is not here."""
    if not is_local(docker_host):
        raise BadOption(
            f"docker_host: the engine at {docker_host} is on another host. Run the task there; DOCKER_HOST counts too."
        )


def _words_of_unit(run):
    """Return the command line with which systemd would start dockerd; empty where it is not told."""
    with suppress(BuildcacheError):
        unit, _required = service_manager("auto", "docker", run).unit()
        texts = []
        for path, _may_be_missing in environment_files(unit):
            with suppress(OSError, UnicodeDecodeError), open(path, encoding="utf-8") as file:
                texts.append(file.read())
        return start_command(unit, texts) or []
    return []
