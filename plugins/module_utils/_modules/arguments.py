# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Options that all modules share, and the one place where errors become a module's failure."""

from __future__ import annotations

import os
import signal
from contextlib import contextmanager

from ansible.module_utils.basic import env_fallback

from .._base.errors import BuildcacheError


def _certificate(name):
    """Fallback of a certificate option: the file of that name in the directory DOCKER_CERT_PATH."""
    return os.path.join(env_fallback("DOCKER_CERT_PATH"), name)


# The names and environment variables of community.docker, so that users' module_defaults carry over.
CONNECTION_OPTIONS = {
    "docker_host": {
        "type": "str",
        "default": "unix:///var/run/docker.sock",
        "fallback": (env_fallback, ["DOCKER_HOST"]),
        "aliases": ["docker_url"],
    },
    "api_version": {
        "type": "str",
        "default": "auto",
        "fallback": (env_fallback, ["DOCKER_API_VERSION"]),
        "aliases": ["docker_api_version"],
    },
    "timeout": {"type": "int", "default": 60, "fallback": (env_fallback, ["DOCKER_TIMEOUT"])},
    "tls": {"type": "bool", "default": False, "fallback": (env_fallback, ["DOCKER_TLS"])},
    "tls_hostname": {"type": "str", "fallback": (env_fallback, ["DOCKER_TLS_HOSTNAME"])},
    "validate_certs": {
        "type": "bool",
        "default": False,
        "fallback": (env_fallback, ["DOCKER_TLS_VERIFY"]),
        "aliases": ["tls_verify"],
    },
    "ca_path": {
        "type": "path",
        "fallback": (_certificate, ["ca.pem"]),
        "aliases": ["ca_cert", "tls_ca_cert", "cacert_path"],
    },
    "client_cert": {
        "type": "path",
        "fallback": (_certificate, ["cert.pem"]),
        "aliases": ["tls_client_cert", "cert_path"],
    },
    "client_key": {
        "type": "path",
        "fallback": (_certificate, ["key.pem"]),
        "aliases": ["tls_client_key", "key_path"],
    },
}


BUILDER_OPTIONS = {
    "builders": {"type": "list", "elements": "str", "default": ["default"]},
    "buildx_config": {"type": "path"},
}

AUDIT_OPTIONS = {
    "audit_log": {"type": "path"},
    "audit_log_max_size": {"type": "str", "default": "10MB"},
    "run_id": {"type": "str"},
}

LOCK_OPTIONS = {"lock_timeout": {"type": "str", "default": "10m"}}

SERVICE_OPTIONS = {
    "service": {"type": "str", "default": "docker"},
    "service_manager": {"type": "str", "choices": ["auto", "systemd", "systemd_user", "sysvinit"], "default": "auto"},
}


@contextmanager
def errors_reported(module, result=None):
    """Turn this collection's errors into the module's failure, with what there is of a result by then."""
    try:
        yield
    except BuildcacheError as error:
        module.fail_json(msg=str(error), **(result or {}))


def go_on_unheard():
    """Have a connection that is cut end neither this process nor the commands that it starts, in the midst of work."""
    for number in (signal.SIGHUP, signal.SIGPIPE):
        signal.signal(number, signal.SIG_IGN)


def leave_to_the_whole(module):
    """End a module that was sent without what its options ask for; nothing was done. The action plugin that chose it
    sends the whole one instead."""
    module.exit_json(changed=False, not_sent=True)
