# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Observing a host: from the engine's answers and the host's file systems to one Observation."""

from __future__ import annotations

import re
from contextlib import suppress

from .._base.errors import BuildcacheError, EngineError
from .._base.records import (
    CACHE_MOUNT,
    Engine,
    Observation,
    container_from_api,
    image_from_api,
    record_from_api,
)
from .._base.units import SECOND, parse_timestamp
from .home import home_of, sees
from .host import command_of, containerd_root, filesystems, start_of
from .usage import TYPES_SINCE

_CONTAINERD_STORE = ["driver-type", "io.containerd.snapshotter.v1"]


def observe(client, container_sizes=False, deadline=None):
    """Return the Observation of a host: three requests besides /version.

    ``container_sizes`` asks for the bytes of containers' own layers, which the engine has to walk. ``deadline`` is how
    long its account of the disk is waited for, as for disk_usage(). Raises EngineError.
    """
    try:
        engine = _engine(client)
        usage = client.disk_usage(deadline)
        return Observation(
            engine=engine,
            records=records_of(usage),
            images=tuple(image_from_api(entry) for entry in usage["Images"]),
            containers=tuple(container_from_api(entry) for entry in client.containers(sizes=container_sizes)),
            layers_size=usage["LayersSize"],
            filesystems=filesystems(engine.data_dirs),
            unread=tuple(usage["Unread"].items()),
        )
    except (AttributeError, KeyError, TypeError) as problem:
        raise EngineError(
            f"The engine {client.version['Version']} sent an answer of a shape that is not known ({problem!r})."
        ) from problem


def observe_to_decide(client, container_sizes, deadline):
    """Return what observe() does, for who goes by last uses: one request more where that look may have changed them."""
    seen = observe(client, container_sizes, deadline)
    # Older engines would walk all that there is.
    return seen if client.api_version < TYPES_SINCE else as_looked_at(seen, lambda: records_now(client, deadline))


def as_looked_at(seen, look):
    """Return an Observation with the records as the look at them has left them, which ``look()`` returns; see
    CACHE_MOUNT. Where that fails they are those of the first."""
    if any(record.type == CACHE_MOUNT for record in seen.records):
        with suppress(BuildcacheError):
            return seen._replace(records=look())
    return seen


def records_now(client, deadline):
    """Return the Records alone. Raises EngineError and DeadlineReached where there are none to be had."""
    return tuple(map(record_from_api, client.build_cache(deadline)))


def records_of(usage):
    """Return the Records of an EngineClient.disk_usage()."""
    return tuple(record_from_api(entry) for entry in usage["BuildCache"])


def _engine(client):
    info = client.info()
    containerd_store = _CONTAINERD_STORE in (info.get("DriverStatus") or [])
    root = info.get("DockerRootDir") or ""
    data_dirs = [root]
    if containerd_store:
        data_dirs.insert(0, containerd_root(root, (info.get("Containerd") or {}).get("Address")))
    home = home_of(client.docker_host, info)
    started_at = start_of(home.pid)
    return Engine(
        version=client.version["Version"],
        api_version="{}.{}".format(*client.api_version),
        image_store="containerd" if containerd_store else "graphdriver",
        storage_driver=info.get("Driver") or "",
        root_dir=root,
        data_dirs=tuple(one for one in data_dirs if home.here and sees(home.pid, one)),
        live_restore=bool(info.get("LiveRestoreEnabled")),
        now=parse_timestamp(info["SystemTime"]),
        started_at=started_at and int(started_at * SECOND),
        namespace=_namespace(info, root, command_of(home.pid) if home.here else []),
        pid=home.pid if home.here else None,
        doubt=home.doubt,
    )


def _namespace(info, root, command):
    """Return the engine's namespace in containerd: what it tells (Engine 26 and later), or what its command line says,
    or with user remapping what dockerd makes of it (moby, cmd/dockerd/daemon.go; daemon/daemon_unix.go)."""
    told = ((info.get("Containerd") or {}).get("Namespaces") or {}).get("Containers")
    for number, word in enumerate(command):
        name, equals, value = word.partition("=")
        if not told and name == "--containerd-namespace":
            told = value if equals else "".join(command[number + 1 : number + 2])
    remapped = re.search(r"/(\d+\.\d+)/*$", root)
    return told or (f"moby-{remapped.group(1)}" if remapped else "moby")
