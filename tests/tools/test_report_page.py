# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""The page of the fleet's report in a real Chromium: what it shows, how it is used, and that data stays data."""

from __future__ import annotations

import json
import re

import browser
import pytest
from selenium.webdriver.common.by import By
from selenium.webdriver.common.keys import Keys

from ansible_collections.buildfleet.buildcache.plugins.filter.fleet_report import fleet_report
from ansible_collections.buildfleet.buildcache.tests.unit.report_fleet import fleet, recorded

MADE_AT = 1795915000.0
EVIL = (
    '"><script>window.pwned=1</script><img src=x onerror="window.pwned=2">&amp;{{ 7*7 }}\u202e\u2028-->]]></script>\''
)
LONG = "x" * 300
ROWS = "return [...document.querySelectorAll('#hosts tbody tr')]"
NAMES = f"{ROWS}.map(row => row.cells[0].textContent)"


@pytest.fixture(scope="module")
def chromium():
    """A Chromium. Without one the tests are skipped, and say why."""
    window = browser.Browser()
    try:
        window.__enter__()
    except browser.NoBrowser as problem:
        pytest.skip(f"no Chromium: {problem}")
    yield window
    window.__exit__()


@pytest.fixture
def page(chromium, tmp_path):
    """Open the page of these hosts: page(hosts, fragment=…). In the end it must have said and asked for nothing."""
    chromium.look()
    file = tmp_path / "report.html"

    def page(hosts, fragment="", **more):
        file.write_text(fleet_report(hosts, "html", MADE_AT, **more))
        chromium.open(file, fragment)
        return chromium

    yield page
    assert chromium.messages() == []
    assert chromium.requests() == [address for address in [file.absolute().as_uri()] if file.exists()]
    assert chromium.run("return window.pwned === undefined && document.scripts.length === 3")


def key(chromium, *keys):
    """Press keys where the focus is."""
    for one in keys:
        chromium.driver.switch_to.active_element.send_keys(one)


def head(chromium, number):
    return chromium.driver.find_elements(By.CSS_SELECTOR, "#hosts thead th")[number]


def test_every_host_has_a_row_which_sorts_and_filters(page):
    hosts = fleet(40)
    model = json.loads(fleet_report(hosts, "json", MADE_AT))
    seen = page(hosts)
    assert seen.run(NAMES) == [row["host"] for row in model["hosts"]]
    totals = seen.run("return [...document.querySelectorAll('.totals dd:not(.note)')].map(one => one.textContent)")
    assert totals[0] == f"{model['totals']['ok']} of 40" and totals[1] == str(model["totals"]["severities"]["critical"])
    bars = seen.run("return [...document.querySelectorAll('#hosts .bar')].map(bar => [bar.getAttribute('aria-label'), "
                    "[...bar.children].reduce((sum, part) => sum + parseFloat(part.style.width), 0)])")  # fmt: skip
    assert len(bars) == model["totals"]["ok"]
    assert all(label.startswith("/var/lib/") and abs(width - 100) < 0.2 for label, width in bars), bars

    used = {row["host"]: row["used_percent"] or -1 for row in model["hosts"]}
    head(seen, 3).click()
    seen.until(lambda: [used[name] for name in seen.run(NAMES)] == sorted(used.values()))
    head(seen, 3).click()
    seen.until(lambda: [used[name] for name in seen.run(NAMES)] == sorted(used.values(), reverse=True))

    field = seen.driver.find_element(By.CSS_SELECTOR, "input[type=search]")
    field.send_keys("unreachable")
    away = [row["host"] for row in model["hosts"] if row["status"] == "unreachable"]
    seen.until(lambda: sorted(seen.run(NAMES)) == sorted(away or ["No host is like that."]))
    group = model["findings"][0]
    button = seen.driver.find_element(By.CSS_SELECTOR, f"button[data-code={group['code']}]")
    seen.run("arguments[0].click()", button)
    seen.until(lambda: sorted(seen.run(NAMES)) == sorted(group["hosts"]))


def test_the_page_is_used_by_the_keyboard(page):
    seen = page(recorded())
    for _press in range(40):
        key(seen, Keys.TAB)
        if seen.run("return document.activeElement.closest('#hosts thead') !== null"):
            break
    style = seen.run(
        "const one = getComputedStyle(document.activeElement); return [one.outlineStyle, one.outlineWidth]"
    )
    assert style[0] != "none" and style[1] != "0px"
    for way, names in (("ascending", ["docker20", "docker28c"]), ("descending", ["docker28c", "docker20"])):
        key(seen, Keys.ENTER)
        seen.until(lambda way=way: head(seen, 0).get_attribute("aria-sort") == way)
        seen.until(lambda names=names: seen.run(NAMES) == names)
    link = seen.driver.find_element(By.CSS_SELECTOR, "#hosts a")
    link.send_keys(Keys.ENTER)
    assert seen.wait("return document.getElementById('host').open && document.getElementById('host-name').textContent")
    key(seen, Keys.ESCAPE)
    seen.wait("return !document.getElementById('host').open && !location.hash")


def test_a_host_has_its_details_behind_a_link_and_says_how_many_more_there_are(page):
    host = recorded()[1]
    seen = page([host], "#host=docker28c")
    seen.wait("return document.getElementById('host').open")
    told = seen.run("return document.getElementById('host-details').textContent")
    records = host["report_looked"]["ansible_facts"]["buildcache"]["builders"][0]["records"]
    assert f"{len(records) - 20} more in the JSON" in told and "registry.example.com/team/app:latest" in told
    for title in ("Findings", "What a cleanup would leave, and why", "Images, longest unused first", "GC policy"):
        assert title in told


