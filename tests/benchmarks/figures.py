# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Paired figures: several ways to do a thing, measured in turns."""

from __future__ import annotations

from dataclasses import asdict, dataclass
from statistics import median


class BenchmarkError(Exception):
    """A benchmark cannot be run, or what it ran did not do what was to be measured."""


@dataclass(frozen=True)
class Row:
    """One line of the results: the median of what ``subject`` took, and its ratio to a baseline.

    ``ratio`` is the median of the ratios of each round, None for a baseline; ``aim`` is what it should not exceed.
    """

    benchmark: str
    subject: str
    value: float
    unit: str
    baseline: str | None = None
    ratio: float | None = None
    aim: float | None = None


def turns(names, number):
    """Yield ``number`` rounds of the names, each beginning with another one, so that none always follows the same."""
    for turn in range(number):
        first = turn % len(names)
        yield names[first:] + names[:first]


def paired(benchmark, unit, rounds, comparisons):
    """Return the Rows of a benchmark.

    ``rounds`` is a list of {subject: figure}, ``comparisons`` a list of (subject, baseline, aim or None). A subject
    that is compared with nothing gets a Row of its own.
    """
    compared = {subject for subject, _baseline, _aim in comparisons}
    rows = [
        Row(benchmark, subject, median(one[subject] for one in rounds), unit)
        for subject in rounds[0]
        if subject not in compared
    ]
    for subject, baseline, aim in comparisons:
        value = median(one[subject] for one in rounds)
        ratio = median(one[subject] / one[baseline] for one in rounds)
        rows.append(Row(benchmark, subject, value, unit, baseline, ratio, aim))
    return rows


def table(rows):
    """Return the rows as text in columns."""
    lines = [("benchmark", "what", "median", "ratio", "to", "aim")]
    for row in rows:
        lines.append(
            (
                row.benchmark,
                row.subject,
                f"{_number(row.value)} {row.unit}",
                f"{row.ratio:.2f}" if row.ratio is not None else "",
                row.baseline or "",
                f"<= {row.aim:g}" if row.aim is not None else "",
            )
        )
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    return "\n".join(
        "  ".join(cell.ljust(width) for cell, width in zip(line, widths, strict=True)).rstrip() for line in lines
    )


def _number(value):
    return f"{value:,.0f}" if value >= 100 else f"{value:.3g}"


def as_json(rows):
    """Return the rows as JSON has them."""
    return [asdict(row) for row in rows]
