# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to buildx and to the builders behind it, over python-on-whales, which is imported only when it is needed.

python-on-whales finds, configures and runs the docker command. What it does not wrap, or reads into shapes that lose
something, goes through that in one place, Buildx.run.
"""

from __future__ import annotations

import glob
import json
import os
import pwd
import re
import shutil
import sys
from contextlib import suppress

from ansible_collections.buildfleet.buildcache.plugins.module_utils._builder_clients import (
    ContainerNode,
    EngineNode,
    RemoteNode,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._buildkit import (
    OLDEST_BUILDKIT,
    OLDEST_BUILDX,
    chosen_nodes,
    nodes_from_listing,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import EngineClient
from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import (
    BuilderError,
    DeadlineReached,
    NoBuildx,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._records import EMBEDDED
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import version_tuple

_PLUGINS = (
    os.path.expanduser("~/.docker/cli-plugins"),
    *(f"{root}/docker/cli-plugins" for root in ("/usr/local/lib", "/usr/local/libexec", "/usr/lib", "/usr/libexec")),
)
"""Where the docker command looks for buildx (docker/cli, cli-plugins/manager)."""

_TIMED_OUT = 124
"""The exit status of timeout(1) for a command that took too long."""

_TLS_FILES = {"ca_path": "ca.pem", "client_cert": "cert.pem", "client_key": "key.pem"}


class Buildx:
    """The builders of one user, by the docker command of this host.

    All methods raise BuilderError where the command fails, and DeadlineReached where it takes longer than it may.
    """

    def __init__(self, connection, config=None):
        """``connection`` are the connection options, ``config`` the directory of the user's buildx configuration.

        Raises NoBuildx where the host has no docker command, and BuilderError where python-on-whales is missing.
        """
        self._connection, self._timeout = connection, connection["timeout"]
        self._environment, self._identity, self._own_id = {}, [], None
        if config:
            self._identity = _as_owner(config)
            self._environment["BUILDX_CONFIG"] = config
            if os.path.basename(config.rstrip("/")) == "buildx":
                self._environment["DOCKER_CONFIG"] = os.path.dirname(config.rstrip("/"))
        self._docker_client, self._run, self._failure = _python_on_whales()

    def nodes(self):
        """Return the Nodes of all builders but the engine's own. Raises NoBuildx where the host has no buildx."""
        try:
            return nodes_from_listing(self.run("buildx", "ls", "--format", "json"))
        except BuilderError as problem:
            self._explain(problem)
            raise

    def node_client(self, node):
        """Return what talks to a running Node: a ContainerNode, a RemoteNode or an EngineNode.

        Raises BuilderError where nothing can.
        """
        if node.trouble:
            raise BuilderError(node.trouble)
        if node.driver == "docker":
            return EngineNode(self._engine_of(node))
        if version_tuple(node.version or "") < OLDEST_BUILDKIT:
            raise BuilderError(
                f"Builder {node.builder} runs BuildKit {node.version}, which does not tell its records exactly; "
                f"{'.'.join(map(str, OLDEST_BUILDKIT))} is the first that does. Create it anew with a newer one."
            )
        if node.driver == "docker-container":
            return ContainerNode(node, self.run)
        if node.driver == "remote":
            return RemoteNode(node, self.run_command)
        raise BuilderError(
            f"Builder {node.builder} is run by the driver {node.driver}, whose records cannot be had exactly. Prune it "
            "where it runs."
        )

    def is_here(self, node):
        """Whether the data of a Node is held by the engine that the module talks to."""
        return node.driver == "docker-container" and self._is_own(node.endpoint)

    def _is_own(self, endpoint):
        return endpoint in (None, "default") or _socket(endpoint) == _socket(self._connection["docker_host"])

    def start(self, node):
        """Start a builder and return its Node as it is then."""
        self.run("buildx", "inspect", node.builder, "--bootstrap", patience=max(self._timeout, 120))
        return self.now(node)

    def now(self, node):
        """Return a Node as it is now."""
        for one in self.nodes():
            if (one.builder, one.name) == (node.builder, node.name):
                return one
        raise BuilderError(f"Builder {node.label} is gone: somebody has removed it meanwhile.")

    def stop(self, node):
        """Stop a builder."""
        self.run("buildx", "stop", node.builder)

    def run(self, *arguments, endpoint=None, patience=None):
        """Run the docker command with these arguments and return what it prints.

        ``endpoint`` is the docker context or the address of another engine, ``patience`` how many seconds it may take.
        """
        if self._is_own(endpoint):
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

    def _explain(self, problem):
        """Raise what is behind the failure to list builders, if it is that buildx is missing or too old."""
        try:
            # "github.com/docker/buildx v0.13.1 …"
            words = self.run("buildx", "version").split()
        except BuilderError as other:
            if not re.search("is not a docker command|unknown command", str(other)):
                raise
            raise NoBuildx(f"This host has no buildx, and so no builder but the engine's own: {other}") from problem
        version = next((word.lstrip("v") for word in words if re.match(r"v?\d+\.\d+", word)), "0")
        if version_tuple(version) < OLDEST_BUILDX:
            raise BuilderError(
                f"buildx {version} on this host cannot list its builders so that a program can read it; "
                f"{'.'.join(map(str, OLDEST_BUILDX))} is the first that can. Upgrade it, or leave builders out."
            ) from problem

    def _engine_of(self, node):
        """Return the EngineClient of a builder that is a docker context's."""
        (context,) = json.loads(self.run("context", "inspect", node.endpoint))
        address = ((context.get("Endpoints") or {}).get("docker") or {}).get("Host") or ""
        if address.startswith("ssh:"):
            raise BuilderError(
                f"Builder {node.builder} is the engine of a docker context over SSH ({address}). Run the task on that "
                "host, or give its engine an address with TLS."
            )
        connection = dict(self._connection, docker_host=address, api_version="auto", tls=False, validate_certs=False)
        directory = os.path.join((context.get("Storage") or {}).get("TLSPath") or "", "docker")
        files = {option: os.path.join(directory, name) for option, name in _TLS_FILES.items()}
        connection.update({option: path if os.path.exists(path) else None for option, path in files.items()})
        if any(connection[option] for option in _TLS_FILES):
            skip = context["Endpoints"]["docker"].get("SkipTLSVerify")
            connection.update(tls=True, validate_certs=not skip, tls_hostname=None)
        client = EngineClient(connection)
        self._own_id = self._own_id or EngineClient(self._connection).info().get("ID")
        if client.info().get("ID") == self._own_id:
            raise BuilderError(f"Builder {node.builder} is {EMBEDDED} by another name.")
        return client


