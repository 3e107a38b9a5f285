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
from .marks import Goal, Marks, marks_from_options
from .patterns import Pattern, patterns
from .stages import pointless, stages_from_options

_LABEL_FILTERS = ("label", "label!")
_AGES_AND_SIZES = (
    *("containers_older_than", "images_older_than", "images_unused_for", "protect_for", "unused_for"),
    *("reserved_space", "max_used_space", "min_free_space"),
)

_NO_TIME = ("0", "0s", "0m", "0h", "0d")
"""How people write that nothing is protected."""


class Wanted(NamedTuple):
    """What to remove, with every option read and checked. Durations in nanoseconds.

    ``embedded`` is whether the engine's own builder is among those to prune. With ``marks`` only as much goes as is
    needed for the ``goal`` of a run, by ``stages``, each a Wanted without marks, where there are any.
    """

    containers: str = "keep"
    images: str = "dangling"
    images_older_than: int = 0
    images_unused_for: int = 0
    protect_for: int = 0
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
    marks: Marks | None = None
    stages: tuple[Wanted, ...] = ()
    goal: Goal | None = None

    @property
    def needs_disk(self):
        """Whether a limit or a mark cannot be reckoned without the figures of a disk."""
        return bool(self.marks or self.min_free_space) or any(size.percent for size in self.sizes)

    @property
    def by_use(self):
        """Whether the last uses of images count."""
        return bool(self.marks or self.images_unused_for)

    @property
    def by_arrival(self):
        """Whether it counts when images arrived."""
        return self.by_use or any(one.protect_for for one in (self, *self.stages))

    @property
    def widest(self):
        """What goes at most: the last stage, or all where there are none."""
        return self.stages[-1] if self.stages else self

    @property
    def sizes(self):
        """The limits that were given."""
        return [size for size in (self.reserved_space, self.max_used_space, self.min_free_space) if size]


def wanted_from_options(options):
    """Return the Wanted that a module's options ask for.

    ``options`` has the names of the public interface; a missing option is None. Raises BadOption where one cannot
    be used, contradicts another, or is empty: an empty filter never means "all".
    """
    for name in _AGES_AND_SIZES:
        if options[name] is not None and not options[name].strip():
            raise BadOption(f"{name}: it is empty. Leave the option out where no limit is meant.")
    if options["types"] is not None and not options["types"]:
        raise BadOption("types: the list is empty. Leave the option out to prune records of every type.")
    types = tuple(options["types"] or ())
    hidden = [name for name in types if name in NEVER_WITHOUT_ALL]
    if hidden and not options["all"]:
        raise BadOption(f"types: {', '.join(hidden)} records are only removed with all=true, which is not set.")
    if options["stages"] is None:
        _refuse_pointless(options)
    last = options["images_keep_last"]
    if last is not None and last < 1:
        raise BadOption(f"images_keep_last: {last} tags of a repository are none. Leave it out, or give 1 or more.")
    if not options["builders"]:
        raise BadOption("builders: the list is empty. Name builders, or leave it out for the engine's own.")
    marks = marks_from_options(options)
    if options["stages"] is not None and not marks:
        raise BadOption("stages: there is no high_watermark nor high_inodes that says how far a run has to go.")
    if marks and options["min_free_space"] is not None:
        raise BadOption("min_free_space: the low marks say how much is to be free. Remove one of the two.")
    labels = _labels("images", options["images_filters"])
    of_containers = _labels("containers", options["containers_filters"])
    return Wanted(
        containers=options["containers"],
        images=options["images"],
        images_older_than=_duration(options, "images_older_than"),
        images_unused_for=_duration(options, "images_unused_for"),
        protect_for=0 if options["protect_for"].strip() in _NO_TIME else _duration(options, "protect_for"),
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
        marks=marks,
        stages=stages_from_options(options, wanted_from_options),
    )


def _refuse_pointless(options):
    for (option, value), names in pointless(options).items():
        for name in names:
            if options[name]:
                words = str(value).lower()
                raise BadOption(f"{name}: it has no effect with {option}={words}. Remove one of the two.")


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
