# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Stages: sets of a prune's options, each of which goes further than the one before. Pure."""

from __future__ import annotations

from .._base.errors import BadOption

STAGE_OPTIONS = (
    *("containers", "containers_older_than", "containers_filters"),
    *("images", "images_older_than", "images_unused_for", "images_filters"),
    *("images_remove", "images_keep", "images_keep_last", "protect_for"),
    *("build_cache", "all", "unused_for", "types", "filters", "reserved_space", "max_used_space"),
)
"""The options that a stage can have; what it does not have is as for the whole run."""

_ORDER = {"containers": ("keep", "stopped"), "images": ("keep", "dangling", "unused"), "build_cache": (False, True)}


def stages_from_options(options, read):
    """Return the stages that the options ask for, () where they ask for none. ``read(options)`` returns what one set
    of options wants.

    Raises BadOption, naming the stage, for one that cannot be used and for one that does not go further.
    """
    if options["stages"] is None:
        return ()
    if not options["stages"]:
        raise BadOption("stages: the list is empty. Leave the option out where there is to be one stage only.")
    given, stages = [], []
    for number, stage in enumerate(options["stages"], 1):
        own = {name: value for name, value in stage.items() if value is not None}
        unknown = sorted(own.keys() - set(STAGE_OPTIONS))
        if unknown:
            raise BadOption(f"stages: stage {number} has {', '.join(unknown)}, which only a whole run can have.")
        given.append({**{name: options[name] for name in STAGE_OPTIONS}, **own})
        stage = {**options, **own, **dict.fromkeys(_WHOLE_RUN)}
        # What the whole run says of the images that go says nothing to a stage in which none do.
        needless = [name for names in pointless(stage).values() for name in names if name not in own]
        try:
            stages.append(read({**stage, **dict.fromkeys(needless), "all": stage["all"] and "all" not in needless}))
        except BadOption as problem:
            raise BadOption(f"stages: stage {number}: {problem}") from problem
        if number > 1:
            _refuse_less(number, stages[-2], stages[-1], given[-2], given[-1])
    return tuple(stages)


def pointless(options):
    """Return the options that have no effect beside others: {(option, value): names}."""
    found = {}
    if options["images"] == "keep":
        found["images", "keep"] = _OF_IMAGES if options["images_remove"] else (*_OF_IMAGES, *_OF_NAMES)
    if options["containers"] == "keep":
        found["containers", "keep"] = ("containers_older_than", "containers_filters")
    if not options["build_cache"]:
        found["build_cache", False] = _OF_CACHE
    return found


_OF_IMAGES = ("images_older_than", "images_unused_for", "images_filters")
_OF_NAMES = ("images_keep", "images_keep_last")
_OF_CACHE = ("all", "unused_for", "types", "filters", "reserved_space", "max_used_space", "min_free_space")
_WHOLE_RUN = ("stages", "high_watermark", "low_watermark", "high_inodes", "low_inodes")


def _refuse_less(number, before, after, given_before, given):
    """Raise BadOption where a stage would leave what an earlier one removes, or is the same."""
    if after == before:
        raise BadOption(f"stages: stage {number} is the same as stage {number - 1}. Each has to go further.")
    for name in _less(before, after):
        was, is_now = _words(given_before[name]), _words(given[name])
        raise BadOption(
            f"stages: stage {number} removes less than stage {number - 1}: {name} is {is_now} there, and {was} before. "
            "Each has to go further."
        )


def _less(before, after):
    """Yield the names of the options by which ``after`` removes less than ``before``."""
    for name, order in _ORDER.items():
        if order.index(getattr(after, name)) < order.index(getattr(before, name)):
            yield name
    if before.containers != "keep":
        yield from _longer(before, after, ("containers_older_than",))
        if not (
            set(after.container_labels) <= set(before.container_labels)
            and set(after.container_labels_not) <= set(before.container_labels_not)
        ):
            yield "containers_filters"
    if before.images != "keep" or before.images_remove:
        yield from _less_of_images(before, after)
    if before.build_cache:
        yield from _less_of_cache(before, after)


def _less_of_images(before, after):
    yield from _longer(before, after, ("protect_for",))
    # Of more images than before some may have to be older: those that had not are gone by then.
    if before.images == after.images:
        yield from _longer(before, after, ("images_older_than", "images_unused_for", "images_keep_last"))
        if not (set(after.labels) <= set(before.labels) and set(after.labels_not) <= set(before.labels_not)):
            yield "images_filters"
    if not set(before.images_remove) <= set(after.images_remove):
        yield "images_remove"
    if not set(after.images_keep) <= set(before.images_keep):
        yield "images_keep"


def _less_of_cache(before, after):
    if before.rule.all and not after.rule.all:
        yield "all"
    more = (after.rule.all, after.types) != (before.rule.all, before.types)
    if after.rule.unused_for > before.rule.unused_for and not more:
        yield "unused_for"
    if after.types and not (before.types and set(before.types) <= set(after.types)):
        yield "types"
    if any(getattr(after.rule, name) not in (None, getattr(before.rule, name)) for name in _FILTERS):
        yield "filters"
    for name in ("reserved_space", "max_used_space"):
        size, other = getattr(before, name), getattr(after, name)
        # What is not given keeps nothing; a share and a size cannot be told apart here.
        if other and (not size or size.percent != other.percent or other.value > size.value):
            yield name


_FILTERS = ("id", "description", "shared")


def _longer(before, after, names):
    yield from (name for name in names if getattr(after, name) > getattr(before, name))


def _words(value):
    return "not set" if value is None else str(value).lower() if isinstance(value, bool) else value
