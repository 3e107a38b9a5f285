#!/usr/bin/env bash
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# every_python.sh units|sanity fast|deep: run what of ansible-test's belongs to a suite, on the Pythons of this machine
# that a managed host may have. Results are .venv/ansible-test/KIND-SUITE/*/output/junit/*.xml.
#
#            fast                                        deep
#   units    3.8 and .venv's Python with few examples    every Python that the newest core tests
#   sanity   what does not depend on the Python          the rest, on every one
#
# Python 3.8 needs an ansible-core of its own: 2.19, the last that tests it.
set -euo pipefail

tools=$(cd "$(dirname "$0")" && pwd)
cd "$tools/../.."
kind=$1
results=.venv/ansible-test/$kind-$2
status=0

newest_core() {
  "$tools/ansible_test.sh" .venv "$results/newest" "$kind" "$@" || status=1
}

oldest_python() {
  if ! "$tools/pythons.sh" | grep '^3\.8 ' >/dev/null; then
    echo "WARNING: Skipping ${kind%s} tests on Python 3.8 because it could not be found."
    return
  fi
  if [ ! -e .venv/core-2.19/.ready ]; then
    "$tools/setup.sh" .venv/core-2.19 'ansible-core>=2.19,<2.20'
    touch .venv/core-2.19/.ready
  fi
  "$tools/ansible_test.sh" .venv/core-2.19 "$results/3.8" "$kind" --python 3.8 "$@" || status=1
}

case $kind-$2 in
  units-fast)
    # In two processes, as ansible-test does: once the controller's code is loaded, modules warn by way of it.
    FEW_EXAMPLES=1 .venv/bin/python -m pytest -n 2 tests/unit/plugins/module_utils tests/unit/plugins/modules \
      --junitxml="$results/pytest/output/junit/units.xml" || status=1
    .venv/bin/python -m pytest tests/unit/plugins/filter tests/unit/plugins/plugin_utils \
      --junitxml="$results/pytest/output/junit/controller.xml" || status=1
    oldest_python
    ;;
  units-deep) newest_core ;;
  sanity-fast) newest_core --junit --python default --skip-test compile --skip-test import ;;
  sanity-deep)
    newest_core --junit --test compile --test import
    oldest_python --junit --test compile --test import
    ;;
esac
exit "$status"
