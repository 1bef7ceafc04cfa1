"""httpd's error log: an unclaimed warning or error fails the test that caused it."""
from __future__ import annotations

import re
import time
from dataclasses import dataclass, field
from pathlib import Path

from . import wait

LEVELS = ["emerg", "alert", "crit", "error", "warn", "notice", "info", "debug"]
LINE = re.compile(r"^\[[^\]]+\] \[(?P<module>[^:\]]*):(?P<level>[a-z]+[1-8]?)\] \[pid [^\]]*\]")
#: What httpd itself logs when it is stopped: while a client is just closing; and always the worker MPM of 2.4.58, whose
#: children take four seconds, with mod_demo or without. A child that does not end at all is AH00046.
HARMLESS = re.compile(r"AH03092: process_lingering_close|AH00045: child process \d+ still did not exit, sending a SIGTERM")
#: Serious whatever the level says: a crashed child is only a notice to httpd.
GRAVE = re.compile(r"exit signal|AddressSanitizer|LeakSanitizer|ThreadSanitizer|runtime error:|Assertion .* failed"
                   r"|AH00052|\bcorrupted\b")


@dataclass
class Claim:
    pattern: re.Pattern
    count: int | None
    optional: bool
    hits: list[str] = field(default_factory=list)

    def unmet(self) -> str | None:
        n = len(self.hits)
        if self.count is not None and n != self.count:
            return f"claimed {self.count} × /{self.pattern.pattern}/, logged {n} ×"
        if self.count is None and n == 0 and not self.optional:
            return f"claimed /{self.pattern.pattern}/, never logged"
        return None


class LogWatch:
    """Watches a growing log file.

    claim() says which warnings are expected, before or after they are logged; check(), which
    the fixtures call after each test, fails for every other line of level warn and above,
    for every claim that was not met, and forgets the claims.
    """

    def __init__(self, path: Path | str):
        self.path = Path(path)
        self._mark = 0           # what check() has not looked at begins here
        self._claims: list[Claim] = []

    # -- reading ---------------------------------------------------------------
    def text(self, all: bool = False) -> str:
        """What was logged since the last check, or all of it."""
        try:
            with open(self.path, "rb") as f:
                f.seek(0 if all else self._mark)
                return f.read().decode(errors="replace")
        except FileNotFoundError:
            return ""

    def lines(self, level: str | None = None, all: bool = False) -> list[str]:
        """The lines since the last check, only those of this level and above where one is given."""
        got = self.text(all).splitlines()
        return got if level is None else [x for x in got if x.strip() and self._rank(x) <= LEVELS.index(level)]

    def grep(self, regex: str, all: bool = False) -> list[str]:
        return [x for x in self.lines(all=all) if re.search(regex, x)]

    def wait_for(self, regex: str, timeout: float = 5.0, count: int = 1) -> list[str]:
        """Waits until count lines since the last check match; returns them."""
        def enough():
            got = self.grep(regex)
            return got if len(got) >= count else None
        try:
            return wait.until(enough, timeout)
        except AssertionError:
            raise AssertionError(f"{self.path.name}: {count} × /{regex}/ not logged within {timeout * wait.FACTOR:g} s; "
                                 f"the log says:\n{self.text()[-3000:]}") from None

    @staticmethod
    def _rank(line: str) -> int:
        if GRAVE.search(line):
            return LEVELS.index("crit")
        if HARMLESS.search(line):
            return LEVELS.index("info")
        m = LINE.match(line)
        if not m:
            return LEVELS.index("error")      # something wrote to stderr behind httpd's back
        level = m.group("level")
        return LEVELS.index(level) if level in LEVELS else len(LEVELS)

    # -- claims ----------------------------------------------------------------
    def claim(self, regex: str, count: int | None = None, optional: bool = False) -> None:
        """Expect lines that match; exactly count of them, or at least one, or (optional) any number."""
        self._claims.append(Claim(re.compile(regex), count, optional))

    def _sort(self) -> tuple[list[str], list[str]]:
        for c in self._claims:
            c.hits.clear()
        stray = []
        for line in self.lines():
            claimed = False
            for c in self._claims:
                if c.pattern.search(line):
                    c.hits.append(line)
                    claimed = True
            if not claimed and line.strip() and self._rank(line) <= LEVELS.index("warn"):
                stray.append(line)
        return stray, [u for u in (c.unmet() for c in self._claims) if u]

    def check(self, timeout: float = 2.0) -> None:
        """Fails for unclaimed warnings and unmet claims since the last check, then forgets the claims."""
        end = time.monotonic() + timeout * wait.FACTOR
        stray, unmet = self._sort()
        while unmet and not stray and time.monotonic() < end:
            time.sleep(0.02)
            stray, unmet = self._sort()
        self._mark = self.path.stat().st_size if self.path.exists() else 0
        self._claims.clear()
        if stray or unmet:
            raise AssertionError(f"{self.path}:\n" + "\n".join(
                [f"  unclaimed: {x}" for x in stray] + [f"  {x}" for x in unmet]))

    def forget(self) -> None:
        """Drop the claims and everything logged so far."""
        self._mark = self.path.stat().st_size if self.path.exists() else 0
        self._claims.clear()
