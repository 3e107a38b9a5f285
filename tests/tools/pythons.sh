#!/usr/bin/env bash
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Print "VERSION PATH" for every Python from 3.8 to 3.14 on this machine that can make a virtual environment.
# PATH is the real executable: a version manager's shim may exist and not run, and ansible-test does not follow it.
set -euo pipefail

shopt -s nullglob
managed=${PYENV_ROOT:-$HOME/.pyenv}/versions
probe='import ensurepip, os, ssl, sys, venv; print("%d.%d" % sys.version_info[:2], os.path.realpath(sys.executable))'

for version in 3.8 3.9 3.10 3.11 3.12 3.13 3.14; do
  on_path=$(type -P "python$version" || true)
  for candidate in {/usr,/usr/local,"$managed/$version".*}"/bin/python$version" $on_path; do
    if [ -x "$candidate" ] && found=$("$candidate" -c "$probe" 2>/dev/null); then
      echo "$found"
      break
    fi
  done
done
