# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Sizes, durations and timestamps as Docker writes them. Pure: text in, numbers out."""

from __future__ import annotations

import re
from calendar import timegm
from datetime import datetime, timezone
from functools import lru_cache
from typing import NamedTuple

from .errors import BadOption, BuildcacheError

SECOND = 1_000_000_000
"""Nanoseconds in a second. All times and durations of this collection are integers of nanoseconds."""

# Powers of 1024 whatever the spelling: units.RAMInBytes of docker/go-units, which dockerd uses for its sizes.
_SIZE = re.compile(r"(\d{1,19}(?:\.\d{1,19})?) ?(?:([kmgtp])i?)?b?", re.IGNORECASE | re.ASCII)
_PERCENT = re.compile(r"(\d+(?:\.\d+)?) ?%", re.ASCII)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4, "p": 5}

# Go's time.ParseDuration, plus days.
_DURATION_PART = re.compile(r"(\d{1,19}(?:\.\d{1,19})?)(d|h|ms|m|s|us|µs|ns)", re.ASCII)
_DURATION_UNITS = {
    "d": 86400 * SECOND,
    "h": 3600 * SECOND,
    "m": 60 * SECOND,
    "s": SECOND,
    "ms": 1_000_000,
    "us": 1_000,
    "µs": 1_000,
    "ns": 1,
}

_TIMESTAMP = re.compile(r"(\d{4}-\d\d-\d\d)T(\d\d):(\d\d):(\d\d)(?:\.(\d{1,9}))?(?:Z|([+-])(\d\d):(\d\d))")


class Size(NamedTuple):
    """A size as an option gives it: ``value`` bytes, or ``value`` percent of a file system."""

    value: float
    percent: bool = False

    def in_bytes(self, filesystem_bytes):
        """Return whole bytes; ``filesystem_bytes`` is what a percentage is taken of."""
        return int(filesystem_bytes * self.value / 100) if self.percent else int(self.value)


def parse_size(text, option):
    """Return the Size that ``text`` ("20GB", "512m", "15%") stands for.

    "GB" and "GiB" are both 2^30 bytes, as in dockerd. Raises BadOption, naming ``option``, for anything else and
    for zero, which engines read as "no limit" and people as "nothing".
    """
    percent = _PERCENT.fullmatch(text.strip())
    if percent:
        value = float(percent.group(1))
        if not 0 < value <= 100:
            raise BadOption(f"{option}: {text!r} is not a percentage between 0 and 100.")
        return Size(value, percent=True)
    size = _SIZE.fullmatch(text.strip())
    if not size:
        raise BadOption(
            f"{option}: {text!r} is not a size. Write a number with a unit, such as 20GB or 512MB, "
            "or a percentage of the file system, such as 15%."
        )
    value = float(size.group(1)) * 1024 ** _POWERS[(size.group(2) or "").lower()]
    if value < 1:
        raise BadOption(f"{option}: {text!r} is less than a byte. Leave the option out where no limit is meant.")
    return Size(value)


def parse_duration(text, option):
    """Return the nanoseconds that ``text`` stands for: Go's notation ("36h", "1h30m") plus days ("14d").

    Raises BadOption, naming ``option``, for anything else and for a duration of zero.
    """
    parts = _DURATION_PART.findall(text.strip())
    if not parts or "".join(number + unit for number, unit in parts) != text.strip():
        raise BadOption(
            f"{option}: {text!r} is not a duration. Write numbers with units, such as 90m, 36h, 1h30m or 14d."
        )
    duration = round(sum(float(number) * _DURATION_UNITS[unit] for number, unit in parts))
    if duration <= 0:
        raise BadOption(f"{option}: {text!r} is no time at all. Leave the option out where no limit is meant.")
    return duration


def go_duration(nanoseconds):
    """Return a duration in a spelling that every engine version reads: "48h", "1h30m", "1.5s"."""
    seconds, rest = divmod(nanoseconds, SECOND)
    minutes, seconds = divmod(seconds, 60)
    hours, minutes = divmod(minutes, 60)
    fraction = f".{rest:09d}".rstrip("0.")
    spelled = [f"{number}{unit}" for number, unit in ((hours, "h"), (minutes, "m")) if number]
    if seconds or fraction or not spelled:
        spelled.append(f"{seconds}{fraction}s")
    return "".join(spelled)


def docker_size(size):
    """Return ``size`` bytes as every engine version reads them, exact: "20GB" for 20 * 2^30, "1000B"."""
    power = next(power for power in range(5, -1, -1) if size % 1024**power == 0)
    return f"{size // 1024**power}{'BKMGTP'[power]}{'B' if power else ''}" if size else "0"


@lru_cache(maxsize=1024)
def _midnight(date):
    year, month, day = date.split("-")
    return timegm((int(year), int(month), int(day), 0, 0, 0))


# A plan asks for each record's several times.
@lru_cache(maxsize=1 << 17)
def parse_timestamp(text):
    """Return nanoseconds since the epoch for an RFC 3339 timestamp with up to nine decimals.

    The nanoseconds matter: the order in which BuildKit removes records hangs on them. None for Go's zero time and
    for None. Raises BuildcacheError for text of another form.
    """
    if text is None or text.startswith("0001-01-01"):
        return None
    match = _TIMESTAMP.fullmatch(text)
    if not match:
        raise BuildcacheError(f"The engine sent {text!r} where a timestamp (RFC 3339) belongs.")
    date, hours, minutes, seconds, fraction, sign, offset_hours, offset_minutes = match.groups()
    epoch = _midnight(date) + int(hours) * 3600 + int(minutes) * 60 + int(seconds)
    if sign:
        offset = int(offset_hours) * 3600 + int(offset_minutes) * 60
        epoch += -offset if sign == "+" else offset
    return epoch * SECOND + int((fraction or "0").ljust(9, "0"))


def format_timestamp(nanoseconds):
    """Return the RFC 3339 timestamp, with nine decimals, for nanoseconds since the epoch."""
    seconds, rest = divmod(nanoseconds, SECOND)
    return f"{datetime.fromtimestamp(seconds, timezone.utc):%Y-%m-%dT%H:%M:%S}.{rest:09d}Z"


def version_tuple(version):
    """Return major, minor and patch of a version such as "28.5.2+dfsg4", as integers; zeros for what is not there."""
    numbers = [int(number) for number in re.findall(r"[0-9]+", version)[:3]]
    return tuple(numbers + [0] * (3 - len(numbers)))


def human_size(size):
    """Return ``size`` bytes for people, in the powers of 1024 in which sizes are given: "1.5GB", "312MB", "17B"."""
    sign, size = ("-", -size) if size < 0 else ("", size)
    unit = "B"
    for unit in ("B", "KB", "MB", "GB", "TB"):
        if size < 1024 or unit == "TB":
            break
        size /= 1024
    number = f"{size:.1f}" if size < 10 and unit != "B" else f"{size:.0f}"
    return sign + (number[:-2] if number.endswith(".0") else number) + unit


def human_duration(nanoseconds):
    """Return a duration for people, in its two largest units: "3d4h", "36m", "12s"."""
    seconds = nanoseconds // SECOND
    parts = []
    for unit, length in (("d", 86400), ("h", 3600), ("m", 60), ("s", 1)):
        number, seconds = divmod(seconds, length)
        if number:
            parts.append(f"{number}{unit}")
    return "".join(parts[:2]) or "0s"
