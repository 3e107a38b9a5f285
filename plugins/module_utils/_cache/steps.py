# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The steps of a prune: what each removes, what it leaves, and what the disk gains by it. Pure.

They always come in this order: containers, images, build cache. A layer is freed only when the last of those
who hold it lets go: a container holds its image, an image its layers, and a build-cache record whose layers are an
image's is passed over until that image is gone.
"""

from __future__ import annotations

from typing import NamedTuple

from .._base.errors import BadOption
from .._base.records import BUILD_CACHE, IMAGES, Image, Record
from .._base.units import version_tuple
from .filters import FIRST_WITH_DESCRIPTION
from .gc import Removals, Rule, keep_bytes, removals, total_bytes

CONTAINERS = "containers"

FIRST_TO_COUNT_HIDDEN = (23, 0)

FIELDS = {CONTAINERS: "containers", IMAGES: "images", BUILD_CACHE: "records"}
"""Where an Observation has what each step removes."""


class Planned(NamedTuple):
    """The objects that one step removes, in order: their ids, and the bytes that the file system gains.

    ``uncertain`` are the ids of records of which not all go, and of which BuildKit leaves open which (gc.Removals).
    ``rules`` are those that the build cache is to be pruned by, ``inodes`` what the file system gains of these where
    that was counted, ``stage`` the number of the stage, 0 where there are none.
    """

    step: str
    ids: tuple[str, ...]
    bytes: int
    uncertain: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    inodes: int = 0
    stage: int = 0


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


def planned_records(rules, observation, enough=None):
    """Return the Removals of the rules, one after the other and again until nothing more goes, and the rules.

    A record that loses its last child only under a later rule is found by going round again. Where the Observation
    has its Store, records whose shared descendants went in between are no longer shared themselves. Where
    ``enough(record)``, which is told of each that goes, answers True, the rule gets a cap by which no more goes, and is
    the last.
    """
    engine, store, left = observation.engine, observation.store, observation.records
    removed, uncertain, used, met = [], frozenset(), {}, []
    asked = enough and (lambda record: enough(record) and met.append(record) is None)
    while True:
        before = len(removed)
        for number, rule in enumerate(rules):
            # Filters look at a record's own layers, totals at those of its descendants too.
            selectable = store.own(left) if store and rule.shared is not None else left
            total = total_bytes(left)
            gone = removals(selectable, rule, engine.version, engine.now, total, engine.started_at, asked)
            removed += gone.records
            uncertain |= gone.uncertain
            used.update(gone.used)
            ids = {record.id for record in gone.records}
            left = tuple(gone.used.get(record.id, record) for record in left if record.id not in ids)
            if store and ids:
                left = store.shares(left)
            if met:
                cap = max(rule.keep_bytes, total - sum(record.size for record in gone.records) + 1, 1)
                rules = (*rules[:number], rule._replace(keep_bytes=cap))
                break
        asked, met = None, []
        if len(removed) == before:
            return Removals(removed, uncertain, used), rules


def of_objects(step, objects, observation):
    """Return the Planned of a step that removes these objects, and the Observation that it leaves."""
    if not objects:
        return Planned(step, (), 0), observation
    left, ids, claimed = (
        _without(observation, step, objects),
        tuple(one.id for one in objects),
        sum(map(claim, objects)),
    )
    if left.store is None:
        return Planned(step, ids, claimed), left
    # What containers wrote is in no store.
    size = observation.store.bytes - left.store.bytes + (claimed if step == CONTAINERS else 0)
    inodes = observation.store.inode_count - left.store.inode_count
    return Planned(step, ids, size, inodes=inodes), _with_room(left, size, inodes)


def of_records(rules, observation, enough=None):
    """Return the Planned of the build cache by these rules, and the Observation that it leaves; see planned_records."""
    chosen, rules = planned_records(rules, observation, enough)
    used = observation._replace(records=tuple(chosen.used.get(one.id, one) for one in observation.records))
    step, left = of_objects(BUILD_CACHE, chosen.records, used)
    return step._replace(uncertain=tuple(sorted(chosen.uncertain)), rules=rules), left


def _with_room(observation, size, inodes):
    """Return the Observation with so much more room; the data is on the first file system."""
    return observation._replace(
        filesystems=tuple(
            one
            if number
            else one._replace(
                free=one.free + size, available=one.available + size, inodes_available=one.inodes_available + inodes
            )
            for number, one in enumerate(observation.filesystems)
        )
    )


def _without(observation, step, objects):
    """Return the Observation as it is once a step has removed these objects, but for its file systems."""
    gone = {one.id for one in objects}
    kept = tuple(one for one in getattr(observation, FIELDS[step]) if one.id not in gone)
    left = observation._replace(**{FIELDS[step]: kept})
    if observation.store is None:
        return left
    store = observation.store.without(gone)
    images = _with_unique_sizes(observation, left.images) if step == IMAGES else left.images
    return left._replace(store=store, records=store.shares(left.records), images=images)


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


def claim(one):
    """Return the bytes that the engine's own figures let one expect of removing a Container, an Image or a Record."""
    if isinstance(one, Record):
        return 0 if one.shared else one.size
    return one.unique_size if isinstance(one, Image) else one.size
