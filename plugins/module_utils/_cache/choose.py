# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which containers and images a prune's options choose, and why the others stay. Pure."""

from __future__ import annotations

from heapq import heapify, heappop, heappush
from itertools import count

from .._base.units import SECOND
from .last_use import arrival
from .patterns import is_named, is_wholly_named, split_reference


def planned_containers(wanted, observation):
    """Return the containers that the first step removes: those that do not run and are chosen, where that is asked."""
    if wanted.containers != "stopped":
        return ()
    return tuple(one for one in observation.containers if why_container(one, wanted, observation) is None)


def why_container(container, wanted, observation):
    """Return why a container stays with ``containers: stopped``, None where it goes."""
    if container.running:
        return "running_container"
    if not _labelled(container, wanted.container_labels, wanted.container_labels_not):
        return "container_not_selected"
    age = wanted.containers_older_than
    if age and not 0 < container.created * SECOND <= observation.engine.now - age:
        return "young_container"
    return None


def planned_images(wanted, observation):
    """Return the images that the second step removes, the least recently used first, and children before their
    parents; no image that a container was made from is among them, and none that another one which stays was made on.

    With its last child goes a parent that nothing names, whatever was asked for, and in the containerd store with any
    child: so does the engine (moby, image_delete.go: daemon/images, imageDeleteHelper; daemon/containerd, deleteAll).
    """
    if wanted.images == "keep" and not wanted.images_remove:
        return ()
    used, images = observation.used_image_ids, {image.id: image for image in observation.images}
    children, kept = child_counts(observation.images), kept_by_name(wanted, observation)
    last_only = observation.engine.image_store != "containerd"
    turn = _turns(observation)
    # Grows, as parents lose children.
    childless = [turn(image) for image in observation.images if not children.get(image.id)]
    heapify(childless)
    gone, freed = {}, set()
    while childless:
        image = heappop(childless)[-1]
        wished = image.id in freed and image.untagged or is_selected(image, wanted, observation)
        if not wished or image.id in used or image.id in gone or image.id in kept:
            continue
        gone[image.id] = image
        parent = images.get(image.parent)
        if parent:
            children[parent.id] -= 1
            if not children[parent.id] or parent.untagged and not last_only:
                freed.add(parent.id)
                heappush(childless, turn(parent))
    return tuple(gone.values())


def _turns(observation):
    """Return turn(image), which puts images in the order in which they go: the least recently used first, as far as
    that is known, and of equals as they are asked for."""
    uses, asked = observation.uses or {}, count()

    def turn(image):
        use = uses.get(image.id)
        return use.at if use else observation.engine.now, next(asked), image

    return turn


def child_counts(images):
    """Return how many of these images were made on each: {parent id: number}."""
    counts = {}
    for image in images:
        if image.parent:
            counts[image.parent] = counts.get(image.parent, 0) + 1
    return counts


def kept_by_name(wanted, observation):
    """Return why images stay by their names, by id: ``kept_image``, or ``newest_tags``.

    Where an image that nothing names is to stay, so do those that were made on it: with them the engine removes it.
    """
    if not (wanted.images_keep or wanted.images_keep_last):
        return {}
    kept = dict.fromkeys(_newest(wanted.images_keep_last, observation.images), "newest_tags")
    kept.update((image.id, "kept_image") for image in observation.images if is_named(image, wanted.images_keep))
    images = {image.id: image for image in observation.images}
    for image in observation.images:
        parent = images.get(image.parent)
        while parent and parent.untagged:
            if parent.id in kept:
                kept.setdefault(image.id, "kept_image")
            parent = images.get(parent.parent)
    return kept


def _newest(number, images):
    """Return the ids of the images that have the newest tags of each repository, so many of each."""
    if not number:
        return set()
    of_repository = {}
    for image in images:
        for name in {split_reference(tag)[0] for tag in image.tags}:
            of_repository.setdefault(name, []).append(image)
    newest = set()
    for tagged in of_repository.values():
        tagged.sort(key=lambda image: (-image.created, image.id))
        newest.update(image.id for image in tagged[:number])
    return newest


def is_selected(image, wanted, observation):
    """Return whether the options that choose among images choose this one."""
    if is_protected(image, wanted, observation):
        return False
    if wanted.images_remove and is_wholly_named(image, wanted.images_remove):
        return True
    return (
        wanted.images != "keep"
        and (image.untagged or wanted.images == "unused")
        and (not wanted.images_older_than or is_old(image, wanted, observation))
        and not is_lately_used(image, wanted, observation)
        and _labelled(image, wanted.labels, wanted.labels_not)
    )


def is_protected(image, wanted, observation):
    """Return whether an image arrived or was made within ``protect_for``."""
    now = observation.engine.now
    return wanted.protect_for > 0 and arrival(image, now) > now - wanted.protect_for


def is_lately_used(image, wanted, observation):
    """Return whether an image was used within ``images_unused_for``, or when is not known; where nobody has reckoned
    last uses, none was."""
    if not wanted.images_unused_for or observation.uses is None:
        return False
    use = observation.uses.get(image.id)
    return use is None or use.at > observation.engine.now - wanted.images_unused_for


def is_old(image, wanted, observation):
    """Return whether an image is as old as ``images_older_than``; one without a date never is."""
    return image.dated and image.created * SECOND <= observation.engine.now - wanted.images_older_than


def _labelled(thing, labels, labels_not):
    return all(_has_label(thing, one) for one in labels) and not any(_has_label(thing, one) for one in labels_not)


def _has_label(thing, wanted):
    name, equals, value = wanted.partition("=")
    return name in thing.labels and (not equals or thing.labels[name] == value)
