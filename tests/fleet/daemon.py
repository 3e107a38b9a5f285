# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The hosts' dockerd: its configuration file, and restarts that come more often than systemd likes."""

from __future__ import annotations

import json

import fleet

CONFIG = "/etc/docker/daemon.json"
BACKUPS = f"{CONFIG}.*~"
"""What a shell finds the backups by that the module makes."""

_KEPT = "/root/daemon.json.before"

_KEPT_PROCESS = "/root/dockerd.before"

PROCESS = "systemctl show --property MainPID --value docker"
"""A script that prints the PID of dockerd, 0 for none."""

KEEP = f"rm -f {_KEPT}; [ ! -e {CONFIG} ] || cp -p {CONFIG} {_KEPT}; {PROCESS} >{_KEPT_PROCESS}\n"
"""A script that keeps the configuration file as the lab made it, and notes the process that obeys it."""

PUT_BACK = f"rm -f {CONFIG}; [ ! -e {_KEPT} ] || cp -p {_KEPT} {CONFIG}\n"
"""A script that puts it back."""

# The counter of starts, of which systemd allows three a minute.
_RESET = "systemctl reset-failed docker.service docker.socket 2>/dev/null || true\n"

START = f"{_RESET}systemctl start docker.socket docker.service\n"
"""A script that starts a dockerd that was stopped."""

RESTART = f"""
{_RESET}systemctl restart docker || {{ journalctl --unit docker --no-pager --lines 5 --output cat >&2; exit 1; }}
"""
"""A script that restarts dockerd, and fails with its last words where it does not start."""

BACK = f'{PUT_BACK}rm -f {BACKUPS}\n[ "$({PROCESS})" = "$(cat {_KEPT_PROCESS})" ] || {{ {RESTART} }}\n'
"""A script that puts the configuration file back and has dockerd obey it; one that was not restarted obeys it still."""


def restart(on=None):
    """Restart dockerd and wait until it answers."""
    fleet.shell(RESTART, on)


def forget_early_looks():
    """Have engines with containerd's store reckon anew which records are shared.

    Their own garbage collection, once a minute, may have looked at a record before that was exported, and then they
    remember wrongly for it and all that builds on it (test_cache_alone.py has one that did).
    """
    restart(fleet.of_store("containerd"))


def texts(on=None):
    """Return {host: text of the configuration file}, "" where there is none."""
    return fleet.shell(f"cat {CONFIG} 2>/dev/null || true", on)


def put_without_gc(on):
    """Write the configuration files as they are, but without BuildKit's garbage collection."""
    own = {host: json.loads(text or "{}") for host, text in texts(on).items()}
    put({host: json.dumps({**keys, "builder": {"gc": {"enabled": False}}}) for host, keys in own.items()})


def put(texts_by_host):
    """Write the configuration files: {host: text}."""
    fleet.shell(
        {
            host: f"mkdir -p /etc/docker\ncat >{CONFIG} <<'END-OF-CONFIG'\n{text}\nEND-OF-CONFIG\n"
            for host, text in texts_by_host.items()
        }
    )
