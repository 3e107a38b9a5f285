# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""When the command that builds on the hosts tries again, with a docker command that says what real ones said."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

LAYER = "sha256:2f8da9dda8e00a45de9a98ebd2dbc4394149baf8686dbda33d20899c797c9f5f"
RACE = (
    f'ERROR: failed to build: failed to solve: failed to prepare extraction snapshot "extract-810343375-eUiw {LAYER}":'
    f" parent snapshot {LAYER} does not exist: not found"
)
OTHERS = {
    "a step that fails": 'ERROR: failed to solve: process "/bin/busybox false" did not complete successfully',
    "another snapshot": f"ERROR: failed to solve: failed to prepare snapshot: parent snapshot {LAYER} does not exist",
    "no parent's fault": RACE.replace(f"parent snapshot {LAYER} does not exist: not found", "no space left on device"),
    "a full disk": "ERROR: failed to solve: write /app: no space left on device",
    "an engine that is gone": "ERROR: Cannot connect to the Docker daemon at unix:///var/run/docker.sock.",
    "nothing": "",
}

DOCKER = """#!/bin/sh
# Writes down its arguments and the Dockerfile, and says what the next file of answers holds; without one it succeeds.
echo "$DOCKER_BUILDKIT $*" >>"$ANSWERS/calls"
number=$(wc -l <"$ANSWERS/calls")
cat "$ANSWERS/../command/Dockerfile" >>"$ANSWERS/dockerfiles"
echo sha256:built
[ -e "$ANSWERS/$number" ] || exit 0
cat "$ANSWERS/$number" >&2
exit 1
"""


@pytest.fixture
def build(tmp_path):
    """A function that builds with a docker command that fails with these texts first; gives the ended process and the
    docker command's calls."""
    command = tmp_path / "command" / "build.sh"
    command.parent.mkdir()
    shutil.copy(Path(__file__).with_name("build.sh"), command)
    docker = tmp_path / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(DOCKER)
    docker.chmod(0o755)
    answers = tmp_path / "answers"
    answers.mkdir()

    def run(*failures, options=()):
        for number, text in enumerate(failures, 1):
            (answers / str(number)).write_text(f"{text}\n")
        ended = subprocess.run(
            [command, "app:1", *options],
            input="FROM scratch\n",
            env={"PATH": f"{docker.parent}:{os.environ['PATH']}", "ANSWERS": str(answers)},
            capture_output=True,
            text=True,
            check=False,
        )
        assert set((answers / "dockerfiles").read_text().splitlines()) == {"FROM scratch"}
        return ended, (answers / "calls").read_text().splitlines()

    return run


def test_what_succeeds_is_built_once_with_its_options_and_silent(build, tmp_path):
    ended, calls = build(options=("--build-arg", "generation=1"))
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    here = tmp_path / "command"
    assert calls == [
        f"1 build --quiet --network none --tag app:1 --file {here}/Dockerfile --build-arg generation=1 {here}/context"
    ]


@pytest.mark.parametrize("times", [1, 2])
def test_an_unpacking_that_the_engine_s_own_collection_met_is_tried_again(build, times):
    ended, calls = build(*[RACE] * times)
    assert (ended.returncode, ended.stdout, ended.stderr) == (0, "", "")
    assert len(calls) == times + 1 and len(set(calls)) == 1


def test_one_that_is_met_every_time_fails_with_its_words(build):
    ended, calls = build(*[RACE] * 9)
    assert (ended.returncode, ended.stderr, len(calls)) == (1, f"{RACE}\n", 3)


@pytest.mark.parametrize("text", OTHERS.values(), ids=OTHERS)
def test_any_other_failure_fails_at_once_with_its_words(build, text):
    ended, calls = build(text)
    assert (ended.returncode, ended.stderr, len(calls)) == (1, f"{text}\n", 1)


def test_another_failure_after_the_engine_s_own_fails_at_once(build):
    ended, calls = build(RACE, OTHERS["a full disk"])
    assert (ended.returncode, ended.stderr, len(calls)) == (1, f"{OTHERS['a full disk']}\n", 2)
