"""One cluster, one release, for all cases. scripts/e2e starts them; on their own they are skipped."""
from __future__ import annotations

import os
import sys
from pathlib import Path

import pytest

sys.path.insert(0, str(Path(__file__).resolve().parent))
import cluster  # noqa: E402

if not os.environ.get("E2E_OUT"):
    collect_ignore_glob = ["test_*.py"]


def pytest_configure(config):
    config.addinivalue_line("markers", "short: of the selection that scripts/e2e --short runs")


@pytest.fixture(scope="session")
def out() -> Path:
    folder = Path(os.environ["E2E_OUT"])
    folder.mkdir(parents=True, exist_ok=True)
    return folder


@pytest.fixture(scope="session", autouse=True)
def namespace():
    cluster.run("kubectl", "create", "namespace", cluster.NAMESPACE, check=False)
    cluster.run("kubectl", "label", "--overwrite", "namespace", cluster.NAMESPACE, "pod-security.kubernetes.io/enforce=restricted")


@pytest.fixture(scope="session")
def table(out):
    return cluster.Table(out)


@pytest.fixture(scope="session")
def seconds() -> float:
    return float(os.environ.get("E2E_SECONDS", "60"))


#: Of the rate that is asked for, what has to be reached where no request may fail.
RATE_SHARE = 0.75


@pytest.fixture
def writing(out, table, seconds, request):
    """writing(case) starts the writers and gives an object whose finish() checks and records what they saw."""
    started = []

    class Case(cluster.Writers):
        def finish(self, failed: int | None = 0, gap_ms: float | None = None, note: str = "", at_least: float = seconds) -> cluster.Row:
            """failed: the most failed requests that are all right, None: any number, and at any rate; gap_ms: the longest gap
            allowed; at_least: seconds of load."""
            self.run_until(at_least)
            row = self.stop()
            started.remove(self)
            row.note = note
            wrong = []
            if row.lost or row.duplicated:
                wrong.append(f"{row.lost} acknowledged writes lost, {row.duplicated} executed twice")
            if failed is not None and row.failed > failed:
                wrong.append(f"{row.failed} failed requests: {row.errors}")
            if gap_ms is not None and not os.environ.get("E2E_NO_GAP") and row.gap_ms > gap_ms:
                wrong.append(f"a gap of {row.gap_ms:g} ms between two acknowledged writes, {gap_ms:g} allowed")
            if failed is not None and not os.environ.get("E2E_NO_GAP") and row.rate < RATE_SHARE * self.rate:
                wrong.append(f"{row.rate:g} writes a second, {RATE_SHARE * self.rate:g} wanted")
            if row.acknowledged < 10:
                wrong.append(f"only {row.acknowledged} writes were acknowledged")
            if wrong:
                wrong.append(f"what the pods said then is in {self.file.with_suffix('.timeline')}")
            row.ok = not wrong
            table.add(row)
            plugins = request.config.pluginmanager
            with plugins.getplugin("capturemanager").global_and_fixture_disabled():
                plugins.getplugin("terminalreporter").write(f"{row.lost} lost, {row.failed} failed, {row.rate:.0f}/s, {row.gap_ms:.0f} ms ", flush=True)
            assert not wrong, f"{row.case}: " + "; ".join(wrong)
            return row

    def start(case: str) -> Case:
        started.append(Case(case, out, float(os.environ.get("E2E_RATE", "200"))))
        return started[-1]
    yield start
    for case in started:
        row = case.stop()
        row.ok, row.note = False, "the case itself failed"
        table.add(row)


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item, call):
    outcome = yield
    report = outcome.get_result()
    if report.failed:
        for args in (("get", "pods", "-o", "wide"), ("get", "events", "--sort-by=.lastTimestamp"),
                     ("get", "lease", "php-fpm", "-o", "yaml"),
                     ("logs", "-l", "app.kubernetes.io/name=php-fpm", "-c", "fcgi-sidecar", "--tail=60", "--prefix"),
                     ("logs", "-l", "app.kubernetes.io/name=php-fpm", "-c", "php-fpm", "--tail=20", "--prefix"),
                     ("logs", "-l", "app.kubernetes.io/name=httpd-server", "--tail=40", "--prefix")):
            said = cluster.kubectl(*args, check=False)
            report.sections.append((f"kubectl {' '.join(args)}", "\n".join(said.splitlines()[-120:])))
