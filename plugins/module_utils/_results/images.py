# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""What facts tell of each image, for those who ask for all of them. Pure."""

from __future__ import annotations

from .._base.units import SECOND


def image_facts(image, uses):
    """Return what facts tell of an Image, with its LastUse among ``uses``, {id: LastUse}."""
    use = uses.get(image.id)
    return {
        "id": image.id,
        "tags": list(image.tags),
        "digests": list(image.digests),
        "size_bytes": image.size,
        "unique_bytes": image.unique_size,
        "created_at": image.created if image.dated else None,
        "arrived_at": image.arrived / SECOND if image.arrived else None,
        "last_used_at": use.at / SECOND if use else None,
        "last_used_by": use.by if use else None,
    }
