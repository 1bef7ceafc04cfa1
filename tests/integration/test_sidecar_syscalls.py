"""A cut-over, and a base copy, in which one system call of one side is the last that it makes, or fails, or does half.

tools/sysfault.c counts the calls of the whole program, SQLite's among them. After every single case the oracle: what was
acknowledged is in the primary's database, once; the database is sound; one side at most could be written at any time;
requests are served again without anybody's help, and the pair is a primary with a standby again.

The tests take a few of each kind. SIDECAR_FAULT_WALK=1 goes through every number of every kind, on
either side (docs/testing.md has the counts). SIDECAR_FAULT_COUNTS=FILE collects the cases, and one that is in it already is not
run again; SIDECAR_FAULT_SECONDS ends each test of the walk after so long, to be gone on with by the next run.
"""
import os
import shutil
import sqlite3
import subprocess
import time

import pytest

from tools import faultwalk, handover, paths, sysfault, wait

WALK = os.environ.get("SIDECAR_FAULT_WALK") == "1"

#: Short enough for a case to go past each of them.
LIMITS = {"peer-timeout": "1s", "hold-timeout": "2s", "handoff-timeout": "40s", "young-wait": "1s", "sync-timeout": "15s",
          "upstream-connect-timeout": "1s"}

#: What a call of a kind fails with.
ERRORS = {"write": ("ENOSPC", "EIO"), "sync": ("EIO",), "name": ("ENOSPC", "EMFILE"), "net": ("ECONNRESET", "ETIMEDOUT"),
          "lock": ("EAGAIN", "EIO"), "read": ("EIO",)}


class Bed:
    """A primary and a standby with a php-fpm each, and writers at both relays for as long as it lives."""

    def __init__(self, sidecar, php_fpm, tmp, rows=40):
        seed = handover.seed(tmp, rows=rows)
        self.pair = [handover.Instance(n, sidecar, php_fpm, seed, workers=3, options=dict(LIMITS)) for n in "ab"]
        self.countdown = {i.name: sysfault.Countdown(tmp, i.name) for i in self.pair}
        self.deaths = 0
        for i in self.pair:
            i.sidecar.env = self.countdown[i.name].env
            i.start()
        self.writers = handover.Writers(self.pair[0].php.docroot, [i.sidecar.relay for i in self.pair], n=2, pause=0.02)
        self.failed = 0

    def __enter__(self):
        self.one = handover.OneWriter(*self.pair)
        self.one.__enter__()
        self.writers.__enter__()
        return self

    def __exit__(self, *exc):
        self.writers.__exit__(*exc)
        self.one.__exit__(*exc)

    def primary(self):
        """Whoever is, when it is one alone."""
        return wait.until(lambda: len(p := [i for i in self.pair if self.asked(i).get("primary")]) == 1 and p[0], 30,
                          "exactly one primary")

    @staticmethod
    def asked(i) -> dict:
        try:
            return i.sidecar.status()
        except AssertionError:
            return {}       # it has died, and starts again

    def other(self, i):
        return self.pair[0] if i is self.pair[1] else self.pair[1]

    def case(self, *what) -> str:
        """One fault; returns the call that met it, "" when there were not so many. Once more when the machine stood
        still in it, for longer than any limit: what was acknowledged has to be there all the same."""
        before = self.one.stood
        try:
            return self.one_case(*what)
        except (AssertionError, subprocess.TimeoutExpired):
            if self.one.stood == before:
                raise
        for c in self.countdown.values():
            c.disarm()
        self.whole()
        self.oracle(died=True)
        return self.case(*what)

    def one_case(self, phase, side, kind, n, action, error="EIO") -> str:
        old = self.primary()
        new = self.other(old)
        x = old if side == "old" else new
        self.said = f"{phase}, {side} side: {action} {error if action == 'fail' else ''} at call {n} of {kind}"
        began = time.monotonic()
        if phase == "copy":
            self.writers.relays = [old.sidecar.relay]
            self.writers.wait(4, 60)
            new.sidecar.stop()
            shutil.rmtree(new.sidecar.database.parent)
            new.sidecar.database.parent.mkdir()
            paths.give(new.sidecar.database.parent)
            new.sidecar.start()
        countdown = self.countdown[x.name]
        with handover.Kubelet(x, countdown.env) as kubelet:
            countdown.arm(kind, n, action, error)
            if phase == "copy":
                self.join(new)
            else:
                hook = old.sidecar.pre_stop(check=False, start_timeout="2s", timeout=90)
                assert not WALK or hook.returncode == 0 or countdown.hit, f"{self.said}: no call met it, and: {hook.stderr}"
            countdown.disarm()
            self.writers.wait(4, 60)
            died = kubelet.has_died()
        hit = countdown.hit
        self.said += f" ({hit})"
        self.oracle(died)
        self.whole()
        self.writers.relays = [i.sidecar.relay for i in self.pair]
        self.deaths += died
        self.last = {"phase": phase, "side": side, "kind": kind, "n": n, "action": action, "error": error, "hit": hit,
                     "died": died, "seconds": round(time.monotonic() - began, 2),
                     "acknowledged": len(self.writers.acknowledged)}
        return hit

    @staticmethod
    def join(new):
        """post-start, which kubelet runs again when it fails."""
        for _ in range(4):
            if new.sidecar.post_start(check=False, start_timeout="2s", timeout=90).returncode == 0:
                return
        new.sidecar.post_start()

    def oracle(self, died):
        """The writers go on: what was acknowledged so far has to be in what is read then."""
        last = self.primary()
        acknowledged, failed = list(self.writers.acknowledged), list(self.writers.failed)
        rows = last.rows()
        assert set(acknowledged) <= set(rows), (self.said, sorted(set(acknowledged) - set(rows))[:3])
        assert len(rows) == len(set(rows)) and last.integrity() == "ok", self.said
        assert self.one.both == [], self.said
        new, self.failed = failed[self.failed:], len(failed)
        assert died or new == [], (self.said, new[:3])

    def whole(self):
        """The one that is not primary is a standby again."""
        other = self.other(self.primary())

        def level():
            state = self.asked(other).get("state")
            if state in ("FORWARDING", "EMPTY"):
                other.sidecar.post_start(check=False, start_timeout="2s", timeout=90)
            return state == "STANDBY" and self.asked(self.primary()).get("standbys") == 1
        try:
            wait.until(level, 30, "a standby")
        except AssertionError as e:
            raise AssertionError(f"{self.said}: {e}") from None


