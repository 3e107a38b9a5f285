# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The story of buildcache_facts, which two modules tell: with every builder, or with the engine's own alone."""

from __future__ import annotations

from ansible.module_utils.basic import AnsibleModule

from .._base.errors import BadOption
from .._base.records import EMBEDDED
from .._base.units import SECOND, parse_duration
from .._builders.reported import reported_rules
from .._dockerd.daemon import local_daemon
from .._engine.address import socket_path
from .._engine.client import Deadline, EngineClient
from .._engine.last_cleanup import last_cleanup
from .._engine.lock import locked
from .._engine.observe import observe
from .._policy.in_effect import Daemon
from .._results.facts import facts
from .arguments import (
    BUILDER_OPTIONS,
    CONNECTION_OPTIONS,
    LOCK_OPTIONS,
    SERVICE_OPTIONS,
    errors_reported,
    leave_to_the_whole,
)

OPTIONS = {
    **SERVICE_OPTIONS,
    "records": {"type": "bool", "default": False},
    "images": {"type": "bool", "default": False},
    "config_file": {"type": "path"},
    "look_ahead": {"type": "bool", "default": False},
    "measure": {"type": "bool", "default": False},
    "working_set": {"type": "bool", "default": False},
    "deadline": {"type": "str", "default": "5m"},
}


def facts_module(observe_builders=None, elsewhere=None, ahead=None, measured=None, used=None, working=None):
    """Run the module. ``observe_builders(options, client)`` returns the Builders beyond the engine's own,
    ``elsewhere`` is as for EngineClient, ``ahead(module, client, pid)`` returns the Obstacles of a restart, and
    ``measured(module, observation, deadline)`` what is told of the disks, and Findings, and ``used(module, client,
    observation)`` what is told of each image, and ``working(module, client, observation, builders, told)`` the facts
    with the use of each builder's records; the module without them ends before anything is done where it takes them."""
    module = AnsibleModule(
        argument_spec=dict(CONNECTION_OPTIONS, **LOCK_OPTIONS, **BUILDER_OPTIONS, **OPTIONS), supports_check_mode=True
    )
    options = module.params
    with errors_reported(module):
        others = _others_asked(options["builders"])
        seconds = parse_duration(options["deadline"], "deadline") / SECOND
        here = elsewhere or socket_path(options["docker_host"])
        asked = {"look_ahead": ahead, "measure": measured, "images": used, "working_set": working}
        if not here or (others and not observe_builders) or any(options[one] and not asked[one] for one in asked):
            leave_to_the_whole(module)
        with locked(options, shared=True):
            deadline, client = Deadline(seconds), EngineClient(options, elsewhere)
            builders = observe_builders(options, client) if others else None
            observation = observe(client, deadline=deadline)
            daemon = daemon_here(options, client, observation)
            pid = observation.engine.pid if options["look_ahead"] else None
            obstacles = ahead(module, client, pid) if pid else ()
            listed = used(module, client, observation) if options["images"] else None
            disks, more = measured(module, observation, deadline) if options["measure"] else ((), ())
            last = last_cleanup(client.docker_host)
        told = facts(observation, daemon, builders, options["records"], obstacles, disks, more, listed, last)
        if options["working_set"]:
            told = working(module, client, observation, builders, told)
    module.exit_json(ansible_facts={"buildcache": told})


def daemon_here(options, client, observation):
    """Return the Daemon of an Observation, one of which nothing is known where the engine is not on this host."""
    engine = observation.engine
    if not engine.pid:
        return Daemon()
    return local_daemon(reported_rules, engine.version, client.docker_host, options["config_file"], engine.pid)


def _others_asked(names):
    if not names:
        raise BadOption("builders: the list is empty. Name builders, or leave it out for the engine's own.")
    return set(names) != {EMBEDDED}
