# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What a prune should remove, decided from its options and from what the host holds. Pure.

Without marks that is all that the options choose. With marks it is as much of that as has to go, stage by stage, and of
each stage what was used least recently.
"""

from __future__ import annotations

from .._base.errors import BadOption
from .._base.records import BUILD_CACHE, IMAGES
from .choose import planned_containers, planned_images
from .marks import Goal
from .steps import CONTAINERS, cache_rules, of_objects, of_records


def plan(wanted, observation):
    """Return the Planned steps, in order, and the Observation that they leave.

    Each step is reckoned with what the earlier ones have removed. It names exactly what the engine will remove where
    the Observation has its Store; without it, records that become private only by the removal of images are missing,
    and the bytes are those that the engine would claim. Raises BadOption as aimed() does.
    """
    if wanted.marks is None:
        return _whole(wanted, observation)
    steps, left = [], observation
    goal = aimed(wanted, observation).goal
    need = goal.need(observation.filesystems[0])
    for number, stage in enumerate(wanted.stages or (wanted,), 1):
        if steps and need.met:
            break
        some, left = _as_needed(stage, left, need)
        steps += [step._replace(stage=number) for step in some] if wanted.stages else some
        need = need.less(sum(step.bytes for step in some), sum(step.inodes for step in some))
    return tuple(steps), left


def aimed(wanted, observation):
    """Return what is wanted with its Goal, where it has marks and none was set yet.

    It is set once for a run, which would else end half way, at its high mark. Raises BadOption where the disk cannot be
    measured.
    """
    if wanted.marks is None or wanted.goal is not None:
        return wanted
    if not observation.filesystems:
        raise BadOption(
            f"high_watermark and high_inodes need the disk figures of the engine's host, and "
            f"{observation.engine.root_dir} cannot be measured from where the module runs. Run it on that host."
        )
    return wanted._replace(goal=wanted.marks.goal(observation.filesystems[0]) or Goal())


def _whole(wanted, observation):
    """Return the steps that remove all that is wanted, and what they leave."""
    containers, left = of_objects(CONTAINERS, planned_containers(wanted, observation), observation)
    images, left = of_objects(IMAGES, planned_images(wanted, left), left)
    records, left = of_records(cache_rules(wanted, left), left)
    return (containers, images, records), left


def _as_needed(wanted, observation, need):
    """Return the steps that remove as much of what is wanted as is needed, and what they leave."""
    if need.met:
        return tuple(of_objects(step, (), observation)[0] for step in (CONTAINERS, IMAGES, BUILD_CACHE)), observation
    steps, left = _whole(wanted, observation)
    if not need.less(sum(step.bytes for step in steps), sum(step.inodes for step in steps)).met:
        return steps, left
    # Imported here: a run that is to remove all has no need of it, and loading takes time on every host.
    from .least import least

    return least(wanted, observation, need)
