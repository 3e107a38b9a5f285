# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Builders beyond the engine's own: contexts, builders that do not run, and what is left of those that are gone."""

from __future__ import annotations

import builds
import engine
import fleet
import pytest
from prepared import WHALES

FAR = fleet.KINDS[0]
"""The host whose engine the others reach through a docker context."""

BUILDX = "/home/runner/.docker/buildx"
"""The buildx configuration of a user who is not root."""

AS_RUNNER = "runuser -u runner -- env HOME=/home/runner"

# Of the two containers one never was, and buildx takes the other for a stopped one of its own.
_MAKE = f"""
echo 'runner:x:1000:1000::/home/runner:/bin/sh' >>/etc/passwd
sed -i 's/^docker:.*:$/&runner/' /etc/group
install -d -o 1000 -g 1000 /home/runner
{AS_RUNNER} sh -euc '
    docker context create far --docker host=tcp://{{far}}:2375
    docker context create silent --docker host=tcp://127.0.0.1:9
    docker context create distant --docker host=ssh://root@127.0.0.1
    docker buildx create --name never --driver docker-container
    docker buildx create --name asleep --driver docker-container
    docker buildx create --name elsewhere --driver remote tcp://127.0.0.1:9
    docker volume create buildx_buildkit_never0_state
    docker volume create buildx_buildkit_gone0_state' >/dev/null
docker run --name buildx_buildkit_asleep0 --volume buildx_buildkit_asleep0_state:/var/lib/buildkit --network none \
    tool:1 /bin/busybox true
for volume in asleep0 gone0 never0; do
    head -c 3000000 /dev/urandom >/var/lib/docker/volumes/buildx_buildkit_${{{{volume}}}}_state/_data/cache
done
"""
# Builders of jobs whose configuration went with them: no image of BuildKit is to be had everywhere, so that this one's
# buildctl prints what stands in its volume.
_LEAVE = f"""
printf '#!/bin/busybox sh\\nexec /bin/busybox cat /var/lib/buildkit/du\\n' >{builds.CONTEXT}/context/buildctl
chmod 755 {builds.CONTEXT}/context/buildctl
{builds.build("buildkit:1", f"{builds.FROM_SCRATCH}COPY buildctl /bin/buildctl{chr(10)}")}
for node in idle0 busy0 young0 mute0 ended0; do
    docker run --detach --name buildx_buildkit_$node --volume buildx_buildkit_${{node}}_state:/var/lib/buildkit \\
        --network none buildkit:1 /bin/busybox sleep 98765 >/dev/null
    state=/var/lib/docker/volumes/buildx_buildkit_${{node}}_state/_data
    head -c 2000000 /dev/urandom >$state/cache
    printf '[{{"id":"a","lastUsedAt":"2020-01-01T00:00:00Z","inUse":%s}}]' \\
        "$([ $node = busy0 ] && echo true || echo false)" >$state/du
done
echo 'no records' >/var/lib/docker/volumes/buildx_buildkit_mute0_state/_data/du
docker stop --time 1 buildx_buildkit_ended0 >/dev/null
cd /var/lib/docker/volumes/buildx_buildkit_young0_state/_data
date --utc --date 'next hour' '+[{{"id":"a","lastUsedAt":"%FT%TZ"}}]' >du
"""
_UNMAKE = """
docker ps --all --quiet | xargs --no-run-if-empty docker rm --force
docker volume ls --quiet --filter name=buildx_buildkit_ | xargs --no-run-if-empty docker volume rm
sed -i '/^runner:/d' /etc/passwd
sed -i '/^docker:/s/runner$//' /etc/group
rm -rf /home/runner
"""
_LISTEN = """
systemd-run --quiet --unit=buildcache-far --socket-property=ListenStream=2375 \
    /usr/lib/systemd/systemd-socket-proxyd /run/docker.sock
"""
# By both its names: a socket stays when its service is stopped.
_STOP_LISTENING = "systemctl stop buildcache-far.socket buildcache-far.service 2>/dev/null || true\n"
_STATE = """
docker ps --all --format '{{.Names}} {{.State}}' | sort
docker volume ls --quiet | sort
find /home/runner -not -user runner
"""


@pytest.fixture(scope="module")
def builders(prepared):
    """The hosts with buildx but FAR, with builders of the user runner on each; as they were again in the end."""
    hosts = [host for host in prepared if host != FAR]
    builds.empty_engines()
    fleet.shell(_STOP_LISTENING + _LISTEN, [FAR])
    fleet.shell(_UNMAKE + builds.build("tool:1", builds.FROM_SCRATCH + builds.do("echo > /tool")), hosts)
    fleet.shell(_MAKE.format(far=fleet.hosts()[FAR]["ansible_host"]), hosts)
    yield hosts
    fleet.shell(_UNMAKE, hosts)
    fleet.shell(_STOP_LISTENING, [FAR])


