# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What goes and what stays by its name, on stores as pulls, pushes and classic builds leave them."""

from __future__ import annotations

import builds
import engine
import fleet
import lived_in
import pytest

APP = lived_in.name(0)


@pytest.fixture(scope="module")
def named(lab, registry):
    """Images of one repository by four tags, one with a tag elsewhere, one known by its digest alone, and a chain."""
    builds.empty_engines()
    made = "".join(
        builds.build(f"app:{number}", builds.FROM_SCRATCH + builds.write(f"/app{number}", 1)) + "sleep 1.1\n"
        for number in range(1, 5)
    )
    fleet.shell(
        made
        + "docker tag app:2 other:2\n"
        + builds.build("pinned:1", builds.FROM_SCRATCH + builds.write("/pinned", 2))
        + lived_in.push("pinned:1", APP, "1")
        + lived_in.pull_by_digest(APP, "1")
        + lived_in.untag("pinned:1")
        + lived_in.classic("chain:1", [1, 2])
    )


def checked_and_done(options):
    """The preview and the run with these options, by host, and what the engines have after."""
    preview, done = fleet.play(
        [fleet.task("buildcache_prune", options, check=True), fleet.task("buildcache_prune", options)]
    )
    for host, result in fleet.succeeded(done).items():
        planned = [set(step["planned"]["ids"]) for step in preview[host]["steps"]]
        assert planned == [set(step["removed"]["ids"]) for step in result["steps"]], (host, result["steps"])
    return preview, done, engine.look()


def tags(state):
    """An engine's tags; what was pulled by digest into the containerd store stands among them."""
    return {tag for tag in state.tags if "@" not in tag}


def reasons(result):
    return {one["reason"]: one["count"] for one in result["kept"]}


def test_what_is_named_goes_and_what_is_to_be_kept_stays(named):
    keep = {"images": "unused", "images_keep": [f"{APP}:*", "app", "chain:?"], "build_cache": False}
    _preview, done, after = checked_and_done(keep)
    for host, state in after.items():
        assert tags(state) == {"app:1", "app:2", "app:3", "app:4", "other:2", "chain:1"}, (host, state.tags)
        assert not done[host]["changed"] and reasons(done[host])["kept_image"] >= 6, (host, done[host]["kept"])
    last = {"images": "unused", "images_keep": [APP], "images_keep_last": 2, "images_remove": ["app:1"]}
    preview, done, after = checked_and_done({**last, "build_cache": False, "all": False})
    for host, state in after.items():
        assert tags(state) == {"app:3", "app:4", "other:2", "app:2", "chain:1"}, (host, state.tags)
        assert any(APP in name for image in state.images for name in image["RepoDigests"] or []), host
        kept = reasons(done[host])
        assert kept["newest_tags"] == 4 and kept["kept_image"] == 1, (host, kept)
        assert kept == reasons(preview[host]), (host, kept)
    options = {"images": "keep", "images_remove": ["app:*", "chain", "nothing/**"], "build_cache": False}
    _preview, done, after = checked_and_done(options)
    for host, state in after.items():
        assert tags(state) == {"app:2", "other:2"}, (host, state.tags)
        assert reasons(done[host])["named_otherwise"] == 1, (host, done[host]["kept"])
        assert done[host]["warnings"] == ["images_remove: no image matches 'nothing/**'."], (
            host,
            done[host]["warnings"],
        )


def test_containers_go_by_age_and_label(lab):
    builds.empty_engines()
    fleet.shell(
        builds.build("job:1", builds.FROM_SCRATCH)
        + "docker run --name ended --label job=1 --network none job:1 /bin/busybox true\n"
        + "docker create --name waiting --label job=2 --network none job:1 /bin/busybox true >/dev/null\n"
        + "docker create --name other --network none job:1 /bin/busybox true >/dev/null\n"
    )
    by_label = {"containers": "stopped", "containers_filters": {"label": "job=1"}, "build_cache": False}
    by_label["containers_older_than"] = "1s"
    young = {"containers": "stopped", "containers_older_than": "1h", "build_cache": False}
    _preview, done, after = checked_and_done(young)
    for host, state in after.items():
        assert len(state.containers) == 3 and reasons(done[host])["young_container"] == 3, (host, done[host]["kept"])
    _preview, done, after = checked_and_done(by_label)
    for host, state in after.items():
        names = {name for one in state.containers for name in one["Names"]}
        assert names == {"/waiting", "/other"}, (host, names)
        assert reasons(done[host])["container_not_selected"] == 2, (host, done[host]["kept"])


def test_a_list_of_what_is_to_stay_that_comes_out_empty_removes_nothing(lab):
    for variable in ("cleanup_images_keep", "cleanup_images_remove"):
        results = fleet.playbook_results("cleanup", "-e", f'{{"cleanup_images": "unused", "{variable}": []}}')
        for host, result in results["Remove unused containers, images and build cache"].items():
            assert result["failed"] and "the list is empty" in result["msg"], (host, result)
