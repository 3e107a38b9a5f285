# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Prometheus' text format: what a textfile of the node_exporter holds. Pure.

Source: https://prometheus.io/docs/instrumenting/exposition_formats/, "Text-based format".
"""

from __future__ import annotations

import re

_ESCAPED = {"\\": r"\\", '"': r"\"", "\n": r"\n"}
_WITHOUT_LABELS = re.compile(r"([a-zA-Z_:][a-zA-Z0-9_:]*)[ \t]+([^ \t]+)")


def exposition(families):
    """Return the text of gauges: (name, help, samples) each, whose samples are (labels, value).

    ``labels`` is a dict of any texts. A value of None is not known: its sample is left out, and so is a family without
    samples.
    """
    lines = []
    for name, about, samples in families:
        known = [f"{name}{_braced(labels)} {_number(value)}" for labels, value in samples if value is not None]
        if known:
            lines += [f"# HELP {name} {about}", f"# TYPE {name} gauge", *known]
    return "".join(f"{line}\n" for line in lines)


def values(text):
    """Return {name: value} of the samples without labels in such a text; lines that are none do not count."""
    found = {}
    for line in text.splitlines():
        sample = _WITHOUT_LABELS.fullmatch(line.strip())
        if sample:
            try:
                found[sample[1]] = float(sample[2])
            except ValueError:
                continue
    return found


def _braced(labels):
    if not labels:
        return ""
    pairs = (f'{name}="{"".join(_ESCAPED.get(one, one) for one in str(value))}"' for name, value in labels.items())
    return f"{{{','.join(pairs)}}}"


def _number(value):
    number = float(value)
    return str(int(number)) if number.is_integer() else repr(number)