def everything(**options):
    return {"builders": ["all"], "buildx_config": BUILDX, "images": "keep", **options}


def run(options, on, **how):
    return fleet.run("buildcache_prune", options, on=on, variables=WHALES, **how)


def by_builder(result):
    return {step["builder"]: step for step in result["steps"] if "builder" in step}


def test_facts_list_every_builder_and_say_what_is_wrong(builders):
    fleet.shell(builds.build("one:1", builds.stages({"a": 2, "b": 3})), [FAR, *builders])
    seen = fleet.facts({"builders": ["all"], "buildx_config": BUILDX}, on=builders, variables=WHALES)
    there = engine.look()
    for host in builders:
        known = {one["name"]: one for one in seen[host]["builders"]}
        assert list(known)[0] == "default" and set(known) == {
            *("default", "far", "silent", "distant", "never", "asleep", "elsewhere")
        }, (host, known)
        assert known["default"]["record_count"] == len(there[host].records), host
        assert known["far"]["driver"] == "docker" and known["far"]["status"] == "running", (host, known["far"])
        assert known["far"]["record_count"] == len(there[FAR].records), host
        assert known["far"]["size_bytes"] == sum(one["Size"] for one in there[FAR].records.values()), host
        assert [known[name]["status"] for name in ("never", "asleep")] == ["inactive", "stopped"], host
        assert known["never"]["error"] is known["asleep"]["error"] is None, host
        assert known["asleep"]["state_bytes"] > 2_900_000 and known["asleep"]["record_count"] is None, host
        assert "tcp://127.0.0.1:9" in known["silent"]["error"], host
        assert "ssh" in known["distant"]["error"], host
        assert "does not answer at tcp://127.0.0.1:9" in known["elsewhere"]["error"], host
        found = {}
        for finding in seen[host]["findings"]:
            found.setdefault(finding["code"], []).append(finding)
        assert len(found["builder_unreachable"]) == 3, (host, found)
        (stopped,), (orphans,) = found["stopped_builder"], found["orphaned_builder_state"]
        assert stopped["bytes"] > 2_900_000 and "asleep" in stopped["message"], (host, stopped)
        assert orphans["bytes"] > 2_900_000 and "gone0" in orphans["message"], (host, orphans)
        assert "never0" not in orphans["message"], host


def test_all_are_pruned_that_can_be_and_the_rest_is_reported(builders):
    before = fleet.shell(_STATE, builders)
    for number, host in enumerate(builders):  # one after the other, since they share an engine
        fleet.shell(builds.build("one:1", builds.stages({f"a{number}": 2, f"b{number}": 3})), [FAR, host])
        there = engine.look([FAR, host])
        options = everything(max_used_space="3MB")
        preview = fleet.succeeded(run(options, [host], check=True))[host]
        done = fleet.succeeded(run(options, [host]))[host]
        after = engine.look([FAR, host])
        planned, removed = by_builder(preview), by_builder(done)
        for name, of in (("default", host), ("far", FAR)):
            gone = set(there[of].records) - set(after[of].records)
            assert gone, (host, name, there[of].records)
            assert set(planned[name]["planned"]["ids"]) == set(removed[name]["removed"]["ids"]) == gone, (host, name)
        assert done["predicted_bytes"] == removed["default"]["planned"]["bytes"], (host, done)
        for name in ("silent", "distant", "elsewhere"):
            assert removed[name]["error"] and not removed[name]["removed"]["ids"], (host, removed[name])
        assert "is stopped" in removed["asleep"]["skipped"] and removed["asleep"]["status"] == "stopped", host
        assert removed["never"]["skipped"], host
        assert {"asleep"} <= {one.get("builder") for one in done["kept"] if one["reason"] == "stopped_builder"}, host
        again = fleet.succeeded(run(options, [host]))[host]
        assert not again["changed"], host
    assert fleet.shell(_STATE, builders) == before


def test_one_that_is_named_fails_the_task_and_the_others_are_done_all_the_same(builders):
    fleet.shell(builds.build("two:1", builds.stages({"c": 2})), builders)
    results = run(everything(builders=["default", "silent", "far"]), builders)
    left = engine.look(builders)
    for host, result in results.items():
        assert result["failed"] and "build_cache of silent" in result["msg"], (host, result["msg"])
        assert result["changed"] and by_builder(result)["default"]["removed"]["ids"], host
        assert not any(not one["Shared"] for one in left[host].records.values()), host
        assert set(by_builder(result)) == {"default", "silent", "far"}, host


