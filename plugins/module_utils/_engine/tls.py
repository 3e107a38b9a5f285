# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The connection options for TLS, in the docker SDK's words."""

from __future__ import annotations

from .._base.errors import BadOption


def base_url(connection):
    """Return the address that the SDK is given for the connection options."""
    host = connection["docker_host"]
    return host.replace("tcp://", "https://", 1) if connection["tls"] or connection["validate_certs"] else host


def tls_settings(docker, connection):
    """Return the SDK's TLS settings for the connection options, False where TLS is not asked for.

    Raises BadOption for tls_hostname where the SDK cannot check it.
    """
    if not (connection["tls"] or connection["validate_certs"]):
        return False
    settings = {"verify": bool(connection["validate_certs"])}
    if connection["client_cert"] and connection["client_key"]:
        settings["client_cert"] = (connection["client_cert"], connection["client_key"])
    if connection["ca_path"]:
        settings["ca_cert"] = connection["ca_path"]
    if connection["tls_hostname"]:
        if int(docker.__version__.split(".")[0]) >= 7:
            raise BadOption(
                f"tls_hostname: the docker SDK {docker.__version__} on this host cannot check another name than that "
                "in docker_host; 7.0.0 and later lost that. Leave the option out."
            )
        settings["assert_hostname"] = connection["tls_hostname"]
    return docker.tls.TLSConfig(**settings)
