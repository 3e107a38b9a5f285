# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to the service manager: starting dockerd again, and what it said when it would not."""

from __future__ import annotations

import os
import re
import time
from contextlib import suppress

from .._base.errors import BuildcacheError

_PATIENCE = 20
"""Seconds for a service manager to answer, or to end a start that hangs."""

_LONG = 600
"""Seconds for a start or a stop without a limit of its own."""

_TIMES_THE_LAST = 5
"""So many times as long as its last start may a start without a limit take: a host grows, and may be busy."""

_PARTS_OF_A_START = 3
"""ExecStartPre=, ExecStart= and ExecStartPost= have the unit's time for a start each (systemd, core/service.c,
service_arm_timer)."""

_STARTS = 3
"""So many automatic restarts are no start that goes on."""

_REQUIRING = ("Requires", "Requisite", "BindsTo")
_FOLLOWED_BY = ("RequiredBy", "RequisiteOf", "BoundBy", "ConsistsOf", "PropagatesStopTo")
"""The properties of a unit that name those that stop with it (systemd.unit(5), Mapping of unit properties to their
inverses)."""
_LAST_START = ("InactiveExitTimestampMonotonic", "ActiveEnterTimestampMonotonic")
"""The properties that tell when the last start began and when it was over, in microseconds."""
_STANDING = ("active", "activating", "reloading", "refreshing")
_SHOWN = (
    "Id", "LoadState", "LoadError", "ActiveState", "SubState", "Job", "CanStart", "CanStop", "RefuseManualStart",
    "RefuseManualStop", "NeedDaemonReload", "KillMode", "Restart", "ExecStartPre", "ExecStart", "Environment",
    "EnvironmentFiles", "WorkingDirectory", "TimeoutStartUSec", "ControlGroup", "TriggeredBy", "NRestarts",
    "UnitFileState",
    *_LAST_START, *_REQUIRING, *_FOLLOWED_BY,
)  # fmt: skip
"""The properties of a unit that tell whether and how it would start, and what with it (systemd,
org.freedesktop.systemd1(5))."""

# Exit statuses of timeout(1).
_TIMED_OUT, _NOT_FOUND = 124, 127

_LINES = 5
_NO_TROUBLE = re.compile(r'level"?[=:]"?(?:info|debug|warn)|\bconfiguration: *\{')
"""dockerd's own lines that tell of no trouble. At these levels it logs its whole configuration as well."""

# What dockerd can show of its configuration in an error: a password in a URL; the values of a key that stands in the
# file and among the flags (moby, daemon/config, findConfigurationConflicts).
_SECRETS = (
    (re.compile(r"://[^\s\"'<>]*@"), "://***@"),
    (re.compile(r"\(from f(?:lag|ile):.*?(?=, [\w.-]+: \(from f|$)"), "(the values are not shown)"),
)

_SPAN = {"us": 1e-6, "ms": 1e-3, "s": 1, "min": 60, "h": 3600, "d": 86400, "w": 604800, "month": 2629800, "y": 31557600}
"""The units in which systemctl shows a span of time, in seconds (systemd, basic/time-util.c, format_timespan)."""


def service_manager(kind, service, run):
    """Return the manager of a service, by the option service_manager.

    ``run(command)`` returns the exit status, what was printed, and the errors, as AnsibleModule.run_command does. All
    methods raise BuildcacheError where a command cannot be run.
    """
    if kind == "auto":
        kind = "systemd" if os.path.isdir("/run/systemd/system") else "sysvinit"
    if kind == "sysvinit":
        return _SysVInit(service, run)
    return _Systemd(service, run, user=kind == "systemd_user")


