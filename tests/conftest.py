"""Fixtures of every test: a folder that servers may use, and the end of all they started."""
from __future__ import annotations

import os
import shutil
import sys
import tempfile
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
from tools import paths, proc, sanitize, wait  # noqa: E402

if paths.SANITIZE:
    wait.FACTOR = 8.0


def pytest_addoption(parser):
    parser.addoption("--keep", action="store_true", help="keep the folders of failed tests, and say where they are")


#: Files whose tests share no server: any process may take any of them.
SPREAD = ("test_sidecar_",)


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """With --dist loadgroup a file's tests stay together, for the servers they share; the spread ones fill the gaps."""
    together, spread = [], []
    for item in items:
        (spread if Path(str(item.fspath)).name.startswith(SPREAD) else together).append(item)
    if config.pluginmanager.hasplugin("xdist"):
        for item in together:
            item.add_marker(pytest.mark.xdist_group(Path(str(item.fspath)).name))
    items[:] = together + spread


def pytest_report_header(config):
    san = ", sanitizers" if paths.SANITIZE else ""
    return f"build: {paths.BUILD}{san}; httpd: {paths.httpd_binary()}; php-fpm: {paths.php_fpm_binary()}"


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        item.failed_phase = True
        node = item.parent
        while node is not None:
            node.failed_phase = True
            node = node.parent


def _folder(prefix: str) -> Path:
    # Not pytest's tmp_path: that is closed to the user httpd and php-fpm run as, and too long for a socket's name.
    path = Path(tempfile.mkdtemp(prefix=prefix))
    os.chmod(path, 0o755)
    return path


def _done(path: Path, request) -> None:
    bad = sanitize.reports(path)
    failed = getattr(request.node, "failed_phase", False) or bool(bad)
    if failed:
        for log in sorted(path.glob("**/*.log")):
            if log.stat().st_size and log.name != "access.log":
                print(f"--- {log.relative_to(path)} (its end)\n{log.read_text(errors='replace')[-4000:]}")
    if failed and request.config.getoption("--keep"):
        print(f"kept: {path}")
    else:
        shutil.rmtree(path, ignore_errors=True)
    if bad:
        pytest.fail("sanitizer reports:\n" + "\n".join(bad)[:8000], pytrace=False)


@pytest.fixture
def tmp(request):
    """A folder for one test, readable by the servers' user; kept after a failure with --keep."""
    path = _folder("demo-t-")
    yield path
    _done(path, request)


@pytest.fixture(scope="module")
def module_tmp(request):
    """The same for what a module's tests share."""
    path = _folder("demo-m-")
    yield path
    _done(path, request)


@pytest.fixture(scope="session", autouse=True)
def _no_process_left():
    yield
    left = proc.end_all()
    assert not left, f"left running: {', '.join(left)}"
