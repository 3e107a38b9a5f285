# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of a fleet's report: one file of HTML with all that it needs, for a browser without a network.

Whatever a host tells is data: the template escapes it, and the details of hosts, which a script shows as text, are
packed as Base64. A policy in the page keeps the browser from running any other script and from asking for anything.
"""

from __future__ import annotations

import base64
import gzip
import hashlib
import json
import unicodedata
from datetime import datetime, timezone
from importlib.metadata import PackageNotFoundError, distribution
from pathlib import Path

import jinja2

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import (
    SECOND,
    human_duration,
    human_size,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.advice import as_yaml
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.report import OK, PARTS, by_last_use

PACKAGE, BUNDLE = "itables", "itables/html/dt_bundle"
"""The Python package that carries DataTables, and its file there without the suffix; it needs no other since 2.6."""

SHOWN = 20
"""How many images and records of a host the page lists."""

LONGEST = 500
"""How many characters of a text from a host the page shows."""

_PLACE = Path(__file__).parent / "report"


class Missing(Exception):
    """What the page is made with is not there; the message says how to get it."""


def page(model):
    """Return the text of the page for the model of report.report(). Raises Missing without the package itables."""
    library, style = (_of_package(suffix) for suffix in (".js", ".css"))
    details = _packed({row["host"]: _details(row) for row in model["hosts"]})
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(_PLACE), autoescape=True, undefined=jinja2.StrictUndefined,
        trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(
        size=_size,
        text=visible,
        ago=lambda at: _ago(model["made_at"], at),
        utc=_utc,
        share=_share,
        pasted=as_yaml,
    )
    own = {name: (_PLACE / f"page.{name}").read_text(encoding="utf-8") for name in ("css", "js")}
    return environment.get_template("page.html.j2").render(
        model=model, parts=PARTS, ok=OK, details=details, library=library,
        styles=base64.b64decode(style).decode().replace("</", "<\\/") + own["css"], script=own["js"],
        # Nobody who names an image can know it.
        nonce=hashlib.sha256(details.encode() + repr(model["made_at"]).encode()).hexdigest()[:32],
    )  # fmt: skip


def _of_package(suffix):
    """Return a file of the package as Base64."""
    try:
        installed = distribution(PACKAGE)
    except PackageNotFoundError:
        raise Missing(_how("is not installed")) from None
    file = Path(installed.locate_file(BUNDLE + suffix))
    if not file.is_file():
        raise Missing(_how(f"{installed.version} has no {BUNDLE}{suffix}"))
    return base64.b64encode(file.read_bytes()).decode()


def _how(problem):
    return (
        f"the page of the report needs the Python package {PACKAGE} (2.6 or later) on the controller, which {problem}. "
        f"Install it for the Python that runs Ansible: python3 -m pip install --upgrade {PACKAGE}"
    )


def _packed(value):
    """Return a value as Base64 of compressed JSON: no markup can stand in it, and a thousand hosts say much alike."""
    text = json.dumps(value, separators=(",", ":"))
    return base64.b64encode(gzip.compress(text.encode(), 6, mtime=0)).decode()


def _details(row):
    """Return what the page says of one host beyond its row: a list of tables, each with a ``title``, what there is to
    say below it (``note``), the names of ``columns``, how many of the last are ``figures``, and ``rows`` of texts.
    """
    facts = row["facts"] or {}
    now = (facts.get("engine") or {}).get("observed_at")
    images, records = by_last_use(row)
    preview = row["cleanup"] or {}
    left = [["the preview failed", preview["failed"], "", ""]] if preview.get("failed") else []
    for one in preview.get("kept") or ():
        left.append([one["reason"], one.get("remedy") or "", str(one["count"]), _size(one["bytes"])])
    found = [
        _table(
            "Findings", ("Severity", "Finding", "What to do", "Bytes"), 1,
            [[one["severity"], f"{one['code']}: {one['message']}", one["remedy"], _size(one["bytes"])]
             for one in row["findings"]],
        ),
        _table(
            "What a cleanup would leave, and why", ("Reason", "What to do", "Count", "Bytes"), 2,
            left,
        ),
        _table(
            "Images, longest unused first", ("Image", "Last used", "By", "Alone", "Size"), 2,
            [[", ".join(one["tags"] or one["digests"] or [one["id"]]), _ago(now, one["last_used_at"]),
              one["last_used_by"] or "—", _size(one["unique_bytes"]), _size(one["size_bytes"])]
             for one in images[:SHOWN]], len(images) - SHOWN,
        ),
        _table(
            "Build-cache records, longest unused first", ("Record", "Type", "State", "Last used", "Size"), 1,
            [[one["description"] or one["id"], one["type"], _state(one), _ago(now, one["used_at"]), _size(one["size"])]
             for one in records[:SHOWN]], len(records) - SHOWN,
        ),
        _table(
            "Build cache used within", ("Time", "Records", "Bytes"), 2,
            [[within, str(used["records"]), _size(used["bytes"])] for within, used in row["used_within"].items()],
        ),
        _table("GC policy", ("Where", "Rules"), 0, _policies(row) if row["drift"] else []),
    ]  # fmt: skip
    return [table for table in found if table["rows"]]


def _table(title, columns, figures, rows, more=0):
    note = f"{more} more in the JSON" if more > 0 else ""
    texts = [[visible(cell) for cell in row] for row in rows]
    return {"title": title, "note": note, "columns": columns, "figures": figures, "rows": texts}


def _state(record):
    return "in use" if record["in_use"] else "shared" if record["shared"] else "private"


def _policies(row):
    """Return the rows of the policies of a host, by where they stand, and what the one in effect would remove."""
    drift, policy = row["drift"], row["policy"]
    rows = [[name, _policy_text(drift[key])] for name, key in (("in the file", "in_file"), ("in effect", "in_effect"))]
    if drift["wanted"] is not None:
        rows.append(["wanted", "; ".join(map(rule_text, drift["wanted"])) or "the engine's default rules"])
    removes = policy["why"] or f"{policy['count']} records, {_size(policy['bytes'])}"
    return [*rows, ["would remove now", removes], *(["warning", text] for text in drift["warnings"])]


def _policy_text(policy):
    if policy is None:
        return "not known"
    if policy.get("enabled") is False:
        return "off"
    if policy.get("rules") is None:
        return "the engine's default rules"
    return "; ".join(map(rule_text, policy["rules"])) or "no rules"


def rule_text(rule):
    """Return a rule of a policy in a few words."""
    names = {
        "types": "", "unused_for": "unused for ", "reserved_space": "reserved ", "max_used_space": "at most ",
        "min_free_space": "free at least ",
    }  # fmt: skip
    words = ["all records" if rule.get("all") else ""]
    for name, label in names.items():
        value = rule.get(name)
        words.append(f"{label}{'/'.join(value) if isinstance(value, (list, tuple)) else value}" if value else "")
    return ", ".join(filter(None, words)) or "any record"


def visible(text):
    """Return a text from a host as the page shows it: no longer than LONGEST, and without characters that nobody sees
    or that turn others round, written by their numbers instead."""
    seen = str(text)
    if not seen.isprintable():
        seen = "".join(f"\\u{ord(one):04x}" if unicodedata.category(one) in _UNSEEN else one for one in seen)
    return seen if len(seen) <= LONGEST else f"{seen[:LONGEST]}… ({len(seen)} characters)"


_UNSEEN = {"Cc", "Cf", "Cs", "Co", "Zl", "Zp"}


def _size(size):
    return "—" if size is None else human_size(size)


def _share(part, whole):
    """Return a share of a whole in percent, as CSS has it."""
    return f"{100 * part / whole:.2f}" if part and whole else "0"


def _ago(now, at):
    if not at or not now:
        return "—"
    return f"{human_duration(max(int((now - at) * SECOND), 0))} ago"


def _utc(at):
    return f"{datetime.fromtimestamp(at, timezone.utc):%Y-%m-%d %H:%M} UTC"
