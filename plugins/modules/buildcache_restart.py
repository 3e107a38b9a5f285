#!/usr/bin/python
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import signal
import time
from contextlib import contextmanager, nullcontext

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.buildfleet.buildcache.plugins.module_utils._arguments import (
    CONNECTION_OPTIONS,
    LOCK_OPTIONS,
    errors_reported,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._daemon import DAEMON_CONFIG
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import is_local
from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import BadOption, BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._json_text import BadConfig
from ansible_collections.buildfleet.buildcache.plugins.module_utils._lock import locked
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy import terms
from ansible_collections.buildfleet.buildcache.plugins.module_utils._restart import (
    Host,
    NotHealthy,
    builds_running,
    drain,
    go_back,
    note_success,
    refuse_other_policy,
    refuse_unseen,
    refuse_without_way_back,
    restart,
    running,
    running_containers,
    serves,
    switch_on_live_restore,
    validate,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._service import service_manager
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import SECOND, parse_duration

OPTIONS = {
    "config_file": {"type": "path", "default": DAEMON_CONFIG},
    "service": {"type": "str", "default": "docker"},
    "service_manager": {"type": "str", "choices": ["auto", "systemd", "systemd_user", "sysvinit"], "default": "auto"},
    "live_restore": {"type": "bool", "default": False},
    "allow_container_stop": {"type": "bool", "default": False},
    "drain_timeout": {"type": "str", "default": "30m"},
    "health_timeout": {"type": "str", "default": "60s"},
    "planned": {"type": "bool", "default": False},
    "rendered": {"type": "dict"},
}


def main():
    module = AnsibleModule(argument_spec=dict(CONNECTION_OPTIONS, **LOCK_OPTIONS, **OPTIONS), supports_check_mode=True)
    # A connection that is cut must not end what brings dockerd back.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    result = {"changed": False, "restarted": False, "rolled_back": False, "containers": []}
    options = module.params
    with errors_reported(module, result):
        host = host_of(module)
        drained_by = time.monotonic() + _seconds(options, "drain_timeout")
        with locked(options, shared=module.check_mode):
            now = looked(host, options, result, module.check_mode)
            needed = restart_needed(now, options)
        while needed and not module.check_mode:
            # Without the lock: looks and cleanups need not wait for the builds.
            drain(now.client, drained_by, options["drain_timeout"])
            with locked(options):
                now = looked(host, options, result)
                needed = restart_needed(now, options)
                if needed and not builds_running(now.client):
                    now = restarted(host, now, options, result, module.warn)
                    needed = False
        result["changed"] = result["changed"] or needed
    module.exit_json(**result, **_in_effect(now.status))


def host_of(module):
    """Return the Host by the module's options. Raises BadOption for an engine that is elsewhere."""
    options = module.params
    if not is_local(options["docker_host"]):
        raise BadOption(
            f"docker_host: the engine at {options['docker_host']} is on another host, and what would be restarted is "
            "the dockerd of this one. Run the task on that host, by its own socket; DOCKER_HOST counts too."
        )

    def run(command):
        return module.run_command(command, handle_exceptions=False)

    return Host(
        connection=options,
        service=service_manager(options["service_manager"], options["service"], run),
        config_file=options["config_file"],
        health_timeout=_seconds(options, "health_timeout"),
        replace=module.atomic_move,
        run=run,
    )


def looked(host, options, result, check_mode=False):
    """Look at dockerd and return its Running. What speaks against a restart that is needed is an error; a file with
    which dockerd would not start is put back."""
    with nullcontext() if check_mode else as_before_on_failure(host, result):
        now = running(host)
        if restart_needed(now, options):
            refuse_to_stop_containers(now, options, result)
            refuse_unseen(now)
            if not check_mode:
                refuse_other_policy(now, options["rendered"])
                validate(host, now)
                refuse_without_way_back(now)
    return now


def restart_needed(now, options):
    """Whether dockerd has to be restarted to obey its file, or to be found unable to."""
    return bool(now.status.in_effect.restart_required or now.status.in_file is None or options["planned"])


def refuse_to_stop_containers(now, options, result):
    """Note the running containers, and refuse where a restart would stop them and nobody has said that it may."""
    result["containers"] = running_containers(now.client)
    kept = now.client.info().get("LiveRestoreEnabled") or options["live_restore"] or options["allow_container_stop"]
    if result["containers"] and not kept:
        raise BuildcacheError(
            f"A restart of dockerd would stop {len(result['containers'])} running containers "
            f"({', '.join(result['containers'][:5])}), since live restore is off. Set live_restore to switch it on, or "
            "allow_container_stop to stop them."
        )


def restarted(host, now, options, result, warn):
    """Restart dockerd; return the Running after."""
    with as_before_on_failure(host, result, since=time.time()):
        if result["containers"] and options["live_restore"] and not now.client.info().get("LiveRestoreEnabled"):
            now = switch_on_live_restore(host, now)
            result["changed"] = True
            validate(host, now)
        # From here on dockerd comes back before this process ends. Not ignored, which commands would inherit.
        for number in (signal.SIGTERM, signal.SIGINT):
            signal.signal(number, lambda *_signal: None)
        result["restarted"] = result["changed"] = True
        after = restart(host, now.config)
    try:
        note_success(after)
    except BuildcacheError as problem:
        warn(f"dockerd obeys the policy. But {problem} A next restart that fails may find nothing to go back to.")
    return after


@contextmanager
def as_before_on_failure(host, result, since=None):
    """Go back to the file of before where dockerd would not start with this one, and on every failure once it was
    restarted. ``since`` is when that was, in seconds since the epoch."""
    try:
        yield
    except Exception as problem:
        if not (result["restarted"] or isinstance(problem, (NotHealthy, BadConfig))):
            raise
        raise BuildcacheError(gone_back(host, problem, result, since)) from problem


def gone_back(host, problem, result, since):
    """Go back to the file of before; return what there is to say."""
    said = _words(problem)
    if result["restarted"]:
        result["daemon_errors"] = _trouble(host, since)
        said += f" It said: {' / '.join(result['daemon_errors'])}" if result["daemon_errors"] else ""
    try:
        result["rolled_back"] = go_back(host, result["restarted"])
    except Exception as worse:
        return f"{said} Going back failed too: {_words(worse)} {_standing(host, result)}"
    if result["rolled_back"]:
        serving = "dockerd serves with it again" if result["restarted"] else "dockerd was not restarted"
        return f"{said} The configuration file that it obeyed before was put back, and {serving}."
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
