# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Looking before dockerd is touched: what speaks against a restart is an error, and nothing was changed."""

from __future__ import annotations

import os
from contextlib import suppress

from .._base.errors import BuildcacheError
from .._base.json_text import BadConfig
from .._base.units import version_tuple
from .._engine.config_file import read_config
from .._engine.host import command_of, free_bytes, start_of
from .._policy.history import can_be_restarted
from .._policy.reader import from_daemon_json
from .daemon import known_history
from .look import Seen, live_restore_with_swarm, obstacles
from .running import NotHealthy
from .service import masked, patiently
from .unit import environment_files, programs, start_command

_FIRST_WITH_VALIDATE = (23, 0)
"""The first dockerd with --validate (moby, cmd/dockerd/options.go)."""


def seen(service, info, version, config, pid, started_at):
    """Return what was Seen of a host, by the manager of its service, the engine's /info and version, a ConfigFile, and
    the PID and start of dockerd (seconds since the epoch, None where unknown)."""
    unit, required = service.unit()
    files = environment_files(unit)
    running = command_of(pid)
    command = start_command(unit, [_text(path) for path, _optional in files]) or running
    # What starts it through a script of its own says nothing of the flags.
    words = command if os.path.basename(command[:1][0] if command else "").startswith("dockerd") else running
    wanted = [*programs(unit), *(path for path, optional in files if not optional)]
    directory = unit.get("WorkingDirectory", "")
    if directory.startswith("/"):
        wanted.append(directory)
    return Seen(
        info=info,
        version=version,
        config=config.data,
        words=tuple(words[1:]),
        running=tuple(running[1:]),
        unit=unit,
        missing=tuple(path for path in wanted if not os.path.exists(path)),
        unmet=service.unmet() if unit else (),
        broken=tuple(
            (one.get("Id", "?"), f"is {one['LoadState']}")
            for one in required
            # A masked socket that is active still is handed to no new dockerd (seen on 20.10.24).
            if one.get("LoadState") == "masked"
            or (one.get("LoadState") != "loaded" and one.get("ActiveState") != "active")
        ),
        room=free_bytes(os.path.dirname(config.path)),
        needed=len(config.text or ""),
        changed=None in (config.changed_at, started_at) or config.changed_at > started_at,
        real=os.path.realpath,
        exists=os.path.isdir,
    )


def ahead(service, client, path, pid):
    """Return the Obstacles that a restart of the dockerd with this PID and this configuration file would meet.

    None is told of a file that has no good content: that is a finding by itself. Raises BuildcacheError.
    """
    try:
        config = read_config(path)
    except BadConfig:
        return ()
    return obstacles(seen(service, client.info(), client.version["Version"], config, pid, start_of(pid)))


def refuse_obstacles(seen, options, live_restore):
    """Raise NotHealthy where an Obstacle speaks against a restart and no option allows it. ``live_restore`` is
    whether that would be switched on."""
    found = [one for one in obstacles(seen) if one.refuses and not (one.allowed_by and options[one.allowed_by])]
    if live_restore and not any(one.code == "live_restore_with_swarm" for one in found):
        found += filter(None, [live_restore_with_swarm(seen, wanted=True)])
    if found:
        said = " ".join(f"{one.message} {one.remedy}." for one in found)
        raise NotHealthy(said)


def _text(path):
    with suppress(OSError), open(path, encoding="utf-8", errors="surrogateescape") as file:
        return file.read()
    return ""


def refuse_other_policy(now, rendered):
    """Raise BuildcacheError where the file says a policy, but not the one that was ``rendered`` (``builder.gc`` as
    buildcache_gc_policy returns it; None for any)."""
    found = now.status.in_file
    if rendered is None or found is None:
        return
    wanted = from_daemon_json({"gc": rendered}, now.version)
    # The sizes of the default rules are the host's own.
    if wanted is None or wanted._replace(default_sizes=found.default_sizes).meaning != found.meaning:
        raise BuildcacheError(
            f"{now.config.path} has another GC policy by now than the one that was written: somebody else has changed "
            "it meanwhile. It was left so, and dockerd was not restarted. Run this again when the other has ended."
        )


def refuse_unseen(now):
    """Raise BuildcacheError where the end of a restart could not be seen."""
    if start_of(now.pid) is None:
        raise BuildcacheError(
            "The process of dockerd cannot be found, so that nobody could tell whether a restart went well; it was not "
            "begun. Set service to the name of dockerd's unit, or name the PID file by pidfile in its configuration."
        )


def refuse_without_way_back(now, untried):
    """Raise BuildcacheError where nothing could be put back if dockerd did not start with its file; ``untried`` is why
    that was not tried."""
    if not can_be_restarted(known_history(now.config, now.status.in_file, now.daemon), now.config.text):
        raise BuildcacheError(
            f"{now.config.path} was changed by hand since dockerd started, and what it said before is not known: if "
            "dockerd did not start with it, nothing could be put back. Whether it would could not be tried: "
            f"{untried} dockerd was not restarted; do that by hand."
        )


def validate(host, now):
    """Have the file checked, by ourselves and by the dockerd of this host with the flags of the one that runs; one
    without --validate has to run at least. Raises NotHealthy."""
    if now.status.in_file is None:
        said = " ".join(map(str, now.status.traps))
        raise NotHealthy(f"dockerd would not start with the GC policy in {now.config.path}. {said}")
    program, *flags = command_of(now.pid)
    if version_tuple(now.version) < _FIRST_WITH_VALIDATE:
        command, refused = [program, "--version"], "dockerd cannot be run"
    else:
        command, refused = [program, "--validate", *flags], "dockerd --validate refuses the file"
    try:
        status, printed = patiently(host.run, command)
    except BuildcacheError as problem:
        raise NotHealthy(f"dockerd cannot be run: {problem}") from problem
    if status:
        raise NotHealthy(f"{refused}: {masked(' '.join(printed.strip().splitlines()[-1:]))}")
