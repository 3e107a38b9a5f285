# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to buildx and to the builders behind it."""

from __future__ import annotations

import json
import os
import re

from .._base.errors import BuilderError, NoBuildx
from .._base.records import EMBEDDED
from .._base.units import version_tuple
from .._engine.client import EngineClient
from .._engine.sdk import SdkTransport
from .clients import ContainerNode, EngineNode, RemoteNode
from .command import DockerCommand
from .nodes import OLDEST_BUILDKIT, OLDEST_BUILDX, chosen_nodes, nodes_from_listing

_TLS_FILES = {"ca_path": "ca.pem", "client_cert": "cert.pem", "client_key": "key.pem"}


class Buildx(DockerCommand):
    """The builders of one user, by the docker command of this host.

    All methods raise BuilderError where the command fails, and DeadlineReached where it takes longer than it may.
    """

    _own_id = None

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
        return node.driver == "docker-container" and self.is_own(node.endpoint)

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
        client = EngineClient(connection, SdkTransport)
        self._own_id = self._own_id or EngineClient(self._connection, SdkTransport).info().get("ID")
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
