"""A pytest plugin, -p tools.outcomes --outcomes FILE: what became of each test, as JSON for scripts/test.

{"passed": [ID, …], "failed": [ID, …], "skipped": [ID, …]}
An ID is what pytest takes as an argument. A test whose set-up, call or tear-down failed is among the failed alone.
Failures are also appended to FILE.failures as they come, with their text: a run that is cut shows none of them.
"""
from __future__ import annotations

import json
from pathlib import Path


def pytest_addoption(parser):
    parser.addoption("--outcomes", metavar="FILE", help="write what became of each test to FILE, as JSON")


def pytest_configure(config):
    if config.getoption("--outcomes") and not hasattr(config, "workerinput"):
        config.pluginmanager.register(Outcomes(Path(config.getoption("--outcomes"))), "outcomes-file")


class Outcomes:
    """Of the whole run; with pytest-xdist it lives in the process that hands out the tests."""

    RANK = {"passed": 0, "skipped": 1, "failed": 2}

    def __init__(self, path: Path):
        self.path, self.worst = path, {}
        self.failures = path.with_name(path.name + ".failures")
        self.failures.unlink(missing_ok=True)

    @staticmethod
    def plain(nodeid: str) -> str:
        """--dist loadgroup appends the group, which is the file's name here."""
        return nodeid.removesuffix("@" + nodeid.split("::")[0].rsplit("/", 1)[-1])

    def pytest_runtest_logreport(self, report):
        name = self.plain(report.nodeid)
        before = self.worst.get(name, report.outcome)
        self.worst[name] = max(before, report.outcome, key=self.RANK.__getitem__)
        if report.failed:
            with self.failures.open("a") as out:
                out.write(f"==== {name} ({report.when})\n{report.longreprtext}\n")

    def pytest_sessionfinish(self):
        out = {k: [n for n, worst in self.worst.items() if worst == k] for k in self.RANK}
        tmp = self.path.with_suffix(".tmp")
        tmp.write_text(json.dumps(out))
        tmp.replace(self.path)
