# Copyright: (c) 2026, the buildfleet.buildcache contributors
# GNU General Public License v3.0+ (see COPYING or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later

"""A real Chromium without a window, with a new profile, that notes what pages say and ask for."""

from __future__ import annotations

import base64
import json
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path

from selenium import webdriver
from selenium.webdriver.chrome.service import Service
from selenium.webdriver.support.ui import WebDriverWait

_FLAGS = (
    "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
    "--disable-background-networking", "--disable-component-update", "--disable-sync", "--disable-dev-shm-usage",
)  # fmt: skip
TIME_LIMIT = 60  # seconds


class NoBrowser(Exception):
    """There is no Chromium here; the message says why."""


class Browser:
    """A Chromium; to be used as a context. Raises NoBrowser where there is none."""

    def __init__(self) -> None:
        self._profile = tempfile.TemporaryDirectory(prefix="chromium-", ignore_cleanup_errors=True)

    def __enter__(self) -> Browser:
        command = [Path(__file__).with_name("chromium.sh")]
        found = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
        if found.returncode:
            raise NoBrowser(found.stderr.strip())
        chromium, driver = found.stdout.split()
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        options.set_capability("goog:loggingPrefs", {"browser": "ALL", "performance": "ALL"})
        for flag in (*_FLAGS, f"--user-data-dir={self._profile.name}"):
            options.add_argument(flag)
        self.driver = webdriver.Chrome(options, Service(driver))
        self.look()
        return self

    def __exit__(self, *_problem: object) -> None:
        self.driver.quit()
        self._profile.cleanup()

    def look(self, width: int = 1440, height: int = 1000, dark: bool = False) -> None:
        """Have the pages from now on so wide and high, in light or dark colours."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 600}
        self.driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": [scheme]})

    def open(self, page: Path, fragment: str = "") -> None:
        """Open a file that is such a report, and wait until it can be used."""
        self.driver.get("about:blank")
        self.messages(), self.requests()
        self.driver.get(page.absolute().as_uri() + fragment)
        self.wait("return !document.getElementById('hosts') || document.documentElement.dataset.ready")

    def wait(self, script: str) -> object:
        """Wait until a script returns something true, and return it."""
        return WebDriverWait(self.driver, TIME_LIMIT).until(lambda driver: driver.execute_script(script))

    def until(self, true: Callable[[], bool]) -> None:
        """Wait until a function returns something true."""
        WebDriverWait(self.driver, TIME_LIMIT).until(lambda _driver: true())

    def run(self, script: str, *arguments: object) -> object:
        """Return what a script returns."""
        return self.driver.execute_script(script, *arguments)

    def messages(self) -> list[str]:
        """What pages have said on the console since the last call."""
        return [entry["message"] for entry in self.driver.get_log("browser")]

    def requests(self) -> list[str]:
        """The addresses that were asked for since the last call, without those that pages' own policy refused."""
        events = [json.loads(entry["message"])["message"] for entry in self.driver.get_log("performance")]
        by_kind = {"Network.requestWillBeSent": {}, "Network.loadingFailed": {}}
        for event in events:
            by_kind.get(event["method"], {})[event["params"].get("requestId")] = event["params"]
        sent, failed = by_kind.values()
        asked = {name: one["request"]["url"] for name, one in sent.items()}
        refused = {name for name, one in failed.items() if one.get("blockedReason") == "csp"}
        own = ("data:", "blob:", "about:")
        return [address for name, address in asked.items() if name not in refused and not address.startswith(own)]

    def picture(self, file: Path, whole: bool = False) -> None:
        """Write what is seen, or the whole page, as a PNG."""
        how = {"format": "png", "captureBeyondViewport": whole}
        if whole:
            how["clip"] = {**self.driver.execute_cdp_cmd("Page.getLayoutMetrics", {})["cssContentSize"], "scale": 1}
        file.write_bytes(base64.b64decode(self.driver.execute_cdp_cmd("Page.captureScreenshot", how)["data"]))

    def paper(self, file: Path) -> None:
        """Write the page as a PDF, as it is printed."""
        how = {"printBackground": False, "preferCSSPageSize": True}
        file.write_bytes(base64.b64decode(self.driver.execute_cdp_cmd("Page.printToPDF", how)["data"]))
