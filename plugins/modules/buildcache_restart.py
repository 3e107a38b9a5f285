#!/usr/bin/python
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import json
import os
import signal
import time
from contextlib import contextmanager, nullcontext

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BuildcacheError, EngineError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.json_text import BadConfig
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND, parse_duration
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders.reported import reported_rules
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.as_told import as_told
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.before import (
    refuse_obstacles,
    refuse_other_policy,
    refuse_unseen,
    refuse_without_way_back,
    seen,
    validate,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.drain import (
    ALL,
    UNKNOWN,
    containers_to_end,
    drain,
    unfinished,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.look import in_swarm, live_restore_fails
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.own import (
    config_path,
    own_home,
    require_service,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.rehearsal import Rehearsal, rehearsed
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.restart import (
    ANSWERS_WITHIN,
    begun_again,
    note_success,
    restart,
    switch_on_live_restore,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.running import (
    Host,
    NotBegun,
    NotHealthy,
    running,
    serves,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.same import held, require_same
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.state import (
    Left,
    forget_restart,
    restart_left,
    restart_noted,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.way_back import FORMER, go_back, unproven
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.client import EngineClient
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.lock import locked
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.sdk import SdkTransport
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.arguments import (
    AUDIT_OPTIONS,
    CONNECTION_OPTIONS,
    LOCK_OPTIONS,
    SERVICE_OPTIONS,
    errors_reported,
    go_on_unheard,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.restart_audit import way_back_logged
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.service import runner, service_of
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.policy import terms

OPTIONS = {
    **SERVICE_OPTIONS,
    "config_file": {"type": "path"},
    "live_restore": {"type": "bool", "default": False},
    "allow_container_stop": {"type": "bool", "default": False},
    "drain_timeout": {"type": "str", "default": "30m"},
    "drain_containers": {"type": "list", "elements": "str", "default": []},
    "health_timeout": {"type": "str"},
    "allow_store_change": {"type": "bool", "default": False},
    "rehearse": {"type": "bool", "default": True},
    "planned": {"type": "bool", "default": False},
    "bring_back": {"type": "bool", "default": False},
    "rendered": {"type": "dict"},
    **AUDIT_OPTIONS,
}

_CUT_OFF = "dockerd did not serve, since an earlier run was cut off in its restart"
_UNPROVEN = "dockerd did not serve, since it has failed with what an earlier run has written"


def main():
    module = AnsibleModule(argument_spec=dict(CONNECTION_OPTIONS, **LOCK_OPTIONS, **OPTIONS), supports_check_mode=True)
    # A connection that is cut must not end what brings dockerd back.
    go_on_unheard()
    result = {name: False for name in ("changed", "rehearsed", "restarted", "rolled_back")}
    result.update(containers=[], dependents=[])
    options = module.params
    with errors_reported(module, result), way_back_logged(module, lambda: host_with(module, None), result):
        host = host_to_restart(module, result)
        if options["bring_back"]:
            module.exit_json(**result)
        drained_by = time.monotonic() + _seconds(options, "drain_timeout")
        with locked(options, shared=module.check_mode):
            now = looked(host, options, result, module.warn, module.check_mode)
            needed = restart_needed(now, options)
        while needed and not module.check_mode:
            # Without the lock: looks and cleanups need not wait for the builds.
            if not drain(now, options["drain_containers"], drained_by, options["drain_timeout"]):
                module.warn(
                    f"The engine could not tell within {options['drain_timeout']} (drain_timeout) whether a build "
                    "runs: its account of the build cache fails, and buildcache_facts says how. It was waited for no "
                    "longer."
                )
            with locked(options):
                now = looked(host, options, result, module.warn)
                needed = restart_needed(now, options)
                if needed and unfinished(now, options["drain_containers"]) in (None, UNKNOWN):
                    now = restarted(host, now, options, result, module.warn)
                    needed = False
        result["changed"] = result["changed"] or needed
    module.exit_json(**result, **_in_effect(now.status))


def host_of(module):
    """Return the Host by the module's options. Raises EngineError, and BadOption for an engine that cannot be shown to
    be of this host and of the service."""
    options = module.params

    def ask():
        return EngineClient(options, SdkTransport).info()

    home = own_home(options["docker_host"], ask, "the dockerd that would be restarted is")
    host = host_with(module, home.pid)
    require_service(home.pid, host.service.main_pid(), options["service"])
    return host


def host_with(module, pid):
    """Return the Host by the module's options and the PID of dockerd, None where that does not run."""
    options = module.params
    return Host(
        connection=options,
        service=service_of(module),
        config_file=config_path(options["config_file"], pid),
        health_timeout=_seconds(options, "health_timeout") if options["health_timeout"] else None,
        replace=module.atomic_move,
        run=runner(module),
        reported_by=reported_rules,
        rehearse=Rehearsal().refusal,
        elsewhere=SdkTransport,
    )


def host_to_restart(module, result):
    """Return the Host; where an earlier run was cut off in its restart, once that has been brought to an end. Raises as
    host_of(), and BuildcacheError where dockerd had to go back to the file of before."""
    try:
        host, problem = host_of(module), None
    except EngineError as error:
        host, problem = host_with(module, None), error
    path = os.path.realpath(host.config_file)
    left, why = left_over(host, path, problem)
    if left and module.check_mode and problem:
        raise EngineError(f"{problem} {why}; a run without check mode brings it back.") from problem
    if left and not module.check_mode:
        with locked(module.params):
            # Whoever held the lock until now may have ended it.
            left, why = left_over(host, path, problem)
            if left:
                end_restart(host, left, why, result, module.warn)
        return host_of(module)
    if problem:
        raise problem
    return host


def left_over(host, path, problem):
    """Return what an earlier run has Left of a restart, and why dockerd does not serve then; None and "" for nothing.
    ``problem`` is why it cannot be asked, None where it can.

    A run that was cut off before its restart leaves a file with which a boot may have failed.
    """
    left = restart_left(path)
    if left is not None:
        return left, _CUT_OFF
    if problem and unproven(path) and host.service.gave_up():
        return Left(tuple(host.service.enabled_dependents()), ""), _UNPROVEN
    return None, ""


def end_restart(host, left, why, result, warn):
    """Bring to its end what is Left of a restart: have dockerd serve, and run again what stopped with it."""
    try:
        if not serves(host):
            with as_before_on_failure(host, result, since=time.time()):
                result["restarted"] = result["changed"] = True
                note_success(begun_again(host))
            warn(f"{why}. It was started, and serves with {host.config_file} as it is.")
    finally:
        stopped = still_stopped(host, left.dependents)
        if stopped:
            warn(stopped)
        forget_restart(os.path.realpath(host.config_file))


def looked(host, options, result, warn, check_mode=False):
    """Look at dockerd and return its Running. What speaks against a restart that is needed is an error; a file with
    which dockerd would not start is put back."""
    with nullcontext() if check_mode else as_before_on_failure(host, result):
        now = running(host)
        if restart_needed(now, options):
            refuse_unseen(now)
            found = look_before(host, now, options, result)
            if not check_mode:
                refuse_other_policy(now, options["rendered"])
                validate(host, now)
            # What dockerd has started with, and nobody has changed since, needs no trial before that is written.
            if found.changed or not check_mode:
                untried = rehearsed(host, now, found) if options["rehearse"] else "rehearse is off."
                result["rehearsed"] = not untried
                if untried and options["rehearse"]:
                    warn(f"Whether dockerd starts with {now.config.path} could not be tried: {untried}")
            if not check_mode and untried:
                refuse_without_way_back(now, untried)
    return now


def restart_needed(now, options):
    """Whether dockerd has to be restarted to obey its file, or to be found unable to."""
    return bool(now.status.in_effect.restart_required or now.status.in_file is None or options["planned"])


def look_before(host, now, options, result):
    """Refuse what would keep dockerd from starting, or from starting as it was. Note the running containers, and refuse
    where a restart would stop them and nobody has said that it may. Returns what is Seen."""
    found = seen_now(host, now)
    if not options["planned"]:
        # What is written needs no room any more.
        found = found._replace(room=None)
    # Once: a container that ends in between would count among those that run, and not among those that are waited for.
    listed = now.client.containers()
    result["containers"] = containers_to_end(listed, [ALL])
    result["dependents"] = host.service.dependents()
    is_on = found.info.get("LiveRestoreEnabled")
    switches = bool(result["containers"] and options["live_restore"] and not is_on)
    refuse_obstacles(found, options, switches and not options["allow_container_stop"])
    why = "" if is_on or options["live_restore"] else "live restore is off"
    why = why or live_restore_fails(found)
    # Those that are waited for end before.
    ended = containers_to_end(listed, options["drain_containers"])
    stopped = [name for name in result["containers"] if name not in ended]
    if stopped and why and not options["allow_container_stop"]:
        raise BuildcacheError(
            f"A restart of dockerd would stop {len(stopped)} running containers ({', '.join(stopped[:5])}), since "
            f"{why}. Set live_restore to switch it on, allow_container_stop to stop them, or drain_containers to wait "
            "until they have ended."
        )
    return found


def seen_now(host, now):
    """Return what is Seen of the host."""
    return seen(host.service, now.client.info(), now.version, now.config, now.pid, now.daemon.started_at)


def restarted(host, now, options, result, warn):
    """Restart dockerd; return the Running after."""
    path, found = os.path.realpath(host.config_file), seen_now(host, now)
    is_on = bool(found.info.get("LiveRestoreEnabled"))
    switches = bool(result["containers"] and options["live_restore"] and not (is_on or in_swarm(found.info)))
    live = is_on or switches
    told = as_told(found._replace(info={**found.info, "LiveRestoreEnabled": live}))
    noted = restart_noted(path, Left(tuple(result["dependents"]), json.dumps(told, indent=2) + "\n"))
    with noted, dependents_as_before(host, result), as_before_on_failure(host, result, since=time.time()):
        if switches:
            now = switch_on_live_restore(host, now)
            result["changed"] = True
            validate(host, now)
        # From here on dockerd comes back before this process ends. Not ignored, which commands would inherit.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_signal: None)
        before, outlive = held(now.client), live and not live_restore_fails(found)
        result["restarted"] = result["changed"] = True
        try:
            after = restart(host, now.config)
        except NotBegun:
            result["restarted"] = False
            raise
        if not options["allow_store_change"]:
            require_same(before, after.client, outlive, ANSWERS_WITHIN)
    try:
        note_success(after)
    except BuildcacheError as problem:
        warn(f"dockerd obeys the policy. But {problem} A next restart that fails may find nothing to go back to.")
    return after


@contextmanager
def dependents_as_before(host, result):
    """However a restart ends, have the units run again that ran before it and stopped with dockerd: systemd starts them
    only after a start that went well."""
    said, cause = "dockerd obeys the policy.", None
    try:
        yield
    except BuildcacheError as problem:
        said, cause = str(problem), problem
    stopped = still_stopped(host, result["dependents"]) if result["restarted"] else ""
    if cause or stopped:
        raise BuildcacheError(f"{said} {stopped}".rstrip()) from cause


def still_stopped(host, names):
    """Start again what does not run of these units; return what there is to say of those that do not even then."""
    try:
        stopped = host.service.start_again(names, host.health_timeout or ANSWERS_WITHIN)
    except BuildcacheError as problem:
        return f"Whether {', '.join(names)} run again is not known: {problem}"
    told = ", ".join(f"{name} ({state})" for name, state in stopped)
    return f"{told}: ran before and could not be started again; journalctl --unit says why." if told else ""


@contextmanager
def as_before_on_failure(host, result, since=None):
    """Go back to the file of before where dockerd would not start with this one, and on every failure once it was
    restarted. ``since`` is when that was, in seconds since the epoch."""
    try:
        yield
    except Exception as problem:
        if not (result["restarted"] or isinstance(problem, (NotBegun, NotHealthy, BadConfig))):
            raise
        raise BuildcacheError(gone_back(host, problem, result, since)) from problem


def gone_back(host, problem, result, since):
    """Go back to the file of before; return what there is to say."""
    said = _words(problem)
    if result["restarted"]:
        result["daemon_errors"] = _trouble(host, since)
        said += f" It said: {' / '.join(result['daemon_errors'])}" if result["daemon_errors"] else ""
    try:
        back = go_back(host, result["restarted"])
    except Exception as worse:
        return f"{said} Going back failed too: {_words(worse)} {_standing(host, result)}"
    result["rolled_back"] = back == FORMER
    if result["rolled_back"]:
        serving = "dockerd serves with it again" if result["restarted"] else "dockerd was not restarted"
        return f"{said} The configuration file that it obeyed before was put back, and {serving}."
    if back:
        return (
            f"{said} Nor did it start with a file of before. It serves with what the one that ran told of itself: its "
            f"store, live restore, runtimes, registries and labels, without a GC policy. {back} has what "
            f"{host.config_file} said; correct that, and put it back."
        )
    if result["restarted"]:
        return f"{said} There is no other configuration file to go back to. {_standing(host, result)}"
    return f"{said} {host.config_file} is not as this collection wrote it, and was left. {_standing(host, result)}"


def _standing(host, result):
    if not result["restarted"]:
        return "dockerd was not restarted and serves as before; see to the file before somebody restarts it."
    return "dockerd serves." if serves(host) else "dockerd is NOT serving; see to it by hand."


def _trouble(host, since):
    try:
        return host.service.trouble(since)
    except BuildcacheError:
        return []


def _words(problem):
    text = str(problem)
    return text if isinstance(problem, BuildcacheError) else f"{type(problem).__name__}: {text}."


def _seconds(options, name):
    return parse_duration(options[name], name) / SECOND


def _in_effect(status):
    obeyed = status.in_effect
    return {
        "in_effect": terms(obeyed.policy) if obeyed.policy else None,
        "in_effect_source": obeyed.source,
        "restart_required": obeyed.restart_required,
    }


if __name__ == "__main__":
    main()
