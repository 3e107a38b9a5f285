# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The one message about a run on many hosts: a text for a chat, and its figures. Pure."""

from __future__ import annotations

from heapq import nlargest
from typing import NamedTuple

from .._base.units import human_size

ALWAYS, CHANGES, FAILURES = "always", "changes", "failures"
"""When a message is due."""

_LONGEST_NAME, _LONGEST_LINE = 60, 300
_LONGEST_TEXT = 4000
"""Characters. Slack advises 4,000 for a text; other services take more."""

# What chat services read as a mention, a link or the end of a quotation. Look-alikes stay readable, and need no
# spelling of their own in each service.
_LOOK_ALIKES = str.maketrans({"<": "‹", ">": "›", "@": "＠", "`": "'"})


class Outcome(NamedTuple):
    """What became of one host.

    ``line`` is its summary, ``failure`` is "" where nothing failed, ``freed_bytes`` None where that is not known or
    nothing was done, and ``filesystems`` are those after the run, as facts have them.
    """

    host: str
    line: str
    failure: str = ""
    unreachable: bool = False
    changed: bool = False
    predicted_bytes: int = 0
    freed_bytes: int | None = None
    filesystems: tuple = ()


def notification(outcomes, playbook, check_mode, worst):
    """Return what there is to tell of a run on many hosts: {"message": text, "summary": dict}.

    ``outcomes`` are the Outcomes of all hosts, ``playbook`` is the name of what ran ("" for a trial of the settings),
    and ``worst`` is how many hosts are named. Every name and message is harmless in a chat.
    """
    failed = [one for one in outcomes if one.failure]
    fullest = nlargest(worst, (_fullest(one) for one in outcomes if one.filesystems), key=_fullness)
    summary = {
        "playbook": harmless(playbook, _LONGEST_NAME),
        "check_mode": check_mode,
        "totals": {
            "hosts": len(outcomes),
            "changed": sum(one.changed for one in outcomes),
            "failed": len(failed),
            "unreachable": sum(one.unreachable for one in outcomes),
            "predicted_bytes": sum(one.predicted_bytes for one in outcomes),
            "freed_bytes": sum(one.freed_bytes or 0 for one in outcomes),
        },
        "failures": [_failure(one) for one in failed[:worst]],
        "worst": fullest,
    }
    return {"message": _text(summary), "summary": summary}


def is_due(summary, only):
    """Return whether a message is sent, where ``only`` is ALWAYS, CHANGES or FAILURES.

    A trial is always sent, and a run without any host is a failure.
    """
    totals = summary["totals"]
    if only == ALWAYS or not summary["playbook"] or totals["failed"] or not totals["hosts"]:
        return True
    return only == CHANGES and totals["changed"] > 0


def harmless(text, longest):
    """Return text of a host as one line without control characters or what a chat service obeys, cut to ``longest``."""
    # What is longer is cut anyway: no need to go through megabytes.
    shown = "".join(char if char.isprintable() else " " for char in text[: 4 * longest])
    shown = " ".join(shown.translate(_LOOK_ALIKES).replace("](", "] (").split())
    return shown if len(shown) <= longest else shown[: longest - 1] + "…"


def _failure(outcome):
    name = harmless(outcome.host, _LONGEST_NAME)
    return {"host": name, "unreachable": outcome.unreachable, "message": harmless(outcome.failure, _LONGEST_LINE)}


def _fullest(outcome):
    """Return the fullest file system of a host, by bytes or by inodes."""
    path, used, inodes = max(map(_used, outcome.filesystems), key=lambda one: max(one[1:]))
    return {
        "host": harmless(outcome.host, _LONGEST_NAME),
        "path": harmless(path, _LONGEST_NAME),
        "used_percent": used,
        "inodes_used_percent": inodes,
        "line": harmless(outcome.line, _LONGEST_LINE),
    }


def _used(filesystem):
    total, available = filesystem["inodes_total"], filesystem["inodes_available"]
    # Some, as btrfs, have no number of inodes.
    inodes = round(100 * (1 - available / total), 1) if total else 0.0
    return filesystem["path"], filesystem["used_percent"], inodes


def _fullness(one):
    return max(one["used_percent"], one["inodes_used_percent"])


def _text(summary):
    """Return the text of a summary."""
    if not summary["playbook"]:
        return "buildcache: a trial of the settings of the notification; nothing was done on any host"
    title = f"buildcache {summary['playbook']}{' (check mode)' if summary['check_mode'] else ''}"
    totals = summary["totals"]
    if not totals["hosts"]:
        return f"{title}: no host matched, nothing was done"
    lines = [f"{title}: {_totals(totals, summary['check_mode'])}"]
    if summary["failures"]:
        lines.append("Failed:")
        lines += [f"- {one['host']}: {one['message']}" for one in summary["failures"]]
        if totals["failed"] > len(summary["failures"]):
            lines.append(f"- and {totals['failed'] - len(summary['failures'])} more")
    if summary["worst"]:
        lines.append("Fullest disks:")
        lines += [f"- {one['host']}: {_disk(one)}; {one['line']}" for one in summary["worst"]]
    text = "\n".join(lines)
    return text if len(text) <= _LONGEST_TEXT else text[: _LONGEST_TEXT - 1] + "…"


def _totals(totals, check_mode):
    hosts = f"{totals['hosts']} host{'' if totals['hosts'] == 1 else 's'}"
    changed = f"{totals['changed']} {'would change' if check_mode else 'changed'}"
    failed = f"{totals['failed']} failed"
    if totals["unreachable"]:
        failed += f" ({totals['unreachable']} unreachable)"
    predicted = human_size(totals["predicted_bytes"])
    freed = (
        f"would free {predicted}" if check_mode else f"freed {human_size(totals['freed_bytes'])}, predicted {predicted}"
    )
    return f"{hosts}, {changed}, {failed}; {freed}"


def _disk(one):
    inodes = f" and {one['inodes_used_percent']}% of its inodes"
    return (
        f"{one['path']} {one['used_percent']}%{inodes if one['inodes_used_percent'] > one['used_percent'] else ''} used"
    )