class _Systemd:
    """systemd, or that of a user. Nothing waits for a job to end: one that hangs in start has no time limit."""

    def __init__(self, service, run, user):
        self._service = service
        self._run = run
        self._systemctl = ["systemctl", "--user"] if user else ["systemctl"]
        self._own_lines = f"_SYSTEMD_{'USER_' if user else ''}UNIT={service}.service"
        self._all_lines = f"--{'user-' if user else ''}unit={service}"
        if user:
            os.environ.setdefault("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}")

    def main_pid(self):
        """Return the PID of the main process of the service, None where there is none."""
        found = self._property("MainPID")
        return int(found) if found.isdigit() and found != "0" else None

    def unit(self):
        """Return the properties of the unit, {name: value}, and of the units that it requires: a list of them."""
        own = self._own()
        names = [name for kind in _REQUIRING for name in own.get(kind, "").split()]
        # Slices, targets and mounts are the manager's own and need nothing that could be missing here.
        names = [name for name in dict.fromkeys(names) if name.endswith((".service", ".socket"))]
        return own, self._properties(*names) if names else []

    def unmet(self):
        """Return the conditions of the unit that do not hold now: what systemd-analyze says of them.

        Nothing where there is none that can tell (it can from systemd 250 on).
        """
        status, printed = patiently(self._run, ["systemd-analyze", "condition", f"--unit={self._service}.service"])
        if status in (0, None):
            return ()
        # "docker.service: ConditionPathExists=/run/never failed." (systemd, analyze/analyze-condition.c)
        return tuple(re.findall(r"^(?:\S+: )?((?:Condition|Assert)\w+=.*) failed\.?$", printed, re.MULTILINE))

    def dependents(self):
        """Return the names of the running units that stop with the service, and with those in turn.

        A unit that triggers it, as its socket does, starts with it again.
        """
        return self._following(_stands)

    def enabled_dependents(self):
        """Return the names of the units that stop with the service, as dependents(), and that a boot starts."""
        return self._following(lambda one: one.get("UnitFileState") == "enabled")

    def _following(self, counts):
        units = self._properties(self._service)
        known = {name for one in units for name in (one.get("Id"), *one.get("TriggeredBy", "").split())}
        found = []
        while units:
            names = {name for one in units for kind in _FOLLOWED_BY for name in one.get(kind, "").split()} - known
            known |= names
            units = [one for one in (self._properties(*sorted(names)) if names else []) if counts(one)]
            found += [one["Id"] for one in units]
        return sorted(found)

    def start_again(self, names, limit):
        """Start those of the units that do not run, once; return those that do not in the end: [(name, its state)].

        ``limit`` are the seconds after which a start that goes on is left to itself, and counts as one that runs.
        """
        end, begun = time.monotonic() + limit, set()
        while True:
            units = self._properties(*names) if names else []
            down = [one for one in units if not _stands(one)]
            new = [one["Id"] for one in down if _is_idle(one) and one["Id"] not in begun]
            for name in new:
                self._asked("reset-failed", name)
                self._asked("--no-block", "start", name)
            begun.update(new)
            settled = all(one.get("ActiveState") == "active" or one in down and _is_idle(one) for one in units)
            if settled and not new or time.monotonic() > end:
                return [(one["Id"], one.get("ActiveState", "unknown")) for one in down]
            time.sleep(0.2)

    def gave_up(self):
        """Whether the service has failed, or fails again and again; not where somebody has stopped it."""
        shown = self._own()
        return shown.get("ActiveState") == "failed" or shown.get("SubState") == "auto-restart"

    def under_way(self):
        """Whether a start or stop of the service has been begun, or it does not run."""
        shown = self._own()
        return shown.get("ActiveState") != "active" or shown.get("Job", "0") not in ("", "0")

    def start_limit(self):
        """Return the seconds in which a start has to have ended: what its unit gives it, and where that is no limit
        what starts take on this host."""
        shown = self._own()
        given = _seconds(shown.get("TimeoutStartUSec", ""))
        if given:
            return _PARTS_OF_A_START * given
        left, reached = (int(shown.get(name) or 0) for name in _LAST_START)
        return max(_LONG, _TIMES_THE_LAST * (reached - left) / 1e6)

    def stop_limit(self):
        """Return the seconds after which the manager kills a service that does not stop."""
        return _seconds(self._property("TimeoutStopUSec")) or _LONG

    def restart(self):
        """Begin a restart. The count of recent starts, of which systemd allows a few only, is set back first."""
        for unit in (self._service, f"{self._service}.socket"):
            self._asked("reset-failed", unit)
        _must(self._run, [*self._systemctl, "--no-block", "restart", self._service])

    def has_failed(self):
        """Whether the manager has given up or never begun, or has tried often enough."""
        shown = self._own()
        return _is_idle(shown) or int(shown.get("NRestarts") or 0) >= _STARTS

    def end(self):
        """End the service, or the start that it hangs in, without touching what its main process has started.

        One that serves may take its time to stop.
        """
        patience = self.stop_limit() if self._asked("is-active", self._service) == "active" else _PATIENCE
        self._asked("--no-block", "stop", self._service)
        end = time.monotonic() + patience
        while self._asked("is-active", self._service) not in ("inactive", "failed"):
            if time.monotonic() > end:
                for who in ("control", "main"):
                    self._asked("kill", f"--kill-who={who}", "--signal=KILL", self._service)
                break
            time.sleep(0.2)

    def trouble(self, since):
        """Return the last lines in which the service tells of trouble since a moment (seconds since the epoch)."""
        journal = ["journalctl", "--no-pager", "--output=cat", f"--since=@{int(since)}"]
        own = patiently(self._run, [*journal, self._own_lines])[1].splitlines()
        return _troubled(own) or _troubled(patiently(self._run, [*journal, self._all_lines])[1].splitlines())

    def _properties(self, *units):
        """Return the properties of units, a dict for each."""
        shown = self._asked("show", f"--property={','.join(_SHOWN)}", *units)
        return [
            dict(line.split("=", 1) for line in block.splitlines() if "=" in line)
            for block in shown.split("\n\n")
            if block
        ]

    def _own(self):
        return (self._properties(self._service) or [{}])[0]

    def _property(self, name):
        # "--value" came with systemd 230.
        return self._asked("show", f"--property={name}", self._service).partition("=")[2]

    def _asked(self, *words):
        return patiently(self._run, [*self._systemctl, *words], hint=_NO_MANAGER)[1].strip()


