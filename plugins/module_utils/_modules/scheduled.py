# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A cleanup that the host starts by itself, from one archive with all it needs, as plugin_utils/archive.py makes it.

    python3 ARCHIVE SETTINGS [--check]

SETTINGS is a file of JSON: ``options`` of buildcache_prune, and ``metrics``, null or the ``path`` of a textfile and
the ``builders`` that have a label of their own there.
"""

from __future__ import annotations

import argparse
import json
import os
import runpy
import shutil
import subprocess
import sys
import tempfile
import time

from .._engine.state import replaced
from .._results import summary
from .._results.metrics import metrics_text

_ITSELF = "--module"
_FAILURE = "<3>"
"""What a line begins with for systemd to give it the priority of an error (systemd, sd-daemon.h)."""

_FIGURES = ("changed", "predicted_bytes", "reported_bytes", "freed_bytes", "shortfall_bytes", "audit", "warnings")


def main(module, profile):
    """Run the archive by its arguments; ``module`` is the full name of what it cleans up by, and ``profile`` how that
    one takes its arguments (ansible-core, module_utils/basic.py)."""
    if sys.argv[1:] == [_ITSELF]:
        _module(module, profile)
        return
    parser = argparse.ArgumentParser(description="Clean up the host by the options in a file.")
    parser.add_argument("settings", help="the file of JSON with the options")
    parser.add_argument("--check", action="store_true", help="show what would go, and change nothing")
    given = parser.parse_args()
    try:
        with open(given.settings, encoding="utf-8") as file:
            settings = json.load(file)
    except (OSError, ValueError) as problem:
        parser.error(f"{given.settings} cannot be read: {problem}")
    raise SystemExit(_scheduled(settings, given.check))


def _module(module, profile):
    # As Ansible's own wrapper starts a module (ansible-core, executor/module_common.py).
    from ansible.module_utils import basic

    basic._ANSIBLE_ARGS = sys.stdin.buffer.read()
    basic._ANSIBLE_PROFILE = profile
    sys.argv = sys.argv[:1]
    where = {"_module_fqn": module, "_modlib_path": sys.argv[0]}
    runpy.run_module(module, init_globals=where, run_name="__main__", alter_sys=True)


def _scheduled(settings, check_mode):
    """Clean up by the settings, tell the journal, and return the exit status."""
    metrics = None if check_mode else settings["metrics"]
    result = _cleaned(settings["options"], bool(metrics), check_mode)
    failed = summary.failure(result)
    _tell(summary.summary(result, check_mode), failed)
    if not check_mode:
        _tell(json.dumps(_told(result)), failed)
    if metrics:
        try:
            _write_metrics(result, **metrics)
        except OSError as problem:
            failed = f"metrics: {metrics['path']}: {problem.strerror}."
            _tell(failed, failed)
    return 1 if failed else 0


def _cleaned(options, facts, check_mode):
    """Return the result of the module."""
    # The run's id is that by which the journal knows it, too (systemd.exec, INVOCATION_ID).
    mine = {"run_id": options.get("run_id") or os.environ.get("INVOCATION_ID"), "facts": facts}
    # The journal has the options in their file, and need not have them again each night.
    ansible = {"_ansible_check_mode": check_mode, "_ansible_no_log": True}
    arguments = json.dumps({"ANSIBLE_MODULE_ARGS": {**options, **mine, **ansible}})
    with tempfile.TemporaryDirectory() as directory:
        # Python goes back to the archive for what it imports later, and meanwhile another one may have taken its place.
        own = shutil.copy(sys.argv[0], directory)
        # What starts a module is none, and has no run_command().
        ended = subprocess.run(  # pylint: disable=ansible-bad-function
            [sys.executable, own, _ITSELF],
            input=arguments.encode(),
            capture_output=True,
            check=False,
        )
    try:
        return json.loads(ended.stdout.decode())
    except ValueError:
        said = ended.stderr.decode(errors="replace").strip().splitlines()[-1:]
        return {"failed": True, "msg": f"The module ended with status {ended.returncode}. {' '.join(said)}".strip()}


def _told(result):
    """Return what the journal has of a result, without the ids, of which there can be thousands."""
    steps = [{**step, "removed": _counted(step["removed"]), "planned": _counted(step["planned"])}
             for step in result.get("steps", ())]  # fmt: skip
    figures = {name: result[name] for name in _FIGURES if result.get(name) is not None}
    return {"failed": bool(summary.failure(result)), "msg": result.get("msg", ""), **figures, "steps": steps}


def _counted(objects):
    return {"count": objects["count"], "bytes": objects["bytes"]}


def _write_metrics(result, path, builders):
    """Put the textfile of a cleanup in the place of the one before. Raises OSError."""
    try:
        with open(path, encoding="utf-8") as file:
            previous = file.read()
    except FileNotFoundError:
        previous = ""
    facts = (result.get("ansible_facts") or {}).get("buildcache") or {}
    text = metrics_text(facts, result, time.time(), previous=previous, builders=builders)
    with replaced(path, 0o644) as file:
        file.write(text)


def _tell(line, failed):
    sys.stdout.write(f"{_FAILURE if failed else ''}{line}\n")
    sys.stdout.flush()
