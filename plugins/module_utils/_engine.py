# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The edge to the Engine API, over the docker SDK for Python (5.0.3 and later).

The SDK connects: sockets, TLS, SSH. The requests are written out here, because the SDK of the older distributions
knows neither the parameters of a prune nor those of a disk-usage request.
"""

from __future__ import annotations

import json
import re
import sys
import time
from contextlib import contextmanager
from urllib.parse import quote

from ansible_collections.buildfleet.buildcache.plugins.module_utils._errors import (
    BadOption,
    DeadlineReached,
    EngineError,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._units import go_duration

NEWEST_API = (1, 55)
"""The newest API whose answers this collection knows the shape of (Engine 29.7)."""

OLDEST_API = (1, 40)
"""The API of Engine 19.03, the oldest supported."""

# Passing troubles of /system/df: the containerd store loses a snapshot between listing and measuring it
# (28.5.2, 404), and 20.10 measures for one client at a time (daemon/disk_usage.go).
_PASSING = re.compile(r"snapshot .* does not exist|disk usage operation is already running")
_TRIES, _PAUSE = 20, 0.25

_BUSY = 409
_LONGEST_PAUSE = 8.0


def is_local(docker_host):
    """Whether an engine listens on this host."""
    return bool(re.match(r"(?:http\+)?unix:|/|(?:tcp|https?)://(?:localhost|127\.|\[::1\])", docker_host))


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


class EngineClient:
    """One engine's API. All methods raise EngineError where the engine does not answer or answers with an error."""

    def __init__(self, connection):
        """Connect by ``connection`` (the connection options by name). Raises EngineError and BadOption."""
        # Imported here: the SDK takes a tenth of a second, and refused options should not wait for it.
        try:
            import docker
            import requests
        except ImportError as problem:
            raise _sdk_missing(problem) from problem
        self._failures = (requests.exceptions.RequestException, docker.errors.DockerException, OSError)
        self._too_slow = requests.exceptions.ReadTimeout
        self._host = connection["docker_host"]
        self._timeout = connection["timeout"]
        if self._timeout <= 0:
            raise BadOption(f"timeout: {self._timeout} is no time to wait. Give it in seconds, such as 60.")
        with self._explained():
            self._session = docker.APIClient(
                base_url=_base_url(connection),
                # The version is agreed on below; the SDK would spend a request of its own on it.
                version="1.41",
                timeout=self._timeout,
                tls=_tls(docker, connection),
            )
        self.version = self._json("GET", "/version", versioned=False)
        self._api = self._agree_on_api(connection["api_version"])

    @property
    def api_version(self):
        """The API version spoken, as (major, minor)."""
        return self._api

    @property
    def is_local(self):
        """Whether the engine listens on this host, so that its directories can be measured here."""
        return is_local(self._host)

    def info(self):
        """Return the engine's /info."""
        return self._json("GET", "/info")

    def disk_usage(self):
        """Return the engine's account of its build cache and images: a dict with the lists BuildCache and Images
        and the integer LayersSize (bytes), the same on every API version.

        Below API 1.42 the types cannot be chosen, and the engine walks containers and volumes as well.
        """
        usage = self._patiently(lambda: self._json("GET", "/system/df", params={"type": ["build-cache", "image"]}))
        records = usage.get("BuildCache")
        if records is None:
            records = (usage.get("BuildCacheUsage") or {}).get("Items")
        images = usage.get("Images")
        if images is None:
            images = (usage.get("ImageUsage") or {}).get("Items")
        return {"BuildCache": records or [], "Images": images or [], "LayersSize": usage.get("LayersSize") or 0}

    def containers(self, sizes=False):
        """Return all containers, stopped ones too; with the bytes of their own layers where asked (slow)."""
        return self._json("GET", "/containers/json", params={"all": "1", "size": "1" if sizes else "0"})

    def prune_containers(self, deadline):
        """Remove the containers that do not run. Returns the engine's answer."""
        return self._prune("/containers/prune", {}, deadline)

    def prune_untagged_images(self, filters, deadline):
        """Remove the untagged images that no container was made from. ``filters`` as the API has them.

        Returns the engine's answer.
        """
        return self._prune("/images/prune", {"filters": json.dumps(dict(filters, dangling=["true"]))}, deadline)

    def remove_tag(self, tag, deadline):
        """Remove a tag, and with its last one the image. Returns the engine's list of what was untagged and deleted."""
        return self._json("DELETE", f"/images/{quote(tag, safe='')}", patience=deadline.remaining())

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
        usage = self._patiently(lambda: self._json("GET", "/system/df", params={"type": ["volume"], "verbose": "1"}))
        return usage.get("Volumes") or (usage.get("VolumeUsage") or {}).get("Items") or []

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
                if deadline.remaining() < pause:
                    raise DeadlineReached(
                        f"The engine was still busy when the deadline was reached: {error}"
                    ) from error
            time.sleep(pause)
            pause = min(pause * 2, _LONGEST_PAUSE)

    def _patiently(self, request):
        """Make a request again while it meets a trouble that is known to pass."""
        for _try in range(_TRIES):
            try:
                return request()
            except EngineError as error:
                if not _PASSING.search(str(error)):
                    raise
            time.sleep(_PAUSE)
        return request()

    def _json(self, method, path, params=None, versioned=True, patience=None, answers=True):
        """Make a request and return its answer. ``patience`` is the time in seconds that the answer may take, and
        ``answers`` whether it is more than a status."""
        prefix = "/v{}.{}".format(*self._api) if versioned else ""
        url, timeout = f"{self._session.base_url}{prefix}{path}", (self._timeout, patience or self._timeout)
        try:
            with self._explained():
                answer = self._session.request(method, url, params=params, timeout=timeout)
        except self._too_slow as problem:
            if patience:
                # The SDK has closed the connection, at which the engine stops between two removals.
                raise DeadlineReached("The deadline was reached while the engine was at work.", True) from problem
            raise EngineError(
                f"The engine at {self._host} did not answer {method} {path} within {self._timeout} s. "
                "It may be overloaded: look at its log, or raise the option timeout."
            ) from problem
        if answer.status_code >= 400:
            raise EngineError(
                f"The engine at {self._host} answered {method} {path} with {answer.status_code}: {_message(answer)}",
                status=answer.status_code,
            )
        try:
            return answer.json() if answers else None
        except ValueError as problem:
            raise EngineError(
                f"What answers {method} {path} at {self._host} is not a Docker engine: it sent no JSON."
            ) from problem

    @contextmanager
    def _explained(self):
        try:
            yield
        except self._too_slow:
            raise
        except self._failures as problem:
            raise EngineError(_explanation(self._host, problem)) from problem

    def _agree_on_api(self, asked):
        try:
            theirs = _numbers(self.version["ApiVersion"])
            least = _numbers(self.version.get("MinAPIVersion") or self.version["ApiVersion"])
            engine = self.version["Version"]
        except (KeyError, TypeError, ValueError) as problem:
            raise EngineError(f"What listens at {self._host} is not a Docker engine.") from problem
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


