"""The main job, end to end, as somebody with a browser sees it."""
import re
import uuid

import pytest

from tools import paths
from tools.browser import Browser


@pytest.fixture(scope="module")
def running(demo):
    paths.require("chromium")
    paths.require("chromedriver")
    demo.start()
    return demo


def test_notes_and_session_survive_a_rollout(running):
    email, title = f"{uuid.uuid4().hex[:8]}@example.org", f"Shopping {uuid.uuid4().hex[:6]}"
    with Browser(running.url) as b:
        b.open("/")
        assert b.path.startswith("/signin/?next=")
        b.click("Sign up")
        b.submit(email=email, password="correct horse battery", repeat_password="correct horse battery")
        if b.path.startswith("/signin/"):
            b.submit(email=email, password="correct horse battery")
        assert email in b.text("header")

        b.click("New note")
        b.submit(name=title, text="Milk, bread & <b>butter</b>\nand ümlauts")
        b.open("/")
        assert title in b.text("main")
        assert b.text("#instance") == "demo-1"
        b.screenshot("1-before-the-rollout")

        out = running.ok("rollout", timeout=240)
        assert re.search(r"^ +lost +0 ", out, re.M), out

        b.open("/")
        assert b.text("#instance") == "demo-2", "the new instance answers"
        assert email in b.text("header"), "still signed in"
        assert title in b.text("main"), "the note is there"
        b.screenshot("2-after-the-rollout")

        b.click(title)
        assert "butter" in b.text("main") and "<b>" in b.text("main"), "the text is there, and escaped"
        b.screenshot("3-the-note")

        b.open("/notes/create/")
        b.submit(name="After the rollout", text="the new instance takes writes")
        b.open("/")
        assert "After the rollout" in b.text("main") and title in b.text("main")


def test_small_screen(running):
    """No page is wider than a telephone."""
    with Browser(running.url) as b:
        b.driver.set_window_size(500, 900)
        for path in ("/signin/", "/signup/"):
            b.open(path)
            wide = b.driver.execute_script("return document.documentElement.scrollWidth - document.documentElement.clientWidth")
            assert wide <= 0, f"{path} is {wide} px too wide"
        b.screenshot("4-small-screen")
