"""Headless Chromium through its driver, with a profile of its own and nothing in the background."""
from __future__ import annotations

import shutil
import tempfile
from pathlib import Path

import pytest

from . import paths, wait

FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
         "--disable-background-networking", "--disable-component-update", "--disable-sync",
         "--disable-dev-shm-usage", "--window-size=1000,900"]


class Browser:
    """A browser; `with Browser(url) as b`. driver is selenium's."""

    def __init__(self, origin: str):
        if paths.IN_CI:
            from selenium import webdriver          # missing: fail
        else:
            webdriver = pytest.importorskip("selenium.webdriver", reason="missing: selenium (Debian package: python3-selenium)")
        from selenium.webdriver.chrome.service import Service
        self.origin = origin.rstrip("/")
        chromium, driver = paths.require("chromium"), paths.require("chromedriver")
        self.profile = tempfile.mkdtemp(prefix="demo-chromium-")
        options = webdriver.ChromeOptions()
        options.binary_location = chromium
        for flag in [*FLAGS, f"--user-data-dir={self.profile}"]:
            options.add_argument(flag)
        self.driver = webdriver.Chrome(service=Service(driver), options=options)
        self.driver.set_page_load_timeout(30 * wait.FACTOR)
        self.driver.implicitly_wait(0)

    def __enter__(self) -> "Browser":
        return self

    def __exit__(self, *exc) -> None:
        try:
            self.driver.quit()
        finally:
            shutil.rmtree(self.profile, ignore_errors=True)

    def open(self, path: str) -> None:
        self.driver.get(self.origin + path)

    def find(self, css: str):
        return self.driver.find_element("css selector", css)

    def all(self, css: str):
        return self.driver.find_elements("css selector", css)

    def text(self, css: str = "body") -> str:
        return self.find(css).text

    def click(self, text: str) -> None:
        """A link or button with that text; waits until the next page is there."""
        xpath = f"//a[normalize-space()='{text}'] | //button[normalize-space()='{text}']"
        page = self.find("html")
        self.driver.find_element("xpath", xpath).click()
        self._wait_for_next(page)

    def submit(self, **fields: str) -> None:
        """Fill fields of the page's form by name, and press its button."""
        for name, value in fields.items():
            field = self.find(f"main form [name={name}]")
            field.clear()
            field.send_keys(value)
        page = self.find("html")
        self.find("main form button").click()
        self._wait_for_next(page)

    def _wait_for_next(self, page) -> None:
        from selenium.common.exceptions import StaleElementReferenceException, WebDriverException
        from selenium.webdriver.support.ui import WebDriverWait

        def gone(_):
            try:
                page.is_enabled()
                return False
            except StaleElementReferenceException:
                return True
            except WebDriverException as e:     # what ChromeDriver says while the documents change
                if "does not belong to the document" in str(e):
                    return True
                raise
        WebDriverWait(self.driver, 20 * wait.FACTOR).until(gone)
        WebDriverWait(self.driver, 20 * wait.FACTOR).until(lambda d: d.execute_script("return document.readyState") == "complete")

    @property
    def path(self) -> str:
        return self.driver.current_url.removeprefix(self.origin)

    def screenshot(self, name: str) -> Path:
        folder = paths.TOP / "build" / "screenshots"
        folder.mkdir(parents=True, exist_ok=True)
        file = folder / f"{name}.png"
        self.driver.save_screenshot(str(file))
        return file
