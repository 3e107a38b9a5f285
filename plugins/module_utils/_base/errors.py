# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The errors of this collection: each message says what was wrong, where, and what to do."""

from __future__ import annotations


class BuildcacheError(Exception):
    """Something foreseeable went wrong; the message is meant for the operator."""


class BadOption(BuildcacheError):
    """An option cannot be used as it was given; nothing has been changed."""


class EngineError(BuildcacheError):
    """The engine could not be reached, or answered with an error.

    ``status`` is the HTTP status of the answer, None where there was none. ``cut_off`` tells whether a request that
    changes something was under way, so that part of its work may be done.
    """

    def __init__(self, message, status=None, cut_off=False):
        super().__init__(message)
        self.status = status
        self.cut_off = cut_off


class BuilderError(BuildcacheError):
    """A builder, or buildx, cannot be asked or did not do what it was asked for."""


class NoBuildx(BuilderError):
    """The host has no buildx, and therefore no builder but the engine's own."""


class DeadlineReached(BuildcacheError):
    """The time allowed for the run was over before its work was done.

    ``cut_off`` tells whether a request was under way, so that part of its work may be done.
    """

    def __init__(self, message, cut_off=False):
        super().__init__(message)
        self.cut_off = cut_off
