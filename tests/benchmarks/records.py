# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""An engine that holds many records, made up but the same every time."""

from __future__ import annotations

import json
import random
import time

from ..unit.scripted_engine import quiet_engine


def script(number, seconds):
    """Return the script of an engine with that many records, which takes ``seconds`` to list them.

    The texts are made beforehand: what a scripted engine itself takes to answer is to be next to nothing.
    """
    answers = quiet_engine(records=api_records(number))
    ready = {request: [{"text": json.dumps(one["json"])} for one in given] for request, given in answers.items()}
    ready["GET /system/df"][0]["delay"] = seconds
    return ready


def api_records(number):
    """Return entries of /system/df as API 1.51 has them, the same ones every time.

    Chains of five to forty regular records, as builds leave them, a fifth of the chains shared with an image; and
    among the chains a tenth of lone records of other types.
    """
    chance, entries = random.Random(number), []
    parents, left, shared = [], 0, False
    for index in range(number):
        alone = chance.random() < 0.1
        if not alone and not left:
            parents, left, shared = [], chance.randint(5, 40), chance.random() < 0.2
        entry = {
            "ID": f"{chance.getrandbits(125):025x}",
            " Parents": [] if alone else parents,
            "Type": chance.choice(("source.local", "exec.cachemount", "internal")) if alone else "regular",
            "Description": f"[stage-0 {index % 20}/20] RUN make step-{index}",
            "InUse": False,
            "Shared": shared and not alone,
            "Size": int(chance.expovariate(1e-7)),
            "CreatedAt": "2025-12-31T23:59:59.123456789Z",
            "LastUsedAt": _timestamp(chance.randrange(30 * 86400 * 10**9)),
            "UsageCount": 1 + int(chance.expovariate(0.3)),
        }
        entries.append(entry)
        if not alone:
            parents, left = [entry["ID"]], left - 1
    return entries


def _timestamp(nanoseconds):
    """Return a moment of January 2026 as engines write it."""
    seconds, rest = divmod(nanoseconds, 10**9)
    return f"{time.strftime('%Y-%m-%dT%H:%M:%S', time.gmtime(1767225600 + seconds))}.{rest:09}Z"
