# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Which text of the configuration file there is to go back to, where dockerd does not start with the new one. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from .in_effect import LastLook


@dataclass(frozen=True)
class Version:
    """A text of the configuration file, None for no file, and what a look at it saw then."""

    text: str | None
    look: LastLook


@dataclass(frozen=True)
class History:
    """What is known of a configuration file. Each is a Version, None where there is none or it is not known.

    ``started`` is the last one that dockerd started with, ``written`` what we have written since, and ``before`` what
    stood there just before: it has later changes of other keys, but dockerd may never have started with it.
    """

    started: Version | None = None
    before: Version | None = None
    written: Version | None = None


def observed(history, version, changed_at, started_at):
    """Return the History after a look at the Version that the file has now.

    ``changed_at`` is when the file was last written to, ``started_at`` when the daemon started (None where unknown).
    """
    if started_at is None:
        return history
    if changed_at is not None and changed_at <= started_at:
        return History(started=version)
    if history.written and history.written.look.since < started_at:
        # dockerd was started since by somebody else, most likely with what we wrote.
        return replace(history, before=history.written, written=None)
    return history


def about_to_write(history, version, new):
    """Return the History when one Version is about to be written over another.

    Where that one is ours and dockerd never started with it, what stood there before stays what to go back to.
    """
    ours = history.written and history.before and history.written.text == version.text
    return replace(history, before=history.before if ours else version, written=new)


def ways_back(history, text):
    """Return the Versions to go back to from a text that the file has now, the first to be tried first."""
    found = []
    for version in (history.before, history.started):
        if version and version.text not in (text, *(one.text for one in found)):
            found.append(version)
    return found


def can_be_restarted(history, text):
    """Whether a dockerd that does not start with this text can be brought back."""
    return bool(ways_back(history, text)) or bool(history.started and history.started.text == text)


def mapped(history, change):
    """Return the History with ``change(text)`` in the place of each text."""

    def changed(version):
        return version and replace(version, text=change(version.text))

    return History(changed(history.started), changed(history.before), changed(history.written))
