#!/usr/bin/env bash
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# setup.sh DIR REQUIREMENT…: make the virtual environment DIR anew and install what pip understands as REQUIREMENT.
# $PYTHONS says which Pythons may serve, best first (default: those that run the newest ansible-core).
set -euo pipefail

tools=$(dirname "$0")
pythons=${PYTHONS:-3.13 3.14 3.12 3.11}
dir=$1
shift

choose_python() {
  local version
  for version in $pythons; do
    "$tools/pythons.sh" | sed -n "s/^${version/./\\.} //p" | grep . && return
  done
  return 1
}

if ! python=$(choose_python); then
  "$tools/packages.sh" python3-venv
  if ! python=$(choose_python); then
    echo "None of Python $pythons with venv, ensurepip and ssl was found. Install one and run make again." >&2
    exit 1
  fi
fi

echo "Installing into $dir with $("$python" --version): $*"
mkdir -p "$(dirname "$dir")"
if ! output=$( (set -e; "$python" -m venv --clear "$dir"; "$dir/bin/python" -m pip install "$@") 2>&1 ); then
  echo "$output" >&2
  echo "Could not install into $dir; the reason is above. Check the network and pip's settings, then run make again." >&2
  exit 1
fi
