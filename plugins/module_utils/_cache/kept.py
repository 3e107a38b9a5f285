# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why a prune leaves what it leaves. Pure."""

from __future__ import annotations

from typing import NamedTuple

from .._base.records import STOPPED, children_by_id
from .choose import (
    child_counts,
    is_lately_used,
    is_old,
    is_protected,
    is_selected,
    kept_by_name,
    planned_images,
    why_container,
)
from .gc import reason_to_keep
from .patterns import is_named, is_wholly_named
from .steps import cache_rules, listed

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
    "kept_image": "images_keep names it, or what was made on it.",
    "newest_tags": "It has one of the newest tags of its repository: images_keep_last.",
    "named_otherwise": "It has another tag, which images_remove does not name.",
    "young_container": "Lower containers_older_than.",
    "container_not_selected": "Widen containers_filters.",
    "digest_image": "It can be pulled and named by its digest alone. Set images: unused.",
    "parent_image": "An image that stays was made on it: remove that one.",
    "undated_image": "It has no date, and so no age. Leave out images_older_than.",
    "young_image": "Lower images_older_than.",
    "protected_image": "It arrived or was made lately. Lower protect_for.",
    "image_used_lately": "Lower images_unused_for.",
    "image_of_unknown_use": "Nothing tells when it was last used. Leave out images_unused_for.",
    "image_not_selected": "Widen images_filters.",
    "images_kept": "Set images: dangling or images: unused.",
    "within_marks": "The file system is below its marks without it. Lower low_watermark, and high_watermark.",
    "builder_not_chosen": "Name the builder in builders.",
    "stopped_builder": "Set bootstrap_stopped: true.",
    "orphan_in_use": "A build runs in it, or it cannot be asked: see facts. Wait, or remove its container yourself.",
    "young_orphan": "Lower orphans_older_than.",
    "refused_by_engine": "The engine's log says why (journalctl -u docker).",
}


class Kept(NamedTuple):
    """What stays for one reason: how many objects, and their bytes."""

    reason: str
    count: int
    bytes: int
    remedy: str
    builder: str | None = None


def as_decided(before, after):
    """Return the Observation ``after`` a run as of the time of that ``before`` it: by this age was decided what goes,
    and a run may take longer than a short ``unused_for``."""
    return after._replace(engine=after.engine._replace(now=before.engine.now))


def kept(wanted, observation, shortfalls=(), enough=False):
    """Return the Kept of everything that the observation still holds after a prune.

    ``shortfalls`` are the bytes that went by the plan or the engine's word but that the disk did not gain:
    {reason: (objects, bytes)}. ``enough`` is whether the run had marks and what it removed was enough for them.
    """
    wanted, left = wanted.widest, "within_marks" if enough else "refused_by_engine"
    groups = _records_by_reason(wanted, observation, left)
    refused = {image.id for image in planned_images(wanted, observation)}
    parents, named = child_counts(observation.images), kept_by_name(wanted, observation)
    for image in listed(observation.images):
        reason = named.get(image.id) or _why_image(image, wanted, observation, parents)
        reason = left if image.id in refused else reason
        groups.setdefault(reason, []).append(image.unique_size)
    for container in observation.containers if wanted.containers == "stopped" else ():
        if not container.running:
            reason = why_container(container, wanted, observation) or left
            groups.setdefault(reason, []).append(container.size)
    found = [Kept(reason, len(sizes), sum(sizes), _REMEDIES[reason]) for reason, sizes in groups.items()]
    return found + [Kept(reason, *shortfalls[reason], _REMEDIES[reason]) for reason in shortfalls]


def kept_by_builders(wanted, builders, enough=False):
    """Return the Kept of the records that other builders still hold; ``builders`` are what was Pruned."""
    wanted, left = wanted.widest._replace(embedded=True), "within_marks" if enough else "refused_by_engine"
    found = []
    for one in builders:
        if one.after:
            groups = _records_by_reason(wanted, as_decided(one.chosen.before, one.after), left)
            found += [
                Kept(reason, len(sizes), sum(sizes), _REMEDIES[reason], one.node.label)
                for reason, sizes in groups.items()
            ]
        elif one.node.status == STOPPED:
            found.append(
                Kept("stopped_builder", 1, one.chosen.state_bytes, _REMEDIES["stopped_builder"], one.node.label)
            )
    return found


def kept_orphans(orphans):
    """Return the Kept of what is left of builders that are gone; ``orphans`` are those that stay."""
    groups = {}
    for one in orphans:
        groups.setdefault("orphan_in_use" if one.busy else "young_orphan", []).append(one.bytes)
    return [Kept(reason, len(sizes), sum(sizes), _REMEDIES[reason]) for reason, sizes in groups.items()]


def _records_by_reason(wanted, observation, left):
    groups, rules = {}, cache_rules(wanted, observation)
    children = children_by_id(observation.records)
    for record in observation.records:
        reason = _why_record(record, wanted, rules, observation.engine.now, children) or left
        groups.setdefault(reason, []).append(record.size)
    return groups


def _why_record(record, wanted, rules, now, children):
    """Return why what is wanted leaves a record, None where it does not."""
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
    return "within_limit" if wanted.sizes else None


def _why_image(image, wanted, observation, parents):
    holders = [container for container in observation.containers if container.image_id == image.id]
    if any(container.running for container in holders):
        return "running_containers_image"
    if holders:
        return "stopped_containers_image"
    by_name = is_wholly_named(image, wanted.images_remove)
    if is_named(image, wanted.images_remove) and not by_name and not is_selected(image, wanted, observation):
        return "named_otherwise"
    if wanted.images == "keep" and not by_name:
        return "images_kept"
    if not image.untagged and wanted.images == "dangling" and not by_name:
        return "tagged_image" if image.tags else "digest_image"
    if is_protected(image, wanted, observation):
        return "protected_image"
    if wanted.images_older_than and not is_old(image, wanted, observation):
        return "young_image" if image.dated else "undated_image"
    if is_lately_used(image, wanted, observation):
        return "image_used_lately" if image.id in observation.uses else "image_of_unknown_use"
    if image.id in parents and is_selected(image, wanted, observation):
        return "parent_image"
    return "image_not_selected"
