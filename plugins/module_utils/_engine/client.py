# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to the Engine API: what is asked of an engine, in which version, and how long its answer is waited for.

How it gets there is a transport's business (wire.py): unix.py for a socket of this host, or one that is handed in.
"""

from __future__ import annotations

import json
import re
import time
from urllib.parse import quote, urlencode

from .._base.errors import (
    BadOption,
    DeadlineReached,
    EngineError,
)
from .._base.units import go_duration
from .address import socket_path
from .identity import require_docker_engine
from .unix import UnixTransport
from .usage import build_cache, disk_usage, volumes
from .wire import MOST_BYTES, TooMuch, TooSlow, Unanswered

NEWEST_API = (1, 55)
"""The newest API whose answers this collection knows the shape of (Engine 29.7)."""

OLDEST_API = (1, 40)
"""The API of Engine 19.03, the oldest supported."""

_PAUSE = 0.25
_BUSY, _NOT_FOUND = 409, 404
_LONGEST_PAUSE = 8.0


class Deadline:
    """The moment at which a run must end."""

    def __init__(self, seconds):
        self._end = time.monotonic() + seconds

    def remaining(self):
        """Return the seconds left, more than 0. Raises DeadlineReached where there are none."""
        left = self._end - time.monotonic()
        if left <= 0:
            raise DeadlineReached("The deadline was reached.")
        return left

    def or_later(self, seconds):
        """Return this Deadline, or one in so many seconds where that is later."""
        return self if self.allows(seconds) else Deadline(seconds)

    def allows(self, seconds):
        """Whether so many seconds are left."""
        return self._end - time.monotonic() > seconds


class EngineClient:
    """One engine's API. All methods raise EngineError where the engine does not answer or answers with an error."""

    def __init__(self, connection, elsewhere=None):
        """Connect by ``connection`` (the connection options by name). Raises EngineError and BadOption.

        ``elsewhere(connection)`` returns the transport to an engine that is not on a Unix socket of this host, as
        sdk.SdkTransport does; without it such an engine is refused.
        """
        self._host = connection["docker_host"]
        self._timeout = connection["timeout"]
        if self._timeout <= 0:
            raise BadOption(f"timeout: {self._timeout} is no time to wait. Give it in seconds, such as 60.")
        self._transport = self._transport_by(connection, elsewhere)
        self.docker_host = self._host
        self.version = self._json("GET", "/version", versioned=False)
        self._api = self._agree_on_api(connection["api_version"])

    def _transport_by(self, connection, elsewhere):
        path = socket_path(self._host)
        if path:
            return UnixTransport(path)
        if not (elsewhere and re.match(r"(?:tcp|https?|ssh)://", self._host)):
            raise BadOption(
                f"docker_host: {self._host!r} is no address of an engine. Write the path of a Unix socket, such as "
                "unix:///var/run/docker.sock, or an address with tcp://, https:// or ssh://."
            )
        try:
            return elsewhere(connection)
        except Unanswered as problem:
            raise EngineError(_explanation(self._host, str(problem))) from problem

    @property
    def timeout(self):
        """How long the answer to a question may take, in seconds."""
        return self._timeout

    @property
    def api_version(self):
        """The API version spoken, as (major, minor)."""
        return self._api

    def info(self):
        """Return the engine's /info."""
        return self._json("GET", "/info")

    def disk_usage(self, deadline=None):
        """Return usage.disk_usage(), waited for until the Deadline, or without one for the client's timeout."""
        return disk_usage(self._json, self._api, deadline or Deadline(self._timeout))

    def build_cache(self, deadline=None):
        """Return usage.build_cache(), waited for as disk_usage() is."""
        return build_cache(self._json, deadline or Deadline(self._timeout))

    def containers(self, sizes=False):
        """Return all containers, stopped ones too; with the bytes of their own layers where asked (slow)."""
        return self._json("GET", "/containers/json", params={"all": "1", "size": "1" if sizes else "0"})

    def prune_containers(self, deadline):
        """Remove the containers that do not run. Returns the engine's answer."""
        return self._prune("/containers/prune", {}, deadline)

    def image(self, name):
        """Return what the engine tells of the image with this tag, digest or id; {} where there is none."""
        return self._one(f"/images/{quote(name, safe='')}/json")

    def container(self, name):
        """Return what the engine tells of a container; {} where there is none."""
        return self._one(f"/containers/{name}/json")

    def _one(self, path):
        try:
            return self._json("GET", path)
        except EngineError as error:
            if error.status != _NOT_FOUND:
                raise
            return {}

    def remove_image(self, name, deadline):
        """Remove a tag or digest, and with the last one, or by its id, the image and the parents that only it had.

        Returns the engine's list of what was untagged and deleted.
        """
        return self._json("DELETE", f"/images/{quote(name, safe='')}", patience=deadline.remaining())

    def prune_build_cache(self, rule, deadline):
        """Remove what the Rule selects. Returns the engine's answer."""
        filters = {}
        if rule.unused_for:
            filters["until"] = [go_duration(rule.unused_for)]
        if rule.type:
            filters["type"] = [rule.type]
        if rule.id:
            filters["id"] = [rule.id]
        if rule.description:
            # The engine glues key and value together to an expression of containerd's filter language.
            filters["description"] = [json.dumps(rule.description, ensure_ascii=False)]
        if rule.shared is not None:
            filters["shared" if rule.shared else "private"] = []
        params = {"all": "true" if rule.all else "false", "filters": json.dumps(filters)}
        if rule.keep_bytes:
            # One cap, by the name it has had since API 1.48 or before.
            params["reserved-space" if self._api >= (1, 48) else "keep-storage"] = str(rule.keep_bytes)
        return self._prune("/build/prune", params, deadline)

    def volumes(self):
        """Return the engine's volumes, each with its bytes and who mounts it (slow: the engine walks them)."""
        return volumes(self._json, Deadline(self._timeout))

    def remove_container(self, name, deadline, force=False):
        """Remove a container, with ``force`` though it runs; its volumes stay."""
        path = f"/containers/{name}{'?force=1' if force else ''}"
        self._json("DELETE", path, patience=deadline.remaining(), answers=False)

    def remove_volume(self, name, deadline):
        """Remove a volume that no container mounts."""
        self._json("DELETE", f"/volumes/{quote(name, safe='')}", patience=deadline.remaining(), answers=False)

    def _prune(self, path, params, deadline):
        """POST a prune, waiting while another one runs, and for its answer as long as the deadline allows."""
        pause = _PAUSE
        while True:
            try:
                return self._json("POST", path, params=params, patience=deadline.remaining())
            except EngineError as error:
                if error.status != _BUSY:
                    raise
                if not deadline.allows(pause):
                    raise DeadlineReached(
                        f"The engine was still busy when the deadline was reached: {error}"
                    ) from error
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _json(self, method, path, params=None, versioned=True, patience=None, answers=True):
        """Make a request and return its answer. ``patience`` is the time in seconds that the answer may take, and
        ``answers`` whether it is more than a status."""
        prefix = "/v{}.{}".format(*self._api) if versioned else ""
        query = f"?{urlencode(params, doseq=True)}" if params else ""
        try:
            answer = self._transport.request(method, f"{prefix}{path}{query}", self._timeout, patience or self._timeout)
        except TooSlow as problem:
            if patience:
                # The connection is closed, at which the engine stops between two removals.
                raise DeadlineReached("The deadline was reached while the engine was at work.", True) from problem
            raise EngineError(
                f"The engine at {self._host} did not answer {method} {path} within {self._timeout} s. "
                "It may be overloaded: look at its log, or raise the option timeout."
            ) from problem
        except TooMuch as problem:
            raise EngineError(
                f"The engine at {self._host} answered {method} {path} with more than {MOST_BYTES // 2**20} MiB, which "
                "was not read. Where it really holds so much, remove some of it with docker builder prune first.",
                cut_off=bool(patience),
            ) from problem
        except Unanswered as problem:
            raise EngineError(
                _explanation(self._host, str(problem)), cut_off=bool(patience) and problem.begun
            ) from problem
        if answer.status >= 400:
            raise EngineError(
                f"The engine at {self._host} answered {method} {path} with {answer.status}: {_message(answer.body)}",
                status=answer.status,
            )
        try:
            return json.loads(answer.body) if answers else None
        except ValueError as problem:
            begins = answer.body[:60].decode("utf-8", "replace")
            raise EngineError(
                f"What answers {method} {path} at {self._host} is not a Docker engine: it sent no JSON, but {begins!r}."
            ) from problem

    def _agree_on_api(self, asked):
        try:
            theirs = _numbers(self.version["ApiVersion"])
            least = _numbers(self.version.get("MinAPIVersion") or self.version["ApiVersion"])
            engine = self.version["Version"]
        except (KeyError, TypeError, ValueError) as problem:
            raise EngineError(f"What listens at {self._host} is not a Docker engine.") from problem
        require_docker_engine(self.version, self._host)
        if theirs < OLDEST_API:
            raise EngineError(
                f"Engine {engine} at {self._host} is too old: it has API {_dotted(theirs)}, and 19.03 with API "
                f"{_dotted(OLDEST_API)} is the oldest that can be cleaned. Upgrade the engine."
            )
        if asked == "auto":
            chosen = min(theirs, NEWEST_API)
            if chosen < least:
                raise EngineError(
                    f"Engine {engine} at {self._host} wants API {_dotted(least)} or later, and this version of "
                    f"buildfleet.buildcache knows up to {_dotted(NEWEST_API)}. Upgrade the collection."
                )
            return chosen
        try:
            chosen = _numbers(asked)
        except ValueError:
            raise BadOption(f"api_version: {asked!r} is not an API version. Write auto, or one such as 1.41.") from None
        if not max(least, OLDEST_API) <= chosen <= theirs:
            raise BadOption(
                f"api_version: engine {engine} speaks {_dotted(max(least, OLDEST_API))} to {_dotted(theirs)}, "
                f"not {asked}. Leave the option out to have the right one chosen."
            )
        return chosen


