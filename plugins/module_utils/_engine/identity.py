# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Who answers at an address. Pure."""

from __future__ import annotations

from .._base.errors import EngineError

_ENGINE = "Engine"
"""What every build of moby, and of its forks, calls itself in the Components of /version (moby, daemon/info.go,
SystemVersion, since 17.06): docker-ce, Debian's docker.io, Mirantis' and balena's, the one in Docker Desktop's machine.
Others that speak the API do not: podman says "Podman Engine" (pkg/api/handlers/compat/version.go), finch-daemon, over
nerdctl and containerd, "containerd" alone."""

_OWN_WAYS = {"Podman Engine": "podman system prune", "containerd": "nerdctl system prune"}
"""How to clean up after those that are known."""


def require_docker_engine(version, docker_host):
    """Raise EngineError where the answer to /version is not that of a Docker Engine.

    Another's records, images and garbage collection are not what plans here are made of, however alike the API is.
    """
    try:
        names = [component["Name"] for component in version.get("Components") or ()]
        platform = (version.get("Platform") or {}).get("Name")
    except (AttributeError, KeyError, TypeError):
        names, platform = [], ""
    if _ENGINE in names:
        return
    name = next(iter(names), None) or platform or "no engine that gives its name"
    own_way = f" ({_OWN_WAYS[name]})" if name in _OWN_WAYS else ""
    raise EngineError(
        f"What answers at {docker_host} speaks Docker's API, but is {name}, not Docker Engine; nothing was done. Clean "
        f"it up by its own means{own_way}, or name the socket of a Docker Engine in docker_host."
    )
