# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why space is not coming back: findings about a host, and reasons for what a prune leaves. Pure.

A finding has a stable code, bytes, a message, and a remedy: a task or a command to run. Sizes overlap: a layer that
an untagged image and a shared record both hold counts in both findings, since both must let go of it.
"""

from __future__ import annotations

from dataclasses import dataclass

from ansible_collections.buildfleet.buildcache.plugins.module_utils._records import NEVER_WITHOUT_ALL

FEW_INODES = 0.10
"""The share of inodes below which a file system is reported to run out of them: kubelet's nodefs.inodesFree is 5 %,
and a cleanup should speak up before it."""


@dataclass(frozen=True)
class Finding:
    """One reason why space is not coming back."""

    code: str
    bytes: int
    message: str
    remedy: str


def findings(observation):
    """Return the Findings of a host, most bytes first."""
    found = [
        finding
        for finding in (
            _untagged_images(observation),
            _images_of_stopped_containers(observation),
            *_records(observation.records),
            *map(_few_inodes, observation.filesystems),
        )
        if finding
    ]
    return sorted(found, key=lambda finding: -finding.bytes)


def _untagged_images(observation):
    images = [image for image in observation.images if image.untagged and image.id not in observation.used_image_ids]
    if not images:
        return None
    return Finding(
        "untagged_images",
        sum(image.unique_size for image in images),
        f"{_count(images, 'untagged image')} held by no container; their layers stay until the images and the "
        "build cache have let go of them.",
        "buildcache_prune: {images: dangling}",
    )


def _images_of_stopped_containers(observation):
    running = {container.image_id for container in observation.containers if container.running}
    stopped = {container.image_id for container in observation.containers} - running
    images = [image for image in observation.images if image.id in stopped]
    if not images:
        return None
    return Finding(
        "images_of_stopped_containers",
        sum(image.unique_size for image in images),
        f"{_count(images, 'image')} held by stopped containers only.",
        "buildcache_prune: {containers: stopped, images: unused}",
    )


def _records(records):
    for code, group, what, remedy in (
        (
            "records_in_use",
            [record for record in records if record.in_use],
            "in use by a build, or by a build that was cut off",
            "Wait for the running builds to end; restart dockerd if there are none.",
        ),
        (
            "shared_records",
            [record for record in records if record.shared and not record.in_use],
            "whose layers are an image's too; removing the record alone frees nothing",
            "buildcache_prune: {images: unused} removes the images that no container uses, and then these records",
        ),
        (
            "internal_records",
            [record for record in records if record.type in NEVER_WITHOUT_ALL and not record.in_use],
            "of internal or frontend type, which are kept unless all is set",
            "buildcache_prune: {all: true}",
        ),
    ):
        if group:
            yield Finding(code, sum(record.size for record in group), f"{_count(group, 'record')} {what}.", remedy)


def _few_inodes(filesystem):
    if not filesystem.inodes_total or filesystem.inodes_available >= FEW_INODES * filesystem.inodes_total:
        return None
    return Finding(
        "few_inodes",
        0,
        f"{filesystem.path} has {filesystem.inodes_available} of {filesystem.inodes_total} inodes left; it can be "
        "full with bytes to spare.",
        "buildcache_prune: {images: unused, all: true} removes most files; a file system made with more inodes lasts",
    )


def _count(things, noun):
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"
