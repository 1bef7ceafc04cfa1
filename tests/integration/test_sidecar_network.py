"""What networks, schedulers, disks and cron jobs do to a pair: nothing acknowledged is lost, nothing is there twice, one
side at most may be written, and it serves again by itself.

SIDECAR_STOP_60=1 adds the case in which a process stands still for a true minute.
"""
import ctypes
import os
import signal
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from tools import chaos, handover, metrics, paths, wait

#: Short enough for a test to go past each of them.
SHORT = {"peer-timeout": "500ms", "hold-timeout": "2s", "handoff-timeout": "90s", "young-wait": "2s"}


@pytest.fixture
def net(sidecar, php_fpm, tmp):
    """net(...) -> two instances and the networks in front of them; each reaches the other through the other's."""
    made = []

    def make(rows=100, workers=4, options=SHORT):
        seed = handover.seed(tmp, rows=rows)
        a, b = (handover.Instance(n, sidecar, php_fpm, seed, workers=workers, options=dict(options)) for n in "ab")
        for i in (a, b):
            c = chaos.Chaos(i.sidecar.control_port, i.sidecar.port)
            i.sidecar.options["advertise"] = c.host
            made.append(c)
        return a, b, made[-2], made[-1]
    yield make
    for c in made:
        c.__exit__()


def relays(*instances):
    return [i.sidecar.relay for i in instances]


def holds(w, *instances, failed=None):
    """The oracle."""
    primaries = wait.until(lambda: [i for i in instances if i.sidecar.status()["primary"]], 30, "a primary")
    assert len(primaries) == 1
    v = w.verdict(primaries[0].rows())
    assert v["lost"] == [] and v["duplicated"] == 0 and primaries[0].integrity() == "ok", v
    assert failed is not None or v["failed"] == [], v["failed"][:3]
    return primaries[0]


def in_background(work, **kw):
    t = threading.Thread(target=work, kwargs=kw)
    t.start()
    return t


def level(a, b):
    wait.until(lambda: b.state == "STANDBY" and b.rows() == a.rows(), 30, "a level standby")


def counter(instance, name):
    return metrics.parse(instance.sidecar.http("/metrics").text).get(f"sidecar_{name}_total")


# -- processes that stand still ---------------------------------------------------------------------------------

@pytest.mark.parametrize("side", ["old", "new"])
def test_stopped_for_longer_than_every_limit(net, side):
    """While it is followed, or follows. Its clients wait; the others are served; then all is as it was."""
    a, b, _, _ = net()
    a.start()
    b.start()
    x = a if side == "old" else b
    with handover.OneWriter(a, b), handover.Writers(a.php.docroot, relays(a), n=3, pause=0.01) as w:
        w.wait(10)
        x.sidecar.proc.send(signal.SIGSTOP)
        time.sleep(4)                           # peer-timeout thrice, hold-timeout twice
        x.sidecar.proc.send(signal.SIGCONT)
        w.wait(20)
        wait.until(lambda: b.state == "STANDBY", 30, "a standby again")
        a.sidecar.pre_stop(timeout=120)
        w.wait(10)
    assert holds(w, a, b) is b


@pytest.mark.skipif(os.environ.get("SIDECAR_STOP_60") != "1", reason="takes two minutes: SIDECAR_STOP_60=1")
@pytest.mark.parametrize("side", ["old", "new"])
def test_stopped_for_a_minute_with_the_limits_as_shipped(net, side):
    a, b, _, _ = net(options={})
    a.start()
    b.start()
    x = a if side == "old" else b
    with handover.OneWriter(a, b), handover.Writers(a.php.docroot, relays(b), n=3, pause=0.01) as w:
        w.wait(10)
        t = in_background(a.sidecar.pre_stop, timeout=300, check=False)
        x.sidecar.proc.send(signal.SIGSTOP)
        time.sleep(60)
        x.sidecar.proc.send(signal.SIGCONT)
        t.join(300)
        wait.until(lambda: a.state == "FORWARDING" or b.state == "STANDBY", 60, "one or the other")
        if b.state == "STANDBY":
            a.sidecar.pre_stop(timeout=300)
        w.wait(10, 60)
    holds(w, a, b, failed="clients give up after 30 s")


