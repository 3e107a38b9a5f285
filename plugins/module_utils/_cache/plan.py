# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a prune should remove, decided from its options and from what the host holds. Pure.

The steps always come in this order: containers, images, build cache. A layer is freed only when the last of those
who hold it lets go: a container holds its image, an image its layers, and a build-cache record whose layers are an
image's is passed over until that image is gone.
"""

from __future__ import annotations

from typing import NamedTuple

from .._base.errors import BadOption
from .._base.records import BUILD_CACHE, IMAGES
from .._base.units import version_tuple
from .choose import planned_containers, planned_images
from .filters import FIRST_WITH_DESCRIPTION
from .gc import Removals, Rule, keep_bytes, removals, total_bytes

CONTAINERS = "containers"

FIRST_TO_COUNT_HIDDEN = (23, 0)

FIELDS = {CONTAINERS: "containers", IMAGES: "images", BUILD_CACHE: "records"}
"""Where an Observation has what each step removes."""


class Planned(NamedTuple):
    """The objects that one step removes, in order: their ids, and the bytes that the file system gains.

    ``uncertain`` are the ids of records of which not all go, and of which BuildKit leaves open which (gc.Removals).
    ``rules`` are those that the build cache is to be pruned by.
    """

    step: str
    ids: tuple[str, ...]
    bytes: int
    uncertain: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()


def cache_rules(wanted, observation):
    """Return the Rules, one per prune request, that the third step asks of the engine; () where nothing is to go.

    One mechanism for every engine version: the three limits become one cap here, since older engines know only
    that one and some newer ones reckon wrongly with the others. Raises BadOption where a limit needs disk figures
    that cannot be had.
    """
    if not (wanted.build_cache and wanted.embedded):
        return ()
    rule = wanted.rule
    if rule.description and version_tuple(observation.engine.version) < FIRST_WITH_DESCRIPTION:
        raise BadOption(
            f"filters: engine {observation.engine.version} never matches 'description'; 27.0 is the first that does."
        )
    if wanted.sizes:
        filesystem = observation.filesystems[0] if observation.filesystems else None
        if filesystem is None and wanted.needs_disk:
            raise BadOption(
                "min_free_space and percentages need the disk figures of the engine's host, and "
                f"{observation.engine.root_dir} cannot be measured from where the module runs. Run it on that host."
            )
        limits = {
            name: size.in_bytes(filesystem.total if filesystem else 0)
            for name, size in (
                ("reserved", wanted.reserved_space),
                ("max_used", wanted.max_used_space),
                ("min_free", wanted.min_free_space),
            )
            if size
        }
        total = total_bytes(observation.records)
        cap = keep_bytes(total, filesystem.free if filesystem else 0, **limits)
        if total < cap:
            return ()
        rule = rule._replace(keep_bytes=cap)
    return tuple(rule._replace(type=name) for name in wanted.types) or (rule,)


def planned_records(rules, observation):
    """Return the Removals of the rules, one after the other and again until nothing more goes.

    A record that loses its last child only under a later rule is found by going round again. Where the Observation
    has its Store, records whose shared descendants went in between are no longer shared themselves.
    """
    engine, store, left = observation.engine, observation.store, observation.records
    removed, uncertain, used = [], frozenset(), {}
    while True:
        before = len(removed)
        for rule in rules:
            # Filters look at a record's own layers, totals at those of its descendants too.
            selectable = store.own(left) if store and rule.shared is not None else left
            gone = removals(selectable, rule, engine.version, engine.now, total_bytes(left), engine.started_at)
            removed += gone.records
            uncertain |= gone.uncertain
            used.update(gone.used)
            ids = {record.id for record in gone.records}
            left = tuple(gone.used.get(record.id, record) for record in left if record.id not in ids)
            if store and ids:
                left = store.shares(left)
        if len(removed) == before:
            return Removals(removed, uncertain, used)


def plan(wanted, observation):
    """Return the Planned steps, in order, and the Observation that they leave.

    Each step is reckoned with what the earlier ones have removed. It names exactly what the engine will remove where
    the Observation has its Store; without it, records that become private only by the removal of images are missing,
    and the bytes are those that the engine would claim.
    """
    steps = []
    for step, choose in ((CONTAINERS, planned_containers), (IMAGES, planned_images)):
        objects = choose(wanted, observation)
        left = _without(observation, step, objects)
        steps.append(Planned(step, _ids(objects), _gain(step, objects, observation, left)))
        observation = left
    rules = cache_rules(wanted, observation)
    chosen = planned_records(rules, observation)
    used = observation._replace(records=tuple(chosen.used.get(one.id, one) for one in observation.records))
    left = _without(used, BUILD_CACHE, chosen.records)
    gain = _gain(BUILD_CACHE, chosen.records, observation, left)
    steps.append(Planned(BUILD_CACHE, _ids(chosen.records), gain, tuple(sorted(chosen.uncertain)), rules))
    return tuple(steps), left


def _ids(objects):
    return tuple(one.id for one in objects)


def _without(observation, step, objects):
    """Return the Observation as it is once a step has removed these objects."""
    if not objects:
        return observation
    gone = set(_ids(objects))
    kept = tuple(one for one in getattr(observation, FIELDS[step]) if one.id not in gone)
    left = observation._replace(**{FIELDS[step]: kept})
    if observation.store is None:
        return left
    store = observation.store.without(gone)
    gain = observation.store.bytes - store.bytes
    # The data is on the first file system.
    filesystems = tuple(
        one._replace(free=one.free + (0 if number else gain)) for number, one in enumerate(observation.filesystems)
    )
    images = _with_unique_sizes(observation, left.images) if step == IMAGES else left.images
    return left._replace(store=store, records=store.shares(left.records), images=images, filesystems=filesystems)


def _with_unique_sizes(before, images):
    """Return the images that are left with the sizes that are theirs alone now."""
    engine = before.engine
    # The graph driver's engines count layers of hidden images as shared, but for 20.10 (tried on 20.10, 26.1 and 28.5).
    all_count = engine.image_store != "containerd" and version_tuple(engine.version) >= FIRST_TO_COUNT_HIDDEN
    earlier, later = (
        before.store.unique_sizes(some if all_count else listed(some)) for some in (before.images, images)
    )
    return tuple(
        image._replace(
            unique_size=image.unique_size + later.get(image.id, 0) - (0 if image.hidden else earlier.get(image.id, 0))
        )
        for image in images
    )


def listed(images):
    """Return those of the images that the engine lists: a hidden one is listed once its last child is gone."""
    parents = {image.parent for image in images}
    return [image for image in images if not (image.hidden and image.id in parents)]


def _gain(step, objects, before, left):
    """Return the bytes that the file system gains when a step removes these objects."""
    claimed = sum(map(_CLAIMED[step], objects))
    if before.store is None:
        return claimed
    # What containers wrote is in no store.
    return before.store.bytes - left.store.bytes + (claimed if step == CONTAINERS else 0)


_CLAIMED = {
    CONTAINERS: lambda container: container.size,
    IMAGES: lambda image: image.unique_size,
    BUILD_CACHE: lambda record: 0 if record.shared else record.size,
}
"""The bytes that the engine's own figures let one expect of removing an object."""
