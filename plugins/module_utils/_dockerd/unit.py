# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the properties of dockerd's unit say of its next start. Pure.

``unit`` is a dict of properties as systemctl shows them.
"""

from __future__ import annotations

import re
import shlex

_COMMAND = re.compile(r"\{ path=(.*?) ; argv\[\]=(.*?) ; ignore_errors=(yes|no) ;")
_FILE = re.compile(r"(.+?) \(ignore_errors=(yes|no)\)")
_VARIABLE = re.compile(r"\$(?:\{(\w+)\}|(\w+))")


def programs(unit):
    """Return the paths of the programs that a start of the unit must find."""
    shown = f"{unit.get('ExecStartPre', '')} {unit.get('ExecStart', '')}"
    return [path for path, _words, ignored in _COMMAND.findall(shown) if ignored == "no"]


def environment_files(unit):
    """Return the files with the environment of the unit: a list of (path, whether it may be missing)."""
    return [(path.strip(), ignored == "yes") for path, ignored in _FILE.findall(unit.get("EnvironmentFiles", ""))]


def start_command(unit, texts):
    """Return the command line with which the unit would start dockerd, None where it is not told.

    ``texts`` are the contents of its environment_files, in their order. A variable that is a word of its own is split
    at spaces (systemd.service(5), Command lines).
    """
    commands = _COMMAND.findall(unit.get("ExecStart", ""))
    if not commands:
        return None
    known = {}
    for text in (unit.get("Environment", "").replace(" ", "\n"), *texts):
        known.update(_variables(text))
    try:
        words = shlex.split(commands[-1][1])
    except ValueError:
        return None
    found = []
    for word in words:
        alone = re.fullmatch(r"\$(\w+)", word)
        if alone:
            found += known.get(alone.group(1), "").split()
        else:
            found.append(_VARIABLE.sub(lambda one: known.get(one.group(1) or one.group(2), ""), word))
    return found


def _variables(text):
    """Yield (name, value) of the assignments in an environment file."""
    for line in text.splitlines():
        name, equals, value = line.strip().partition("=")
        if equals and re.fullmatch(r"\w+", name.strip()):
            try:
                words = shlex.split(value)
            except ValueError:
                words = [value]
            yield name.strip(), " ".join(words)