def test_the_successor_stops_after_the_commit_point(net):
    """Requests wait; nobody else becomes primary; when it goes on, they are answered."""
    a, b, ca, cb = net()
    a.start()
    b.start()
    with handover.OneWriter(a, b), handover.Writers(a.php.docroot, relays(a), n=3, pause=0.01) as w:
        w.wait(10)
        t = in_background(a.sidecar.pre_stop, timeout=120)
        # Its last message before the commit point is the answer to PREPARE; what comes then does not reach it.
        wait.until(lambda: "FENCED" in a.sidecar.log() or a.state in ("FENCED", "FORWARDING"), 30, "the commit point", every=0.001)
        b.sidecar.proc.send(signal.SIGSTOP)
        time.sleep(2)
        b.sidecar.proc.send(signal.SIGCONT)
        t.join(120)
        w.wait(10)
    assert holds(w, a, b) is b


# -- networks ------------------------------------------------------------------------------------------------------

def test_half_open(net):
    """The standby's host has vanished without a word, and comes back: its stream is a new one, the old one is dropped."""
    a, b, ca, _ = net()
    a.start()
    b.start()
    with handover.Writers(a.php.docroot, relays(a), n=3, pause=0.01) as w:
        w.wait(10)
        ca.frozen.set()
        wait.until(lambda: "SC0410" in b.sidecar.log(), 30, "the standby to notice")
        w.wait(20)                              # the primary does not care
        ca.frozen.clear()
        wait.until(lambda: b.state == "STANDBY" and a.sidecar.status()["followers"] == 1, 30, "one stream")
        a.sidecar.pre_stop(timeout=120)
        w.wait(10)
    assert holds(w, a, b) is b


def test_a_stream_that_was_left_does_not_stop_the_cut_over(net, sidecar):
    """Of two standbys one is cut off without a word: its read transaction must not keep the log out of the file."""
    a, b, ca, _ = net()
    third = sidecar("c", seed=a.sidecar.options["seed-database"], options=dict(SHORT))
    a.start()
    third.start()
    third.post_start()
    b.sidecar.options["authority"] = third.options["authority"]
    third.proc.send(signal.SIGSTOP)             # takes nothing any more, its connection stays
    b.start()
    with handover.Writers(a.php.docroot, relays(a), n=3) as w:
        w.wait(300, 120)
        t = in_background(a.sidecar.pre_stop, timeout=120)
        wait.until(lambda: "SC0430" in a.sidecar.log() or a.state == "FORWARDING", 90, "the cut-over")
        t.join(120)
        w.wait(10)
    third.proc.send(signal.SIGCONT)
    assert holds(w, a, b) is b


@pytest.mark.parametrize("when", ["before", "in the cut-over"])
def test_a_partition(net, when):
    """Nothing passes between the two for longer than every limit. Whoever is primary then is the only one; it heals."""
    a, b, ca, cb = net()
    a.start()
    b.start()
    with handover.OneWriter(a, b), handover.Writers(a.php.docroot, relays(a), n=3, pause=0.01) as w:
        w.wait(10)
        if when == "before":
            ca.frozen.set()
            cb.frozen.set()
        t = in_background(a.sidecar.pre_stop, timeout=180)
        if when != "before":
            wait.until(lambda: "DRAINING" in a.sidecar.log(), 30, "the cut-over", every=0.001)
            ca.frozen.set()
            cb.frozen.set()
        time.sleep(4)
        assert a.sidecar.http("/livez").status == 200
        ca.frozen.clear()
        cb.frozen.clear()
        t.join(180)
        wait.until(lambda: b.state == "PRIMARY", 60, "the successor")
        w.wait(10, 60)
    assert holds(w, a, b) is b


