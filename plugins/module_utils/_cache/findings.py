# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Why space is not coming back: findings about a host, and reasons for what a prune leaves. Pure.

A finding has a stable code, bytes, a message, and a remedy: a task or a command to run. The code has a page in
docs/findings, or where it is that of a Trap a row in docs/gc_policy_traps.md.
Sizes overlap: a layer that an untagged image and a shared record both hold counts in both findings, since both must
let go of it.
"""

from __future__ import annotations

from typing import NamedTuple

from .._base.records import (
    BUILD_CACHE,
    IMAGE_SIZES,
    IMAGES,
    NEVER_WITHOUT_ALL,
    STOPPED,
    Builders,
    children_by_id,
)
from .._base.units import (
    SECOND,
    human_duration,
    human_size,
    parse_timestamp,
)

FEW_INODES = 0.10
"""The share of inodes below which a file system is reported to run out of them: kubelet's nodefs.inodesFree is 5 %,
and a cleanup should speak up before it."""

LONG_UNUSED = 7 * 86400 * SECOND
"""From when on a record counts as old, in nanoseconds: a week."""

LARGER_BYTES = 2**30
"""From how many bytes beyond its records on a builder's volume is remarked on, where it is twice as large besides."""


CRITICAL, WARNING, INFO = SEVERITIES = ("critical", "warning", "info")
"""The host, or dockerd at its next start, will fail; space does not come back, or what is in force is not what is
meant; what one may want to know. Most severe first."""

_SEVERITY = {
    "config_unusable": CRITICAL,
    "few_inodes": CRITICAL,
    "records_in_use": INFO,
    "shared_records": INFO,
    "internal_records": INFO,
    "images_by_digest_alone": INFO,
    "stopped_builder": INFO,
    "data_on_two_filesystems": INFO,
}
"""The severity of a finding by its code, where it is not a warning."""


class Finding(NamedTuple):
    """One reason why space is not coming back, or why dockerd or the host will fail."""

    code: str
    severity: str
    bytes: int
    message: str
    remedy: str


def finding_of(code, size, message, remedy, severity=None):
    """Return the Finding with this code, and with the severity that belongs to it unless one is given."""
    return Finding(code, severity or _SEVERITY.get(code, WARNING), size, message, remedy)


def findings(observation, status, problem=None, builders=None, obstacles=(), more=()):
    """Return the Findings of a host, the most severe first, and of those that with the most bytes.

    ``status`` is the Status of its GC policy, ``problem`` why its configuration file cannot be used, ``builders`` are
    the Builders that were looked at, ``obstacles`` the Obstacles of a restart, ``more`` Findings about what else was
    looked at, or None.
    """
    builders = builders or Builders()
    found = [
        finding
        for finding in (
            _unread(observation),
            _untagged_images(observation),
            _images_by_digest_alone(observation),
            _images_of_stopped_containers(observation),
            *(_records(observation) if builders.embedded else ()),
            _gc_disabled(observation, status),
            *_traps(status),
            _daemon_older_than_config(status),
            _unusable_config(problem),
            _engine_not_here(observation),
            _data_on_two_filesystems(observation),
            *map(_few_inodes, observation.filesystems),
            *(finding for seen in builders.others for finding in _of_builder(seen)),
            *_orphans(builders.orphans, observation.engine.now),
            *more,
            *(finding_of(one.code, 0, one.message, f"{one.remedy}.", one.severity) for one in obstacles),
        )
        if finding
    ]
    return sorted(found, key=lambda finding: (SEVERITIES.index(finding.severity), -finding.bytes))


def _unread(observation):
    if not observation.unread:
        return None
    what = " and ".join(_UNREAD[name] for name, _why in observation.unread)
    # Several lists can fail for one reason.
    reasons = " ".join(dict.fromkeys(why for _name, why in observation.unread))
    return finding_of(
        "usage_unreadable",
        sum(image.size for image in observation.images),
        f"The engine cannot account for its disk: {what}. {reasons}",
        "Restart dockerd; where that does not help, docker builder prune --all and docker image prune --all let go of "
        "what is broken",
    )