def test_a_builder_alone_leaves_the_engines_own_alone(builders):
    fleet.shell(builds.build("three:1", builds.stages({"d": 2})), builders)
    before = engine.look(builders)
    done = fleet.succeeded(run(everything(builders=["asleep"]), builders))
    for host, state in engine.look(builders).items():
        assert state.contents == before[host].contents, host
        assert not done[host]["changed"], host
        assert "builder_not_chosen" in {one["reason"] for one in done[host]["kept"]}, host


def test_a_builder_that_cannot_be_started_is_said_so(builders):
    before = fleet.shell(_STATE, builders)
    results = run(everything(builders=["asleep"], bootstrap_stopped=True), builders)
    for host, result in results.items():
        assert result["failed"] and "asleep" in result["msg"] and "could not be started" in result["msg"], (
            host,
            result,
        )
    assert fleet.shell(_STATE, builders) == before


def test_the_state_of_builders_that_are_gone_goes_only_when_that_is_asked_for(builders):
    options = everything(remove_orphaned_state=True, build_cache=False, builders=["default"], orphans_older_than="1s")
    before = engine.look(builders)
    preview = fleet.succeeded(run(options, builders, check=True, diff=True))
    volumes = fleet.shell("docker volume ls --quiet", builders)
    done = fleet.succeeded(run(options, builders))
    gained = engine.gained(before, engine.look(builders))
    left = fleet.shell("docker volume ls --quiet", builders)
    again = fleet.succeeded(run(options, builders))
    for host in builders:
        step = preview[host]["steps"][-1]
        assert step["step"] == "orphaned_state", host
        assert step["planned"]["ids"] == done[host]["steps"][-1]["removed"]["ids"] == ["buildx_buildkit_gone0_state"]
        assert "buildx_buildkit_gone0_state" in preview[host]["diff"]["before"], host
        assert set(volumes[host].split()) - set(left[host].split()) == {"buildx_buildkit_gone0_state"}, host
        assert abs(done[host]["freed_bytes"] - gained[host]) < engine.MB and gained[host] > 2_900_000, host
        assert not again[host]["changed"], host


def test_builders_that_jobs_left_go_where_no_build_runs_and_they_have_been_idle_for_long(builders):
    fleet.shell(_LEAVE, builders)
    options = everything(remove_orphaned_state=True, build_cache=False, builders=["default"], orphans_older_than="1s")
    seen = fleet.facts({"builders": ["all"], "buildx_config": BUILDX}, on=builders, variables=WHALES)
    not_yet = fleet.succeeded(run({**options, "orphans_older_than": "24h"}, builders, check=True))
    preview = fleet.succeeded(run(options, builders, check=True))
    done = fleet.succeeded(run(options, builders))
    again = fleet.succeeded(run(options, builders))
    left = fleet.shell("docker ps --all --format '{{.Names}}'; docker volume ls --quiet", builders)
    gone = [f"buildx_buildkit_{name}" for name in ("ended0", "ended0_state", "idle0", "idle0_state")]
    for host in builders:
        (finding,) = [one for one in seen[host]["findings"] if one["code"] == "orphaned_builders"]
        assert finding["bytes"] > 5 * 1_950_000 and "busy0 (1.9MB, a build runs)" in finding["message"], (host, finding)
        containers = {one["node"] for one in seen[host]["orphans"] if one["container"]}
        assert containers == {"busy0", "ended0", "idle0", "mute0", "young0"}, (host, seen[host]["orphans"])
        assert not not_yet[host]["changed"], (host, not_yet[host]["steps"])
        step = preview[host]["steps"][-1]
        assert step["planned"]["ids"] == done[host]["steps"][-1]["removed"]["ids"] == gone, (host, step)
        assert done[host]["freed_bytes"] > 3_800_000 and not again[host]["changed"], (host, done[host])
        kept = {one["reason"]: one["count"] for one in done[host]["kept"] if "orphan" in one["reason"]}
        assert kept == {"orphan_in_use": 2, "young_orphan": 1}, (host, kept)
        for node in ("busy0", "mute0", "young0"):
            assert f"buildx_buildkit_{node}\n" in left[host] and f"buildx_buildkit_{node}_state\n" in left[host], host
        assert not [name for name in gone if f"{name}\n" in left[host]], (host, left[host])


