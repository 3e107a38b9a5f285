# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the options of a prune ask for, read and checked before anything is asked of the engine. Pure."""

from __future__ import annotations

from typing import NamedTuple

from .._base.errors import BadOption
from .._base.records import EMBEDDED, NEVER_WITHOUT_ALL
from .._base.units import Size, parse_duration, parse_size
from .filters import named_filters, record_filters
from .gc import Rule
from .patterns import Pattern, patterns

_LABEL_FILTERS = ("label", "label!")
_AGES_AND_SIZES = (
    *("containers_older_than", "images_older_than", "unused_for"),
    *("reserved_space", "max_used_space", "min_free_space"),
)


class Wanted(NamedTuple):
    """What to remove, with every option read and checked. Durations in nanoseconds.

    ``embedded`` is whether the engine's own builder is among those to prune.
    """

    containers: str = "keep"
    images: str = "dangling"
    images_older_than: int = 0
    labels: tuple[str, ...] = ()
    labels_not: tuple[str, ...] = ()
    images_remove: tuple[Pattern, ...] = ()
    images_keep: tuple[Pattern, ...] = ()
    images_keep_last: int = 0
    containers_older_than: int = 0
    container_labels: tuple[str, ...] = ()
    container_labels_not: tuple[str, ...] = ()
    orphans_older_than: int = 0
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


def wanted_from_options(options):
    """Return the Wanted that a module's options ask for.

    ``options`` has the names of the public interface; a missing option is None. Raises BadOption where one cannot
    be used, contradicts another, or is empty: an empty filter never means "all".
    """
    for name in (
        "containers_older_than",
        "images_older_than",
        "unused_for",
        "reserved_space",
        "max_used_space",
        "min_free_space",
    ):
        if options[name] is not None and not options[name].strip():
            raise BadOption(f"{name}: it is empty. Leave the option out where no limit is meant.")
    if options["types"] is not None and not options["types"]:
        raise BadOption("types: the list is empty. Leave the option out to prune records of every type.")
    types = tuple(options["types"] or ())
    hidden = [name for name in types if name in NEVER_WITHOUT_ALL]
    if hidden and not options["all"]:
        raise BadOption(f"types: {', '.join(hidden)} records are only removed with all=true, which is not set.")
    if options["images"] == "keep":
        pointless = ("images_older_than", "images_filters")
        if not options["images_remove"]:
            pointless += ("images_keep", "images_keep_last")
        _refuse_without("images", "keep", options, pointless)
    if options["containers"] == "keep":
        _refuse_without("containers", "keep", options, ("containers_older_than", "containers_filters"))
    last = options["images_keep_last"]
    if last is not None and last < 1:
        raise BadOption(f"images_keep_last: {last} tags of a repository are none. Leave it out, or give 1 or more.")
    if not options["build_cache"]:
        _refuse_without(
            "build_cache",
            "false",
            options,
            ("all", "unused_for", "types", "filters", "reserved_space", "max_used_space", "min_free_space"),
        )
    if not options["builders"]:
        raise BadOption("builders: the list is empty. Name builders, or leave it out for the engine's own.")
    labels = _labels("images", options["images_filters"])
    of_containers = _labels("containers", options["containers_filters"])
    return Wanted(
        containers=options["containers"],
        images=options["images"],
        images_older_than=_duration(options, "images_older_than"),
        labels=labels["label"],
        labels_not=labels["label!"],
        images_remove=patterns(options["images_remove"], "images_remove"),
        images_keep=patterns(options["images_keep"], "images_keep"),
        images_keep_last=last or 0,
        containers_older_than=_duration(options, "containers_older_than"),
        container_labels=of_containers["label"],
        container_labels_not=of_containers["label!"],
        orphans_older_than=_duration(options, "orphans_older_than"),
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


def _labels(of, filters):
    """Return the labels that the option ``images_filters`` or ``containers_filters`` asks for, by kind of filter."""
    option, labels = f"{of}_filters", {name: () for name in _LABEL_FILTERS}
    for key, value in named_filters(option, filters):
        if key not in labels:
            hint = {
                "until": f" Use the option {of}_older_than.", "dangling": " Use the option images."
            }.get(key, "")  # fmt: skip
            raise BadOption(f"{option}: {key!r} is not a filter for {of}; known are label and label!.{hint}")
        values = value if isinstance(value, list) else [value]
        if not all(isinstance(text, str) and text.strip() for text in values):
            raise BadOption(f"{option}: {key} needs a label such as stage=build, or a list of them.")
        labels[key] = tuple(values)
    return labels
