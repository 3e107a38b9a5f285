#!/usr/bin/python
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import signal
import time

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.buildfleet.buildcache.plugins.module_utils._arguments import (
    CONNECTION_OPTIONS,
    LOCK_OPTIONS,
    errors_reported,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._daemon import DAEMON_CONFIG, keep_in_force
from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import BuildcacheError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._json_text import BadConfig
from ansible_collections.buildfleet.buildcache.plugins.module_utils._lock import locked
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy import terms
from ansible_collections.buildfleet.buildcache.plugins.module_utils._restart import (
    Host,
    NotHealthy,
    drain,
    go_back,
    restart,
    running,
    running_containers,
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
}


def main():
    module = AnsibleModule(argument_spec=dict(CONNECTION_OPTIONS, **LOCK_OPTIONS, **OPTIONS), supports_check_mode=True)
    # A connection that is cut must not end what brings dockerd back.
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    result = {"changed": False, "restarted": False, "rolled_back": False, "containers": []}
    options = module.params
    with errors_reported(module, result):
        host = Host(
            connection=options,
            service=service_manager(options["service_manager"], options["service"], module.run_command),
            config_file=options["config_file"],
            health_timeout=_seconds(options, "health_timeout"),
            replace=module.atomic_move,
            run=module.run_command,
        )
        drain_timeout = _seconds(options, "drain_timeout")
        with locked(options, shared=module.check_mode):
            try:
                now = running(host)
                if now.status.in_effect.restart_required or now.status.in_file is None or options["planned"]:
                    refuse_to_stop_containers(now, options, result)
                    result["changed"] = True
                    if not module.check_mode:
                        now = restarted(host, now, options, drain_timeout, result)
            except (NotHealthy, BadConfig) as problem:
                if module.check_mode:
                    raise
                raise BuildcacheError(gone_back(host, problem, result)) from problem
    module.exit_json(**result, **_in_effect(now.status))


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


def restarted(host, now, options, drain_timeout, result):
    """Restart dockerd when no build runs; return the Running after."""
    result["changed"] = False
    if result["containers"] and options["live_restore"] and not now.client.info().get("LiveRestoreEnabled"):
        now = switch_on_live_restore(host, now)
        result["changed"] = True
    validate(host, now)
    drain(now.client, drain_timeout)
    result["restarted"] = result["changed"] = True
    result["since"] = time.time()
    after = restart(host, now.config)
    del result["since"]
    keep_in_force(after.config.path, after.config.text)
    return after


def gone_back(host, problem, result):
    """Go back to the file that dockerd obeyed; return what there is to say."""
    since = result.pop("since", None)
    result["daemon_errors"] = host.service.trouble(since) if since else []
    said = f" It said: {' / '.join(result['daemon_errors'])}" if result["daemon_errors"] else ""
    try:
        result["rolled_back"] = go_back(host, result["restarted"])
    except BuildcacheError as worse:
        return f"{problem}{said} Going back failed too: {worse} dockerd is NOT serving; see to it by hand."
    if not result["rolled_back"]:
        return f"{problem}{said} What dockerd obeyed before is not known, so nothing was put back; see to it by hand."
    serving = "dockerd serves with it again" if result["restarted"] else "dockerd was not restarted"
    return f"{problem}{said} The configuration file that it obeyed before was put back, and {serving}."


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
