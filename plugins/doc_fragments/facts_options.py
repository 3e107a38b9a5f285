# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Options of what the facts hold."""

    DOCUMENTATION = r"""
options:
  records:
    description:
      - Whether to return every build-cache record of a builder. There can be tens of thousands.
    type: bool
    default: false
  images:
    description:
      - Whether to return every image, with when it was last used as far as anything tells, and what that is known by;
        see O(buildfleet.buildcache.buildcache_prune#module:images_unused_for).
      - Reads the image store, and so has to be run as root on the engine's host; elsewhere a warning says so, and less
        is known.
    type: bool
    default: false
  config_file:
    description:
      - The daemon's configuration file. Of one that the dockerd at O(docker_host) does not read, nothing is said.
      - If not set, it is the one that this dockerd reads, by its flag C(--config-file) or by default.
    type: path
  look_ahead:
    description:
      - Whether to look, too, for what would keep dockerd from starting again, or from starting as it is, as
        M(buildfleet.buildcache.buildcache_restart) does before a restart. What is found is among the findings.
      - It takes a few more commands on the host. Nothing is looked for where the engine is not on the host of the task.
    type: bool
    default: false
  measure:
    description:
      - Whether to walk the engine's directories, too, and tell in C(disks) who holds what, also what the engine does
        not account for, such as containers' logs and what a crash left.
      - It takes reading the size of every file, and ends at O(deadline) with what was measured by then. It has to be
        run as root on the engine's host; elsewhere a warning says so, and the rest of the facts is as without it.
      - Of the storage drivers V(btrfs), V(zfs) and V(devicemapper), whose files do not tell who holds them, nothing is
        measured.
    type: bool
    default: false
  working_set:
    description:
      - Whether to tell, too, how much of each build cache was used within the last hours, days and weeks, how much is
        made in a day, and how the disk grows.
      - How it grows is known by earlier runs with this option. Each keeps a few figures on the host, in a file below
        C(/var/lib/buildcache) that no more than 400 runs of the last 60 days are in, one for each hour. In check mode
        nothing is kept.
    type: bool
    default: false
  service:
    description:
      - Name of dockerd's unit or init script, for O(look_ahead).
    type: str
    default: docker
  service_manager:
    description:
      - What starts dockerd, for O(look_ahead). V(systemd_user) is for rootless engines; run the task as the user whose
        engine it is.
    type: str
    choices: [auto, systemd, systemd_user, sysvinit]
    default: auto
  deadline:
    description:
      - How long the engine's account of its disk is waited for, where it is slow or busy with others. What could not be
        had by then is a finding, and the rest is told.
    type: str
    default: 5m
"""
