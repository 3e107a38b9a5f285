# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scripted engines for the tests of the room."""

from __future__ import annotations

import pytest

from ansible_collections.buildfleet.buildcache.tests.unit.scripted_engine import ScriptedEngine


@pytest.fixture
def serve(tmp_path):
    """Start scripted engines, and stop them after the test."""
    engines = []

    def start(script):
        engine = ScriptedEngine(str(tmp_path / f"{len(engines)}.sock"), script)
        engine.__enter__()
        engines.append(engine)
        return engine

    yield start
    for engine in engines:
        engine.__exit__()
