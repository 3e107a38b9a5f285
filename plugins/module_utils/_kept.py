# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a prune leaves what it leaves. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from ansible_collections.buildfleet.buildcache.plugins.module_utils._gc import reason_to_keep
from ansible_collections.buildfleet.buildcache.plugins.module_utils._plan import cache_rules, planned_images
from ansible_collections.buildfleet.buildcache.plugins.module_utils._records import STOPPED, children_by_id
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import SECOND

_REMEDIES = {
    "layers_held_by_images": "The records are gone; their layers stay until the images go too (images: unused).",
    "disk_gained_less": "Something else wrote to the disk, or a process has deleted files open (lsof +L1).",
    "in_use": "Wait for the running builds to end; restart dockerd if there are none.",
    "internal": "Set all: true.",
    "shared": "Remove the images that hold the layers (images: unused); the records go in the same run.",
    "too_young": "Lower unused_for.",
    "not_selected": "Widen types or filters.",
    "has_child": "Prune again when the younger records that build on it may go.",
    "within_limit": "Lower reserved_space and max_used_space, or raise min_free_space.",
    "build_cache_kept": "Set build_cache: true.",
    "running_containers_image": "Stop and remove the container.",
    "stopped_containers_image": "Set containers: stopped and images: unused.",
    "tagged_image": "Set images: unused.",
    "young_image": "Lower images_older_than.",
    "image_not_selected": "Widen images_filters.",
    "images_kept": "Set images: dangling or images: unused.",
    "builder_not_chosen": "Name the builder in builders.",
    "stopped_builder": "Set bootstrap_stopped: true.",
    "refused_by_engine": "The engine's log says why (journalctl -u docker).",
}


@dataclass(frozen=True)
class Kept:
    """What stays for one reason: how many objects, and their bytes."""

    reason: str
    count: int
    bytes: int
    remedy: str
    builder: str | None = None


def kept(wanted, observation, shortfalls=()):
    """Return the Kept of everything that the observation still holds after a prune.

    ``shortfalls`` are the bytes that went by the plan or the engine's word but that the disk did not gain:
    {reason: (objects, bytes)}.
    """
    groups = _records_by_reason(wanted, observation)
    refused = {image.id for image in planned_images(wanted, observation)}
    for image in observation.images:
        reason = "refused_by_engine" if image.id in refused else _why_image(image, wanted, observation)
        groups.setdefault(reason, []).append(image.unique_size)
    found = [Kept(reason, len(sizes), sum(sizes), _REMEDIES[reason]) for reason, sizes in groups.items()]
    return found + [Kept(reason, *shortfalls[reason], _REMEDIES[reason]) for reason in shortfalls]


def kept_by_builders(wanted, builders):
    """Return the Kept of the records that other builders still hold; ``builders`` are what was Pruned."""
    wanted = replace(wanted, embedded=True)
    found = []
    for one in builders:
        if one.after:
            groups = _records_by_reason(wanted, one.after)
            found += [
                Kept(reason, len(sizes), sum(sizes), _REMEDIES[reason], one.node.label)
                for reason, sizes in groups.items()
            ]
        elif one.node.status == STOPPED:
            found.append(
                Kept("stopped_builder", 1, one.chosen.state_bytes, _REMEDIES["stopped_builder"], one.node.label)
            )
    return found


def _records_by_reason(wanted, observation):
    groups, rules = {}, cache_rules(wanted, observation)
    children = children_by_id(observation.records)
    for record in observation.records:
        reason = _why_record(record, wanted, rules, observation.engine.now, children)
        groups.setdefault(reason, []).append(record.size)
    return groups


def _why_record(record, wanted, rules, now, children):
    if not wanted.build_cache:
        return "build_cache_kept"
    if not wanted.embedded:
        return "builder_not_chosen"
    reasons = [reason_to_keep(record, rule, now) for rule in rules or (wanted.rule,)]
    # With a rule for each type, the one that selects the record knows the reason.
    reason = next((reason for reason in reasons if reason != "not_selected"), "not_selected")
    if reason:
        return reason
    if record.id in children:
        return "has_child"
    return "within_limit" if wanted.sizes else "refused_by_engine"


def _why_image(image, wanted, observation):
    holders = [container for container in observation.containers if container.image_id == image.id]
    if any(container.running for container in holders):
        return "running_containers_image"
    if holders:
        return "stopped_containers_image"
    if wanted.images == "keep":
        return "images_kept"
    if not image.untagged and wanted.images == "dangling":
        return "tagged_image"
    if wanted.images_older_than and image.created * SECOND > observation.engine.now - wanted.images_older_than:
        return "young_image"
    return "image_not_selected"
