# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a restart of dockerd would meet on this host, by what was observed. Pure."""

from __future__ import annotations

import os.path
from typing import NamedTuple

from .._base.records import Obstacle
from .._base.units import version_tuple
from .daemon import DATA_ROOT
from .flags import given, given_twice

_EXEC_ROOT = "/var/run/docker"
_NAMESPACE = "moby"
_PLUGINS_NAMESPACE = "plugins.moby"

_SPARE = 16384
"""Bytes beside the text itself for a second file and the way back."""


class Seen(NamedTuple):
    """What was observed of a host.

    ``info`` is the engine's /info, ``version`` the engine's, ``config`` the dict of its file. ``words`` is the command
    line with which the next start would run dockerd, without the program, ``running`` that of the one that runs.
    ``unit`` are the properties of its unit as systemctl shows them, {} without systemd; ``missing`` are the files that
    the unit needs and that are not there, ``unmet`` its conditions that do not hold, ``broken`` the units that it
    requires and that cannot be started, {name: why}. ``room`` is how many bytes are free beside the file, None where
    that is not known; ``needed`` how many the file has. ``changed`` is whether the file was changed since the start.
    ``real(path)`` follows symbolic links, ``exists(path)`` tells whether there is such a directory.
    """

    info: dict
    version: str
    config: dict
    words: tuple = ()
    running: tuple = ()
    unit: object = None
    missing: tuple = ()
    unmet: tuple = ()
    broken: tuple = ()
    room: int | None = None
    needed: int = 0
    changed: bool = False
    real: object = os.path.normpath
    exists: object = bool


def obstacles(seen):
    """Return the Obstacles of a host: what keeps dockerd from starting again, or from starting as it was."""
    found = [
        _broken_unit(seen),
        live_restore_with_swarm(seen),
        _flags_and_file(seen),
        _store_change(seen),
        _live_restore_that_does_not_hold(seen),
        _no_room(seen),
        _unit_changed(seen),
    ]
    return tuple(one for one in found if one)


def _broken_unit(seen):
    why = _why_not(seen.unit or {}, seen)
    if not why:
        return None
    name = (seen.unit or {}).get("Id") or "dockerd's unit"
    return Obstacle(
        "dockerd_cannot_start",
        "critical",
        f"{name} cannot be started again: {why} The dockerd that runs would be the last.",
        f"Correct the unit (systemctl cat {name}, systemd-analyze verify {name}), then systemctl daemon-reload",
    )


def _why_not(unit, seen):
    """Return why systemd would not start a unit, "" where nothing speaks against it."""
    state, error = unit.get("LoadState", "loaded"), unit.get("LoadError", "")
    if state == "masked":
        return "it is masked (systemctl unmask lets it start)."
    if state != "loaded":
        said = error.partition(" ")[2].strip('"') if error else ""
        return f"systemd could not load it ({state}{': ' + said if said else ''})."
    if "no" in (unit.get("CanStart"), unit.get("CanStop")) or "yes" in (
        unit.get("RefuseManualStart"),
        unit.get("RefuseManualStop"),
    ):
        return "it refuses to be started or stopped by hand (RefuseManualStart, RefuseManualStop)."
    if seen.missing:
        return f"{' and '.join(seen.missing)} is not there."
    if seen.unmet:
        return f"its condition does not hold: {', '.join(seen.unmet)}."
    if seen.broken:
        return " ".join(f"It requires {name}, which {reason}." for name, reason in seen.broken)
    return ""


def _unit_changed(seen):
    unit = seen.unit or {}
    if unit.get("NeedDaemonReload") != "yes":
        return None
    return Obstacle(
        "dockerd_unit_changed",
        "warning",
        f"The files of {unit.get('Id')} were changed, and systemd has not read them: a restart goes by the old ones, "
        "the next boot by the new ones.",
        "systemd-analyze verify, then systemctl daemon-reload",
        refuses=False,
    )


def in_swarm(info):
    """Whether the engine is a node of a swarm, in whatever state."""
    return (info.get("Swarm") or {}).get("LocalNodeState", "inactive") not in ("", "inactive")


def live_restore_with_swarm(seen, wanted=False):
    """Return the Obstacle of a swarm's node whose dockerd would be started with live restore, which it refuses then,
    though it takes it by a reload (moby, daemon/daemon.go, NewDaemon); None for any other.

    ``wanted`` is whether live restore is about to be switched on.
    """
    asked = seen.config.get("live-restore") is True or "true" in given(seen.words, "live-restore")
    if not in_swarm(seen.info) or not (asked or wanted):
        return None
    state = seen.info["Swarm"]["LocalNodeState"]
    if wanted and not asked:
        about, remedy = (
            "live_restore would switch on what",
            (
                "Drain the node (docker node update --availability drain) so that no container runs, or set "
                "allow_container_stop to let the swarm start its containers again"
            ),
        )
    else:
        about, remedy = (
            "live-restore is set, which",
            "Take live-restore out of daemon.json, or let the node leave the swarm",
        )
    return Obstacle(
        "live_restore_with_swarm",
        "critical",
        f"The engine is a swarm node ({state}), and {about} dockerd refuses at its start there: it would not start "
        "again.",
        remedy,
    )


def _flags_and_file(seen):
    twice = given_twice(seen.words, seen.config)
    if not twice:
        return None
    what = ", ".join(f"{key} ({flag})" for key, flag in twice)
    return Obstacle(
        "flag_and_file",
        "critical",
        f"dockerd does not start with what stands among its flags and in its configuration file as well: {what}.",
        "Take it out of one of the two: the file, or the unit's ExecStart",
    )


