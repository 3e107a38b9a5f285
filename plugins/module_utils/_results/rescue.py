# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What buildcache_rescue returns. Pure."""

from __future__ import annotations

from .._base.records import filesystem_facts, freed_bytes
from .._base.units import human_size
from .._rescue.plan import enough

LONGEST_LIST = 40
"""The number of files that a step shows in a diff; the rest is counted."""


def rescue_result(given, before, after, until_free, check_mode, with_diff):
    """Return the result of buildcache_rescue as its RETURN describes it, for what was Given by each step, the
    Filesystems before and after, and how much had to be free (a Size, None for no end)."""
    result = {
        "changed": any(one.paths for one in given),
        "steps": [_step(one) for one in given],
        "freed_bytes": 0 if check_mode else freed_bytes(before, after) or 0,
        "short": {
            when: [one.path for one in filesystems if until_free and not enough(one, until_free)]
            for when, filesystems in (("before", before), ("after", after))
        },
        "filesystems": {
            "before": [filesystem_facts(one) for one in before],
            "after": [filesystem_facts(one) for one in after],
        },
    }
    if with_diff:
        result["diff"] = _diff(given)
    return result


def rescue_failure(given):
    """Return the message for the steps that failed, "" where none did."""
    failed = [f"{one.step}: {one.error}" for one in given if one.error]
    return f"{' '.join(failed)} The other steps are done. See to these, then run again." if failed else ""


def _step(one):
    step = {
        "step": one.step,
        "planned_bytes": one.planned_bytes,
        "freed_bytes": one.freed,
        "paths": list(one.paths),
    }
    return dict(step, error=one.error) if one.error else step


def _diff(given):
    before, after = [], []
    for one in given:
        sizes = {item.path: (item.bytes, item.how) for item in one.planned}
        shown = [(path, *sizes[path]) for path in one.paths]
        if not shown:
            continue
        total = sum(size for _path, size, _how in shown)
        before.append(f"{one.step}: {len(shown)} to give up, {human_size(total)}")
        before += [f"  {path}  {human_size(size)}  {how}" for path, size, how in shown[:LONGEST_LIST]]
        if shown[LONGEST_LIST:]:
            before.append(f"  and {len(shown[LONGEST_LIST:])} more")
        after.append(f"{one.step}: none to give up")
    return {"before": "".join(f"{line}\n" for line in before), "after": "".join(f"{line}\n" for line in after)}
