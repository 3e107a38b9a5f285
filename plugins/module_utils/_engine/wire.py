# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What the ways to an engine have in common: how much of an answer is taken, how long it may take, and what goes wrong.

A transport has ``request(method, target, timeout, patience)``, which returns the Answer. ``target`` is the path with
its query, ``timeout`` the seconds to connect and ``patience`` those from then on to the last byte of the answer.
It raises TooSlow, TooMuch and Unanswered, and has closed its connection then: an engine stops working for a client
that has gone. One connection serves all requests, where the engine lets it.
"""

from __future__ import annotations

import time
from typing import NamedTuple

MOST_BYTES = 128 * 2**20
"""The longest answer that is read, in bytes. A build-cache record takes 500 to 700 of them in a disk usage, so that
this is about 200,000 records; Python needs a multiple of it to read it."""

PIECE = 2**16
"""How much is read at once, in bytes."""


class Answer(NamedTuple):
    """The HTTP status of an answer, and its body as bytes."""

    status: int
    body: bytes


class TooSlow(Exception):
    """The answer was not there in time."""


class TooMuch(Exception):
    """The answer is longer than MOST_BYTES."""


class Unanswered(Exception):
    """There was no connection, or it ended before the answer did; the message has what the system says.

    ``begun`` tells whether the engine may have begun with what it was asked for.
    """

    def __init__(self, message, begun=False):
        super().__init__(message)
        self.begun = begun


def whole_body(pieces, length, end):
    """Join the pieces (an iterator of bytes) of a body.

    ``length`` is the value of Content-Length, None where there is none; ``end`` is when it must be there, by
    time.monotonic. Raises TooMuch, TooSlow, and Unanswered for half a body.
    """
    announced = int(length) if (length or "").isdigit() else None
    if announced is not None and announced > MOST_BYTES:
        raise TooMuch
    kept, size = [], 0
    for piece in pieces:
        kept.append(piece)
        size += len(piece)
        if size > MOST_BYTES:
            raise TooMuch
        if time.monotonic() > end:
            raise TooSlow
    # http.client says nothing of a body that ends early when it is read piece by piece.
    if announced is not None and size < announced:
        raise Unanswered(f"the connection ended after {size} of {announced} bytes of the answer", True)
    return b"".join(kept)