REFUSED = [
    ("buildcache_prune", {"orphans_older_than": "soon", "remove_orphaned_state": True}, ["orphans_older_than: 'soon'"]),
    ("buildcache_prune", {"builders": ["nobody"]}, ["'nobody'", "there are default", "asleep"]),
    ("buildcache_facts", {"builders": ["nobody"]}, ["'nobody'", "there are default", "asleep"]),
    ("buildcache_prune", {"builders": []}, ["builders: the list is empty"]),
    ("buildcache_facts", {"builders": ["all"], "buildx_config": "/nowhere"}, ["/nowhere", "No such file"]),
    ("buildcache_gc_policy", {"builder": "far", "rules": [{"max_used_space": "1GB"}]}, ["far", "daemon.json"]),
    ("buildcache_gc_policy", {"builder": "elsewhere"}, ["elsewhere", "driver remote"]),
    ("buildcache_gc_policy", {"builder": "never"}, ["never", "inactive", "engine_version"]),
]


def test_what_cannot_be_is_refused(builders):
    tasks = [fleet.task(module, {"buildx_config": BUILDX, **options}) for module, options, _says in REFUSED]
    for (*case, says), results in zip(REFUSED, fleet.play(tasks, builders, WHALES), strict=True):
        for host, result in results.items():
            assert result["failed"] and all(words in result["msg"] for words in says), (host, case, result["msg"])


def test_what_is_missing_on_the_host_is_named(builders):
    without = fleet.run("buildcache_prune", {"builders": ["all"]}, on=builders)
    for host, result in without.items():
        assert result["failed"] and "python-on-whales" in result["msg"] and "prepare_buildx" in result["msg"], host
    plugin = "/root/.docker/cli-plugins/docker-buildx"
    old = "#!/bin/sh\n[ $1 != docker-cli-plugin-metadata ] || exec cat <<'END'\n"
    old += '{"SchemaVersion":"0.1.0","Vendor":"x","Version":"v0.9.1"}\nEND\n'
    old += 'case "$*" in *" ls "*) echo "unknown flag: --format" >&2; exit 1;; esac\n'
    old += "echo github.com/docker/buildx v0.9.1 x\n"
    fleet.shell(f"mkdir -p {plugin.rpartition('/')[0]}\ncat >{plugin} <<'OLD'\n{old}OLD\nchmod +x {plugin}", builders)
    results = fleet.run("buildcache_facts", {"builders": ["all"]}, on=builders, variables=WHALES)
    fleet.shell(f"rm {plugin}", builders)
    for host, result in results.items():
        assert result["failed"] and "0.9.1" in result["msg"] and "0.13" in result["msg"], (host, result["msg"])


def test_without_buildx_there_is_the_engines_own_builder(lab):
    hosts = [host for host, known in lab.items() if not known["lab_has_buildx"]]
    if not hosts:
        pytest.skip(f"Every host of {', '.join(lab)} has buildx.")
    all_there_is = fleet.facts({"builders": ["all"]}, on=hosts)
    named = fleet.run("buildcache_facts", {"builders": ["x"]}, on=hosts)
    for host in hosts:
        assert [one["name"] for one in all_there_is[host]["builders"]] == ["default"], host
        assert named[host]["failed"] and "has no buildx" in named[host]["msg"], named


def test_work_with_the_engine_alone_never_imports_python_on_whales(builders):
    trap = "/root/trap"
    fleet.shell(f'mkdir -p {trap}; echo \'open("{trap}/sprung", "w")\' >{trap}/python_on_whales.py', builders)
    tasks = [
        {**fleet.task(module, options), "environment": {"PYTHONPATH": trap}}
        for module, options in (
            ("buildcache_facts", {}),
            ("buildcache_prune", {}),
            ("buildcache_facts", {"builders": ["all"]}),
        )
    ]
    # An engine that reports its GC policy is asked for it by way of buildx, and that is more than work with the engine.
    quiet = [host for host in builders if not host.startswith("docker28")]
    fleet.play(tasks[:1], quiet, WHALES)
    fleet.play(tasks[1:2], builders, WHALES)
    sprung = fleet.shell(f"[ ! -e {trap}/sprung ] || echo sprung", builders)
    fleet.play(tasks[2:], builders, WHALES)
    sprung_then = fleet.shell(f"cat {trap}/sprung >/dev/null && echo sprung; rm -r {trap}", builders)
    assert set(sprung.values()) == {""} and {text.strip() for text in sprung_then.values()} == {"sprung"}
