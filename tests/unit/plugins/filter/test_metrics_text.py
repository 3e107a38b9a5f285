# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleFilterError

from ansible_collections.buildfleet.buildcache.plugins.filter.metrics_text import metrics_text
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.in_effect import Daemon
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.exposition import values
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.facts import facts
from ansible_collections.buildfleet.buildcache.plugins.module_utils._results.metrics import FAMILIES
from ansible_collections.buildfleet.buildcache.tests.unit.holdings import image, observation, record

RESULT = {
    "failed": False,
    "steps": [],
    "predicted_bytes": 3000,
    "reported_bytes": 4000,
    "freed_bytes": 2000,
    "wanted_bytes": 10,
    "shortfall_bytes": 0,
    "wanted_inodes": 20,
    "shortfall_inodes": 5,
}
NO_ENGINE = {"failed": True, "msg": "no socket"}
LOOKED = "buildcache_facts_last_success_timestamp_seconds"
RAN = "buildcache_cleanup_last_run_timestamp_seconds"
SUCCEEDED = "buildcache_cleanup_last_success_timestamp_seconds"


def of_a_host(records=(), held=(), **given):
    return {**facts(observation(records, held), Daemon({})), **given}


def samples(*args, **more):
    """The lines of samples, as {name with labels: value}."""
    lines = [line for line in metrics_text(*args, **more).splitlines() if not line.startswith("#")]
    return {name: float(value) for name, _space, value in (line.rpartition(" ") for line in lines)}


def names(text):
    return {line.split()[2] for line in text.splitlines() if line.startswith("# TYPE ")}


def test_what_a_host_holds_is_told_by_kind():
    told = samples(of_a_host([record("a", 2048), record("b", 100, shared=True)], [image("c")]), RESULT, 7)
    assert told['buildcache_build_cache_records{builder="default"}'] == 2
    assert told['buildcache_build_cache_size_bytes{builder="default"}'] == 2148
    assert told['buildcache_build_cache_shared_bytes{builder="default"}'] == 100
    assert told['buildcache_build_cache_private_bytes{builder="default"}'] == 2048
    assert told['buildcache_build_cache_reclaimable_bytes{builder="default"}'] == 2048
    assert (told["buildcache_images"], told["buildcache_images_untagged"]) == (1, 1)
    assert told['buildcache_findings{code="untagged_images",severity="warning"}'] == 1
    assert told['buildcache_findings_bytes{code="untagged_images",severity="warning"}'] == 100
    assert told["buildcache_cleanup_freed_bytes"] == 2000 and told["buildcache_cleanup_shortfall_inodes"] == 5
    assert told["buildcache_cleanup_success"] == told["buildcache_facts_success"] == 1
    assert told[RAN] == told[SUCCEEDED] == told[LOOKED] == 7


def test_every_metric_has_a_help_and_a_type_before_its_samples():
    policy = {"restart_required": False}
    text = metrics_text(of_a_host([record("a")], [image("c")], gc_policy=policy), RESULT, 7.9, in_force=True)
    lines = text.splitlines()
    for name, about in FAMILIES.items():
        at = lines.index(f"# TYPE {name} gauge")
        assert lines[at - 1] == f"# HELP {name} {about}" and lines[at + 1].startswith(name), name
        assert lines[at + 1][len(name)] in " {", name
    assert names(text) == set(FAMILIES) and text.endswith("\n") and lines.count("") == 0
    assert all("\\" not in about and "\n" not in about for about in FAMILIES.values())


def test_labels_are_escaped():
    disk = dict(of_a_host()["filesystems"][0], path='/a "b"\\c\nd')
    told = metrics_text(of_a_host(filesystems=[disk]), {}, 7)
    assert 'buildcache_filesystem_inodes{path="/a \\"b\\"\\\\c\\nd"} ' in told


def test_builders_without_a_label_are_one_sum_and_a_builders_nodes_another():
    (own,) = of_a_host([record("a", 100)])["builders"]
    many = [own, *(dict(own, name=f"job-{number}") for number in range(50)), dict(own, name="ci"), dict(own, name="ci")]
    many.append(dict(own, name="ci", record_count=None, size_bytes=None, shared_bytes=None))
    told = samples(of_a_host(builders=many), {}, 7, builders=["default", "ci"])
    sizes = {name: value for name, value in told.items() if name.startswith("buildcache_build_cache_size_bytes")}
    assert sizes == {
        'buildcache_build_cache_size_bytes{builder="default"}': 100,
        'buildcache_build_cache_size_bytes{builder="(others)"}': 5000,
        'buildcache_build_cache_size_bytes{builder="ci"}': 200,
    }
    assert told['buildcache_builders_unread{builder="ci"}'] == 1
    assert told['buildcache_builders_unread{builder="default"}'] == 0


