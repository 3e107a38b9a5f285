# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to the docker command, over python-on-whales, which is imported only when it is needed.

python-on-whales finds, configures and runs the command. What it does not wrap, or reads into shapes that lose
something, goes through that in one place, DockerCommand.run.
"""

from __future__ import annotations

import os
import shutil
import sys

from .._base.errors import BuilderError, DeadlineReached, NoBuildx
from .._base.records import EMBEDDED

_PLUGINS = (
    os.path.expanduser("~/.docker/cli-plugins"),
    *(f"{root}/docker/cli-plugins" for root in ("/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec")),
)
"""Where the docker command looks for buildx (docker/cli, cli-plugins/manager)."""

_TIMED_OUT = 124
"""The exit status of timeout(1) for a command that took too long."""


class DockerCommand:
    """The docker command of this host, as one user has it.

    All methods raise BuilderError where the command fails, and DeadlineReached where it takes longer than it may.
    """

    def __init__(self, connection, config=None):
        """``connection`` are the connection options, ``config`` the directory of the user's buildx configuration.

        Raises NoBuildx where the host has no docker command, and BuilderError where python-on-whales is missing.
        """
        self._connection, self._timeout = connection, connection["timeout"]
        self._environment, self._identity = {}, []
        if config:
            self._identity = _as_owner(config)
            self._environment["BUILDX_CONFIG"] = config
            if os.path.basename(config.rstrip("/")) == "buildx":
                self._environment["DOCKER_CONFIG"] = os.path.dirname(config.rstrip("/"))
        self._docker_client, self._run, self._failure = _python_on_whales()

    def is_own(self, endpoint):
        return endpoint in (None, "default") or _socket(endpoint) == _socket(self._connection["docker_host"])

    def run(self, *arguments, endpoint=None, patience=None):
        """Run the docker command with these arguments and return what it prints.

        ``endpoint`` is the docker context or the address of another engine, ``patience`` how many seconds it may take.
        """
        if self.is_own(endpoint):
            settings = _connection_settings(self._connection)
        else:
            settings = {"host" if "://" in endpoint else "context": endpoint}
        return self.run_command([*self._docker_client(**settings).docker_cmd, *arguments], patience)

    def run_command(self, command, patience=None):
        """Run a command in the user's environment and return what it prints."""
        # In whole seconds, as every timeout(1) takes them.
        limit = ["timeout", str(int(patience or self._timeout) + 1)]
        try:
            return self._run([*self._identity, *limit, *command], env=self._environment)
        except self._failure as problem:
            if problem.return_code == _TIMED_OUT and patience:
                raise DeadlineReached("The deadline was reached while the builder was at work.", True) from problem
            said = _last_words(problem.stderr or "")
            if problem.return_code == _TIMED_OUT:
                said = f"it did not end within {self._timeout} s. Raise the option timeout, or see why."
            raise BuilderError(f"{_shown(command)} failed: {said}") from problem
        except OSError as problem:
            raise BuilderError(f"{_shown(command)} cannot be run: {problem.strerror}.") from problem


def _python_on_whales():
    """Return python-on-whales' client, what runs its commands, and the error that raises."""
    if not shutil.which("docker"):
        raise NoBuildx("This host has no docker command, and so no builder but the engine's own.")
    try:
        from python_on_whales import DockerClient
        from python_on_whales.exceptions import DockerException
        from python_on_whales.utils import run
    except ImportError as problem:
        if not any(os.path.exists(os.path.join(directory, "docker-buildx")) for directory in _PLUGINS):
            raise NoBuildx("This host has no buildx, and so no builder but the engine's own.") from problem
        raise BuilderError(
            f"Builders other than {EMBEDDED!r} need python-on-whales, which cannot be imported by {sys.executable} on "
            f"this host ({problem}). The role buildfleet.buildcache.prepare installs it: set prepare_buildx: true, and "
            "ansible_python_interpreter as it says."
        ) from problem
    return DockerClient, run, DockerException


def _as_owner(config):
    """Return what runs a command as the owner of a directory where root runs this, so that no file becomes root's.

    Raises BuilderError where there is no such directory.
    """
    try:
        owner = os.stat(config)
    except OSError as problem:
        raise BuilderError(f"buildx_config: {config}: {problem.strerror}. Name a user's ~/.docker/buildx.") from problem
    if os.geteuid() or not owner.st_uid:
        return []
    return ["setpriv", f"--reuid={owner.st_uid}", f"--regid={owner.st_gid}", "--init-groups"]


def _connection_settings(connection):
    """Return the connection options as python-on-whales names them."""
    settings = {"host": connection["docker_host"]}
    if connection["tls"] or connection["validate_certs"]:
        settings.update(
            tls=True,
            tlsverify=bool(connection["validate_certs"]),
            tlscacert=connection["ca_path"],
            tlscert=connection["client_cert"],
            tlskey=connection["client_key"],
        )
    return settings


def _socket(address):
    # /var/run is a link to /run.
    return address.replace("unix:///var/run/", "unix:///run/")


def _last_words(text):
    lines = [line.strip() for line in text.splitlines() if line.strip() and not line.startswith(("See '", "Run '"))]
    return lines[-1] if lines else "it said nothing"


def _shown(command):
    """Return a command as far as it names what it does."""
    return f"`{' '.join([os.path.basename(command[0]), *map(str, command[1:6])])}`"
