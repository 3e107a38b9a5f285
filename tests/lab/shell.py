# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""Run commands, and tell a user's trouble from a bug."""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import threading


class LabError(Exception):
    """Foreseeable trouble: its text says what was wrong, where, and what to do."""


class Unsuitable(LabError):
    """This machine cannot run the lab at all."""


_children: set[subprocess.Popen] = set()
_interrupted = threading.Event()


def run(*argv: str, stdin=subprocess.DEVNULL, timeout: float | None = None) -> str:
    """Run a command to its end and return what it wrote to stdout.

    `timeout` is in seconds. Raises LabError where the command fails, with the last lines that it wrote,
    where it takes too long, and where the lab was interrupted.
    """
    # In a session of its own, so that an interrupt reaches the whole of it and only by way of `interrupt`.
    child = subprocess.Popen(
        argv, stdin=stdin, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, start_new_session=True
    )
    _children.add(child)
    try:
        check_interrupt()
        stdout, stderr = child.communicate(timeout=timeout)
    except subprocess.TimeoutExpired:
        raise LabError(f"{_shown(argv)} took longer than {timeout:.0f} s") from None
    finally:
        if child.poll() is None:
            child.kill()
            child.communicate()
        _children.discard(child)
    check_interrupt()
    if child.returncode != 0:
        tail = "\n".join((stderr.strip() or stdout.strip()).splitlines()[-5:])
        raise LabError(f"{_shown(argv)} failed with exit code {child.returncode}: {tail}")
    return stdout


def interrupt() -> None:
    """End the running commands and make every later `run` and `check_interrupt` raise: worker threads see no signal."""
    _interrupted.set()
    for child in list(_children):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGTERM)


def check_interrupt() -> None:
    """Raise LabError where the lab was interrupted."""
    if _interrupted.is_set():
        raise LabError("interrupted")


def _shown(argv: tuple[str, ...]) -> str:
    text = " ".join(argv)
    return text if len(text) <= 160 else text[:160] + "…"