_UNREAD = {
    BUILD_CACHE: "its build cache cannot be listed",
    IMAGES: "its images cannot be listed",
    IMAGE_SIZES: "what its images share is not known",
}


def _untagged_images(observation):
    images = [image for image in observation.images if image.untagged and image.id not in observation.used_image_ids]
    return _held(
        "untagged_images",
        [image.unique_size for image in images],
        f"{_count(images, 'untagged image')} held by no container; their layers stay until the images and the "
        "build cache have let go of them.",
        "buildcache_prune: {images: dangling}",
    )


def _images_by_digest_alone(observation):
    images = [image for image in observation.images if image.digests and not image.tags]
    images = [image for image in images if image.id not in observation.used_image_ids]
    return _held(
        "images_by_digest_alone",
        [image.unique_size for image in images],
        f"{_count(images, 'image')} without a tag that a digest still names: pulled by it, or pulled by a tag that has "
        "moved since.",
        "buildcache_prune: {images: unused, images_older_than: 14d}",
    )


def _images_of_stopped_containers(observation):
    running = {container.image_id for container in observation.containers if container.running}
    stopped = {container.image_id for container in observation.containers} - running
    images = [image for image in observation.images if image.id in stopped]
    return _held(
        "images_of_stopped_containers",
        [image.unique_size for image in images],
        f"{_count(images, 'image')} held by stopped containers only.",
        "buildcache_prune: {containers: stopped, images: unused}",
    )


def _records(observation, node=None):
    """Yield the Findings about the records of the engine's own builder, or of another Node."""
    about, chosen, restarted = "", "", "dockerd"
    if node:
        about, chosen, restarted = f"Builder {node.label}: ", f"builders: [{node.builder}], ", "the builder"
    records = observation.records
    for code, group, what, remedy in (
        (
            "records_in_use",
            [record for record in records if record.in_use],
            "in use by a build, or by a build that was cut off",
            f"Wait for the running builds to end; restart {restarted} if there are none.",
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
            f"buildcache_prune: {{{chosen}all: true}}",
        ),
        (
            "pinned_records",
            _pinned(observation),
            f"unused for {human_duration(LONG_UNUSED)} or more, held by younger ones that build on them; an age alone "
            "does not remove them",
            f"buildcache_prune: {{{chosen}max_used_space: 20GB}} removes what is worth least, children first",
        ),
    ):
        yield _held(code, [record.size for record in group], f"{about}{_count(group, 'record')} {what}.", remedy)


def _pinned(observation):
    """Return the records that no one has used for long, which stay because a younger one builds on them."""
    children = children_by_id(observation.records)
    by_id = {record.id: record for record in observation.records}
    limit = observation.engine.now - LONG_UNUSED
    return [
        record
        for record in observation.records
        if record.id in children
        and not (record.in_use or record.shared)
        and (parse_timestamp(record.last_used_at) or 0) <= limit
        and any((parse_timestamp(by_id[child].last_used_at) or 0) > limit for child in children[record.id])
    ]


def _of_builder(seen):
    """Yield the Findings about one other builder."""
    node = seen.node
    if seen.error:
        remedy = f"See to the builder, or remove it: docker buildx rm {node.builder}"
        yield finding_of("builder_unreachable", seen.state_bytes or 0, seen.error, remedy)
    elif seen.observation:
        yield from _records(seen.observation, node)
        yield _larger_state(seen)
        if node.reported == [] and node.driver == "docker-container":
            yield finding_of(
                "gc_disabled",
                sum(record.size for record in seen.observation.records),
                f"Builder {node.label} collects no garbage: its build cache grows until it is pruned.",
                f"buildcache_gc_policy: {{builder: {node.builder}, rules: [{{max_used_space: 20GB}}]}}",
            )
    elif node.status == STOPPED:
        yield finding_of(
            "stopped_builder",
            seen.state_bytes or 0,
            f"Builder {node.label} is stopped, and keeps its build cache in the volume {node.state_volume}.",
            f"buildcache_prune: {{builders: [{node.builder}], bootstrap_stopped: true}}, or docker buildx rm",
        )


