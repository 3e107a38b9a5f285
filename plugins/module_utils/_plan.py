# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a prune should remove, decided from its options and from what the host holds. Pure.

The steps always come in this order: containers, images, build cache. A layer is freed only when the last of those
who hold it lets go: a container holds its image, an image its layers, and a build-cache record whose layers are an
image's is passed over until that image is gone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace

from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import BadOption
from ansible_collections.buildfleet.buildcache.plugins.module_utils._gc import (
    Removals,
    Rule,
    keep_bytes,
    removals,
    total_bytes,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._records import EMBEDDED, NEVER_WITHOUT_ALL
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import (
    SECOND,
    Size,
    parse_duration,
    parse_size,
    version_tuple,
)

CONTAINERS, IMAGES, BUILD_CACHE = "containers", "images", "build_cache"

FIELDS = {CONTAINERS: "containers", IMAGES: "images", BUILD_CACHE: "records"}
"""Where an Observation has what each step removes."""

FIRST_WITH_DESCRIPTION = (27, 0)
"""The first engine that fills in a record's description when it prunes (BuildKit 0.14, cache/manager.go)."""

_LABEL_FILTERS = ("label", "label!")

# Why a filter of `docker builder prune` that looks usable is not (BuildKit, cache/manager.go, adaptUsageInfo in a
# prune fills in the id, type, description, mutability and sharing only).
_UNUSABLE_FILTERS = {
    "until": "use the option unused_for",
    "unused-for": "use the option unused_for",
    "type": "use the option types, which can name several",
    "label": "engines accept it and ignore it, and so remove everything",
    "parent": "engines never match it when they prune",
    "parents": "engines ignore it, and so remove everything",
    "inuse": "engines never match it when they prune; what is in use is never removed",
    "mutable": "the engine does not tell which records are mutable, so no preview could be true; use types",
    "immutable": "the engine does not tell which records are mutable, so no preview could be true; use types",
}


@dataclass(frozen=True)
class Wanted:
    """What to remove, with every option read and checked. Durations in nanoseconds.

    ``embedded`` is whether the engine's own builder is among those to prune.
    """

    containers: str = "keep"
    images: str = "dangling"
    images_older_than: int = 0
    labels: tuple[str, ...] = ()
    labels_not: tuple[str, ...] = ()
    build_cache: bool = True
    types: tuple[str, ...] = ()
    rule: Rule = Rule()
    reserved_space: Size | None = None
    max_used_space: Size | None = None
    min_free_space: Size | None = None
    embedded: bool = True

    @property
    def needs_disk(self):
        """Whether a limit cannot be reckoned without the figures of a disk."""
        return bool(self.min_free_space) or any(size.percent for size in self.sizes)

    @property
    def sizes(self):
        """The limits that were given."""
        return [size for size in (self.reserved_space, self.max_used_space, self.min_free_space) if size]


@dataclass(frozen=True)
class Planned:
    """The objects that one step removes, in order: their ids, and the bytes that the file system gains.

    ``uncertain`` are the ids of records of which not all go, and of which BuildKit leaves open which (_gc.Removals).
    ``rules`` are those that the build cache is to be pruned by.
    """

    step: str
    ids: tuple[str, ...]
    bytes: int
    uncertain: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()


def wanted_from_options(options):
    """Return the Wanted that a module's options ask for.

    ``options`` has the names of the public interface; a missing option is None. Raises BadOption where one cannot
    be used, contradicts another, or is empty: an empty filter never means "all".
    """
    for name in ("images_older_than", "unused_for", "reserved_space", "max_used_space", "min_free_space"):
        if options[name] is not None and not options[name].strip():
            raise BadOption(f"{name}: it is empty. Leave the option out where no limit is meant.")
    if options["types"] is not None and not options["types"]:
        raise BadOption("types: the list is empty. Leave the option out to prune records of every type.")
    types = tuple(options["types"] or ())
    hidden = [name for name in types if name in NEVER_WITHOUT_ALL]
    if hidden and not options["all"]:
        raise BadOption(f"types: {', '.join(hidden)} records are only removed with all=true, which is not set.")
    if options["images"] == "keep":
        _refuse_without("images", "keep", options, ("images_older_than", "images_filters"))
    if not options["build_cache"]:
        _refuse_without(
            "build_cache",
            "false",
            options,
            ("all", "unused_for", "types", "filters", "reserved_space", "max_used_space", "min_free_space"),
        )
    if not options["builders"]:
        raise BadOption("builders: the list is empty. Name builders, or leave it out for the engine's own.")
    labels = _image_filters(options["images_filters"])
    return Wanted(
        containers=options["containers"],
        images=options["images"],
        images_older_than=_duration(options, "images_older_than"),
        labels=labels["label"],
        labels_not=labels["label!"],
        build_cache=options["build_cache"],
        types=types,
        rule=Rule(
            all=options["all"],
            unused_for=_duration(options, "unused_for"),
            **record_filters(options["filters"], options["all"]),
        ),
        reserved_space=_size(options, "reserved_space"),
        max_used_space=_size(options, "max_used_space"),
        min_free_space=_size(options, "min_free_space"),
        embedded=bool({EMBEDDED, "all"}.intersection(options["builders"])),
    )


def _refuse_without(option, value, options, pointless):
    for name in pointless:
        if options[name]:
            raise BadOption(f"{name}: it has no effect with {option}={value}. Remove one of the two.")


def _duration(options, name):
    return parse_duration(options[name], name) if options[name] is not None else 0


def _size(options, name):
    return parse_size(options[name], name) if options[name] is not None else None


def _image_filters(filters):
    labels = {name: () for name in _LABEL_FILTERS}
    for key, value in _named_filters("images_filters", filters):
        if key not in labels:
            hint = {"until": " Use the option images_older_than.", "dangling": " Use the option images."}.get(key, "")
            raise BadOption(f"images_filters: {key!r} is not a filter for images; known are label and label!.{hint}")
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) and text.strip() for text in values):
            raise BadOption(f"images_filters: {key} needs a label such as stage=build, or a list of them.")
        labels[key] = tuple(values)
    return labels


