"""Pairs of sidecars with a php-fpm each, and writers of unique ids through their relays."""
from __future__ import annotations

import contextlib
import random
import sqlite3
import threading
import time
import uuid
from pathlib import Path

from . import fcgi, http, paths, wait, writers


def seed(folder, rows: int = 0, row_bytes: int = 1000, journal: str = "wal") -> Path:
    """A seed database with the table of writes, and ballast of rows * row_bytes."""
    p = Path(folder) / "seed.sqlite"
    con = sqlite3.connect(p)
    con.execute(f"PRAGMA journal_mode={journal}")
    con.execute("CREATE TABLE writes (id TEXT NOT NULL, instance TEXT)")
    con.execute("CREATE TABLE ballast (n INTEGER PRIMARY KEY, data BLOB)")
    con.executemany("INSERT INTO ballast (data) VALUES (randomblob(?))", ((row_bytes,) for _ in range(rows)))
    con.commit()
    con.close()
    paths.give(p)
    return p


def write(database, *ids: str) -> None:
    """Adds rows as PHP would: of one transaction, committed when it returns."""
    con = sqlite3.connect(database, timeout=10)
    con.executemany("INSERT INTO writes (id) VALUES (?)", ((i,) for i in ids))
    con.commit()
    con.close()


def begin_log_anew(a) -> None:
    """Restarts the primary a: its log goes, so what a standby lacks is in the file only."""
    a.stop()
    a.start()
    wait.until(lambda: a.status()["state"] == "PRIMARY", 20, "the primary")


def hand_over_and_compare(a, b) -> None:
    """From the sidecar a to b, which has what a had then, page by page."""
    want = writers.stored(a.database)
    a.pre_stop()
    wait.until(lambda: b.status()["state"] == "PRIMARY", 10, "the successor")
    assert writers.stored(b.database) == want
    con = sqlite3.connect(b.database)
    assert con.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    con.close()
    one, two = bytearray(a.database.read_bytes()), bytearray(b.database.read_bytes())
    assert one[18] == 0x7f and len(one) == len(two)
    one[18] = two[18]
    assert one == two, "equal page by page"


def params(php, query: str) -> dict:
    return fcgi.script_params("/sidecar.php", str(php.docroot / "sidecar.php"), query=query)


class Instance:
    """A sidecar and the php-fpm behind it; all take the same document root."""

    def __init__(self, name: str, make_sidecar, make_php, seed_database, workers: int = 8, **kw):
        self.name = name
        self.php = make_php(workers=workers, listen="unix", name=f"php-{name}",
                            env={"INSTANCE": name})
        self.sidecar = make_sidecar(name, upstream=self.php.url, seed=seed_database, **kw)
        self.php.env["DATABASE"] = str(self.sidecar.database)

    def start(self, post_start: bool = True) -> "Instance":
        self.sidecar.start()
        if post_start:
            self.join()
        return self

    def join(self) -> None:
        self.sidecar.post_start()
        if self.php.proc is None:
            self.php.start()

    def stop(self) -> None:
        self.sidecar.stop()
        self.php.stop()

    @property
    def state(self) -> str:
        return self.sidecar.status()["state"]

    def rows(self) -> list[str]:
        return writers.stored(self.sidecar.database)

    def integrity(self) -> str:
        return writers.integrity(self.sidecar.database)


class Kubelet:
    """Starts an instance's serve again when it has died, with that environment: without the fault."""

    def __init__(self, instance, env=None):
        self.instance, self.env, self.died, self._stop = instance, dict(env or {}), False, threading.Event()
        self.thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self.thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        self.thread.join(20 * wait.FACTOR)

    def has_died(self):
        """Whether it has died, a moment ago included: then until it was started again."""
        if not self.instance.sidecar.proc.running():
            wait.until(lambda: self.died, 10, "the death to be noticed")
        return self.died

    def _run(self):
        s = self.instance.sidecar
        while not self._stop.wait(0.05):
            if s.proc is not None and not s.proc.running():
                self.died, s.env = True, self.env
                time.sleep(0.1)
                s.start()


def writable(instance) -> bool:
    """Is the file without the fence? Read as bytes: a SQLite that looks would leave files and locks of its own."""
    try:
        with open(instance.sidecar.database, "rb") as f:
            head = f.read(19)
    except FileNotFoundError:
        return False
    return len(head) == 19 and head[18] == 2


class OneWriter:
    """Looks all the time whether both databases may be written at once; `stood` counts when nobody could look for 2 s."""

    def __init__(self, *instances):
        self.instances, self.both, self.stood, self._stop = instances, [], 0, threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self):
        self._thread.start()
        return self

    def __exit__(self, *exc):
        self._stop.set()
        self._thread.join(20)
        assert self.both == [], "two databases of one lineage could be written at once"

    def _run(self):
        looked = time.monotonic()
        while not self._stop.wait(0.005):
            before, looked = looked, time.monotonic()
            self.stood += looked - before > 2
            first = [i for i in self.instances if writable(i)]
            # One after the other: only who is still open after all others were looked at counts.
            if len(first) > 1 and writable(first[0]):
                self.both.append([i.name for i in first])