def _larger_state(seen):
    held = sum(record.size for record in seen.observation.records)
    more = (seen.state_bytes or 0) - held
    if more < max(LARGER_BYTES, held):
        return None
    return finding_of(
        "builder_state_larger",
        more,
        f"Builder {seen.node.label}: its volume {seen.node.state_volume} has {human_size(seen.state_bytes)}, and its "
        f"records are {human_size(held)} of that.",
        f"docker buildx stop {seen.node.builder} lets its BuildKit clear up at the next start; where that does not "
        "help, make the builder anew",
    )


def _orphans(orphans, now):
    """Yield the Findings about what is left of builders that are gone."""
    for code, what, group in (
        ("orphaned_builders", "container", [one for one in orphans if one.container]),
        ("orphaned_builder_state", "volume", [one for one in orphans if not one.container]),
    ):
        told = ", ".join(f"{one.container or one.volume} ({_state(one, now)})" for one in group)
        yield _held(
            code,
            [one.bytes for one in group],
            f"{_count(group, what)} of builders that nobody on this host has: {told}.",
            "buildcache_prune: {remove_orphaned_state: true} removes those that have been idle for orphans_older_than",
        )


def _state(orphan, now):
    if orphan.busy or orphan.used_at is None:
        return f"{human_size(orphan.bytes)}, {orphan.busy or 'of no known age'}"
    return f"{human_size(orphan.bytes)}, idle for {human_duration(max(now - orphan.used_at, 0))}"


def _gc_disabled(observation, status):
    if status.in_file is None or status.in_file.enabled:
        return None
    return finding_of(
        "gc_disabled",
        sum(record.size for record in observation.records if not record.shared),
        "The engine collects no garbage: its build cache grows until it is pruned.",
        "buildcache_gc_policy: {rules: [{max_used_space: 20GB}]}, then restart dockerd",
    )


def _traps(status):
    """Yield a Finding for each code among the Traps; gc_disabled has one of its own."""
    for code in sorted({trap.code for trap in status.traps} - {"gc_disabled"}):
        message = " ".join(f"{trap.where}: {trap.message}" for trap in status.traps if trap.code == code)
        yield finding_of(
            code,
            0,
            f"daemon.json: {message}",
            "Correct daemon.json, or let buildcache_gc_policy write the policy; then restart dockerd",
            min((trap.severity for trap in status.traps if trap.code == code), key=SEVERITIES.index),
        )


def _daemon_older_than_config(status):
    if not status.in_effect.restart_required:
        return None
    return finding_of(
        "daemon_older_than_config",
        0,
        "dockerd does not obey the GC policy in daemon.json, which was changed after dockerd started.",
        "systemctl restart docker",
    )


def _unusable_config(problem):
    if not problem:
        return None
    return finding_of("config_unusable", 0, f"dockerd would not start again: {problem}", "Correct daemon.json")


def _engine_not_here(observation):
    if not observation.engine.doubt:
        return None
    return finding_of(
        "engine_not_here",
        0,
        observation.engine.doubt,
        "Run the task on the engine's own host, as root or the user whose engine it is, by dockerd's own socket",
    )


def _data_on_two_filesystems(observation):
    if len(observation.filesystems) < 2:
        return None
    paths = " and ".join(filesystem.path for filesystem in observation.filesystems)
    return finding_of(
        "data_on_two_filesystems",
        0,
        f"{paths} are on different file systems; the engine's own GC measures free space and percentages on "
        f"{observation.engine.root_dir} alone.",
        "buildcache_prune: {min_free_space: 25%} measures where the data is",
    )


def _few_inodes(filesystem):
    if not filesystem.inodes_total or filesystem.inodes_available >= FEW_INODES * filesystem.inodes_total:
        return None
    return finding_of(
        "few_inodes",
        0,
        f"{filesystem.path} has {filesystem.inodes_available} of {filesystem.inodes_total} inodes left; it can be "
        "full with bytes to spare.",
        "buildcache_prune: {images: unused, all: true} removes most files; a file system made with more inodes lasts",
    )


def _held(code, sizes, message, remedy):
    """Return the Finding about objects of these sizes, None where there are none."""
    return finding_of(code, sum(sizes), message, remedy) if sizes else None


def _count(things, noun):
    return f"{len(things)} {noun}{'' if len(things) == 1 else 's'}"