def _base_url(connection):
    host = connection["docker_host"]
    return host.replace("tcp://", "https://", 1) if connection["tls"] or connection["validate_certs"] else host


def _tls(docker, connection):
    """Return the SDK's TLS settings for the connection options, False where TLS is not asked for."""
    if not (connection["tls"] or connection["validate_certs"]):
        return False
    settings = {"verify": bool(connection["validate_certs"])}
    if connection["client_cert"] and connection["client_key"]:
        settings["client_cert"] = (connection["client_cert"], connection["client_key"])
    if connection["ca_path"]:
        settings["ca_cert"] = connection["ca_path"]
    if connection["tls_hostname"]:
        if int(docker.__version__.split(".")[0]) >= 7:
            raise BadOption(
                f"tls_hostname: the docker SDK {docker.__version__} on this host cannot check another name than that "
                "in docker_host; 7.0.0 and later lost that. Leave the option out."
            )
        settings["assert_hostname"] = connection["tls_hostname"]
    return docker.tls.TLSConfig(**settings)


def _numbers(version):
    major, minor = version.split(".")[:2]
    return int(major), int(minor)


def _dotted(version):
    return "{}.{}".format(*version)


def _message(answer):
    try:
        return answer.json()["message"].strip()
    except (ValueError, KeyError, TypeError):
        return answer.text.strip()[:500] or "no message"


def _sdk_missing(problem):
    return EngineError(
        f"The docker SDK for Python cannot be imported by {sys.executable} on this host ({problem}). Install it: "
        "on Debian and Ubuntu the package python3-docker, elsewhere docker>=5.0.3 with pip; "
        "or set ansible_python_interpreter to a Python that has it."
    )


def _explanation(host, problem):
    """Return what went wrong on the way to the engine, and what to do, from the SDK's nested exceptions."""
    text = str(problem)
    if "FileNotFoundError" in text or "No such file" in text:
        return f"There is no socket at {host}. Is Docker installed and running (systemctl status docker)?"
    if "PermissionError" in text or "Permission denied" in text:
        return f"No permission to use {host}. Run the task with become: true, or as a member of the group docker."
    if "ConnectionRefused" in text or "Connection refused" in text:
        return f"Nothing listens at {host}: dockerd is not running there (systemctl status docker)."
    return f"Cannot talk to the engine at {host}: {text}"