def _store_change(seen):
    waiting = store_changes(seen)
    if not waiting:
        return None
    what = ", ".join(f"{key} ({now} now, then {then})" for key, now, then in waiting)
    return Obstacle(
        "store_change_waits",
        "critical",
        f"A restart would put another store in force: {what}. Images, containers and build cache of now would be out "
        "of sight.",
        f"Take {', '.join(key for key, _now, _then in waiting)} back, or set allow_store_change where that is meant",
        allowed_by="allow_store_change",
    )


def store_changes(seen):
    """Return what a restart would change of the store: a list of (key, value now, value then)."""
    found = []
    for key, known, wanted in (
        ("data-root", data_root(seen.info), asked(seen, "data-root") or asked(seen, "graph") or DATA_ROOT),
        ("storage-driver", seen.info.get("Driver"), asked(seen, "storage-driver")),
        ("features.containerd-snapshotter", _store(containerd_store(seen.info)), _store(_wants_containerd(seen))),
        ("userns-remap", _remapped(seen.info), bool(asked(seen, "userns-remap"))),
        ("exec-root", *_exec_root(seen)),
        ("containerd", _containerd(seen).get("Address"), asked(seen, "containerd")),
        ("containerd-namespace", *_namespace(seen, "containerd-namespace", "Containers", _NAMESPACE)),
        (
            "containerd-plugins-namespace",
            *_namespace(seen, "containerd-plugins-namespace", "Plugins", _PLUGINS_NAMESPACE),
        ),
    ):
        if known in (None, "") or wanted in (None, ""):
            continue
        if isinstance(known, str) and known.startswith("/"):
            same = seen.real(known) == seen.real(str(wanted))
        else:
            same = _SNAPSHOTTERS.get(known, known) == _SNAPSHOTTERS.get(wanted, wanted)
        if not same:
            found.append((key, known, wanted))
    return found


_SNAPSHOTTERS = {"overlay2": "overlayfs"}
"""Names of one driver in the two image stores; that the store itself changes is said of the store."""


def asked(seen, key):
    """Return what a start would read for a key: the file's value or the flags', None where neither has it."""
    value = seen.config.get(key)
    if value is None:
        flags = given(seen.words, key)
        value = flags[-1] if flags else None
    return value


def data_root(info):
    """Return the ``data-root`` that an engine was started with."""
    root = info.get("DockerRootDir")
    # With userns-remap it is a directory UID.GID in what the file says (moby, daemon/daemon_unix.go).
    if root and _remapped(info) and os.path.basename(root).replace(".", "").isdigit():
        return os.path.dirname(root)
    return root


def containerd_store(info):
    """Whether the images are in containerd's store."""
    return any("io.containerd.snapshotter" in str(value) for _key, value in info.get("DriverStatus") or [])


def _wants_containerd(seen):
    version = version_tuple(seen.version)
    features = seen.config.get("features")
    wanted = features.get("containerd-snapshotter") if isinstance(features, dict) else None
    for flag in given(seen.words, "features"):
        name, _equals, value = flag.partition("=")
        wanted = value.lower() != "false" if name == "containerd-snapshotter" else wanted
    # From 29.0 on dockerd chooses by what there is (moby, daemon/daemon.go, chooseDriver); before 23.0 there is none.
    if wanted is None and version >= (29, 0) or version < (23, 0):
        return None
    return bool(wanted)


def _store(containerd):
    return None if containerd is None else "containerd" if containerd else "graphdriver"


def _remapped(info):
    return any("name=userns" in option for option in info.get("SecurityOptions") or [])


def _exec_root(seen):
    wanted = asked(seen, "exec-root") or _EXEC_ROOT
    # The engine does not tell of it; dockerd makes the directory at its start.
    return (wanted if seen.exists(wanted) else _EXEC_ROOT), wanted


def _containerd(seen):
    return seen.info.get("Containerd") or {}


def _namespace(seen, key, name, default):
    told = (_containerd(seen).get("Namespaces") or {}).get(name)
    wanted = asked(seen, key)
    if told or not seen.changed:
        # With userns-remap each has an ending.
        return told, wanted or (None if _remapped(seen.info) else default)
    # What the file said is not known, but what the flags of the running one say is.
    flags = given(seen.running, key)
    return (flags[-1] if flags else default), wanted


def _live_restore_that_does_not_hold(seen):
    if not seen.info.get("LiveRestoreEnabled"):
        return None
    why = live_restore_fails(seen)
    if not why:
        return None
    return Obstacle(
        "live_restore_does_not_hold",
        "warning",
        f"Live restore is on, and yet a restart of dockerd ends its containers: {why}.",
        "Set KillMode=process in dockerd's unit, or stop counting on live restore",
        refuses=False,
    )


def live_restore_fails(seen):
    """Return why containers would not outlive a restart though live restore is on, "" where they would."""
    if any("name=rootless" in option for option in seen.info.get("SecurityOptions") or []):
        return "the engine is rootless, and its containers end with its namespaces"
    unit = seen.unit or {}
    mode = unit.get("KillMode", "process")
    # Where containerd has a unit of its own, that has the containers' shims as well.
    own_containerd = "/docker/containerd/" in (_containerd(seen).get("Address") or "") or not (
        asked(seen, "containerd") or _containerd(seen).get("Address")
    )
    if mode not in ("process", "none") and own_containerd:
        return f"KillMode of {unit.get('Id')} is {mode}, so that systemd ends the containers' processes with it"
    return ""


def _no_room(seen):
    if seen.room is None or seen.room >= seen.needed + _SPARE:
        return None
    return Obstacle(
        "no_room_for_config",
        "critical",
        f"There is no space left for a second configuration file beside the first: {seen.room} bytes of "
        f"{seen.needed + _SPARE}.",
        "Make some on its file system",
    )
