# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options of what a prune removes."""

    DOCUMENTATION = r"""
options:
  containers:
    description:
      - V(stopped) removes all containers that do not run, and so frees their images for the next step. One that is made
        and not started yet is among them, see O(containers_older_than).
    type: str
    choices: [keep, stopped]
    default: keep
  containers_older_than:
    description:
      - Removes only containers that were made this long ago, such as V(1h) or V(7d).
    type: str
  containers_filters:
    description:
      - Removes only containers with certain labels. C(label) and C(label!) are as in O(images_filters).
    type: dict
  images:
    description:
      - V(dangling) removes images that neither a tag nor a digest names, V(unused) all that no container was made from,
        V(keep) those of O(images_remove) alone, or none.
      - What was pulled by its digest alone stays under V(dangling), with either image store.
      - Images that others which stay were made on, by a commit or the classic builder, stay too; those that nothing
        names go with the last of these others.
    type: str
    choices: [dangling, unused, keep]
    default: dangling
  images_older_than:
    description:
      - Removes only images that were created this long ago, such as V(36h) or V(14d). An image's age says nothing of
        its last use, nor of when it was pulled. One without a date, or with one from before 2013, has no age and stays.
    type: str
  images_unused_for:
    description:
      - Removes only images that were last used this long ago, such as V(14d). No engine keeps that; it is the latest of
        when a container was made from the image or ended (now, where one runs), also one that an earlier run with this
        option has seen, when the build cache last used its layers, when it was pulled, loaded, built or tagged, when it
        was made, and the last use of an image that was made on it.
      - An image of which nothing of that is known stays.
    type: str
  images_filters:
    description:
      - Removes only images with certain labels. C(label) and C(label!) take a label such as C(stage=build), or a list
        of labels of which all must match (C(label)) or none (C(label!)).
    type: dict
  images_remove:
    description:
      - Patterns of images that go though they are tagged, whatever their age and labels. One that a container was made
        from stays, and so does one with a tag that no pattern matches.
      - A pattern is matched with tags and digests as C(docker image ls) shows them. V(*) and V(?) stand for anything
        but a slash, V(**) for anything, V([a-c]) for one of some characters. Without a tag every tag matches, and the
        digests of that name too. A word of 12 to 64 hexadecimal digits is an image's id, or its beginning.
      - A pattern that matches nothing is a warning.
    type: list
    elements: str
  images_keep:
    description:
      - Patterns of images that stay, whatever else is asked for, as in O(images_remove). An image stays where any of
        its tags and digests matches.
    type: list
    elements: str
  images_keep_last:
    description:
      - How many of the newest tags of each repository stay, whatever else is asked for, by the date of their images.
    type: int
  protect_for:
    description:
      - Images that arrived here (by a pull, a load, a build or a tag) or were made within this time stay, whatever else
        is asked for, so that neither a classic build loses its last step, nor a job what it has just pulled. V(0s)
        protects none.
      - Read from the image store. Where that cannot be read, an engine with a graph driver tells of tags alone, and not
        of pulls.
    type: str
    default: 1h
  build_cache:
    description:
      - Whether to prune the build cache.
    type: bool
    default: true
  bootstrap_stopped:
    description:
      - Starts builders that are stopped, prunes them and stops them again. Check mode starts none, and so cannot say
        what they would lose.
    type: bool
    default: false
  remove_orphaned_state:
    description:
      - Removes what is left of container builders that nobody on the host has any more, such as those that jobs make
        with a configuration of their own that goes with the job. Their containers, running or not, and their volumes.
      - Builders of all users' homes and of O(buildx_config) are known. One that is made from another machine, or by a
        configuration elsewhere, is not; so are only those removed in which no build runs, and that have been idle for
        O(orphans_older_than).
    type: bool
    default: false
  orphans_older_than:
    description:
      - How long what O(remove_orphaned_state) removes has been idle, such as V(24h) or V(7d). For a container that
        runs, that is since its last build or its start, by the records of its BuildKit; for one that is stopped, since
        it stopped; and for a volume without a container, since it was made.
    type: str
    default: 24h
  all:
    description:
      - Removes shared, internal and frontend records too. A shared record's layers stay on disk while an image holds
        them.
    type: bool
    default: false
  unused_for:
    description:
      - Removes only records that were last used this long ago, such as V(36h), V(1h30m) or V(14d).
      - A record stays as long as another one builds on it, so a young record keeps all its ancestors.
    type: str
  types:
    description:
      - Removes only records of these types. V(internal) and V(frontend) need O(all=true).
    type: list
    elements: str
    choices: [regular, source.local, source.git.checkout, exec.cachemount, internal, frontend]
  filters:
    description:
      - Removes only records that match all of these. C(id) is an id or a part of one, C(description) the full text
        (engines since 27), C(shared) and C(private) can be true.
    type: dict
  reserved_space:
    description:
      - Keeps this much build cache in any case, such as V(20GB) or V(15%) of the file system. C(GB) is 2^30 bytes.
      - Without O(max_used_space) and O(min_free_space) it is the limit itself, as C(--keep-storage) is.
      - Shared records do not count, here and in the other two limits.
    type: str
  max_used_space:
    description:
      - Removes the least recently and least often used records until less build cache than this is left.
    type: str
  min_free_space:
    description:
      - Removes the least recently and least often used records until the file system has this much free.
      - Measured on the file system that holds the data, with the blocks reserved for root, as BuildKit does.
    type: str
  high_watermark:
    description:
      - A run removes nothing while the file system with the images is below this mark. Either how much of it is used,
        such as V(85%), as C(df) shows it, or how much is to be available, such as V(20GB).
      - Above it, a run removes what the other options choose until O(low_watermark) is reached. What was used least
        recently goes first, images and build cache in one order.
    type: str
  low_watermark:
    description:
      - Where a run stops that O(high_watermark) or O(high_inodes) began. Spelled as O(high_watermark) is.
    type: str
  high_inodes:
    description:
      - As O(high_watermark), for inodes. Either how many of them are used, such as V(90%), or how many are to be
        available, such as V(100000).
      - Only where this mark is passed, the files of every layer are counted, which takes time.
    type: str
  low_inodes:
    description:
      - Where a run stops that O(high_watermark) or O(high_inodes) began. Spelled as O(high_inodes) is.
    type: str
  fail_on_shortfall:
    description:
      - Fails where a run that was to reach its low marks does not, and says what is in the way.
    type: bool
    default: false
  stages:
    description:
      - Sets of options, each going further than the last. A run does the first, and of the others only as many as it
        needs to reach the low marks, the last of these as far as is needed.
      - What a stage does not set is as for the whole run. A stage has to choose more than the one before, or of the
        same also what is younger; it is refused where it does not.
    type: list
    elements: dict
    suboptions:
      containers:
        description: As O(containers).
        type: str
        choices: [keep, stopped]
      containers_older_than:
        description: As O(containers_older_than).
        type: str
      containers_filters:
        description: As O(containers_filters).
        type: dict
      images:
        description: As O(images).
        type: str
        choices: [dangling, unused, keep]
      images_older_than:
        description: As O(images_older_than).
        type: str
      images_unused_for:
        description: As O(images_unused_for).
        type: str
      images_filters:
        description: As O(images_filters).
        type: dict
      images_remove:
        description: As O(images_remove).
        type: list
        elements: str
      images_keep:
        description: As O(images_keep).
        type: list
        elements: str
      images_keep_last:
        description: As O(images_keep_last).
        type: int
      protect_for:
        description: As O(protect_for).
        type: str
      build_cache:
        description: As O(build_cache).
        type: bool
      all:
        description: As O(all).
        type: bool
      unused_for:
        description: As O(unused_for).
        type: str
      types:
        description: As O(types).
        type: list
        elements: str
        choices: [regular, source.local, source.git.checkout, exec.cachemount, internal, frontend]
      filters:
        description: As O(filters).
        type: dict
      reserved_space:
        description: As O(reserved_space).
        type: str
      max_used_space:
        description: As O(max_used_space).
        type: str
  deadline:
    description:
      - Ends the run after this long, with what was done so far. Includes waiting for another prune to end,
        and for an account of the disk that is slow or turned away because others have asked for one.
    type: str
    default: 1h
  facts:
    description:
      - Returns the facts of the prune's own last look as well, as M(buildfleet.buildcache.buildcache_facts) does, so
        that a host need not be asked a second time. They are those after the run; in check mode, where nothing goes,
        those of the host as it is.
      - Other builders are asked once more for theirs, where O(builders) names any.
    type: bool
    default: false
  config_file:
    description:
      - The daemon's configuration file, for O(facts) alone.
      - If not set, it is the one that the dockerd at O(docker_host) reads, by its flag C(--config-file) or by default.
    type: path
"""