def record_filters(filters, include_all):
    """Return the parts of a Rule that the option ``filters`` asks for. Raises BadOption."""
    rule = {}
    for key, value in _named_filters("filters", filters):
        if key in _UNUSABLE_FILTERS:
            raise BadOption(f"filters: {key!r} cannot be used: {_UNUSABLE_FILTERS[key]}.")
        if key in ("shared", "private"):
            if str(value).lower() not in ("true", "yes", "1"):
                raise BadOption(f"filters: {key} can only be true; shared and private are each other's opposite.")
            if "shared" in rule:
                raise BadOption("filters: shared and private together match nothing. Name one of them.")
            if key == "shared" and not include_all:
                raise BadOption("filters: shared records are only removed with all=true, which is not set.")
            rule["shared"] = key == "shared"
        elif key == "id":
            if not re.fullmatch(r"[a-z0-9]+", str(value)):
                raise BadOption(f"filters: {value!r} is not a record's id, nor a part of one: those are a-z and 0-9.")
            rule[key] = str(value)
        elif key == "description":
            rule[key] = str(value)
        else:
            raise BadOption(
                f"filters: {key!r} is not a filter for build cache; known are id, description, shared and private."
            )
    return rule


def _named_filters(option, filters):
    """Yield the filters, refusing empty ones. A filter that lost its value must not come to mean "all"."""
    if filters is not None and not filters:
        raise BadOption(f"{option}: it is empty. Leave the option out where no filter is meant.")
    for key, value in (filters or {}).items():
        if value is None or value == [] or not str(value).strip():
            raise BadOption(f"{option}: {key} has no value. Give it one, or leave it out.")
        yield key, value


def planned_containers(wanted, observation):
    """Return the containers that the first step removes: all that do not run, where that was asked for."""
    if wanted.containers != "stopped":
        return ()
    return tuple(container for container in observation.containers if not container.running)


def planned_images(wanted, observation):
    """Return the images that the second step removes; no image that a container was made from is among them."""
    if wanted.images == "keep":
        return ()
    oldest_kept = observation.engine.now - wanted.images_older_than
    return tuple(
        image
        for image in observation.images
        if image.id not in observation.used_image_ids
        and (image.untagged or wanted.images == "unused")
        and (not wanted.images_older_than or image.created * SECOND <= oldest_kept)
        and all(_has_label(image, label) for label in wanted.labels)
        and not any(_has_label(image, label) for label in wanted.labels_not)
    )


def _has_label(image, wanted):
    name, equals, value = wanted.partition("=")
    return name in image.labels and (not equals or image.labels[name] == value)


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
        rule = replace(rule, keep_bytes=cap)
    return tuple(replace(rule, type=name) for name in wanted.types) or (rule,)


def planned_records(rules, observation):
    """Return the Removals of the rules, one after the other and again until nothing more goes.

    A record that loses its last child only under a later rule is found by going round again. Where the Observation
    has its Store, records whose shared descendants went in between are no longer shared themselves.
    """
    engine, store, left = observation.engine, observation.store, observation.records
    removed, uncertain = [], frozenset()
    while True:
        before = len(removed)
        for rule in rules:
            # Filters look at a record's own layers, totals at those of its descendants too.
            selectable = store.own(left) if store and rule.shared is not None else left
            gone = removals(selectable, rule, engine.version, engine.now, total_bytes(left), engine.started_at)
            removed += gone.records
            uncertain |= gone.uncertain
            ids = {record.id for record in gone.records}
            left = tuple(gone.used.get(record.id, record) for record in left if record.id not in ids)
            if store and ids:
                left = store.shares(left)
        if len(removed) == before:
            return Removals(removed, uncertain)


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
    left = _without(observation, BUILD_CACHE, chosen.records)
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
    left = replace(observation, **{FIELDS[step]: kept})
    if observation.store is None:
        return left
    store = observation.store.without(gone)
    gain = observation.store.bytes - store.bytes
    # The data is on the first file system.
    filesystems = tuple(
        replace(one, free=one.free + (0 if number else gain)) for number, one in enumerate(observation.filesystems)
    )
    return replace(left, store=store, records=store.shares(left.records), filesystems=filesystems)


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
