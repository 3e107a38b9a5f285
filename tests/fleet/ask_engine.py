# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Runs on a host: prints what its engine and its disk say, as JSON, without any code of the collection."""

from __future__ import annotations

import http.client
import json
import os
import socket
import subprocess
import time

QUIET = 4
"""The number of equal looks at the disk, a tenth of a second apart, after which it counts as still."""


class Engine(http.client.HTTPConnection):
    """A connection to the engine's own socket."""

    def connect(self):
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.connect("/run/docker.sock")


def ask(path):
    """Return the engine's answer to GET path."""
    # The containerd store answers 404 for a moment after a build; see the collection's _engine.py.
    for _try in range(20):
        connection = Engine("localhost", timeout=60)
        connection.request("GET", path)
        answer = connection.getresponse()
        text = answer.read()
        if answer.status == 200:
            return json.loads(text)
        time.sleep(0.25)
    raise SystemExit(f"GET {path}: {answer.status} {text!r}")


def collect_garbage():
    """Have containerd collect its garbage before it answers; by itself it does so some time after an image has gone.

    Two looks then differ by what happened between them alone. And what is collected while a build makes the same
    layers anew is missing from that build (28.5.2: "parent snapshot … does not exist").
    """
    lease = ("ctr", "--namespace", "moby", "leases")
    subprocess.run([*lease, "create", "--id", "look"], check=True, stdout=subprocess.DEVNULL)
    subprocess.run([*lease, "delete", "--sync", "look"], check=True, stdout=subprocess.DEVNULL)


def still_statvfs(path):
    """Return the file system's statvfs once it no longer changes: the engine unlinks layers after it has answered."""
    seen, quiet = os.statvfs(path), 0
    for _look in range(100):
        if quiet == QUIET:
            break
        time.sleep(0.1)
        before, seen = seen, os.statvfs(path)
        quiet = quiet + 1 if before.f_bfree == seen.f_bfree else 0
    return {name: getattr(seen, name) for name in dir(seen) if name.startswith("f_")}


info = ask("/info")
if ["driver-type", "io.containerd.snapshotter.v1"] in (info["DriverStatus"] or []):
    collect_garbage()
print(
    json.dumps(
        {
            "version": ask("/version"),
            "info": info,
            "usage": ask("/system/df"),
            "images": ask("/images/json"),
            "containers": ask("/containers/json?all=1"),
            "disk": still_statvfs("/var/lib/docker"),
        }
    )
)
