"""A headless Chromium for tests of pages, where there is one."""

from __future__ import annotations

import shutil
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

FLAGS = (
    *("--headless=new", "--no-sandbox", "--disable-gpu", "--no-first-run", "--window-size=1500,1000"),
    *("--disable-quic", "--disable-background-networking", "--disable-component-update", "--disable-sync"),
)
SECONDS = 30  # until a page must be ready, on a machine that does other things too


class Browser:
    """One window. `driver` is selenium's."""

    def __init__(self, driver: Any) -> None:
        self.driver = driver

    def open(self, page: Path, fragment: str = "") -> int:
        """Load a page; milliseconds until it has been drawn, by its own clock."""
        self.driver.get("about:blank")
        self.driver.get_log("browser")
        self.driver.get(page.as_uri() + fragment)
        self.until("return document.documentElement.dataset.ready || document.querySelector('.failed')")
        return int(self.js("return document.documentElement.dataset.ready"))

    def js(self, script: str, *arguments: Any) -> Any:
        return self.driver.execute_script(script, *arguments)

    def until(self, script: str) -> Any:
        """Wait for a script to give something that counts as true; that."""
        end = time.monotonic() + SECONDS
        while time.monotonic() < end:
            if found := self.js(script):
                return found
            time.sleep(0.02)
        raise AssertionError(f"never true: {script}")

    def text(self, selector: str) -> str:
        return str(self.js("return document.querySelector(arguments[0]).innerText", selector))

    def texts(self, selector: str) -> list[str]:
        found = self.js("return [...document.querySelectorAll(arguments[0])].map((e) => e.innerText)", selector)
        return [str(text) for text in found]

    def click(self, selector: str, words: str = "") -> None:
        """Click the first element of a selector whose text is `words`, or the first at all."""
        script = (
            "const [s, w] = arguments; return [...document.querySelectorAll(s)].find((e) => !w || e.innerText === w)"
        )
        element = self.js(script, selector, words)
        assert element is not None, f"no {selector} {words!r}"
        self.js("arguments[0].scrollIntoView({block: 'center'})", element)
        element.click()

    def click_cell(self, x: int, y: int, canvas: str = "canvas.wafer") -> None:
        """Click the middle of a core on the map."""
        from selenium.webdriver.common.action_chains import ActionChains

        element, view = self.js(
            "const c = document.querySelector(arguments[0]); c.scrollIntoView({block: 'center'});"
            "return [c, {...c.dataset}]",
            canvas,
        )
        dx, dy = ((at + 0.5 - float(view[axis])) * float(view["scale"]) for at, axis in ((x, "x"), (y, "y")))
        ActionChains(self.driver).move_to_element_with_offset(element, round(dx), round(dy)).click().perform()

    def keys(self, *names: str) -> None:
        """Press keys; those with names by selenium's name for them."""
        from selenium.webdriver.common.action_chains import ActionChains
        from selenium.webdriver.common.keys import Keys

        ActionChains(self.driver).send_keys(*(getattr(Keys, name, name) for name in names)).perform()

    def errors(self) -> list[str]:
        """What the page complained about in the console since it was opened."""
        return [entry["message"] for entry in self.driver.get_log("browser")]


@pytest.fixture(scope="session")
def browser(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Browser]:
    webdriver = pytest.importorskip("selenium.webdriver", reason="selenium is not installed: pip install '.[dev]'")
    chromium = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    driver = shutil.which("chromedriver")
    if chromium is None or driver is None:
        pytest.skip("no Chromium with chromedriver here (Debian: apt install chromium chromium-driver)")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for flag in (*FLAGS, f"--user-data-dir={tmp_path_factory.mktemp('chromium')}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    started = webdriver.Chrome(service=webdriver.ChromeService(driver), options=options)
    try:
        yield Browser(started)
    finally:
        started.quit()
