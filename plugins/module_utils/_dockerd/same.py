# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Whether a dockerd that came back holds what it held before: its store, its images, its containers."""

from __future__ import annotations

import time
from typing import NamedTuple

from .._engine.host import start_of
from .look import containerd_store
from .running import NotHealthy

_POLL = 0.5
_STARTED_AGAIN = ("always", "unless-stopped")
"""The restart policies with which dockerd starts a container at its own start (moby, restartmanager)."""
_KILLED = (137, 143, 255)
"""Exit codes of a container that was ended by a signal, or of which dockerd knows nothing else."""
_OF_SWARM = "com.docker.swarm.task.id"
_NAMED = 5


class Ran(NamedTuple):
    """A container that ran: its name, its PID and when that started (None where unknown), and whether dockerd starts it
    again at its own start."""

    name: str
    pid: int
    started: object
    started_again: bool


class Held(NamedTuple):
    """What an engine held: what its store is, {what: value}, how many images, and what ran, {container id: Ran}."""

    store: dict
    images: int
    ran: dict


def held(client):
    """Return what the engine behind an EngineClient holds now, its Held."""
    info = client.info()
    store = {
        "root directory": info.get("DockerRootDir"),
        "storage driver": info.get("Driver"),
        "image store": "containerd" if containerd_store(info) else "graphdriver",
    }
    ran = {}
    for entry in client.containers():
        if entry["State"] in ("running", "paused"):
            container = client.container(entry["Id"])
            pid = (container.get("State") or {}).get("Pid") or 0
            policy = ((container.get("HostConfig") or {}).get("RestartPolicy") or {}).get("Name")
            # Those of a swarm are its business: it starts others for them.
            again = policy in _STARTED_AGAIN and _OF_SWARM not in (entry.get("Labels") or {})
            name = (entry.get("Names") or [entry["Id"]])[0].lstrip("/")
            ran[entry["Id"]] = Ran(name, pid, start_of(pid), again)
    return Held(store, info.get("Images", 0), ran)


def require_same(before, client, outlive, limit):
    """Raise NotHealthy where an engine does not hold what was Held ``before`` its restart.

    ``outlive`` is whether containers outlive it, by live restore; else those that dockerd starts again have ``limit``
    seconds to run.
    """
    end = time.monotonic() + limit
    while True:
        after = held(client)
        said = store_differences(before, after)
        # What is lost stays so; what starts takes its time.
        waits = not (said or outlive)
        if waits:
            ran = before.ran.items()
            said = [f"{one.name} does not run" for name, one in ran if one.started_again and name not in after.ran]
        elif not said:
            said = list(filter(None, (_lost(one, client.container(name)) for name, one in before.ran.items())))
        if not said:
            return
        if not waits or time.monotonic() > end:
            more = f" and {len(said) - _NAMED} more" if len(said) > _NAMED else ""
            raise NotHealthy(f"dockerd came back, but not as it was: {', '.join(said[:_NAMED])}{more}.")
        time.sleep(_POLL)


def store_differences(before, after):
    """Return what differs between the stores of two Held, as texts."""
    said = [
        f"its {what} is {after.store[what]}, and was {value}"
        for what, value in before.store.items()
        if after.store[what] != value
    ]
    if after.images < before.images:
        said.append(f"it has {after.images} images, and had {before.images}")
    return said


def _lost(ran, container):
    """Return what a restart has done to a container that was to outlive it, "" where nothing: by what it Ran as, and
    what the engine tells of it now. One that ended by itself is none of it."""
    state = container.get("State") or {}
    if state.get("Running"):
        own = state.get("Pid") == ran.pid or (container.get("RestartCount") or 0) > 0
        return "" if own else f"{ran.name} was started anew"
    if ran.started is not None and start_of(ran.pid) == ran.started:
        return f"{ran.name} runs, and dockerd does not know it"
    return f"{ran.name} was ended" if state and state.get("ExitCode") in _KILLED else ""