def test_what_a_host_tells_is_never_markup(page, tmp_path):
    host = recorded()[1]
    facts = host["report_looked"]["ansible_facts"]["buildcache"]
    facts["images"]["list"][0].update(tags=[EVIL, LONG], last_used_at=1)
    facts["builders"][0]["records"][0].update(description=EVIL + LONG, last_used_at="2020-01-01T00:00:00Z")
    facts["findings"].append(
        {"code": "odd", "severity": "critical", "bytes": 1, "message": EVIL, "remedy": EVIL + LONG}
    )
    facts["engine"].update(root_dir=EVIL), facts["filesystems"][0].update(path=EVIL)
    hosts = [
        {**host, "inventory_hostname": EVIL},
        {**host, "inventory_hostname": LONG},
        {"inventory_hostname": "a'b\"c<d>", "report_looked": {"unreachable": True, "msg": EVIL}},
    ]
    seen = page(hosts, advise={"labels": {EVIL: EVIL, LONG: LONG}})
    assert EVIL[:40] in seen.run("return document.getElementById('advice').parentElement.textContent")
    names = seen.run(NAMES)
    assert LONG in names and "a'b\"c<d>" in names
    shown = next(name for name in names if "pwned" in name)
    # What turns the rest round is seen as what it is; all else stands as it is.
    assert shown == EVIL.replace("\u202e", "\\u202e").replace("\u2028", "\\u2028")
    for link in seen.driver.find_elements(By.CSS_SELECTOR, "#hosts a"):
        seen.run("arguments[0].click()", link)
        seen.wait("return document.getElementById('host').open")
        if "pwned" in (link.get_attribute("textContent") or ""):
            assert EVIL[:40] in seen.run("return document.getElementById('host-details').textContent")
        seen.run("document.getElementById('host').close()")
        seen.wait("return !location.hash")
    # Also for those who find a way to write markup.
    seen.run("const one = document.createElement('div'); one.innerHTML = '<img src=\"http://192.0.2.1/x\" "
             "onerror=\"window.pwned=3\">'; document.body.append(one)")  # fmt: skip
    refused = seen.messages()
    assert refused and all("Content Security Policy" in message for message in refused), refused
    assert seen.run("return document.documentElement.scrollWidth") <= 1440


@pytest.mark.parametrize("width", [390, 800, 1100, 1280, 1440])
def test_it_fits_screens_from_a_phone_on(page, chromium, width):
    chromium.look(width, 800)
    hosts = fleet(40)
    labels = {host["inventory_hostname"]: LONG for host in hosts[:20]}
    seen = page([*hosts, {"inventory_hostname": LONG}], advise={"labels": labels})
    # A table can be wider than what it stands in without the page's being wider.
    assert seen.run("return [document.documentElement, ...document.querySelectorAll('main, section, div, dl')]"
                    ".filter((one) => one.scrollWidth > Math.max(one.clientWidth, 1) + 1 && !one.matches('.bar'))"
                    ".map((one) => `${one.className} ${one.scrollWidth} ${one.clientWidth}`)") == []  # fmt: skip
    head(seen, 4).click()
    seen.until(lambda: head(seen, 4).get_attribute("aria-sort") == "ascending")


@pytest.mark.parametrize("dark", [False, True])
def test_texts_stand_out_from_what_is_behind_them(page, chromium, dark):
    chromium.look(dark=dark)
    seen = page(fleet(30))
    # The ratio of WCAG 2.1, of which 4.5 is asked for.
    found = seen.run("""
      const numbers = (text) => text.match(/[\\d.]+/g).map(Number);
      const light = (rgb) => rgb.slice(0, 3).map((one) => one / 255)
        .map((one) => (one <= 0.03928 ? one / 12.92 : ((one + 0.055) / 1.055) ** 2.4))
        .reduce((sum, one, index) => sum + one * [0.2126, 0.7152, 0.0722][index], 0);
      const behind = (one) => {
        for (; one; one = one.parentElement) {
          const color = numbers(getComputedStyle(one).backgroundColor);
          if (color.length < 4 || color[3]) return color;
        }
      };
      return [...document.querySelectorAll("main *, header *")]
        .filter((one) => [...one.childNodes].some((node) => node.nodeType === 3 && node.data.trim()))
        .map((one) => {
          const both = [light(numbers(getComputedStyle(one).color)), light(behind(one))].sort((a, b) => a - b);
          return [(both[1] + 0.05) / (both[0] + 0.05), one.outerHTML.slice(0, 80)];
        }).filter(([ratio]) => ratio < 4.5);""")
    assert found == []


@pytest.mark.parametrize(
    "hosts", [[], [{"inventory_hostname": "a", "report_looked": {"unreachable": True, "msg": "away"}}]]
)
def test_a_fleet_of_which_nothing_is_known_has_a_page(page, hosts):
    seen = page(hosts)
    text = seen.run("return document.querySelector('main').innerText")
    assert "away" in text if hosts else "The inventory has no host" in text
    assert "undefined" not in text and "None" not in text


def test_a_thousand_hosts_are_usable_at_once_and_all_on_paper(page, chromium, tmp_path):
    seen = page(fleet(1000))
    assert (tmp_path / "report.html").stat().st_size < 5e6
    assert seen.run("return document.documentElement.dataset.ready") is not None
    assert len(seen.run(NAMES)) == 100
    seen.run("dispatchEvent(new Event('beforeprint'))")
    seen.until(lambda: len(seen.run(NAMES)) == 1000)
    seen.run("dispatchEvent(new Event('afterprint'))")
    paper = tmp_path / "paper.pdf"
    seen.paper(paper)
    seen.until(lambda: len(seen.run(NAMES)) == 100)
    # A hundred hosts take five.
    assert len(re.findall(rb"/Type\s*/Page\b", paper.read_bytes())) > 20