@pytest.fixture
def bed(sidecar, php_fpm, tmp):
    if paths.SANITIZE:
        pytest.skip("the countdown replaces what the sanitizers replace")
    with Bed(sidecar, php_fpm, tmp) as made:
        yield made


@pytest.mark.parametrize("side", ["old", "new"])
@pytest.mark.parametrize("action", ["kill", "fail"])
def test_a_call_of_the_cut_over(bed, side, action):
    for kind in sysfault.KINDS:
        for n in (2, 6):
            bed.case("cut-over", side, kind, n, action, ERRORS[kind][0])


@pytest.mark.parametrize("side", ["old", "new"])
def test_a_call_of_the_copy(bed, side):
    for kind in sysfault.KINDS:
        bed.case("copy", side, kind, 5, "kill")
        bed.case("copy", side, kind, 3, "fail", ERRORS[kind][0])


def test_half_a_write(bed):
    """Short writes, reads and messages are no failures: nothing of it is seen."""
    for side in ("old", "new"):
        for kind in ("write", "net", "read"):
            bed.case("cut-over", side, kind, 4, "short")
    assert bed.deaths == 0


@pytest.fixture
def counted(sidecar, php_fpm, tmp):
    """Two instances, and the countdown over the system calls of the second one."""
    if paths.SANITIZE:
        pytest.skip("the countdown replaces what the sanitizers replace")
    seed = handover.seed(tmp)
    a, b = (handover.Instance(n, sidecar, php_fpm, seed, workers=1, options=dict(LIMITS)) for n in "ab")
    countdown = sysfault.Countdown(tmp, "b")
    b.sidecar.env = countdown.env
    return a, b, countdown


def test_a_standby_that_dies_in_page_1_is_fenced(counted):
    """Whichever write of a commit is its last: a program beside the relay finds a database that it may not write."""
    a, b, countdown = counted
    a.start()
    for n in range(1, 6):
        b.start()
        wait.until(lambda: a.sidecar.status().get("standbys") == 1, 10, "the standby")
        countdown.arm("write", n, "kill")
        con = sqlite3.connect(a.sidecar.database)
        con.execute(f"CREATE TABLE IF NOT EXISTS page_1_{n} (x)")      # page 1 has the schema's cookie
        con.close()
        wait.until(lambda: not b.sidecar.proc.running(), 20, "the death of the standby")
        assert b.sidecar.database.read_bytes()[18] == 0x7f, f"write {n}: {countdown.hit}"


