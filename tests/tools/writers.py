"""Writers of unique ids through HTTP: what was acknowledged has to be in the database in the end."""
from __future__ import annotations

import sqlite3
import threading
import time
import uuid
from dataclasses import dataclass, field
from pathlib import Path

from . import http, wait


@dataclass
class Write:
    id: str
    sent: float             # time.monotonic() before the request
    done: float = 0.0       # and after the answer
    status: int = 0         # HTTP status; 0: no answer
    error: str = ""
    instance: str = ""      # who answered, as X-Instance or the answer's JSON says


@dataclass
class Report:
    acknowledged: int
    failed: int
    unknown: int            # no answer: the write may or may not have happened
    lost: list[str] = field(default_factory=list)       # acknowledged, and not in the database
    duplicated: list[str] = field(default_factory=list)
    gap: float = 0.0        # longest time without any acknowledged write, seconds
    slowest: float = 0.0    # longest acknowledged request, seconds

    def __str__(self) -> str:
        return (f"{self.acknowledged} acknowledged, {len(self.lost)} lost, {len(self.duplicated)} duplicated, "
                f"{self.failed} failed, {self.unknown} without an answer, longest gap {self.gap * 1000:.0f} ms, "
                f"slowest write {self.slowest * 1000:.0f} ms")


class Writers:
    """n threads that POST target with a fresh id each time, until stop().

    where    a port or an Httpd; may be changed while they run (self.where)
    pause    seconds between a writer's requests
    timeout  of one request
    """

    def __init__(self, where, n: int = 8, target: str = "/api/writes", pause: float = 0.005, timeout: float = 30.0):
        self.where, self.n, self.target, self.pause, self.timeout = where, n, target, pause, timeout
        self.writes: list[Write] = []
        self._lock = threading.Lock()
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []
        self.started = self.stopped = 0.0

    def start(self) -> "Writers":
        self._stop.clear()
        self.started = time.monotonic()
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(self.n)]
        for t in self._threads:
            t.start()
        return self

    def stop(self) -> "Writers":
        self._stop.set()
        for t in self._threads:
            t.join((self.timeout + 5) * wait.FACTOR)
            assert not t.is_alive(), "a writer hangs"
        self.stopped = time.monotonic()
        return self

    def __enter__(self) -> "Writers":
        return self.start()

    def __exit__(self, *exc) -> None:
        self.stop()

    def _run(self, who: int) -> None:
        while not self._stop.is_set():
            w = Write(f"w{who}-{uuid.uuid4().hex}", time.monotonic())
            try:
                r = http.post(self.where, self.target, {"id": w.id}, timeout=self.timeout)
                w.status, w.instance = r.status, r.header("X-Instance") or ""
                if not 200 <= r.status < 300:
                    w.error = r.text[:200]
            except (OSError, http.Truncated) as e:
                w.error = f"{type(e).__name__}: {e}"
            w.done = time.monotonic()
            with self._lock:
                self.writes.append(w)
            self._stop.wait(self.pause if w.status else max(self.pause, 0.05))

    # -- what happened -------------------------------------------------------------------
    def acknowledged(self, before: float | None = None) -> list[Write]:
        """Writes answered with 2xx, those alone that were answered before that time where one is given."""
        with self._lock:
            return [w for w in self.writes if 200 <= w.status < 300 and (before is None or w.done < before)]

    def failed(self) -> list[Write]:
        """Answered, but not with 2xx."""
        with self._lock:
            return [w for w in self.writes if w.status and not 200 <= w.status < 300]

    def unknown(self) -> list[Write]:
        with self._lock:
            return [w for w in self.writes if not w.status]

    def wait_acknowledged(self, n: int, timeout: float = 30.0) -> None:
        """Until n more writes than now were acknowledged."""
        goal = len(self.acknowledged()) + n
        wait.until(lambda: len(self.acknowledged()) >= goal, timeout, f"{n} more acknowledged writes")

    def gap(self) -> float:
        """Longest time without an acknowledged write, from start() to stop() (or now)."""
        marks = sorted(w.done for w in self.acknowledged())
        marks = [self.started, *marks, self.stopped or time.monotonic()]
        return max(b - a for a, b in zip(marks, marks[1:]))

    def lost(self, ids, before: float | None = None) -> list[str]:
        """Acknowledged ids (before that time) that are not among ids, see stored()."""
        have = set(ids)
        return [w.id for w in self.acknowledged(before) if w.id not in have]

    def report(self, database: Path | str) -> Report:
        ids = stored(database)
        ack = self.acknowledged()
        return Report(len(ack), len(self.failed()), len(self.unknown()), self.lost(ids),
                      sorted({i for i in ids if ids.count(i) > 1}) if len(set(ids)) != len(ids) else [],
                      self.gap(), max((w.done - w.sent for w in ack), default=0.0))


def stored(database: Path | str) -> list[str]:
    """The ids in a database's table of writes, read as any other reader would. A standby's file is written in place, with no
    lock that a reader would see: what was torn is read again, and what stays so is damaged."""
    for again in range(20):
        con = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
        try:
            return [r[0] for r in con.execute("SELECT id FROM writes")]
        except sqlite3.DatabaseError as e:
            if type(e) is not sqlite3.DatabaseError or again == 19:
                raise
        finally:
            con.close()
        time.sleep(0.1)
    raise AssertionError("not reached")


def integrity(database: Path | str) -> str:
    con = sqlite3.connect(f"file:{database}?mode=ro", uri=True, timeout=10)
    try:
        return con.execute("PRAGMA integrity_check").fetchone()[0]
    finally:
        con.close()
