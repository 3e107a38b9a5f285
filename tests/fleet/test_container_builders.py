# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Real builders of the driver docker-container, where the lab was given an image of BuildKit (BUILDKIT_IMAGE)."""

from __future__ import annotations

import json
import random
import re
from pathlib import Path

import builds
import daemon
import engine
import fleet
import pytest
from prepared import WHALES
from trials import SEED

pytestmark = pytest.mark.deep

TRIALS = 20
BUILDER = "trial"
CONTAINER = f"buildx_buildkit_{BUILDER}0"

_BUILDCTL = f"docker exec {CONTAINER} buildctl"
_DU = f"{_BUILDCTL} du --format '{{{{json .}}}}'"
_REMOVE = """
docker buildx ls --format '{{.Name}}' | sort -u | grep -E '^(trial|remote)$' | xargs -n 1 -r docker buildx rm --force
rm -f /usr/local/bin/buildctl
"""


@pytest.fixture(scope="module")
def builder(lab, request):
    """The hosts with buildx, each with an empty builder that runs; without it in the end."""
    (path,) = {known["lab_buildkit_image"] for known in lab.values()}
    if not path:
        pytest.skip("The lab was given no image of BuildKit: BUILDKIT_IMAGE=/path/to/image.tar.")
    prepared = request.getfixturevalue("prepared")
    builds.empty_engines()
    for host in prepared:
        answer = fleet.load_image(host, Path(path))
    image = re.search(r"Loaded image: (\S+)", answer)[1]
    create = f"docker buildx create --name {BUILDER} --driver docker-container --driver-opt image={image},network=host"
    fleet.shell(f"{_REMOVE}{create}\ndocker buildx inspect --bootstrap {BUILDER}", prepared)
    yield prepared
    fleet.shell(_REMOVE, prepared)
    builds.empty_engines()


def build(dockerfile):
    """Return a script that builds for the cache alone."""
    how = f"--quiet --builder {BUILDER} --network none --output type=cacheonly"
    return f"docker buildx build {how} --file - {builds.CONTEXT}/context >/dev/null <<'END'\n{dockerfile}END\n"


def records(on):
    """Return {host: {id: record}} by BuildKit's own word, once it names the same ones twice.

    Some time after a build a record that could be written to has the name of the one that cannot.
    """
    before, answers = None, fleet.shell(_DU, on)
    while before != answers:
        before, answers = answers, fleet.shell(f"sleep 1; {_DU}", on)
    return {host: {one["id"]: one for one in json.loads(text) or []} for host, text in answers.items()}


def prune(options, on, **how):
    options = {"builders": [BUILDER], "images": "keep", **options}
    return fleet.succeeded(fleet.run("buildcache_prune", options, on=on, variables=WHALES, **how))


def step_of(result):
    (step,) = (one for one in result["steps"] if one.get("builder") == BUILDER)
    return step


def _fill(chance):
    dockerfiles = [builds.some_steps(chance, least=1, mounts=0.2) for _build in range(chance.randint(2, 4))]
    return "".join(build(dockerfile) * chance.choice((1, 1, 2)) for dockerfile in dockerfiles)


def _options(chance, held):
    options = {"all": chance.random() < 0.4}
    if chance.random() < 0.2:
        options["unused_for"] = "1s"
    if chance.random() < 0.2:
        options["types"] = chance.choice((["regular"], ["source.local", "regular"], ["exec.cachemount"]))
    limit = chance.choice((None, "max_used_space", "max_used_space", "reserved_space"))
    share = chance.random()
    sizes = {host: str(int(sum(one["size"] for one in of.values()) * share) + 1) for host, of in held.items() if limit}
    return options, {limit: sizes} if limit else {}


