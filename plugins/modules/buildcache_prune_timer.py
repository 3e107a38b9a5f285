#!/usr/bin/python
# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

from ansible_collections.buildfleet.buildcache.plugins.module_utils._builders.prune import Others
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.inodes import with_inodes
from ansible_collections.buildfleet.buildcache.plugins.module_utils._engine.sdk import SdkTransport
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules import scheduled
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.prune import prune_module
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.prune_audit import Audited
from ansible_collections.buildfleet.buildcache.plugins.module_utils._modules.prune_facts import Looked

# Packed with the module, for what starts it: see plugin_utils/archive.py.
__all__ = ("scheduled",)


def main():
    prune_module(Others, SdkTransport, Looked, with_inodes, Audited)


if __name__ == "__main__":
    main()
