# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Observing a host: from the engine's answers and the host's file systems to one Observation."""

from __future__ import annotations

from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import EngineError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._host import (
    containerd_root,
    filesystems,
    process_start,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._records import (
    Engine,
    Observation,
    container_from_api,
    image_from_api,
    record_from_api,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import SECOND, parse_timestamp

_CONTAINERD_STORE = ["driver-type", "io.containerd.snapshotter.v1"]


def observe(client, container_sizes=False):
    """Return the Observation of a host: three requests besides /version.

    ``container_sizes`` asks for the bytes of containers' own layers, which the engine has to walk. Raises EngineError.
    """
    try:
        engine = _engine(client)
        usage = client.disk_usage()
        return Observation(
            engine=engine,
            records=records_of(usage),
            images=tuple(image_from_api(entry) for entry in usage["Images"]),
            containers=tuple(container_from_api(entry) for entry in client.containers(sizes=container_sizes)),
            layers_size=usage["LayersSize"],
            filesystems=filesystems(engine.data_dirs),
        )
    except (AttributeError, KeyError, TypeError) as problem:
        raise EngineError(
            f"The engine {client.version['Version']} sent an answer of a shape that is not known ({problem!r})."
        ) from problem


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
    started_at = process_start() if client.is_local else None
    return Engine(
        version=client.version["Version"],
        api_version="{}.{}".format(*client.api_version),
        image_store="containerd" if containerd_store else "graphdriver",
        storage_driver=info.get("Driver") or "",
        root_dir=root,
        data_dirs=tuple(data_dirs) if client.is_local else (),
        live_restore=bool(info.get("LiveRestoreEnabled")),
        now=parse_timestamp(info["SystemTime"]),
        started_at=started_at and int(started_at * SECOND),
    )
