# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The settings of docs/large_fleets.cfg: Ansible knows each, takes them, and the documentation has them all."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from configparser import ConfigParser
from pathlib import Path

DOCS = Path(__file__).parents[2] / "docs"
CONFIG = Path(sys.executable).with_name("ansible-config")


def config(*arguments):
    environment = {**os.environ, "ANSIBLE_CONFIG": str(DOCS / "large_fleets.cfg")}
    return subprocess.run([CONFIG, *arguments], env=environment, capture_output=True, text=True, check=True).stdout


def test_ansible_knows_every_setting_and_takes_it():
    given = ConfigParser()
    given.read(DOCS / "large_fleets.cfg")
    known = ConfigParser(strict=False, interpolation=None, comment_prefixes="#", inline_comment_prefixes=None)
    known.read_string(re.sub(r"^;", "", config("init", "--disabled", "-t", "all"), flags=re.MULTILINE))
    text = (DOCS / "large_fleets.md").read_text(encoding="utf-8")
    for section in given.sections():
        for name, value in given[section].items():
            assert name in known[section], f"[{section}] {name}"
            assert f"| `{name} = {value}`" in text, name
    taken = config("dump", "--only-changed", "-t", "base")
    assert "DEFAULT_FORKS" in taken and "ANSIBLE_PIPELINING" in taken, taken
