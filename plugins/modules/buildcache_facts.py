#!/usr/bin/python
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders.observe import observe_builders
from ansible_collections.buildfleet.buildcache.plugins.module_utils._cache.disk import told, unaccounted
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.before import ahead
from ansible_collections.buildfleet.buildcache.plugins.module_utils._dockerd.own import config_path, require_service
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.boltdb import Unreadable
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.looks import disk_growth
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.measure import measured
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.sdk import SdkTransport
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.stores import with_store
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.uses import (
    Memory,
    with_arrivals,
    with_ends,
    with_uses,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.facts import facts_module
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.service import service_of
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.images import image_facts
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.working_sets import with_working_sets


def main():
    facts_module(observe_builders, SdkTransport, obstacles, disks, used, working)


def obstacles(module, client, pid):
    """Return the Obstacles of a restart of the dockerd with this PID. Raises BadOption for another one's service."""
    options, service = module.params, service_of(module)
    require_service(pid, service.main_pid(), options["service"])
    return ahead(service, client, config_path(options["config_file"], pid), pid)


def disks(module, observation, deadline):
    """Return what is told of the disks and the Findings about them; where they cannot be measured that is a warning."""
    try:
        found = measured(observation, deadline)
    except Unreadable as problem:
        module.warn(f"The disk was not measured. {problem}")
        return (), ()
    return told(found), (unaccounted(found),)


def used(module, client, observation):
    """Return what is told of each image, with its last use; where the image store cannot be read, what is known
    without, and that is a warning."""
    try:
        seen = with_store(observation)
    except Unreadable as problem:
        module.warn(f"When images were last used is known in part. {problem}")
        seen = with_arrivals(observation, client, [image.id for image in observation.images])
    seen = with_uses(with_ends(seen, client), Memory(client.docker_host).seen)
    # Those that the engine does not list are known for their store alone.
    return [image_facts(one, seen.uses) for one in seen.images if not one.hidden]


def working(module, client, observation, builders, told):
    """Return the facts with how each build cache is used and how the disk grows. This look at the disk is remembered
    for later ones, but in check mode nothing is written."""
    growth = disk_growth(client.docker_host, observation, remember=not module.check_mode)
    return with_working_sets(told, observation, builders, growth)


if __name__ == "__main__":
    main()
