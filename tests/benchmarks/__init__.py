# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""Benchmarks of the collection: what its tasks cost beside others that do the same, or next to nothing.

Every figure is a ratio of runs that took turns on one machine, since seconds alone tell of the machine.
"""
