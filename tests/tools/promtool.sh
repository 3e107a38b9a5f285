#!/usr/bin/env bash
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

# Print the path of a promtool: the machine's own, or that of Debian's package prometheus, unpacked into .venv. The package
# is not installed, which would start a server. Fail where neither can be had, and say why.
set -euo pipefail

command -v promtool && exit 0
place=$(cd "$(dirname "$0")/../.." && pwd)/.venv/promtool
if [ ! -x "$place/usr/bin/promtool" ]; then
  command -v apt-get >/dev/null || { echo "There is no promtool, and no apt-get to fetch it with." >&2; exit 1; }
  mkdir -p "$place"
  cd "$place"
  # The list of packages may be old, and only root can renew it.
  apt-get download -q prometheus >&2 || { apt-get update -q >&2 && apt-get download -q prometheus >&2; }
  dpkg-deb --extract prometheus_*.deb .
  rm prometheus_*.deb
fi
echo "$place/usr/bin/promtool"
