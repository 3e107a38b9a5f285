# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The result of a cleanup in one line. Pure."""

from __future__ import annotations

from .._base.units import human_size
from .marks import is_short, missing

LONGEST_LIST = 3


def summary(result, check_mode):
    """Return one line for the result of buildcache_prune, of a failed one too."""
    if "steps" not in result:
        return f"FAILED: {failure(result)}"
    if check_mode:
        line = f"would free {human_size(result['predicted_bytes'])}"
    else:
        freed = result["freed_bytes"]
        measured = "an unknown amount" if freed is None else human_size(freed)
        line = f"freed {measured}, predicted {human_size(result['predicted_bytes'])}"
    line += _marks(result)
    held = [one for one in result["kept"] if one["bytes"]]
    shown = ", ".join(f"{one['reason']} {human_size(one['bytes'])}" for one in held[:LONGEST_LIST])
    if len(held) > LONGEST_LIST:
        shown += f" and {len(held) - LONGEST_LIST} more"
    line += f", still held: {shown or 'nothing'}"
    line += "".join(f"; {_unheard(run)}" for run in result.get("previous", ()))
    return f"{line}; FAILED: {result['msg']}" if result.get("failed") else line


def failure(result):
    """Return why a cleanup failed, by its result or what there is of one, "" where it did not."""
    if "steps" in result:
        return result["msg"] if result.get("failed") else ""
    return result.get("msg") or "the host was not reached"


def _marks(result):
    """Return what there is to say of the marks, "" where the run had none."""
    if "wanted_bytes" not in result:
        return ""
    if not result["wanted_bytes"] and not result.get("wanted_inodes"):
        return ", below its high marks"
    stage = max((step.get("stage", 0) for step in result["steps"]), default=0)
    reached = f"{missing(result)} short of its low marks" if is_short(result) else "below its low marks"
    return f", {reached}{f' by stage {stage}' if stage else ''}"


def _unheard(run):
    """Return what there is to say of an earlier run whose result nobody heard."""
    if run["ended_at"] is None:
        return "an earlier run was killed"
    freed = run["freed_bytes"]
    failed = f" and failed: {run['msg']}" if run["msg"] else ""
    return f"an earlier run was cut off, freed {'an unknown amount' if freed is None else human_size(freed)}{failed}"
