# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""How results are read and summed."""

from __future__ import annotations

import pytest
from results import Results, from_integration_log, from_junit, from_lines

JUNIT = """<testsuites><testsuite>
<testcase classname="sanity" name="yamllint"/>
<testcase classname="sanity" name="pep8"><failure message="two">E501</failure></testcase>
<testcase classname="sanity" name="compile-python-3.14"><skipped>could not be found</skipped></testcase>
<testcase classname="sanity" name="pslint"><skipped>No tests applicable.</skipped></testcase>
</testsuite></testsuites>"""


def test_junit_counts_what_could_not_run_but_not_what_had_nothing_to_test(tmp_path):
    file = tmp_path / "sanity.xml"
    file.write_text(JUNIT)
    assert from_junit([file], "") == Results(
        passed=1, failed=("sanity.pep8",), skipped=("sanity.compile-python-3.14: could not be found",)
    )


def test_a_python_that_ansible_test_misses_is_one_skip_however_often_it_warns():
    line = "WARNING: Skipping unit tests on Python 3.14 because it could not be found.\n"
    assert from_junit([], line * 2).skipped == ("Skipping unit tests on Python 3.14 because it could not be found.",)


def test_lines_of_linters_are_counted_by_their_first_word():
    assert from_lines("ok ruff\nnot ok\nFAILED ansible-lint\n  ok indented\n") == Results(1, ("ansible-lint",))


def test_integration_targets_are_counted_once_and_only_listed_ones_failed():
    log = (
        "Running prune integration test role\nfatal: [testhost]: FAILED! => {}\n...ignoring\n"
        "Running facts integration test role\n"
        "FATAL: The 1 integration test(s) listed below (out of 2) failed. See error output above for details:\nfacts\n"
    )
    assert from_integration_log(log) == Results(1, ("facts",))


@pytest.mark.parametrize(
    ("results", "succeeded", "failed"),
    [
        (Results(3), True, ()),
        (Results(3), False, ("ended with an error; see its log",)),
        (Results(3, ("a",)), False, ("a",)),
        (Results(), True, ("ran no test",)),
        (Results(skipped=("a",)), True, ("ran no test",)),
    ],
)
def test_a_part_that_failed_or_ran_nothing_never_counts_as_passed(results, succeeded, failed):
    assert results.settled(succeeded).failed == failed


def test_sums_keep_each_part_s_name():
    total = Results(2, ("a",)).of("unit") + Results(1, (), ("b",)).of("sanity")
    assert total == Results(3, ("unit: a",), ("sanity: b",))
    assert total.line() == "3 passed, 1 failed, 1 skipped"
