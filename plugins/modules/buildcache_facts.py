#!/usr/bin/python
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

DOCUMENTATION = r"""
module: buildcache_facts
short_description: Report what images and build cache hold on a Docker build host
version_added: 0.1.0
author:
  - The buildfleet.buildcache contributors (@buildfleet)
description:
  - Reads the engine, its images, its build cache, and the file systems that hold them, and says why space is not
    coming back.
  - A layer's bytes come back only when the images and the build cache have both let go of it.
extends_documentation_fragment:
  - buildfleet.buildcache.engine
  - buildfleet.buildcache.attributes
  - buildfleet.buildcache.attributes.facts
options:
  builders:
    description:
      - Names of the builders to report. V(default) is the BuildKit embedded in the engine, and the only one so far.
    type: list
    elements: str
    default: [default]
  records:
    description:
      - Whether to return every build-cache record of a builder. There can be tens of thousands.
    type: bool
    default: false
seealso:
  - module: buildfleet.buildcache.buildcache_prune
"""

EXAMPLES = r"""
- name: See what images and build cache hold
  buildfleet.buildcache.buildcache_facts:

- name: Say why space is not coming back
  ansible.builtin.debug:
    msg: "{{ ansible_facts.buildcache.findings | map(attribute='message') }}"

- name: See every record of the build cache
  buildfleet.buildcache.buildcache_facts:
    records: true
"""

RETURN = r"""
ansible_facts:
  description: The facts.
  returned: success
  type: dict
  contains:
    buildcache:
      description: What the host holds. All sizes in bytes.
      returned: success
      type: dict
      contains:
        engine:
          description: The engine.
          returned: success
          type: dict
          contains:
            version:
              description: Version of the engine.
              type: str
              returned: success
              sample: 28.5.2
            api_version:
              description: Version of the Engine API that was spoken.
              type: str
              returned: success
              sample: "1.51"
            image_store:
              description: V(graphdriver) or V(containerd).
              type: str
              returned: success
              sample: graphdriver
            storage_driver:
              description: Storage driver, or snapshotter.
              type: str
              returned: success
              sample: overlay2
            root_dir:
              description: The engine's data directory.
              type: str
              returned: success
              sample: /var/lib/docker
            live_restore:
              description: Whether containers live on while dockerd restarts.
              type: bool
              returned: success
            started_at:
              description: When dockerd started, in seconds since the epoch; null where it cannot be known.
              type: float
              returned: success
        filesystems:
          description: The file systems that hold images and build cache, each once; empty for an engine elsewhere.
          returned: success
          type: list
          elements: dict
          contains:
            path:
              description: A data directory on it.
              type: str
              returned: success
            total_bytes:
              description: Size.
              type: int
              returned: success
            free_bytes:
              description: Free, with the blocks reserved for root. BuildKit measures this.
              type: int
              returned: success
            available_bytes:
              description: Free, without the blocks reserved for root, as C(df) shows it.
              type: int
              returned: success
            used_percent:
              description: Used share, as C(df) shows it.
              type: float
              returned: success
            inodes_total:
              description: Number of inodes; 0 where the file system has no fixed number.
              type: int
              returned: success
            inodes_available:
              description: Number of free inodes.
              type: int
              returned: success
        images:
          description: The images.
          returned: success
          type: dict
          contains:
            count:
              description: Number of images.
              type: int
              returned: success
            untagged:
              description: Number of images without a tag.
              type: int
              returned: success
            in_use:
              description: Number of images that a container was made from, running or not.
              type: int
              returned: success
            size_bytes:
              description: Size of all layers, each counted once.
              type: int
              returned: success
            reclaimable_bytes:
              description: Size of the layers that belong to a single image, and that one unused.
              type: int
              returned: success
        builders:
          description: The builders.
          returned: success
          type: list
          elements: dict
          contains:
            name:
              description: Name of the builder.
              type: str
              returned: success
              sample: default
            driver:
              description: Its buildx driver.
              type: str
              returned: success
              sample: docker
            status:
              description: Its state.
              type: str
              returned: success
              sample: running
            record_count:
              description: Number of records.
              type: int
              returned: success
            size_bytes:
              description: Size of all records.
              type: int
              returned: success
            shared_bytes:
              description: Size of the records whose layers are an image's too.
              type: int
              returned: success
            in_use_bytes:
              description: Size of the records in use.
              type: int
              returned: success
            reclaimable_bytes:
              description: Size of the records that are neither in use nor shared.
              type: int
              returned: success
            by_type:
              description: For each type of record its C(count) and C(bytes).
              type: dict
              returned: success
              sample: {regular: {count: 12, bytes: 734003200}}
            records:
              description: The records.
              type: list
              elements: dict
              returned: with O(records=true)
        gc_policy:
          description: The garbage-collection policy.
          returned: success
          type: dict
          contains:
            in_file:
              description: What C(builder.gc) says in C(/etc/docker/daemon.json); null where it says nothing.
              type: dict
              returned: success
        findings:
          description: Why space is not coming back, most bytes first.
          returned: success
          type: list
          elements: dict
          contains:
            code:
              description: Stable name of the finding.
              type: str
              returned: success
              sample: untagged_images
            bytes:
              description: Bytes concerned.
              type: int
              returned: success
            message:
              description: What is the matter.
              type: str
              returned: success
            remedy:
              description: A task or command that helps.
              type: str
              returned: success
"""

from ansible.module_utils.basic import AnsibleModule

from ansible_collections.buildfleet.buildcache.plugins.module_utils._arguments import (
    CONNECTION_OPTIONS,
    check_builders,
    errors_reported,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine import EngineClient
from ansible_collections.buildfleet.buildcache.plugins.module_utils._facts import facts
from ansible_collections.buildfleet.buildcache.plugins.module_utils._host import daemon_config, process_start
from ansible_collections.buildfleet.buildcache.plugins.module_utils._observe import observe


def main():
    module = AnsibleModule(
        argument_spec=dict(
            CONNECTION_OPTIONS,
            builders={"type": "list", "elements": "str", "default": ["default"]},
            records={"type": "bool", "default": False},
        ),
        supports_check_mode=True,
    )
    with errors_reported(module):
        check_builders(module.params["builders"])
        client = EngineClient(module.params)
        observation = observe(client)
    started_at, config = (process_start(), daemon_config()) if client.is_local else (None, {})
    module.exit_json(
        ansible_facts={"buildcache": facts(observation, started_at, config, with_records=module.params["records"])}
    )


if __name__ == "__main__":
    main()