def test_nothing_is_told_that_is_not_known():
    images = dict.fromkeys(("count", "untagged", "in_use", "size_bytes", "reclaimable_bytes"))
    disk = dict(of_a_host()["filesystems"][0], inodes_total=0, inodes_available=0)
    unknown = of_a_host(images=images, filesystems=[disk], gc_policy={"restart_required": None})
    text = metrics_text(unknown, dict(RESULT, freed_bytes=None), 7)
    missing = set(FAMILIES) - names(text)
    assert {name for name in missing if "finding" not in name} == {
        "buildcache_filesystem_inodes", "buildcache_filesystem_available_inodes", "buildcache_images",
        "buildcache_images_untagged", "buildcache_images_in_use", "buildcache_images_size_bytes",
        "buildcache_images_reclaimable_bytes", "buildcache_gc_restart_required", "buildcache_gc_policy_in_force",
        "buildcache_cleanup_freed_bytes",
    }  # fmt: skip
    assert "None" not in text
    assert samples({"engine": {}}, {}, 7) == {"buildcache_facts_success": 1, LOOKED: 7}


def test_a_failed_run_keeps_the_last_successes():
    before = metrics_text(of_a_host(), RESULT, 7)
    failed = metrics_text({}, NO_ENGINE, 9, previous=before)
    lasting = {LOOKED: 7, RAN: 9, SUCCEEDED: 7}
    assert values(failed) == {"buildcache_facts_success": 0, "buildcache_cleanup_success": 0, **lasting}
    assert values(metrics_text({}, NO_ENGINE, 11, previous=failed))[SUCCEEDED] == 7
    again = values(metrics_text(of_a_host(), RESULT, 12, previous=failed))
    assert again[SUCCEEDED] == again[RAN] == again[LOOKED] == 12
    assert SUCCEEDED not in values(metrics_text({}, NO_ENGINE, 9))


@pytest.mark.parametrize("way", [{"failed": True}, {"unreachable": True}])
def test_a_cleanup_that_failed_in_the_end_tells_what_it_did(way):
    told = values(metrics_text(of_a_host(), {**RESULT, **way}, 9))
    assert told["buildcache_cleanup_success"] == 0 and told["buildcache_cleanup_freed_bytes"] == 2000
    assert told["buildcache_facts_success"] == 1 and SUCCEEDED not in told


@pytest.mark.parametrize("none", [{}, {"skipped": True, "changed": False}])
def test_without_a_cleanup_the_last_one_is_told_as_before(none):
    before = metrics_text(of_a_host(), RESULT, 7)
    now = metrics_text(of_a_host(), none, 9, previous=before)
    told = values(now)
    assert told[RAN] == told[SUCCEEDED] == 7 and told[LOOKED] == 9
    assert names(now) == names(before)
    assert not [name for name in names(metrics_text(of_a_host(), none, 9)) if "cleanup" in name]


@pytest.mark.parametrize(
    "previous",
    ["", "\n", "{", f"{SUCCEEDED} soon\n", f"# {SUCCEEDED} 5\n", f'{SUCCEEDED}{{a="b"}} 5\n', f"x{SUCCEEDED} 5\n"],
)
def test_a_file_that_cannot_be_read_tells_nothing_of_before(previous):
    assert SUCCEEDED not in values(metrics_text({}, NO_ENGINE, 9, previous=previous))


def test_what_is_not_of_this_role_is_not_taken_over():
    previous = f"buildcache_cleanup_of_somebody 5\nother 6\n{SUCCEEDED} 4\n"
    assert values(metrics_text({}, {}, 9, previous=previous)) == {"buildcache_facts_success": 0, SUCCEEDED: 4}


@pytest.mark.parametrize(
    ("given", "said"), [(("text", {}), "not facts, but str"), (({}, None), "not a result, but NoneType")]
)
def test_what_is_no_dictionary_is_refused(given, said):
    with pytest.raises(AnsibleFilterError, match=said):
        metrics_text(*given, 7)