def test_the_disk_stands_still_while_the_standby_takes_over(counted):
    """The thread that keeps the image durable waits longer than the take-over waits for it. Who closed that file then, and
    its number once more later, would close one of SQLite's."""
    a, b, countdown = counted
    a.start()
    b.start()
    countdown.arm("sync", 1, "stall")
    handover.write(a.sidecar.database, "before")
    wait.until(lambda: countdown.hit.startswith("fdatasync") and countdown.hit.endswith("database.sqlite"), 10, "the sync")
    proc = f"/proc/{b.sidecar.proc.pid}"
    threads = len(os.listdir(f"{proc}/task"))
    a.sidecar.kill()            # no promise is made before the disk goes on, but the operator may ask
    r = b.sidecar.run("promote")
    assert r.returncode == 0, r.stderr
    wait.until(lambda: len(opened(proc, b)) >= 3, 10, "SQLite's connections")
    files = opened(proc, b)
    wait.until(lambda: len(os.listdir(f"{proc}/task")) < threads, 20, "the end of the thread that stood still")
    assert opened(proc, b) == files
    begin_anew(a)
    b.sidecar.pre_stop()
    assert (a.state, a.rows()) == ("PRIMARY", ["before"])


def test_a_sync_that_failed_is_not_made_good_by_the_next(counted):
    """The kernel tells once that the disk did not take it. What is promised after that lies in a new file."""
    a, b, countdown = counted
    a.start()
    b.start()
    before = os.stat(b.sidecar.database).st_ino
    countdown.arm("sync", 1, "fail", "EIO")
    handover.write(a.sidecar.database, "before")
    wait.until(lambda: "SC0443" in b.sidecar.log(), 20, "the message")
    assert countdown.hit.startswith("fdatasync") and countdown.hit.endswith("database.sqlite")
    a.sidecar.pre_stop()
    assert (b.state, b.rows()) == ("PRIMARY", ["before"])
    assert os.stat(b.sidecar.database).st_ino != before and "SC0413" not in b.sidecar.log()


def begin_anew(instance):
    """As a new pod does: nothing of its database is left."""
    shutil.rmtree(instance.sidecar.database.parent)
    instance.sidecar.database.parent.mkdir()
    paths.give(instance.sidecar.database.parent)
    instance.start()


def opened(proc, instance):
    """Descriptors of its database."""
    links = {f: os.readlink(f"{proc}/fd/{f}") for f in os.listdir(f"{proc}/fd") if os.path.islink(f"{proc}/fd/{f}")}
    return sorted(f for f, to in links.items() if to == str(instance.sidecar.database))


#: (action, error, phase, side, kind) of the walk; what is most likely to be wrong first.
COMBINATIONS = [(action, error, phase, side, kind)
                for action in ("fail", "short", "kill")
                for kind in sysfault.KINDS if action != "short" or kind in ("write", "net", "read")
                for error in (ERRORS[kind] if action == "fail" else ("EIO",))
                for phase in ("cut-over", "copy") for side in ("old", "new")]

if WALK:
    @pytest.fixture
    def cases(tmp):
        return faultwalk.Cases(os.environ.get("SIDECAR_FAULT_COUNTS") or tmp / "cases")

    @pytest.mark.parametrize("action, error, phase, side, kind", COMBINATIONS, ids=["-".join(c) for c in COMBINATIONS])
    def test_every_call(bed, cases, action, error, phase, side, kind):
        """From the first to the last there is: three numbers in a row that no call had end it. Of the many alike that come
        late (pages, messages of the base) some are left out."""
        end = time.monotonic() + float(os.environ.get("SIDECAR_FAULT_SECONDS", "inf"))
        n = missed = 0
        while missed < 3:
            n += 1 if n < 24 else n // 6
            hit = cases.hit(phase, side, kind, n, action, error)
            if hit is None:
                if time.monotonic() > end:
                    pytest.skip(f"SIDECAR_FAULT_SECONDS: the walk goes on at number {n}")
                hit = bed.case(phase, side, kind, n, action, error)
                cases.add(bed.last)
            missed = 0 if hit else missed + 1
