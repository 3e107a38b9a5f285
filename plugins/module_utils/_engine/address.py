# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Where an engine is, by its address. Pure."""

from __future__ import annotations

import re


def is_local(docker_host):
    """Whether an engine listens on this host."""
    return bool(
        re.match(r"(?:http\+)?unix:|/|(?:tcp|https?)://(?:localhost|127(?:\.\d+){3}|\[::1\])(?:[:/]|$)", docker_host)
    )


def socket_path(docker_host):
    """Return the path of the Unix socket that an address names, "" where it names none."""
    found = re.fullmatch(r"(?:(?:http\+)?unix://)?(/.+)", docker_host or "")
    return found.group(1) if found else ""
