# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.errors import BadOption, BuilderError
from ansible_collections.buildfleet.buildcache.plugins.module_utils._base.units import SECOND
from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders.buildkitd_toml import (
    policy_in_toml,
    toml_with_policy,
)
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.policy import Policy, PolicyRule
from ansible_collections.buildfleet.buildcache.plugins.module_utils._policy.spelling import supported
from ansible_collections.buildfleet.buildcache.tests.unit.examples import examples

GB = 2**30
POLICY = Policy(
    rules=(PolicyRule(types=("source.local",), unused_for=3600 * SECOND), PolicyRule(max_used_space=20 * GB))
)
FILE = """# Ours.
debug = true  # for now

[registry."docker.io"]
  mirrors = ["mirror.example"]

[worker.oci]
  enabled = true
  gc = false  # it was full
  max-parallelism = 4

  [[worker.oci.gcpolicy]]
    keepBytes = 512

[worker.containerd]
  enabled = false
"""


def test_all_but_the_policy_stays():
    text = toml_with_policy(FILE, POLICY, "0.25.2")
    assert policy_in_toml(text) == POLICY
    for line in FILE.splitlines():
        assert "gc" in line or "keepBytes" in line or line in text, line
    without = toml_with_policy(text, None, "0.25.2")
    assert policy_in_toml(without) == Policy()
    assert "# Ours." in without and "max-parallelism = 4" in without and "gc" not in without


def test_what_was_made_for_the_policy_goes_with_it():
    assert toml_with_policy(toml_with_policy("", POLICY, "0.25.2"), None, "0.25.2").strip() == ""


@pytest.mark.parametrize("version", ["0.10.6", "0.11.6", "0.13.2", "0.16.0", "0.17.3", "0.25.2", "0.32.2"])
def test_each_version_has_its_own_spelling(version):
    text = toml_with_policy("", POLICY, version)
    assert ("maxUsedSpace" in text) == (version >= "0.17")
    assert ('keepDuration = "1h"' in text) == (version >= "0.12")
    assert policy_in_toml(text).meaning == POLICY.meaning


RULES = st.builds(
    PolicyRule,
    types=st.sampled_from([(), ("regular",), ("source.local", "exec.cachemount")]),
    unused_for=st.sampled_from([0, 90 * SECOND, 48 * 3600 * SECOND]),
    all=st.booleans(),
    reserved_space=st.sampled_from([0, 1000, 5 * GB]),
    max_used_space=st.sampled_from([0, 20 * GB]),
    min_free_space=st.sampled_from([0, 7 * GB]),
    id=st.sampled_from([None, "abc"]),
    description=st.sampled_from([None, 'mount / from "exec"']),
    shared=st.sampled_from([None, True, False]),
    other=st.just(()),
)


@settings(max_examples=examples(100), deadline=None)
@given(
    st.builds(Policy, st.booleans(), st.lists(RULES, min_size=1, max_size=4).map(tuple), st.just((0, 0, 0))),
    st.sampled_from(["0.10.6", "0.13.2", "0.25.2", "0.32.2"]),
    st.sampled_from(["", FILE]),
)
def test_what_is_written_is_what_is_read(policy, version, text):
    try:
        policy, _missing = supported(policy, version, approximate=True, product="BuildKit")
    except BadOption:
        return
    written = toml_with_policy(text, policy, version)
    assert policy_in_toml(written).meaning == policy.meaning
    assert toml_with_policy(written, policy, version) == written


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("", Policy()),
        ("[worker.oci]\ngc = false", Policy(enabled=False)),
        ("[worker.oci]\ngcpolicy = []", Policy()),
        ("[worker.oci]\ngckeepstorage = 9000", Policy(default_sizes=(9000, 0, 0))),
        ('[worker.oci]\nreservedSpace = "10%"\nmaxUsedSpace = "20GB"', Policy(default_sizes=(100, 20 * GB, 0))),
        ('[[worker.oci.gcpolicy]]\nmaxUsedSpace = "50%"', Policy(rules=(PolicyRule(max_used_space=500),))),
        (
            "[worker.oci]\nenabled = false\n[worker.containerd]\nenabled = true\n"
            "[[worker.containerd.gcpolicy]]\nall = true\n"
            "keepDuration = 60\nkeepBytes = 5",
            Policy(rules=(PolicyRule(all=True, unused_for=60 * SECOND, reserved_space=5),)),
        ),
        ('[[worker.oci.gcpolicy]]\nkeepDuration = "60"', Policy(rules=(PolicyRule(unused_for=60 * SECOND),))),
        # What BuildKit does not start with means nothing.
        ('[[worker.oci.gcpolicy]]\nkeepDuration = "2d"', None),
        ('[[worker.oci.gcpolicy]]\nmaxUsedSpace = "10Q"', None),
        ("[worker]\noci = 5", None),
    ],
)
def test_files_of_others_are_read(text, expected):
    assert policy_in_toml(text, 1000) == expected


def test_the_worker_that_runs_gets_the_policy():
    text = toml_with_policy("[worker.oci]\nenabled = false\n[worker.containerd]\nenabled = true\n", POLICY, "0.25.2")
    assert "[[worker.containerd.gcpolicy]]" in text and "worker.oci.gcpolicy" not in text


def test_what_is_no_toml_is_refused():
    with pytest.raises(BuilderError, match="no TOML"):
        toml_with_policy("[worker", POLICY, "0.25.2")
