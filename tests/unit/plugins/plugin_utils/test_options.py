# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

from __future__ import annotations

import pytest
from ansible.errors import AnsibleValueOmittedError
from ansible.parsing.dataloader import DataLoader
from ansible.template import Templar, trust_as_template

from ansible_collections.buildfleet.buildcache.plugins.plugin_utils import options

WAYS = ("{{ given | default(omit, true) }}", "{{ given | string | default(omit, true) }}",
        "{{ omit if given in (none, '') else given }}")  # fmt: skip
LEFT_OUT = object()


def read(text, variables):
    try:
        return options.read(trust_as_template(text), variables)
    except AnsibleValueOmittedError:
        return True, LEFT_OUT


def templated(text, variables):
    try:
        return Templar(loader=DataLoader(), variables=variables).template(trust_as_template(text))
    except AnsibleValueOmittedError:
        return LEFT_OUT


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "given",
    ["", "3d", "0", None, True, False, 0, 7, 1.5, [], ["a", 1], {}, {"label": ["a=b"]}, "a\nb", "'x'"],
    ids=repr,
)
def test_an_option_is_what_its_template_would_make_of_it(way, given):
    variables = {"given": given}
    assert read(way, variables) == (True, templated(way, variables))


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("given", ["{{ other }}", ["{{ other }}"], {"a": "{% if x %}"}, "#jinja2: x\n", ...], ids=str)
def test_what_may_be_made_by_a_template_is_left_to_one(way, given):
    assert read(way, {"given": given, "other": 1}) == (False, None)


@pytest.mark.parametrize(
    "text",
    ["3d", "{{ given }}", "{{ given | default(omit) }}", "{{ given|default(omit, true) }} ", "{{ omit }}", 5, None],
)
def test_other_options_are_left_as_they_are(text):
    assert options.read(trust_as_template(text) if isinstance(text, str) else text, {"given": "x"}) == (False, None)


def test_a_name_that_may_be_jinjas_and_a_text_from_a_host_are_left_to_ansible():
    assert [read(way, {}) for way in WAYS] == [(False, None)] * 3
    assert read("{{ not_given | default(omit, true) }}", {}) == (True, LEFT_OUT)
    assert options.read(WAYS[0], {"given": "x"}) == (False, None)