def nodes_for(options):
    """Return the Buildx of a module's options and the Nodes that they name; None and () where there are no builders but
    the engine's own: a host without buildx has no other, so that there ``all`` comes to the same.

    Raises BadOption for a builder that is not there, and BuilderError.
    """
    names = options["builders"]
    if set(names) == {EMBEDDED}:
        return None, ()
    try:
        buildx = Buildx(options, options["buildx_config"])
        return buildx, chosen_nodes(names, buildx.nodes())
    except BuilderError as problem:
        if isinstance(problem, NoBuildx) and "all" in names:
            return None, ()
        raise BuilderError(f"builders: {', '.join(names)}: {problem}") from problem


def buildx_directory(config=None):
    """Return the directory of a buildx configuration: ``config``, or that of who runs this (buildx, util/confutil,
    ConfigDir)."""
    docker = os.environ.get("DOCKER_CONFIG") or os.path.expanduser("~/.docker")
    return config or os.environ.get("BUILDX_CONFIG") or os.path.join(docker, "buildx")


def known_nodes(config=None):
    """Return the names of the nodes of all builders of all users of this host, as far as they can be read.

    ``config`` is a directory with a buildx configuration that is in no home.
    """
    homes = [os.path.join(user.pw_dir, ".docker", "buildx") for user in pwd.getpwall()]
    found = set()
    for directory in {*homes, buildx_directory(config)}:
        for path in glob.glob(os.path.join(glob.escape(directory), "instances", "*")):
            with suppress(OSError, ValueError, AttributeError, TypeError, KeyError):
                with open(path, encoding="utf-8") as file:
                    found.update(node["Name"] for node in json.load(file)["Nodes"])
    return found


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
