# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Scripted engines on the hosts, for what a real one can't be made to do on demand."""

from __future__ import annotations

import json
from contextlib import contextmanager
from pathlib import Path

import builds
import fleet

from tests.unit import scripted_engine

quiet_engine = scripted_engine.quiet_engine


@contextmanager
def engine(name, script):
    """Serve a script on every host; gives the ``docker_host`` to name."""
    base = f"{builds.CONTEXT}/{name}"
    program = Path(scripted_engine.__file__).read_text()
    fleet.shell(
        f"cat >{builds.CONTEXT}/scripted_engine.py <<'PROGRAM'\n{program}PROGRAM\n"
        f"cat >{base}.json <<'SCRIPT'\n{json.dumps(script)}\nSCRIPT\n"
        f"rm -f {base}.sock {base}.requests\n"
        f"setsid -f python3 {builds.CONTEXT}/scripted_engine.py {base}.sock {base}.json {base}.requests "
        f">{base}.log 2>&1 </dev/null\n"
        f"for _ in $(seq 100); do [ -S {base}.sock ] && exit; sleep 0.1; done; cat {base}.log >&2; exit 1"
    )
    try:
        yield f"unix://{base}.sock"
    finally:
        fleet.shell(f"pkill --full 'scripted_engine.py {base}.sock'")


def requests(name):
    """Return {host: what the engine of that name was asked, as a list of "METHOD /path?query"}."""
    return {host: text.split("\n")[:-1] for host, text in fleet.shell(f"cat {builds.CONTEXT}/{name}.requests").items()}
