# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options of a task that hand a variable on, or leave the option out where it is empty: read without a template.

Ansible compiles every template anew for every host. The role cleanup has over forty of these; where nothing is to be
done they took the controller about three quarters of what a whole ping takes.
"""

from __future__ import annotations

import re

from ansible.errors import AnsibleValueOmittedError
from ansible.template import is_trusted_as_template

_HANDED_ON = re.compile(
    r"\{\{ (?:(?P<name>[a-z]\w*) (?P<text>\| string )?\| default\(omit, true\)"
    r"|omit if (?P<listed>[a-z]\w*) in \(none, ''\) else (?P=listed)) \}\}"
)


def read(value, variables):
    """Return (True, what a task's option is) where that can be told from the ``variables`` of the host as they are,
    (False, None) where it takes a template, as with a variable that is made by one.

    Raises AnsibleValueOmittedError where the option is left out.
    """
    found = _HANDED_ON.fullmatch(value) if isinstance(value, str) and is_trusted_as_template(value) else None
    name = found and (found["name"] or found["listed"])
    # Jinja's own names, such as range, have no underscore.
    if found and name not in variables and "_" in name and not found["listed"] and not found["text"]:
        raise AnsibleValueOmittedError
    if not found or name not in variables or not _is_plain(variables[name]):
        return False, None
    given = variables[name]
    if found["text"]:
        given = str(given)
    if given in (None, "") if found["listed"] else not given:
        raise AnsibleValueOmittedError
    return True, given


def _is_plain(value):
    """Whether a value is what it says, and no template anywhere in it."""
    if isinstance(value, str):
        return "{" not in value and not value.startswith("#jinja2:")
    if isinstance(value, list):
        return all(map(_is_plain, value))
    if isinstance(value, dict):
        return all(_is_plain(one) for pair in value.items() for one in pair)
    return value is None or isinstance(value, (bool, int, float))
