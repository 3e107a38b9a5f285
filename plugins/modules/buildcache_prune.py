#!/usr/bin/python
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: buildcache_prune
short_description: Free the disk of a Docker build host, in the order that works
version_added: 0.1.0
author:
  - The buildfleet.buildcache contributors (@buildfleet)
description:
  - Removes stopped containers (if asked), then images, then build cache. In this order a layer that all three hold is
    freed in one run; in another order, or with one step alone, often nothing is.
  - Means the same on every engine from 19.03 to 29, whatever the engine itself can do.
  - What a build or a running container uses is never removed.
  - Check mode names the very objects that would go, and makes no request that changes anything.
extends_documentation_fragment:
  - buildfleet.buildcache.engine
  - buildfleet.buildcache.attributes
attributes:
  check_mode:
    support: full
  diff_mode:
    support: full
  idempotent:
    support: full
options:
  containers:
    description:
      - V(stopped) removes all containers that do not run, and so frees their images for the next step.
    type: str
    choices: [keep, stopped]
    default: keep
  images:
    description:
      - V(dangling) removes untagged images, V(unused) all images that no container was made from.
    type: str
    choices: [dangling, unused, keep]
    default: dangling
  images_older_than:
    description:
      - Removes only images that were created this long ago, such as V(36h) or V(14d). An image's age says nothing of
        its last use, nor of when it was pulled.
    type: str
  images_filters:
    description:
      - Removes only images with certain labels. C(label) and C(label!) take a label such as C(stage=build), or a list
        of labels of which all must match (C(label)) or none (C(label!)).
    type: dict
  build_cache:
    description:
      - Whether to prune the build cache.
    type: bool
    default: true
  builders:
    description:
      - Names of the builders to prune. V(default) is the BuildKit embedded in the engine, and the only one so far.
    type: list
    elements: str
    default: [default]
  all:
    description:
      - Removes shared, internal and frontend records too. A shared record's layers stay on disk while an image holds
        them.
    type: bool
    default: false
  unused_for:
    description:
      - Removes only records that were last used this long ago, such as V(36h), V(1h30m) or V(14d).
      - A record stays as long as another one builds on it, so a young record keeps all its ancestors.
    type: str
  types:
    description:
      - Removes only records of these types. V(internal) and V(frontend) need O(all=true).
    type: list
    elements: str
    choices: [regular, source.local, source.git.checkout, exec.cachemount, internal, frontend]
  filters:
    description:
      - Removes only records that match all of these. C(id) is an id or a part of one, C(description) the full text
        (engines since 27), C(shared) and C(private) can be true.
    type: dict
  reserved_space:
    description:
      - Keeps this much build cache in any case, such as V(20GB) or V(15%) of the file system. C(GB) is 2^30 bytes.
      - Without O(max_used_space) and O(min_free_space) it is the limit itself, as C(--keep-storage) is.
      - Shared records do not count, here and in the other two limits.
    type: str
  max_used_space:
    description:
      - Removes the least recently and least often used records until less build cache than this is left.
    type: str
  min_free_space:
    description:
      - Removes the least recently and least often used records until the file system has this much free.
      - Measured on the file system that holds the data, with the blocks reserved for root, as BuildKit does.
    type: str
  deadline:
    description:
      - Ends the run after this long, with what was done so far. Includes waiting for another prune to end.
    type: str
    default: 1h
seealso:
  - module: buildfleet.buildcache.buildcache_facts
"""

EXAMPLES = r"""
- name: Remove untagged images and the build cache that nothing uses
  buildfleet.buildcache.buildcache_prune:

- name: Keep 20 GB of build cache, and what was used in the last three days
  buildfleet.buildcache.buildcache_prune:
    unused_for: 3d
    max_used_space: 20GB

- name: Have at least a quarter of the disk free
  buildfleet.buildcache.buildcache_prune:
    min_free_space: 25%

- name: Remove everything that no running container uses
  buildfleet.buildcache.buildcache_prune:
    containers: stopped
    images: unused
    all: true

- name: See what would go
  buildfleet.buildcache.buildcache_prune:
  check_mode: true
  diff: true