@pytest.mark.parametrize("trial", range(TRIALS))
def test_the_preview_names_what_the_run_removes(builder, trial):
    chance = random.Random(f"{SEED} {trial}")
    fleet.shell({host: _fill(random.Random(f"{SEED} {trial} {host}")) for host in builder})
    if chance.random() < 0.2:
        fleet.shell(f"docker restart {CONTAINER} >/dev/null; docker buildx inspect --bootstrap {BUILDER}", builder)
    held = records(builder)
    options, per_host = _options(chance, held)
    options.update(builders=[BUILDER], images="keep")
    preview, done = fleet.play(
        [fleet.task("buildcache_prune", options, check=check, per_host=per_host) for check in (True, False)],
        builder,
        WHALES,
    )
    left = records(builder)
    for host in builder:
        said = f"{host}, SEED={SEED}, trial {trial}, {options}, {per_host}"
        assert not done[host]["failed"], (said, done[host]["msg"])
        planned, removed = step_of(preview[host])["planned"], step_of(done[host])["removed"]
        print(said, json.dumps([planned, removed, held[host]]))
        gone = set(held[host]) - set(left[host])
        assert gone or per_host or "types" in options, said
        assert set(removed["ids"]) == gone, said
        uncertain = set(planned["uncertain"])
        assert set(planned["ids"]) - uncertain <= gone <= set(planned["ids"]) | uncertain, said
        assert removed["bytes"] == sum(held[host][name]["size"] for name in gone), said
        if not uncertain:
            predicted, freed = preview[host]["predicted_bytes"], done[host]["freed_bytes"]
            assert abs(predicted - freed) <= 0.05 * max(predicted, freed) + 2 * engine.MB, (said, predicted, freed)


def test_facts_are_what_buildkit_says(builder):
    fleet.shell(build(f"{builds.FROM_SCRATCH}{builds.write('/facts', 3)}"), builder)
    held = records(builder)
    seen = fleet.facts({"builders": [BUILDER], "records": True}, on=builder, variables=WHALES)
    version = fleet.shell(f"{_BUILDCTL} --version", builder)
    for host in builder:
        (one,) = seen[host]["builders"]
        assert (one["name"], one["driver"], one["status"]) == (BUILDER, "docker-container", "running"), host
        assert f"v{one['version']} " in version[host], (host, version[host])
        assert {record["id"]: record["size"] for record in one["records"]} == {
            name: record["size"] for name, record in held[host].items()
        }, host
        assert one["size_bytes"] == one["reclaimable_bytes"] == sum(each["size"] for each in held[host].values()), host


def test_a_stopped_builder_is_started_pruned_and_stopped_again(builder):
    fleet.shell(build(f"{builds.FROM_SCRATCH}{builds.write('/stopped', 3)}"), builder)
    fleet.shell(f"docker buildx stop {BUILDER}", builder)
    left_alone = prune({}, builder)
    preview = prune({"bootstrap_stopped": True}, builder, check=True)
    states = fleet.shell(f"docker inspect --format '{{{{.State.Status}}}}' {CONTAINER}", builder)
    done = prune({"bootstrap_stopped": True}, builder)
    after = fleet.shell(f"docker inspect --format '{{{{.State.Status}}}}' {CONTAINER}", builder)
    # Without its container, as a prune of containers leaves it.
    fleet.shell(f"docker buildx inspect --bootstrap {BUILDER} >/dev/null; {build(builds.FROM_SCRATCH)}", builder)
    fleet.shell(f"docker rm --force {CONTAINER}", builder)
    gone = prune({"bootstrap_stopped": True}, builder)
    fleet.shell(f"docker buildx inspect --bootstrap {BUILDER}", builder)
    for host in builder:
        assert "is stopped" in step_of(left_alone[host])["skipped"] and not left_alone[host]["changed"], host
        assert "stopped_builder" in {one["reason"] for one in left_alone[host]["kept"]}, host
        assert not preview[host]["changed"] and step_of(preview[host])["skipped"], host
        assert states[host].strip() == after[host].strip() == "exited", host
        assert step_of(done[host])["removed"]["bytes"] > 3 * engine.MB, (host, done[host])
        assert done[host]["freed_bytes"] > 2.9 * engine.MB, host
        assert not gone[host]["changed"] and step_of(gone[host])["skipped"], host


