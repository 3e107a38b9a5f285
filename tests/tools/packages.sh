#!/usr/bin/env bash
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# packages.sh PACKAGE…: make sure that these Debian packages are installed.
# As root on Debian they are; anywhere else say which are missing, and fail.
set -euo pipefail

missing=()
for package in "$@"; do
  state=$(dpkg-query --show --showformat='${db:Status-Status}' "$package" 2>/dev/null) || state=none
  [ "$state" = installed ] || missing+=("$package")
done
[ "${#missing[@]}" -gt 0 ] || exit 0

if ! command -v apt-get >/dev/null; then
  echo "This needs the equivalents of these Debian packages: ${missing[*]}. Install them and run make again." >&2
  exit 1
fi
if [ "$(id -u)" -ne 0 ]; then
  echo "Missing Debian packages. As root: apt-get install ${missing[*]}" >&2
  exit 1
fi
# One after the other, since tests that run side by side may each miss some. What is started by it gets no hold of that.
exec 9>"${TMPDIR:-/tmp}/buildcache-packages.lock"
flock 9
echo "Installing Debian packages: ${missing[*]}"
export DEBIAN_FRONTEND=noninteractive
apt-get update -q 9>&-
apt-get install -q -y --no-install-recommends "${missing[@]}" 9>&-
