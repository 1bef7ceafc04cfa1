"""Tests of the demo application.

They start PHP's built-in server. With APP_URL=http://host:port the tests of the pages run
against that address instead; those that look into the database or the log are skipped.
"""

import itertools
import os
import pathlib
import shutil
import sys
import uuid

import pytest

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent))
from notejam import Browser, Server  # noqa: E402


@pytest.fixture(scope="session", autouse=True)
def _php():
    if shutil.which("php") is None:
        pytest.skip("php is missing (Debian package php-cli)")


@pytest.fixture(scope="session")
def base_url(tmp_path_factory):
    """Address of an application that all tests share."""
    given = os.environ.get("APP_URL")
    if given:
        yield given.rstrip("/")
        return
    server = Server(tmp_path_factory.mktemp("shared")).create_database().start()
    yield server.url
    server.stop()
    assert server.faults() == []


@pytest.fixture
def anonymous(base_url):
    return Browser(base_url)


@pytest.fixture
def new_user(base_url):
    """Call it for a browser signed in as a new user; its address is `.email`."""
    def make():
        browser = Browser(base_url)
        browser.email = f"user-{uuid.uuid4().hex}@example.com"
        return browser.sign_up(browser.email)
    return make


@pytest.fixture
def user(new_user):
    return new_user()


@pytest.fixture
def servers(tmp_path):
    """Call it for a server of the test's own that is not started and has no database yet."""
    if os.environ.get("APP_URL"):
        pytest.skip("APP_URL is set: no access to that server's database and log")
    made, numbers = [], itertools.count()

    def make(**environment):
        made.append(Server(tmp_path / f"server-{next(numbers)}", **environment))
        return made[-1]
    yield make
    for server in made:
        server.stop()
    assert [line for server in made for line in server.faults()] == []


@pytest.fixture
def server(servers):
    return servers().create_database().start()
