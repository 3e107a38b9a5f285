# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes wrong on the way to a builder's policy; the right way is shown on real builders by the fleet tests."""

from __future__ import annotations

import base64
import io
import json
import os
import tarfile
from dataclasses import replace

import pytest

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption, BuilderError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.records import RUNNING, STOPPED
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders import policy as _builder_policy
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders.nodes import Node
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import record

OLD = '# Ours.\n[worker.oci]\ngc = true\n\n[[worker.oci.gcpolicy]]\nmaxUsedSpace = "9GB"\n'
OPTIONS = {
    "builder": "ci",
    "buildx_config": None,
    "timeout": 1,
    "state": "present",
    "enabled": True,
    "rules": [{"max_used_space": "5GB"}],
    "unsupported": "fail",
    "engine_version": None,
    "recreate_builder": True,
}


def archive(text):
    """Return what `docker cp … -` prints for a file."""
    content, packed = text.encode(), io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w") as files:
        about = tarfile.TarInfo("buildkitd.toml")
        about.size = len(content)
        files.addfile(about, io.BytesIO(content))
    return packed.getvalue().decode()


class FakeBuildx:
    """A buildx with one builder, whose container has the file that was in the store when it was made."""

    def __init__(self, store):
        self.store = store
        self.status, self.in_container = RUNNING, OLD
        self.building = [False]
        self.refuses = lambda text: False
        self.done = []

    def __call__(self, connection, config):
        return self

    def text(self):
        return base64.b64decode(json.loads(self.store.read_text())["Nodes"][0]["Files"]["buildkitd.toml"]).decode()

    def nodes(self):
        return (Node("ci", "docker-container", "ci0", "default", self.status, "0.25.2"),)

    def node_client(self, node):
        return self

    def filesystem(self):
        return None

    def records(self):
        busy = self.building.pop(0) if len(self.building) > 1 else self.building[0]
        return [record("a", in_use=busy)]

    def run(self, *arguments, endpoint=None):
        self.done.append(arguments[0])
        if arguments[0] == "cp":
            return archive(self.in_container)
        if arguments[0] == "rm":
            self.in_container = None
        return ""

    def start(self, node):
        self.done.append("start")
        if self.in_container is None:
            if self.refuses(self.text()):
                raise BuilderError("BuildKit did not start.")
            self.in_container = self.text()
        self.status = RUNNING
        return replace(node, status=RUNNING)

    def stop(self, node):
        self.done.append("stop")
        self.status = STOPPED


@pytest.fixture
def buildx(tmp_path, monkeypatch):
    (tmp_path / "instances").mkdir()
    (tmp_path / ".lock").touch()
    store = tmp_path / "instances" / "ci"
    content = base64.b64encode(OLD.encode()).decode()
    node = {"Name": "ci0", "Endpoint": "default", "Files": {"buildkitd.toml": content, "certs/ca.pem": "eA=="}}
    store.write_text(json.dumps({"Name": "ci", "Driver": "docker-container", "Nodes": [node], "Dynamic": False}))
    fake = FakeBuildx(store)
    monkeypatch.setattr(_builder_policy, "Buildx", fake)
    monkeypatch.setattr(_builder_policy, "_POLL", 0.001)
    monkeypatch.setenv("BUILDX_CONFIG", str(tmp_path))
    return fake


def put(buildx, check_mode=False, drain=0.05, **given):
    return _builder_policy.put_policy(dict(OPTIONS, **given), drain, check_mode, os.replace)[0]


def test_the_file_is_written_and_the_container_made_of_it(buildx):
    result = put(buildx)
    assert result["changed"] and not result["restart_required"]
    assert '"5GB"' in buildx.in_container and "# Ours." in buildx.in_container
    stored = json.loads(buildx.store.read_text())
    assert stored["Nodes"][0]["Files"]["certs/ca.pem"] == "eA==" and list(stored)[-1] == "Dynamic"
    buildx.done.clear()
    assert not put(buildx)["changed"] and set(buildx.done) == {"cp"}


def test_check_mode_only_says_so(buildx):
    before = buildx.store.read_text()
    result = put(buildx, check_mode=True)
    assert result["changed"] and result["restart_required"] and buildx.store.read_text() == before
    assert set(buildx.done) == {"cp"}


def test_a_container_that_is_not_to_be_made_anew_needs_it(buildx):
    assert put(buildx, recreate_builder=False)["restart_required"]
    assert buildx.in_container == OLD
    assert put(buildx, recreate_builder=False) == {**put(buildx, recreate_builder=False), "changed": False}


@pytest.mark.parametrize("status", [RUNNING, STOPPED])
def test_where_the_new_container_does_not_start_the_old_one_is_made_again(buildx, status):
    buildx.status = status
    buildx.refuses = lambda text: '"5GB"' in text
    with pytest.raises(BuilderError, match="did not start.*were put back"):
        put(buildx, engine_version="0.25.2")
    assert buildx.text() == buildx.in_container == OLD
    assert buildx.status == status


def test_where_going_back_fails_too_that_is_said(buildx):
    buildx.refuses = lambda text: True
    with pytest.raises(BuilderError, match="Going back failed too.*by hand"):
        put(buildx)
    assert buildx.text() == OLD


def test_a_build_is_waited_for(buildx):
    buildx.building = [True, True, False]
    assert put(buildx, drain=10)["changed"]


def test_a_build_that_does_not_end_is_not_cut(buildx):
    buildx.building = [True]
    with pytest.raises(BuilderError, match="still building.*drain_timeout"):
        put(buildx)
    assert buildx.in_container == buildx.text() == OLD and "rm" not in buildx.done


def test_a_builder_that_does_not_run_needs_its_version(buildx):
    buildx.nodes = lambda: (Node("ci", "docker-container", "ci0", "default", "inactive"),)
    with pytest.raises(BadOption, match="inactive.*engine_version"):
        put(buildx)
    assert put(buildx, engine_version="0.13.2")["rendered"]["gcpolicy"] == [{"all": False, "keepBytes": "5GB"}]


def test_a_lock_that_buildx_holds_is_waited_for_no_longer_than_it_may(buildx, tmp_path):
    import fcntl

    with open(tmp_path / ".lock", "rb") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        with pytest.raises(BuilderError, match="buildx holds the lock"):
            put(buildx)