def _numbers(version):
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _dotted(version):
    return "{}.{}".format(*version)


def _message(body):
    try:
        return json.loads(body)["message"].strip()
    except (ValueError, KeyError, TypeError, AttributeError):
        return body.decode("utf-8", "replace").strip()[:500] or "no message"


_CAUSES = (
    (
        r"FileNotFoundError|No such file",
        "There is no socket at {host}. Is Docker installed and running (systemctl status docker)?",
    ),
    (
        r"PermissionError|Permission denied",
        "No permission to use {host}. Run the task with become: true, or as a member of the group docker.",
    ),
    (
        r"ConnectionRefused|Connection refused",
        "Nothing listens at {host}: dockerd is not running there (systemctl status docker).",
    ),
    (
        r"paramiko",
        "{host} is reached over SSH, for which the docker SDK for Python takes paramiko: install python3-paramiko on "
        "Debian and Ubuntu, elsewhere paramiko with pip; or run the task on the engine's own host ({text}).",
    ),
    # docker SDK before 7.1 beside requests 2.32 (docker-py issue 3256).
    (
        r"Not supported URL scheme",
        "The docker SDK for Python on this host does not work with the version of requests beside it ({text}). Upgrade "
        "the SDK to 7.1.0 or later, or take both from the distribution.",
    ),
)
"""What stands in the (nested) exceptions of a transport, and what it means."""


def _explanation(host, text):
    """Return what went wrong on the way to the engine, and what to do."""
    for pattern, message in _CAUSES:
        if re.search(pattern, text):
            return message.format(host=host, text=text)
    return f"Cannot talk to the engine at {host}: {text}"