class Writers:
    """n threads that write a fresh id each time through one of the relays, until stop().

    relays may be changed while they run: the addresses a web server would know.
    """

    def __init__(self, docroot, relays, n: int = 8, query: str = "", pause: float = 0.0):
        self.docroot, self.relays, self.n, self.query, self.pause = docroot, list(relays), n, query, pause
        self.acknowledged: list[str] = []
        self.failed: list[tuple[str, str]] = []
        self.done: list[tuple[float, float]] = []       # (when, how long) of the acknowledged
        self._lock, self._stop, self._threads = threading.Lock(), threading.Event(), []
        self._go = threading.Event()
        self._go.set()

    def __enter__(self) -> "Writers":
        self._threads = [threading.Thread(target=self._run, args=(i,), daemon=True) for i in range(self.n)]
        for t in self._threads:
            t.start()
        return self

    def __exit__(self, *exc) -> None:
        self._stop.set()
        self._go.set()
        for t in self._threads:
            t.join(40 * wait.FACTOR)
            assert not t.is_alive(), "a writer hangs"

    @contextlib.contextmanager
    def resting(self):
        """No new write meanwhile."""
        self._go.clear()
        try:
            yield
        finally:
            self._go.set()

    def _run(self, who: int) -> None:
        while self._go.wait() and not self._stop.is_set():
            wid, sent, relay = f"w{who}-{uuid.uuid4().hex}", time.monotonic(), random.choice(self.relays)
            try:
                ok, why = self._send(relay, wid)
            except OSError as e:
                ok, why = False, f"{relay}: {type(e).__name__}: {e}"
            now = time.monotonic()
            with self._lock:
                if ok:
                    self.acknowledged.append(wid)
                    self.done.append((now, now - sent))
                else:
                    self.failed.append((wid, why))
            if self.pause:
                self._stop.wait(self.pause)

    def _send(self, relay, wid: str) -> tuple[bool, str]:
        """One write: was it acknowledged, and what came instead."""
        with fcgi.Client(relay, timeout=30) as c:
            r = c.request(fcgi.script_params("/sidecar.php", f"{self.docroot}/sidecar.php", "POST", query=f"id={wid}{self.query}"))
        return r.complete and r.status == 200 and r.body == b"ok", f"{r.protocol_status} {r.out[:200]!r}"

    def wait(self, n: int, timeout: float = 30) -> None:
        """Until n more were acknowledged."""
        goal, end = len(self.acknowledged) + n, time.monotonic() + timeout * wait.FACTOR
        while len(self.acknowledged) < goal:
            assert time.monotonic() < end, f"{n} more writes did not come; last failures: {self.failed[-3:]}"
            time.sleep(0.01)

    def slowest(self) -> float:
        return max(took for _, took in self.done)

    def gap(self) -> float:
        """Longest time without an acknowledged write."""
        marks = sorted(t for t, _ in self.done)
        return max(b - a for a, b in zip(marks, marks[1:]))

    def verdict(self, rows: list[str]) -> dict:
        have = set(rows)
        return {"acknowledged": len(self.acknowledged), "lost": [i for i in self.acknowledged if i not in have],
                "duplicated": len(rows) - len(have), "failed": self.failed}


class HttpWriters(Writers):
    """The same through a web server in front of the relays."""

    def __init__(self, port: int, n: int = 8, query: str = ""):
        super().__init__("", [port], n, query)

    def _send(self, relay, wid: str) -> tuple[bool, str]:
        with http.Connection(relay, timeout=30) as c:
            c.request("POST", f"/sidecar.php?id={wid}{self.query}")
            r = c.read()
        return r.status == 200 and r.body == b"ok", f"{r.status} {r.body[:200]!r}"


class SignedIn:
    """n users with a session in the database, through the web server at port."""

    def __init__(self, port: int, n: int = 3):
        self.users = {f"user-{i}": http.Session(port) for i in range(n)}
        self.requests = 0
        for name, s in self.users.items():
            r = s.get(f"/signed.php?as={name}")
            assert r.status == 200 and r.text == f"{name} 1", f"{name} can not sign in: {r.status} {r.text[:200]}"
        self.requests = 1

    def signed_out(self) -> list[str]:
        """Asks as each of them; who is not known any more, or not with what was kept before."""
        self.requests += 1
        out = []
        for name, s in self.users.items():
            r = s.get("/signed.php")
            if r.status != 200 or r.text != f"{name} {self.requests}":
                out.append(f"{name}: {r.status} {r.text[:100]!r}, not {self.requests}")
        return out
