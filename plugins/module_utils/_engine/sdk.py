# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The way to an engine that is not on a Unix socket of this host: the docker SDK for Python (5.0.3 and later) connects,
by TCP, TLS or SSH. The requests are our own, since the SDK of older distributions lacks their parameters."""

from __future__ import annotations

import os
import sys
import time
from contextlib import contextmanager
from http.client import HTTPException
from tempfile import TemporaryDirectory

from .._base.errors import BadOption, EngineError
from .tls import base_url, tls_settings
from .wire import PIECE, Answer, TooSlow, Unanswered, whole_body


class SdkTransport:
    """A transport (wire.py) by the connection options."""

    def __init__(self, connection):
        """Raises EngineError without an SDK, BadOption for what it cannot do, and Unanswered."""
        # Imported here, since it takes a tenth of a second and other engines need none of it.
        try:
            import docker
            import requests
        except ImportError as problem:
            raise _sdk_missing(connection["docker_host"], problem) from problem
        self._errors = requests.exceptions
        try:
            # The client agrees on a version; the SDK would spend a request of its own on it.
            given = {"version": "1.41", "timeout": connection["timeout"], "tls": tls_settings(docker, connection)}
            with _without_the_clients_file():
                self._session = docker.APIClient(base_url=base_url(connection), **given)
        except BadOption:
            raise
        # The SDK lets through whatever paramiko raises.
        except Exception as problem:
            raise Unanswered(f"{type(problem).__name__}: {problem}") from problem

    def request(self, method, target, timeout, patience):
        """Return the Answer; see wire.py."""
        end = time.monotonic() + patience
        try:
            with self._session.request(
                method,
                self._session.base_url + target,
                timeout=(timeout, patience),
                stream=True,
                # So that the length that is announced is that of what comes.
                headers={"Accept-Encoding": "identity"},
            ) as answer:
                body = whole_body(_pieces(answer), answer.headers.get("Content-Length"), end)
                answer.raw.release_conn()
                return Answer(answer.status_code, body)
        except self._errors.ConnectTimeout as problem:
            raise Unanswered(str(problem)) from problem
        except (self._errors.RequestException, HTTPException, OSError, EOFError) as problem:
            # While a body is read, a time-out comes as another error.
            if isinstance(problem, self._errors.Timeout) or time.monotonic() >= end:
                raise TooSlow from problem
            raise Unanswered(str(problem), begun=True) from problem


def _pieces(answer):
    """Return an iterator of a body: not by iter_content, which waits for a whole piece however slowly its bytes come,
    unless there is no other way, as with paramiko's files."""
    response = answer.raw._original_response
    if hasattr(response.fp, "read1"):
        return iter(lambda: response.read1(PIECE), b"")
    return answer.iter_content(PIECE)


@contextmanager
def _without_the_clients_file():
    """Have the SDK find an empty configuration of the docker client: nothing in it is needed, and it fails at some."""
    before = os.environ.get("DOCKER_CONFIG")
    with TemporaryDirectory() as directory:
        with open(os.path.join(directory, "config.json"), "w", encoding="ascii") as file:
            file.write("{}")
        os.environ["DOCKER_CONFIG"] = directory
        try:
            yield
        finally:
            del os.environ["DOCKER_CONFIG"]
            if before is not None:
                os.environ["DOCKER_CONFIG"] = before


def _sdk_missing(host, problem):
    return EngineError(
        f"An engine that is not on a Unix socket of this host, such as {host}, is reached with the docker SDK for "
        f"Python, which cannot be imported by {sys.executable} on this host ({problem}). Install it: on Debian and "
        "Ubuntu the package python3-docker, elsewhere docker>=5.0.3 with pip; or run the task on the engine's own host."
    )