@pytest.mark.parametrize("delay, repeat", [(0.03, False), (0, True), (0.02, True)])
def test_messages_are_late_and_come_twice(net, delay, repeat):
    """Both ways, in a base copy and in three hand-overs."""
    a, b, ca, cb = net(options={"hold-timeout": "5s", "handoff-timeout": "90s"})
    for c in (ca, cb):
        c.delay, c.repeat = delay, repeat
    a.start()
    b.start()
    with handover.OneWriter(a, b), handover.Writers(a.php.docroot, relays(a, b), n=3, pause=0.01) as w:
        for old, new in ((a, b), (b, a), (a, b)):
            w.wait(10, 60)
            old.sidecar.pre_stop(timeout=120)
            w.wait(10, 60)
            old.sidecar.post_start(timeout=120)
    assert holds(w, a, b) is b
    assert b.sidecar.status()["epoch"] == 4
    if repeat:
        assert ca.repeated + cb.repeated > 3
        assert "seen before" in a.sidecar.log() + b.sidecar.log()


def test_the_network_breaks_again_and_again(net):
    a, b, ca, cb = net(rows=2000)
    a.start()
    b.sidecar.start()
    stop = threading.Event()

    def storm():
        while not stop.wait(0.4):
            ca.cut()
            cb.cut()
    with handover.Writers(a.php.docroot, relays(a), n=3, pause=0.01) as w:
        t = in_background(storm)
        w.wait(30, 60)
        stop.set()
        t.join()
        b.join()
        level_at = len(w.acknowledged)
        wait.until(lambda: b.state == "STANDBY", 30, "a standby")
        a.sidecar.pre_stop(timeout=120)
        w.wait(10)
    assert level_at and holds(w, a, b) is b


# -- disks -----------------------------------------------------------------------------------------------------------

@pytest.fixture
def small_disk(tmp):
    """A tmpfs that can grow: small_disk(MiB) -> (folder, grow(MiB))."""
    libc = ctypes.CDLL(None, use_errno=True)
    mounted = []

    def make(mib):
        folder = tmp / f"disk-{len(mounted)}"
        folder.mkdir()
        r = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={mib}m,mode=0777", "tmpfs", folder], capture_output=True)
        if r.returncode != 0:
            pytest.skip(f"mount of a tmpfs is not allowed: {r.stderr.decode().strip()}")
        mounted.append(folder)

        def grow(to):
            subprocess.run(["mount", "-o", f"remount,size={to}m", folder], check=True)
        return folder, grow
    yield make
    for folder in mounted:
        libc.umount2(str(folder).encode(), 2)       # lazily: processes end after this


def move_to(instance, folder):
    """The instance's database and state on another disk."""
    data = folder / "data"
    data.mkdir()
    paths.give(data)
    s = instance.sidecar
    s.database, s.state_dir = data / "database.sqlite", data / ".sidecar"
    s.options["database"], s.options["state-dir"] = s.database, s.state_dir
    instance.php.env["DATABASE"] = str(s.database)


def test_no_room_for_the_base(net, small_disk):
    a, b, _, _ = net(rows=6000)
    folder, grow = small_disk(3)
    move_to(b, folder)
    a.start()
    b.sidecar.start()
    with handover.Writers(a.php.docroot, relays(a), n=2, pause=0.01) as w:
        r = b.sidecar.post_start(check=False)
        assert r.returncode == 1 and "No space left" in r.stderr, r.stderr
        assert not list(b.sidecar.state_dir.glob("incoming*")) and not b.sidecar.database.exists()
        w.wait(10)
        grow(200)
        b.join()
        level_wanted = len(w.acknowledged)
        a.sidecar.pre_stop(timeout=120)
        w.wait(10)
    assert level_wanted and holds(w, a, b) is b


def test_no_room_for_the_log(net, small_disk):
    """A standby whose disk fills up says so and is no successor; with room it is one again."""
    a, b, _, _ = net(rows=1000, options=SHORT | {"sync-timeout": "60s"})
    folder, grow = small_disk(4)
    move_to(b, folder)
    a.start()
    b.start()
    con = sqlite3.connect(a.sidecar.database, timeout=10)
    con.executemany("INSERT INTO ballast (data) VALUES (randomblob(1000))", (() for _ in range(5000)))
    con.commit()
    con.close()
    wait.until(lambda: "No space left" in b.sidecar.log(), 30, "the full disk to be told")
    with handover.Writers(a.php.docroot, relays(a), n=2, pause=0.01) as w:
        w.wait(10)
        grow(200)
        b.sidecar.post_start()
        wait.until(lambda: b.state == "STANDBY", 60, "a standby with room")
        a.sidecar.pre_stop(timeout=120)
        w.wait(10)
    assert holds(w, a, b) is b