RULES = [
    {"types": ["source.local", "exec.cachemount"], "unused_for": "36h"},
    {"max_used_space": "50%"},
    {"all": True, "max_used_space": "50%"},
]


def playbook(name, on, *arguments):
    variables = {
        "gc_policy_rules": RULES,
        "gc_policy_builders": BUILDER,
        "gc_policy_unsupported": "approximate",
        **WHALES,
    }
    return fleet.playbook(
        name, "-l", ",".join(on), "-e", json.dumps(variables), "-e", "gc_policy_serial=100%", *arguments
    )


def test_the_role_puts_the_policy_in_force_on_builders_and_the_audit_finds_those_that_drift(builder):
    fleet.shell(daemon.KEEP, builder)
    allow = ("-e", '{"gc_policy_allow_container_stop": true}')
    try:
        runs = [
            playbook(name, builder, *arguments)
            for name, arguments in (
                ("audit", ()),
                ("gc_policy", ("--check", *allow)),
                ("gc_policy", allow),
                ("gc_policy", allow),
                ("audit", ()),
            )
        ]
        held = policy({"rules": RULES, "unsupported": "approximate"}, builder, check=True)
    finally:
        fleet.shell(daemon.PUT_BACK, builder)
        daemon.restart(builder)
        fleet.shell(f"docker buildx inspect --bootstrap {BUILDER}", builder)
        policy({"state": "absent", "recreate_builder": True}, builder)
    assert [status for status, _output in runs] == [2, 0, 0, 0, 0], runs
    assert f"not in force on builder {BUILDER}" in runs[0][1], runs[0][1]
    for host in builder:
        assert re.search(rf"{host} .*changed=0 ", runs[3][1]), runs[3][1]
        assert not held[host]["changed"] and not held[host]["restart_required"], (host, held[host])


_OWN_FILE = "# Ours to keep.\ndebug = false\n\n[worker.oci]\nmax-parallelism = 4 # few\n"


def policy(options, on, **how):
    return fleet.succeeded(
        fleet.run("buildcache_gc_policy", {"builder": BUILDER, **options}, on=on, variables=WHALES, **how)
    )


def test_a_policy_is_put_in_force_with_the_cache_kept(builder):
    fleet.shell(build(f"{builds.FROM_SCRATCH}{builds.write('/policy', 3)}"), builder)
    held = records(builder)
    wanted = {"rules": RULES, "recreate_builder": True, "unsupported": "approximate"}
    preview = policy(wanted, builder, check=True, diff=True)
    written = policy({**wanted, "recreate_builder": False}, builder)
    done = policy(wanted, builder)
    again = policy(wanted, builder)
    kept = records(builder)
    shown = fleet.shell(f"docker exec {CONTAINER} cat /etc/buildkit/buildkitd.toml", builder)
    undone = policy({"state": "absent", "recreate_builder": True}, builder)
    for host in builder:
        assert preview[host]["changed"] and preview[host]["restart_required"], host
        assert "36h" in preview[host]["diff"]["after"] and "36h" not in preview[host]["diff"]["before"], host
        assert written[host]["changed"] and written[host]["restart_required"], host
        assert done[host]["changed"] and not done[host]["restart_required"], (host, done[host])
        assert done[host]["in_effect"]["rules"][0] == {**RULES[0], "all": False}, (host, done[host])
        assert not again[host]["changed"] and not again[host]["restart_required"], (host, again[host])
        assert set(kept[host]) == set(held[host]), host
        assert "36h" in shown[host] or "129600" in shown[host], (host, shown[host])
        assert undone[host]["changed"] and not undone[host]["restart_required"], host