"""

RETURN = r"""
steps:
  description: The steps, in the order in which they were done.
  returned: always, once the engine was reached
  type: list
  elements: dict
  contains:
    step:
      description: V(containers), V(images) or V(build_cache).
      type: str
      returned: always
    builder:
      description: Name of the builder, for the build cache.
      type: str
      returned: for V(build_cache)
    planned:
      description: What the step should remove, by C(count), C(bytes) that the file system gains, and C(ids).
      type: dict
      returned: always
    removed:
      description: What it removed, by C(count), C(bytes) that the engine claims, and C(ids). Nothing in check mode.
      type: dict
      returned: always
    error:
      description: Why the step failed.
      type: str
      returned: where it failed
predicted_bytes:
  description: What the file system was to gain by the plan.
  returned: always, once the engine was reached
  type: int
reported_bytes:
  description: What the engine claims to have freed; it counts layers that stay because an image holds them.
  returned: always, once the engine was reached
  type: int
freed_bytes:
  description:
    - What the file system gained, measured before and after; whatever else the host wrote meanwhile is in it. Null
      where the engine's file systems cannot be measured.
  returned: always, once the engine was reached
  type: int
kept:
  description: What stays and why, most bytes first.
  returned: always, once the engine was reached
  type: list
  elements: dict
  contains:
    reason:
      description: Stable name of the reason.
      type: str
      returned: always
      sample: tagged_image
    count:
      description: Number of objects.
      type: int
      returned: always
    bytes:
      description: Their size.
      type: int
      returned: always
    remedy:
      description: What would let them go.
      type: str
      returned: always
filesystems:
  description: The file systems C(before) and C(after), as M(buildfleet.buildcache.buildcache_facts) returns them.
  returned: always, once the engine was reached
  type: dict
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.buildfleet.buildcache.plugins.module_utils._arguments import (
    CONNECTION_OPTIONS,
    check_builders,
    errors_reported,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import Deadline, EngineClient
from ansible_collections.buildfleet.buildcache.plugins.module_utils._observe import observe
from ansible_collections.buildfleet.buildcache.plugins.module_utils._plan import wanted_from_options
from ansible_collections.buildfleet.buildcache.plugins.module_utils._prune import carry_out, pretend, with_layers
from ansible_collections.buildfleet.buildcache.plugins.module_utils._report import failures, prune_result
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import SECOND, parse_duration

OPTIONS = {
    "containers": {"type": "str", "choices": ["keep", "stopped"], "default": "keep"},
    "images": {"type": "str", "choices": ["dangling", "unused", "keep"], "default": "dangling"},
    "images_older_than": {"type": "str"},
    "images_filters": {"type": "dict"},
    "build_cache": {"type": "bool", "default": True},
    "builders": {"type": "list", "elements": "str", "default": ["default"]},
    "all": {"type": "bool", "default": False},
    "unused_for": {"type": "str"},
    "types": {
        "type": "list",
        "elements": "str",
        "choices": ["regular", "source.local", "source.git.checkout", "exec.cachemount", "internal", "frontend"],
    },
    "filters": {"type": "dict"},
    "reserved_space": {"type": "str"},
    "max_used_space": {"type": "str"},
    "min_free_space": {"type": "str"},
    "deadline": {"type": "str", "default": "1h"},
}


def main():
    module = AnsibleModule(argument_spec=dict(CONNECTION_OPTIONS, **OPTIONS), supports_check_mode=True)
    with errors_reported(module):
        check_builders(module.params["builders"])
        wanted = wanted_from_options(module.params)
        deadline = Deadline(parse_duration(module.params["deadline"], "deadline") / SECOND)
        client = EngineClient(module.params)
        before = observe(client, container_sizes=wanted.containers == "stopped")
        before, doubt = with_layers(wanted, before)
        if module.check_mode:
            done, after = pretend(wanted, before)
        else:
            done, after = carry_out(wanted, client, before, deadline)
    if doubt:
        module.warn(doubt)
    result = prune_result(wanted, before, done, after, check_mode=module.check_mode, with_diff=module._diff)
    if failures(done):
        module.fail_json(msg=failures(done), **result)
    module.exit_json(**result)


if __name__ == "__main__":
    main()
