# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the hosts' engines and disks say for themselves, for tests to hold the modules' results against."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

import fleet

MB = 1 << 20
_ASK = Path(__file__).with_name("ask_engine.py").read_text()


@dataclass(frozen=True)
class State:
    """One engine and its disk at one moment, in the engine's own words (entries of its API)."""

    version: dict
    info: dict
    usage: dict
    images: list
    containers: list
    disk: dict

    @property
    def records(self):
        """The build-cache records by id."""
        return {entry["ID"]: entry for entry in self.usage.get("BuildCache") or []}

    @property
    def free(self):
        """Free bytes of the data disk, with the blocks reserved for root."""
        return self.disk["f_bfree"] * self.disk["f_frsize"]

    @property
    def total(self):
        """Bytes of the data disk."""
        return self.disk["f_blocks"] * self.disk["f_frsize"]

    @property
    def private_bytes(self):
        """What BuildKit holds against a limit: the bytes of all records but the shared ones."""
        return sum(record["Size"] for record in self.records.values() if not record["Shared"])

    @property
    def shared(self):
        """The ids of records that the engine calls shared."""
        return {record_id for record_id, record in self.records.items() if record["Shared"]}

    @property
    def shared_bytes(self):
        """The bytes of the records that the engine calls shared."""
        return sum(self.records[record_id]["Size"] for record_id in self.shared)

    @property
    def untagged(self):
        """The ids of images without a tag."""
        return {image["Id"] for image in self.images if image["RepoTags"] in (None, [], ["<none>:<none>"])}

    @property
    def tags(self):
        """All tags."""
        return {tag for image in self.images for tag in image["RepoTags"] or [] if tag != "<none>:<none>"}

    @property
    def running(self):
        """The names of running containers."""
        return {name.lstrip("/") for one in self.containers if one["State"] == "running" for name in one["Names"]}

    @property
    def ids(self):
        """The ids of all that it holds; not what it says of each, which a start may reckon anew."""
        return {*self.records, *(one["Id"] for one in (*self.images, *self.containers))}

    @property
    def contents(self):
        """Everything that a cleanup could change, for comparison."""
        usage = {"LayersSize": self.usage.get("LayersSize"), "BuildCache": self.records}
        containers = {one["Id"]: (one["Names"], one["State"], one["Image"]) for one in self.containers}
        return {"usage": usage, "images": {one["Id"]: one for one in self.images}, "containers": containers}


def parents(record):
    """Return the ids of a record's parents, in whichever spelling the engine has for them."""
    one = record.get("Parent")
    return record.get(" Parents") or record.get("Parents") or ([one] if one else [])


def look(on=None):
    """Return {host: State} once garbage is collected and the hosts' disks are still."""
    answers = fleet.shell(_ASK, on, interpreter="python3 -")
    return {host: State(**json.loads(answer)) for host, answer in answers.items()}


def gained(before, after):
    """Return {host: bytes that the disk gained} from one look to a later one."""
    return {host: after[host].free - before[host].free for host in after}
