# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations


class ModuleDocFragment:
    """Connection options, by the names and environment variables of community.docker."""

    DOCUMENTATION = r"""
options:
  docker_host:
    description:
      - URL or socket path of the Docker engine, such as V(unix:///var/run/docker.sock), V(/run/docker.sock),
        V(tcp://build1:2376), V(https://build1:2376) or V(ssh://admin@build1).
      - If the task does not set it, the environment variable E(DOCKER_HOST) is used.
      - Another engine with the same API, such as podman, is refused.
      - Disk figures can only be had where the engine runs on the host that the module runs on. Behind a tunnel, a proxy
        or a container's socket it is taken for one on another host, with a warning or the finding C(engine_not_here).
    type: str
    default: unix:///var/run/docker.sock
    aliases: [docker_url]
  api_version:
    description:
      - Version of the Engine API to speak, V(auto) for the newest that the engine and this collection know.
      - If the task does not set it, the environment variable E(DOCKER_API_VERSION) is used.
    type: str
    default: auto
    aliases: [docker_api_version]
  timeout:
    description:
      - Seconds to wait for the engine to connect, and for the answer to a question, to its last byte. Removals and the
        account of the disk may take longer.
      - If the task does not set it, the environment variable E(DOCKER_TIMEOUT) is used.
    type: int
    default: 60
  tls:
    description:
      - Use TLS without verifying the engine's certificate. O(validate_certs) takes precedence.
      - If the task does not set it, the environment variable E(DOCKER_TLS) is used.
    type: bool
    default: false
  tls_hostname:
    description:
      - Name that the engine's certificate must bear, where it is not the one in O(docker_host).
      - The docker SDK for Python 7.0.0 and later cannot do this; the option is refused there.
      - If the task does not set it, the environment variable E(DOCKER_TLS_HOSTNAME) is used.
    type: str
  validate_certs:
    description:
      - Use TLS and verify the engine's certificate.
      - If the task does not set it, the environment variable E(DOCKER_TLS_VERIFY) is used.
    type: bool
    default: false
    aliases: [tls_verify]
  ca_path:
    description:
      - File with the certificate of the authority that signed the engine's certificate.
      - If the task does not set it, C(ca.pem) in the directory named by the environment variable
        E(DOCKER_CERT_PATH) is used.
    type: path
    aliases: [ca_cert, tls_ca_cert, cacert_path]
  client_cert:
    description:
      - File with the client's TLS certificate.
      - If the task does not set it, C(cert.pem) in the directory named by the environment variable
        E(DOCKER_CERT_PATH) is used.
    type: path
    aliases: [tls_client_cert, cert_path]
  client_key:
    description:
      - File with the client's TLS key.
      - If the task does not set it, C(key.pem) in the directory named by the environment variable
        E(DOCKER_CERT_PATH) is used.
    type: path
    aliases: [tls_client_key, key_path]
  lock_timeout:
    description:
      - How long to wait for another task of this collection that works on the same host. Tasks that change something
        run alone; tasks that only look wait for those. Where the engine is elsewhere there is no lock.
      - The lock is C(/run/buildcache/lock), made in check mode too; that of a rootless engine is C(buildcache/lock)
        below C($XDG_RUNTIME_DIR).
    type: str
    default: 10m
requirements:
  - nothing but Python for an engine on a Unix socket of the host
  - docker (the SDK for Python) 5.0.3 or later for an engine elsewhere; the package python3-docker on Debian and Ubuntu
  - paramiko besides for an engine at C(ssh://)
  - Docker Engine 19.03 or later
"""
