#!/usr/bin/env bash
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# many_records.sh NUMBER: fill a host's engine with so many records of each of five stages, by a build of small steps.
# Runs on the host, as root.

set -euo pipefail

export DOCKER_BUILDKIT=1
context=$(mktemp -d)
trap 'rm -rf "$context"' EXIT
echo step > "$context/step"
{
    for stage in 1 2 3 4 5; do
        echo "FROM scratch AS stage$stage"
        for step in $(seq "$1"); do
            echo "COPY step /$stage/$step"
        done
    done
    echo "FROM scratch"
    for stage in 1 2 3 4 5; do
        echo "COPY --from=stage$stage / /"
    done
} > "$context/Dockerfile"
# Steps that an earlier run left in the cache would leave out the stages behind them.
docker build --quiet --no-cache --tag benchmark "$context" > /dev/null