def test_what_else_is_in_the_file_stays_and_a_builder_that_fails_is_brought_back(builder):
    edit = f"""
import base64, json
path = "/root/.docker/buildx/instances/{BUILDER}"
data = json.load(open(path))
data["Nodes"][0]["Files"] = {{"buildkitd.toml": base64.b64encode(TEXT.encode()).decode()}}
json.dump(data, open(path, "w"))
"""
    fleet.shell(f"TEXT = {_OWN_FILE!r}\n{edit}", builder, interpreter="python3 -")
    fleet.shell(f"docker rm --force {CONTAINER}; docker buildx inspect --bootstrap {BUILDER}", builder)
    wanted = {"rules": RULES, "recreate_builder": True, "unsupported": "approximate"}
    policy(wanted, builder)
    shown = fleet.shell(f"docker exec {CONTAINER} cat /etc/buildkit/buildkitd.toml", builder)
    # A file that BuildKit does not start with, put there by a hand: found when the container is made anew.
    bad = f'{_OWN_FILE}snapshotter = "none"\n'
    fleet.shell(f"TEXT = {bad!r}\n{edit}", builder, interpreter="python3 -")
    held = fleet.shell(f"cat /root/.docker/buildx/instances/{BUILDER}", builder)
    other = {"builder": BUILDER, **wanted, "rules": RULES[1:]}
    failed = fleet.run("buildcache_gc_policy", other, on=builder, variables=WHALES)
    left = fleet.shell(f"cat /root/.docker/buildx/instances/{BUILDER}", builder)
    fleet.shell(f"TEXT = ''\n{edit}", builder, interpreter="python3 -")
    fleet.shell(f"docker rm --force {CONTAINER}; docker buildx inspect --bootstrap {BUILDER}", builder)
    for host in builder:
        assert "# Ours to keep." in shown[host] and "max-parallelism = 4 # few" in shown[host], (host, shown[host])
        assert "gcpolicy" in shown[host], host
        assert failed[host]["failed"] and "See to the builder by hand" in failed[host]["msg"], (host, failed[host])
        assert left[host] == held[host], host


def test_a_remote_builder_is_asked_by_the_hosts_own_buildctl(builder):
    fleet.shell(build(f"{builds.FROM_SCRATCH}{builds.write('/remote', 3)}"), builder)
    serve = f"docker exec --detach {CONTAINER} buildkitd --root /tmp/remote --addr tcp://127.0.0.1:1234"
    create = "docker buildx create --name remote --driver remote tcp://127.0.0.1:1234"
    copy = f"docker cp {CONTAINER}:/usr/bin/buildctl /usr/local/bin/buildctl"
    wait = "for _ in 1 2 3 4 5 6 7 8 9; do docker buildx inspect remote | grep -q running && break; sleep 1; done"
    fleet.shell(f"{serve}\n{create}\n{wait}", builder)
    refused = fleet.run("buildcache_prune", {"builders": ["remote"]}, on=builder, variables=WHALES)
    use = build(f"{builds.FROM_SCRATCH}{builds.write('/remote', 2)}").replace(
        f"--builder {BUILDER}", "--builder remote"
    )
    fleet.shell(f"{copy}\n{use}", builder)
    options = {"builders": ["remote"], "images": "keep", "all": True}
    preview = fleet.succeeded(fleet.run("buildcache_prune", options, on=builder, variables=WHALES, check=True))
    done = fleet.succeeded(fleet.run("buildcache_prune", options, on=builder, variables=WHALES))
    for host in builder:
        assert refused[host]["failed"] and "buildctl" in refused[host]["msg"], (host, refused[host]["msg"])
        (planned,) = (step["planned"]["ids"] for step in preview[host]["steps"] if step.get("builder") == "remote")
        (removed,) = (step["removed"]["ids"] for step in done[host]["steps"] if step.get("builder") == "remote")
        assert removed and set(planned) == set(removed), (host, planned, removed)
        assert done[host]["predicted_bytes"] == 0, host
