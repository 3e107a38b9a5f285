# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which dockerd and which configuration file are meant: what is written and restarted is the asked engine's own."""

from __future__ import annotations

import os
import pwd
import re
from contextlib import suppress

from .._base.errors import BadOption
from .._engine.address import is_local
from .._engine.home import Home, home_of
from .._engine.host import command_of, owner_of

DAEMON_CONFIG = "/etc/docker/daemon.json"


def own_home(docker_host, ask, what):
    """Return the Home of the engine at an address, which is one of this host.

    ``ask()`` returns its answer to /info, and is not called for another host's. Raises BadOption for one that is
    elsewhere or cannot be shown not to be; ``what`` is that of this host which would be touched instead, with its verb.
    """
    home = home_of(docker_host, ask()) if is_local(docker_host) else Home()
    if home.here:
        return home
    said = home.doubt or f"The engine at {docker_host} is on another host."
    raise BadOption(
        f"docker_host: {said} Nothing was done, since {what} this host's. Run the task on the engine's own host, as "
        "root or the user whose engine it is, and by the socket that dockerd itself listens on; DOCKER_HOST counts too."
    )


def config_path(asked, pid):
    """Return the path of the configuration file to use: the one ``asked`` for, and where that is None the one that the
    dockerd with this PID reads."""
    return asked or read_by(pid) or DAEMON_CONFIG


def read_by(pid):
    """Return the configuration file that the dockerd with this PID reads, None where that is not known.

    Its flag names it; else it is root's, or in the home directory of the user whose rootless engine it is (moby,
    cmd/dockerd, getDefaultDaemonConfigFile).
    """
    words = command_of(pid)
    for number, word in enumerate(words):
        # The library that dockerd reads its flags with takes one dash for a group of short ones.
        name, equals, value = word.partition("=")
        if name == "--config-file":
            reads = value if equals else "".join(words[number + 1 : number + 2])
            # A relative one starts at a directory that may have changed since.
            return reads if os.path.isabs(reads) else None
    owner = owner_of(pid) if words else None
    if owner:
        with suppress(KeyError):
            config_home = os.environ.get("XDG_CONFIG_HOME") if owner == os.geteuid() else None
            return os.path.join(config_home or f"{pwd.getpwuid(owner).pw_dir}/.config", "docker", "daemon.json")
    return DAEMON_CONFIG if owner == 0 else None


def require_service(pid, main_pid, service):
    """Raise BadOption where the dockerd with this PID is none of the service whose main process is ``main_pid``:
    another would be restarted. Nothing is said where systemd, and so a control group, does not tell.

    The main process may be a parent of dockerd (a wrapper, rootlesskit), in the same unit or a group of its own below.
    """
    unit, other = _unit(pid), _unit(main_pid)
    if unit and other and unit != other:
        raise BadOption(
            f"service: the dockerd at docker_host (PID {pid}) is run by {os.path.basename(unit)}, not by {service}. "
            "Name its own service."
        )


def _unit(pid):
    """Return the control group of the unit that a process is of, "" where it is not known (cgroups(7))."""
    with suppress(OSError), open(f"/proc/{pid}/cgroup", encoding="utf-8", errors="replace") as groups:
        for line in groups:
            # A unified hierarchy, and systemd's own beside the controllers' of version 1.
            found = re.match(r"(?:0:|\d+:name=systemd):(/.*\.service)(?:/|$)", line)
            if found:
                return found.group(1)
    return ""