# -- others that write ---------------------------------------------------------------------------------------------------

CRON = """
import sqlite3, sys, time
n = 0
while True:
    for database in sys.argv[1:]:
        n += 1
        try:
            con = sqlite3.connect(database, timeout=0.05)
            con.execute("INSERT INTO writes VALUES (?, 'cron')", (f"cron-{n}",))
            con.commit()
            print(f"cron-{n}", flush=True)
            if n % 7 == 0:
                con.execute("PRAGMA wal_checkpoint(%s)" % ("PASSIVE", "FULL", "RESTART", "TRUNCATE")[n // 7 % 4]).fetchall()
        except sqlite3.Error:
            pass            # locked, or a fence: it was told so
        finally:
            con.close()
    time.sleep(0.005)
"""


class Cron:
    """Writes past the relays, as PHP's user, into whichever file lets it, now and then with a checkpoint."""

    def __init__(self, tmp, *instances):
        self.log = tmp / "cron.log"
        with open(self.log, "wb") as out:
            self.popen = subprocess.Popen([sys.executable, "-c", CRON, *(str(i.sidecar.database) for i in instances)],
                                          stdout=out, stderr=subprocess.STDOUT, cwd="/", **paths.popen_user())

    def stop(self) -> list[str]:
        """Ends it; what it was told is committed."""
        self.popen.kill()
        self.popen.wait(20)
        lines = self.log.read_text().split("\n")[:-1]
        assert all(line.startswith("cron-") for line in lines), lines[-3:]
        return lines


def test_cron_jobs_and_checkpoints_in_hand_overs(net, tmp):
    """What a direct writer was told is committed is in the successor's database, once."""
    a, b, _, _ = net(options={})
    a.start()
    b.start()
    with handover.Writers(a.php.docroot, relays(a, b), n=3, query="&late=1", pause=0.01) as w:
        cron = Cron(tmp, a, b)
        try:
            for old, new in ((a, b), (b, a), (a, b)):
                w.wait(10, 60)
                old.sidecar.pre_stop(timeout=120)
                w.wait(10, 60)
                old.sidecar.post_start(timeout=120)
        finally:
            committed = cron.stop()
    wait.until(lambda: {f"{i}-late" for i in w.acknowledged} <= set(b.rows()), 10, "the late rows")
    rows = b.rows()
    assert holds(w, a, b) is b
    assert set(committed) <= set(rows) and len(rows) == len(set(rows))
    assert len(committed) > 20


def test_php_that_asks_for_a_rollback_journal(net):
    """The log is what a standby follows: a script can not take it away, and loses nothing by trying."""
    a, b, _, _ = net()
    a.start()
    b.start()
    for mode in ("delete", "truncate", "memory", "off"):
        con = sqlite3.connect(a.sidecar.database, timeout=1)
        try:
            assert con.execute(f"PRAGMA journal_mode={mode}").fetchone()[0] == "wal"
        except sqlite3.OperationalError as e:
            assert "locked" in str(e)
        con.execute("INSERT INTO writes VALUES (?, 'script')", (mode,))
        con.commit()
        con.close()
    level(a, b)
    a.sidecar.pre_stop(timeout=120)
    assert b.state == "PRIMARY" and sorted(b.rows()) == ["delete", "memory", "off", "truncate"]
    con = sqlite3.connect(b.sidecar.database, timeout=5)
    assert con.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
    con.close()


def test_a_rollback_journal_while_the_sidecar_is_down(net):
    """PHP goes on beside a sidecar that restarts, and then nobody keeps it from changing the mode."""
    a, b, _, _ = net()
    a.start()
    b.start()
    a.sidecar.kill()
    con = sqlite3.connect(a.sidecar.database, timeout=5)
    assert con.execute("PRAGMA journal_mode=delete").fetchone()[0] == "delete"
    con.execute("INSERT INTO writes VALUES ('meanwhile', 'script')")
    con.commit()
    con.close()
    paths.give(a.sidecar.database)
    a.sidecar.start()
    level(a, b)
    a.sidecar.pre_stop(timeout=120)
    assert b.state == "PRIMARY" and b.rows() == ["meanwhile"] and b.integrity() == "ok"