def _seconds(span):
    """Return the seconds of a span of time as systemctl shows it, None for one without an end."""
    parts = re.findall(r"(\d+)(\w+)", span)
    if not parts or any(unit not in _SPAN for _number, unit in parts):
        return None
    return sum(int(number) * _SPAN[unit] for number, unit in parts)


def _stands(unit):
    # One that ends again and again is between two starts most of the time.
    return unit.get("ActiveState") in _STANDING and unit.get("SubState") != "auto-restart"


def _is_idle(unit):
    return unit.get("Job", "0") in ("", "0") and unit.get("ActiveState") in ("inactive", "failed")


class _SysVInit:
    """The init scripts of System V."""

    def __init__(self, service, run):
        self._service = service
        self._run = run
        self._log = f"/var/log/{service}.log"
        self._old_log = 0

    def main_pid(self):
        """Return the PID of the main process of the service: a script does not say."""
        return None

    def unit(self):
        """Return no properties: a script has none."""
        return {}, []

    def unmet(self):
        """Return no conditions."""
        return ()

    def dependents(self):
        """Return no names: scripts do not depend on one another."""
        return []

    def enabled_dependents(self):
        """Return no names."""
        return []

    def gave_up(self):
        """Whether the service has failed: a script does not say."""
        return False

    def start_again(self, names, limit):
        """Start nothing: there are no dependents."""
        del names, limit
        return []

    def under_way(self):
        """Whether a start or stop has been begun: the process tells, a script does not."""
        return False

    def start_limit(self):
        """Return the seconds in which dockerd has to answer after restart() has returned: a script does not tell how
        far it is."""
        return _PATIENCE * 3

    def stop_limit(self):
        """Return the seconds that a stop may take after restart() has returned: a script waits for it."""
        return _PATIENCE

    def restart(self):
        """Restart, and wait for the stop, however long the containers take for that."""
        with suppress(OSError):
            self._old_log = os.path.getsize(self._log)
        self.end()
        _must(self._run, ["service", self._service, "start"])

    def has_failed(self):
        """Whether the manager has given up: a script does not say."""
        return False

    def end(self):
        """Stop the service."""
        patiently(self._run, ["service", self._service, "stop"], _LONG, _NO_MANAGER)

    def trouble(self, since):
        """Return the last lines of the log in which the service tells of trouble since the restart."""
        with suppress(OSError), open(self._log, "rb") as log:
            size = log.seek(0, os.SEEK_END)
            # A shorter one is a new one.
            log.seek(self._old_log if self._old_log <= size else 0)
            return _troubled(log.read().decode("utf-8", "replace").splitlines()[-200:])
        return []


def masked(text):
    """Return what a program has printed without the credentials that it can hold."""
    for secret, shown in _SECRETS:
        text = secret.sub(shown, text)
    return text


def _troubled(lines):
    # An error comes again with every attempt to start.
    return list(dict.fromkeys(masked(line) for line in lines if not _NO_TROUBLE.search(line)))[-_LINES:]


_NO_MANAGER = "Set service_manager to the one that starts dockerd."


def patiently(run, command, patience=None, hint=""):
    """Run a command that must end in time; return its exit status and what it printed.

    Raises BuildcacheError, with a ``hint`` of what to do where the command is missing.
    """
    patience = _PATIENCE if patience is None else patience
    try:
        status, printed, errors = run(["timeout", str(patience), *command])
    except (OSError, ValueError) as problem:
        raise BuildcacheError(f"{' '.join(command)} cannot be run: {problem}.") from problem
    if status == _TIMED_OUT:
        raise BuildcacheError(f"{' '.join(command)} did not end within {patience} s.")
    if status == _NOT_FOUND:
        raise BuildcacheError(f"There is no {command[0]} on this host. {hint}".rstrip())
    return status, printed + errors


def _must(run, command):
    status, printed = patiently(run, command, hint=_NO_MANAGER)
    if status:
        raise BuildcacheError(f"{' '.join(command)} failed: {masked(printed.strip())}")
