# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The facts, held against what the engines and df say."""

from __future__ import annotations

import re
import time

import builds
import daemon
import engine
import fleet
import pytest
from engine import MB

HOST_FIGURES = """
df --block-size=1 --output=size,avail,pcent /var/lib/docker | tail -n 1 | tr -d %
df --output=itotal,iavail /var/lib/docker | tail -n 1
date +%s --date "$(systemctl show --property ExecMainStartTimestamp --value docker)"
"""


def codes(found):
    """Return a host's findings by code."""
    return {finding["code"]: finding for finding in found["findings"]}


@pytest.fixture(scope="module")
def used(lab):
    """Hosts on which a tag was rebuilt, a container was stopped, and another one runs. Facts change nothing."""
    builds.empty_engines()
    fleet.shell(
        builds.generations("app:latest", 3, 8)
        + builds.build("job:1", f"{builds.FROM_SCRATCH}{builds.write('/job', 6)}")
    )
    daemon.forget_early_looks()
    fleet.shell(
        "docker run --name job --network none job:1 /bin/busybox true\n"
        "docker run --detach --name app --network none app:latest /bin/busybox sleep 1000 >/dev/null\n"
    )
    return engine.look()


@pytest.fixture(scope="module")
def found(used):
    """The facts about them, with every record."""
    return fleet.facts({"records": True})


def test_a_rebuilt_tag_leaves_untagged_images_on_the_graph_driver_alone(used, found):
    for host in fleet.of_store("graphdriver"):
        assert len(used[host].untagged) == 2, host
        assert found[host]["images"]["untagged"] == 2, host
        finding = codes(found[host])["untagged_images"]
        assert 2 * 8 * MB <= finding["bytes"] < 2 * 9 * MB, (host, finding)
        assert finding["message"].startswith("2 untagged images held by no container"), (host, finding)
    for host in fleet.of_store("containerd"):
        assert used[host].untagged == set(), host
        assert found[host]["images"]["untagged"] == 0, host
        assert "untagged_images" not in codes(found[host]), host


def test_the_findings_name_what_holds_space(used, found):
    for host, state in used.items():
        findings = codes(found[host])
        job = next(image for image in state.images if image["RepoTags"] == ["job:1"])
        assert 6 * MB <= findings["images_of_stopped_containers"]["bytes"] <= job["Size"], (host, findings)
        assert "1 image " in findings["images_of_stopped_containers"]["message"], (host, findings)
        assert findings["shared_records"]["bytes"] == state.shared_bytes, (host, findings)
        order = [(finding["severity"], finding["bytes"]) for finding in found[host]["findings"]]
        severities = ["critical", "warning", "info"]
        assert order == sorted(order, key=lambda one: (severities.index(one[0]), -one[1])), (host, order)


def test_the_figures_are_those_of_the_engine_and_of_df(lab, used, found):
    figures = {host: [int(word) for word in text.split()] for host, text in fleet.shell(HOST_FIGURES).items()}
    for host, state in used.items():
        facts = found[host]
        size, available, percent, inodes, inodes_available, started = figures[host]
        assert abs(facts["engine"].pop("started_at") - started) < 3, host
        assert 0 <= time.time() - facts["engine"].pop("observed_at") < 300, host
        assert facts["engine"] == {
            "version": state.version["Version"],
            "api_version": state.version["ApiVersion"],
            "image_store": lab[host]["lab_image_store"],
            "storage_driver": state.info["Driver"],
            "root_dir": "/var/lib/docker",
            "live_restore": False,
        }, host
        # The host's /var/lib/docker and /var/lib/containerd are on one disk, which is to be named once.
        (disk,) = facts["filesystems"]
        containerd = lab[host]["lab_image_store"] == "containerd"
        assert disk["path"] == ("/var/lib/containerd" if containerd else "/var/lib/docker"), host
        assert disk["total_bytes"] == size == state.total and abs(disk["free_bytes"] - state.free) < MB, host
        assert abs(disk["available_bytes"] - available) < MB and -0.1 <= percent - disk["used_percent"] < 1.1, host
        assert disk["inodes_total"] == inodes and abs(disk["inodes_available"] - inodes_available) < 10, host
        assert facts["images"]["count"] == len(state.images), host
        assert facts["images"]["in_use"] == 2, host
        assert facts["images"]["size_bytes"] == state.usage["LayersSize"], host
        (builder,) = facts["builders"]
        records = state.records.values()
        assert builder["record_count"] == len(records) == len(builder["records"]), host
        assert {record["id"]: record["size"] for record in builder["records"]} == {
            record["ID"]: record["Size"] for record in records
        }, host
        assert {record["id"]: record["last_used_at"] for record in builder["records"]} == {
            record["ID"]: record["LastUsedAt"] for record in records
        }, host
        assert builder["size_bytes"] == sum(record["Size"] for record in records), host
        assert builder["shared_bytes"] == state.shared_bytes, host
        assert builder["in_use_bytes"] == sum(record["Size"] for record in records if record["InUse"]), host
        assert builder["reclaimable_bytes"] == state.private_bytes, host
        assert builder["by_type"] == {
            kind: {
                "count": sum(record["Type"] == kind for record in records),
                "bytes": sum(record["Size"] for record in records if record["Type"] == kind),
            }
            for kind in {record["Type"] for record in records}
        }, host
        # Every build's final record names its parents, in whichever spelling this engine has for them.
        assert any(record["parents"] for record in builder["records"]), host


def test_records_are_left_out_unless_asked_for(used):
    for host, facts in fleet.facts().items():
        assert "records" not in facts["builders"][0], host


def test_the_playbook_shows_what_each_host_holds(lab, used):
    status, output = fleet.playbook("facts")
    assert status == 0 and "changed=1" not in output, output
    parts = re.split(r'^ +"(\S+)": \[$', output, flags=re.MULTILINE)
    shown = dict(zip(parts[1::2], parts[2::2], strict=True))
    assert set(shown) == set(used), output
    for host, state in used.items():
        assert f"engine {state.version['Version']}, {lab[host]['lab_image_store']} image store" in shown[host], host
        assert f"images: {len(state.images)} ({len(state.untagged)} untagged, 2 in use)" in shown[host], shown[host]
        assert f"build cache of default: {len(state.records)} records" in shown[host], shown[host]
        assert "shared_records" in shown[host] and "Remedy: " in shown[host], shown[host]
