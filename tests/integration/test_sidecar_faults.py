"""The promises of docs/handoff.md after a failure at each step of either side.

Every case has a point of sc_fault.h at which fcgi-sidecar-faults dies or fails; what died is started again as kubelet
would. SIDECAR_FAULT_WALK=1 adds a walk through every point (20 minutes).
"""
import json
import os
import shutil
import signal
import socket
import sqlite3
import threading
import time
from pathlib import Path

import pytest

from tools import handover, paths, wait

WALK = os.environ.get("SIDECAR_FAULT_WALK") == "1"


@pytest.fixture
def pair(sidecar, php_fpm, tmp):
    faults = paths.faults_binary()
    seed = handover.seed(tmp, rows=20)

    def make(side, fault):
        a, b = (handover.Instance(n, sidecar, php_fpm, seed, workers=3) for n in "ab")
        x = a if side == "old" else b
        x.sidecar.binary = paths.staged(faults, tmp)
        x.sidecar.env = {"SIDECAR_FAULT": fault}
        return a, b, x
    return make


def cut_over(a, b, x, first=None):
    """Two lives, one cut-over, writers at both relays; returns whether x died."""
    with handover.Kubelet(x) as kubelet:
        a.start()
        b.sidecar.start()
        if b.sidecar.post_start(check=False).returncode != 0:
            b.sidecar.post_start()          # kubelet tries again
        b.php.start()
        with handover.Writers(a.php.docroot, [a.sidecar.relay, b.sidecar.relay], n=3, pause=0.01) as w:
            w.wait(10)
            a.sidecar.pre_stop(check=False, start_timeout="2s")
            w.wait(15, timeout=60)
        # An attempt that rolled back may be followed by the next one just now.
        primaries = wait.until(lambda: len(p := [i for i in (a, b) if i.sidecar.status()["primary"]]) == 1 and p, 20,
                               "exactly one primary")
        v = w.verdict(primaries[0].rows())
        assert v["lost"] == [] and v["duplicated"] == 0 and primaries[0].integrity() == "ok", v
        if not kubelet.has_died():
            assert v["failed"] == []
        other = b if primaries[0] is a else a
        wait.until(lambda: other.sidecar.status()["state"] in ("FORWARDING", "FENCED", "STANDBY", "SYNCING", "EMPTY"), 20,
                   f"{other.name} to be no primary")
        return kubelet.has_died()


OLD = ["hold", "locked", "promised", "committed", "fenced", "confirmed"]
NEW = ["prepare", "prepared", "grant", "authority-swap", "swapped", "activate", "granted", "follow", "install", "apply"]


@pytest.mark.parametrize("point", OLD)
def test_the_old_one_dies_at(pair, point):
    assert cut_over(*pair("old", f"{point}:1:kill"))


@pytest.mark.parametrize("point", NEW)
def test_the_new_one_dies_at(pair, point):
    assert cut_over(*pair("new", f"{point}:1:kill"))


@pytest.mark.parametrize("point, action", [
    ("fsync", "EIO"), ("fsync-folder", "EIO"), ("rename", "ENOSPC"), ("pwrite", "ENOSPC"), ("sqlite-exec", "EBUSY"),
    ("connect", "ETIMEDOUT"), ("send", "ECONNRESET"), ("recv", "ECONNRESET"), ("fsync-fence", "EIO"),
])
def test_the_old_one_fails_at(pair, point, action):
    cut_over(*pair("old", f"hold>{point}:1:{action}"))


@pytest.mark.parametrize("point, action", [
    ("prepare>fsync", "EIO"), ("prepare>fsync-folder", "EIO"), ("prepare>rename", "ENOSPC"), ("fsync-image", "EIO"),
    ("prepare>sqlite-exec", "EBUSY"), ("grant>pwrite", "ENOSPC"), ("follow>pwrite", "ENOSPC"), ("fsync-base", "EIO"),
    ("follow>recv", "ECONNRESET"), ("follow>connect", "ETIMEDOUT"), ("ftruncate", "EIO"),
])
def test_the_new_one_fails_at(pair, point, action):
    cut_over(*pair("new", f"{point}:1:{action}"))


if WALK:
    @pytest.mark.parametrize("side, arm, action", [("old", "hold", "kill"), ("new", "prepare", "kill"),
                                                   ("new", "follow", "kill"), ("old", "hold", "EIO"),
                                                   ("new", "prepare", "EIO")])
    @pytest.mark.parametrize("n", range(1, 61))
    def test_every_point(pair, side, arm, action, n):
        cut_over(*pair(side, f"{arm}>*:{n}:{action}"))


def insert(database, wid, timeout=0.2):
    """What a cron job does: a write past the relay."""
    con = sqlite3.connect(database, timeout=timeout)
    try:
        con.execute("INSERT INTO writes VALUES (?, 'cron')", (wid,))
        con.commit()
    finally:
        con.close()


def test_killed_at_the_commit_point_the_file_is_fenced(pair):
    """With the process its write lock goes: a script that comes then must not commit what the successor has not got."""
    a, b, _ = pair("old", "committed:1:kill")
    a.start()
    b.start()
    insert(a.sidecar.database, "before")
    a.sidecar.pre_stop(check=False, start_timeout="2s")
    a.sidecar.proc.wait()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        insert(a.sidecar.database, "late")
    a.sidecar.env = {}
    a.sidecar.start()
    wait.until(lambda: b.state == "PRIMARY", 10, "the successor")
    assert b.rows() == ["before"]


class SlowStreams:
    """Before a control port: breaks streams on the standby's side alone, and can hold back what new ones answer."""

    def __init__(self, target):
        self.target, self.through, self.streams, self.asked = target, threading.Event(), [], threading.Event()
        self.through.set()
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.address = "127.0.0.1:%d" % self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self):
        while True:
            try:
                s, _ = self.listener.accept()
            except OSError:
                return
            threading.Thread(target=self._serve, args=(s,), daemon=True).start()

    def _serve(self, s):
        try:
            with socket.create_connection(self.target) as up:
                request = s.recv(65536)
                follow = b"/v1/follow" in request
                if follow:
                    self.streams.append(s)
                    if not self.through.is_set():
                        self.asked.set()
                up.sendall(request)
                while chunk := up.recv(65536):
                    if follow:
                        self.through.wait(30)
                    try:
                        s.sendall(chunk)
                    except OSError:
                        pass        # the primary does not notice
        except OSError:
            pass
        finally:
            s.close()

    def break_stream(self):
        self.through.clear()
        self.streams[-1].shutdown(socket.SHUT_RDWR)


def test_a_late_hello_breaks_no_promise(pair):
    """The stream broke, a new one is asked for; before it answers, the promise is made from the image that is kept."""
    a, b, _ = pair("old", "committed:1:stop")
    a.start()
    insert(a.sidecar.database, "before", 5)
    slow = SlowStreams(a.sidecar.control)
    record = a.sidecar.record
    true_record = record.read_text()
    record.write_text(true_record.replace("%s:%d" % a.sidecar.control, slow.address))
    b.start()
    assert b.state == "STANDBY"
    slow.break_stream()
    assert slow.asked.wait(10)
    time.sleep(0.3)                                     # the primary has sent base and log by then
    t = threading.Thread(target=a.sidecar.pre_stop, kwargs={"check": False})
    t.start()
    wait.until(lambda: "DRAINING -> FENCED" in a.sidecar.log(), 20, "the commit point")
    record.write_text(true_record)
    slow.through.set()                                  # HELLO comes, GRANT has not been sent
    wait.until(lambda: "a promise was made" in b.sidecar.log() or b.state == "SYNCING", 10, "HELLO")
    a.sidecar.proc.send(signal.SIGCONT)
    t.join(60 * wait.FACTOR)
    slow.listener.close()
    wait.until(lambda: b.state == "PRIMARY", 10, "the successor")
    assert b.rows() == ["before"] and "a promise was made" in b.sidecar.log()


def stands_still(process):
    return Path(f"/proc/{process.pid}/stat").read_text().rsplit(")", 1)[1].split()[0] == "T"


def test_the_last_commit_came_between_transaction_and_look(pair):
    """It is sent, but the stream's read transaction began before it: with no further write that kept the log for good."""
    a, b, _ = pair("old", "advanced:3:stop")
    a.start()
    b.start()
    n = 0
    while not stands_still(a.sidecar.proc):
        insert(a.sidecar.database, f"n{n}", 5)
        n += 1
        time.sleep(0.05)
    insert(a.sidecar.database, "last", 5)
    a.sidecar.proc.send(signal.SIGCONT)
    wait.until(lambda: "last" in b.rows(), 20, "the last row at the standby")
    a.sidecar.pre_stop()
    assert b.state == "PRIMARY" and sorted(b.rows()) == sorted([f"n{i}" for i in range(n)] + ["last"])
    assert "SC0435" not in a.sidecar.log()


def copy_of(database):
    """What the disk holds, without anybody's locks and index."""
    for suffix in ("-wal", ""):
        found = database.with_name("found.sqlite" + suffix)
        found.write_bytes(database.with_name(database.name + suffix).read_bytes())
    return found


def change_page_1(database):
    con = sqlite3.connect(database, timeout=5)
    con.execute("CREATE TABLE more (n)")
    con.close()


@pytest.mark.parametrize("point", ["committed", "confirmed", "none"])
def test_the_fence_outlives_every_process(pair, point):
    """All that have the database open are killed: the next one reads the log anew, and must find no page 1 in it."""
    a, b, _ = pair("old", f"{point}:1:kill")
    a.start()
    b.start()
    keep = sqlite3.connect(a.sidecar.database)      # its close would empty the log
    keep.execute("SELECT count(*) FROM writes").fetchone()
    change_page_1(a.sidecar.database)
    a.sidecar.pre_stop(check=False, start_timeout="2s")
    a.sidecar.kill()
    a.php.stop()
    database = copy_of(a.sidecar.database)
    keep.close()
    assert database.with_name(database.name + "-wal").stat().st_size > 32
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        insert(database, "late")
    assert database.read_bytes()[18] == 0x7f
    con = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    assert con.execute("SELECT count(*) FROM more").fetchone() == (0,), "nothing was lost with the log"
    con.close()


def test_a_log_that_was_void_is_used_again(pair):
    """Back before the commit point: what is committed then is found after a power cut, and reaches the standby."""
    a, b, _ = pair("old", "fenced:1:kill")
    a.start()
    b.start()
    keep = sqlite3.connect(a.sidecar.database)      # so that the log's index goes on, void header or not
    keep.execute("SELECT count(*) FROM writes").fetchone()
    change_page_1(a.sidecar.database)
    a.sidecar.pre_stop(check=False, start_timeout="2s")
    a.sidecar.env = {}
    a.sidecar.start()
    assert a.state == "PRIMARY"
    insert(a.sidecar.database, "again", 5)
    found = copy_of(a.sidecar.database)
    keep.close()
    con = sqlite3.connect(found)
    assert con.execute("SELECT id FROM writes").fetchall() == [("again",)]
    con.close()
    wait.until(lambda: b.state == "STANDBY" and b.rows() == ["again"], 10, "the standby")


def test_killed_before_the_commit_point_the_fence_is_lifted(pair):
    a, b, _ = pair("old", "fenced:1:kill")
    a.start()
    b.start()
    a.sidecar.pre_stop(check=False, start_timeout="2s")
    a.sidecar.proc.wait()
    assert a.sidecar.database.read_bytes()[18] == 0x7f
    a.sidecar.env = {}
    a.sidecar.start()
    assert a.state == "PRIMARY"
    insert(a.sidecar.database, "again", 5)


@pytest.mark.parametrize("fault", ["hold>fsync-fence:1:EIO", "fenced>rename:1:EIO", "fenced>fsync-folder:1:EIO"])
def test_without_a_fence_or_its_record_nothing_is_given_away(pair, fault):
    a, b, _ = pair("old", fault)
    a.sidecar.options["handoff-timeout"] = "20s"
    a.start()
    b.start()
    a.sidecar.pre_stop()
    log = a.sidecar.log()
    assert log.index("SC0435") < log.rindex("DRAINING -> FENCED") and "DRAINING -> PRIMARY" in log
    assert b.state == "PRIMARY" and b.sidecar.status()["epoch"] == 2


def test_a_reader_that_keeps_the_log_out_of_the_file(pair):
    """Page 1 of the log has no fence: not before the reader ends is the database given away."""
    a, b, _ = pair("old", "none:1:kill")
    a.start()
    b.start()
    reader = sqlite3.connect(a.sidecar.database, isolation_level=None)
    reader.execute("BEGIN")
    reader.execute("SELECT count(*) FROM writes").fetchone()
    insert(a.sidecar.database, "behind", 5)
    t = threading.Thread(target=a.sidecar.pre_stop, kwargs={"check": False})
    t.start()
    wait.until(lambda: "SC0435" in a.sidecar.log(), 20, "a roll-back")
    assert "end long readers" in a.sidecar.log() and a.state in ("PRIMARY", "DRAINING")
    reader.close()
    t.join(60 * wait.FACTOR)
    assert b.state == "PRIMARY" and b.rows() == ["behind"] and "SC0433" not in a.sidecar.log()


def pre_stop_of(a, b):
    """Both start, a row is written, and a gives away; the thread of its hook."""
    a.start()
    b.start()
    insert(a.sidecar.database, "before", 5)
    t = threading.Thread(target=a.sidecar.pre_stop, kwargs={"check": False, "start_timeout": "2s"})
    t.start()
    return t


@pytest.mark.parametrize("restart", [False, True])
def test_the_successor_is_lost_after_its_promise(pair, restart):
    """Only the operator can know that it does not come back; then the old one has its database again."""
    a, b, _ = pair("new", "grant:1:kill")
    t = pre_stop_of(a, b)
    wait.until(lambda: "SC0437" in a.sidecar.log() and not b.sidecar.proc.running(), 20, "the loss")
    wait.until(lambda: "fcgi-sidecar promote, on this instance" in (a.sidecar.status()["advice"] or ""), 10, "the advice")
    if restart:
        a.sidecar.kill()
        t.join(60 * wait.FACTOR)
        a.sidecar.binary = paths.staged(paths.faults_binary(), a.sidecar.root)
        a.sidecar.env = {"SIDECAR_FAULT": "taken-back:1:kill"}
        a.sidecar.start()
        assert a.state == "FENCED"
        a.sidecar.run("promote", start_timeout="2s")     # dies between swap and record
        a.sidecar.proc.wait()
        a.sidecar.env = {}
        a.sidecar.start()
    else:
        r = a.sidecar.run("promote")
        assert r.returncode == 0, r.stderr
    wait.until(lambda: a.state == "PRIMARY", 10, "the old one")
    assert a.sidecar.status()["epoch"] == 2 and a.sidecar.status()["advice"] is None
    insert(a.sidecar.database, "after", 5)
    b.sidecar.env = {}
    b.sidecar.start()                                   # it comes back all the same: its promise is void
    if restart:
        wait.until(lambda: b.state == "STANDBY" and b.rows() == ["before", "after"], 15, "a standby again")
    else:
        wait.until(lambda: b.state == "PRIMARY", 15, "the pre-stop, which goes on")
        assert b.rows() == ["before", "after"]
        t.join(60 * wait.FACTOR)


def promised_record(b):
    """It was killed between its promise and what came after: its record of then."""
    b.sidecar.proc.wait(30)
    text = (b.sidecar.state_dir / "state.json").read_text()
    record = json.loads(text)
    assert record["state"] == "STANDBY" and record["prepared"] is True, record
    b.sidecar.env = {}
    return text


def test_a_power_loss_undoes_the_record_of_primary(pair):
    """Its name was not synced yet: the promise is back. The authority names it, so it is primary with all that was written."""
    a, b, _ = pair("new", "grant:1:kill")
    t = pre_stop_of(a, b)
    promised = promised_record(b)
    b.sidecar.start()
    wait.until(lambda: b.state == "PRIMARY", 20, "the successor")
    t.join(60 * wait.FACTOR)
    wait.until(lambda: a.state == "FORWARDING", 20, "the old one")
    insert(b.sidecar.database, "after", 5)
    b.sidecar.kill()
    (b.sidecar.state_dir / "state.json").write_text(promised)
    b.sidecar.start()
    wait.until(lambda: b.state == "PRIMARY", 20, "the same again")
    assert b.sidecar.status()["epoch"] == 2 and sorted(b.rows()) == ["after", "before"]
    assert b.sidecar.database.read_bytes()[18] == 2
    a.sidecar.post_start()              # and it can be followed
    assert a.state == "STANDBY" and sorted(a.rows()) == ["after", "before"]


def test_a_power_loss_leaves_the_promise_without_the_image(pair):
    """Nobody relies on that promise: neither the primary, which serves on, nor an operator's promote."""
    a, b, _ = pair("new", "prepared:1:kill")
    t = pre_stop_of(a, b)
    promised_record(b)
    a.sidecar.proc.send(signal.SIGSTOP)
    size = b.sidecar.database.stat().st_size
    with open(b.sidecar.database, "r+b") as f:      # what was not synced
        f.seek(size - 4096)
        f.write(bytes(4096))
    b.sidecar.start()
    r = b.sidecar.run("promote")
    assert r.returncode == 3 and b.state == "STANDBY", r.stderr
    a.sidecar.proc.send(signal.SIGCONT)
    wait.until(lambda: b.state == "PRIMARY", 40, "the successor, which followed again")
    t.join(60 * wait.FACTOR)
    assert "SC0435" in a.sidecar.log() and b.rows() == ["before"] and b.integrity() == "ok"


def test_the_fence_is_lifted_though_it_failed_once(pair):
    """PRIMARY is saved, the fence can not be lifted; before GRANT comes again the database is opened for the next standby."""
    a, b, _ = pair("new", "activate>pwrite:1:ENOSPC")
    a.start()
    b.start()
    t = threading.Thread(target=a.sidecar.pre_stop, kwargs={"timeout": 120})
    t.start()
    wait.until(lambda: "can not unfence" in b.sidecar.log(), 20, "the failure", every=0.001)
    a.sidecar.proc.send(signal.SIGSTOP)
    time.sleep(2)                       # what serve tries again now and then, it tries meanwhile
    a.sidecar.proc.send(signal.SIGCONT)
    t.join(120 * wait.FACTOR)
    assert (a.state, b.state) == ("FORWARDING", "PRIMARY")
    with handover.Writers(a.php.docroot, [a.sidecar.relay, b.sidecar.relay], n=2, pause=0.01) as w:
        w.wait(10)
    assert w.failed == [] and set(w.acknowledged) <= set(b.rows())


def test_promote_refuses_half_a_transaction(pair):
    """Killed in the middle of one, the primary gone for ever: only the operator can take that."""
    a, b, _ = pair("new", "apply>pwrite:6:kill")       # page 1 takes three of them
    a.start()
    b.start()
    handover.write(a.sidecar.database, *(f"one-transaction-of-many-pages-{i:06d}" for i in range(2000)))
    b.sidecar.proc.wait()
    a.sidecar.kill()
    b.sidecar.env = {}
    b.sidecar.start()
    assert b.state == "STANDBY"
    # The one command, and why, wherever an operator looks.
    advice = wait.until(lambda: b.sidecar.status()["advice"], 20, "the advice")
    assert "fcgi-sidecar promote --force" in advice and "half a transaction" in advice
    assert "fcgi-sidecar promote --force" in b.sidecar.http("/readyz?verbose").text
    assert "fcgi-sidecar promote --force" in b.sidecar.run("status").stdout
    wait.until(lambda: f"SC0428 {advice}" in b.sidecar.log(), 10, "the same words in the log")
    r = b.sidecar.run("promote")
    assert r.returncode == 3 and "promote --force" in r.stderr
    assert b.state == "STANDBY" and json.loads(a.sidecar.record.read_text())["epoch"] == 1
    r = b.sidecar.run("promote", "--force")
    assert r.returncode in (0, 1) and "SC0423" in b.sidecar.log()   # what the check finds decides
    assert b.state == ("PRIMARY" if r.returncode == 0 else "STANDBY")


def test_promote_leaves_it_to_a_successor_that_answers(pair):
    a, b, _ = pair("new", "swapped:1:stop")
    a.start()
    b.start()
    t = threading.Thread(target=a.sidecar.pre_stop, kwargs={"check": False})
    t.start()
    wait.until(lambda: "FENCED" in a.sidecar.log() and json.loads(a.sidecar.record.read_text())["epoch"] == 2, 20, "the swap")
    r = a.sidecar.run("promote")
    assert r.returncode == 3 and "the successor has the database" in r.stderr
    b.sidecar.proc.send(signal.SIGCONT)
    t.join(60 * wait.FACTOR)
    assert (a.state, b.state) == ("FORWARDING", "PRIMARY")


def test_the_first_deployment_dies_between_grant_and_installation(sidecar, tmp):
    a = sidecar("a", seed=handover.seed(tmp))
    a.binary = paths.staged(paths.faults_binary(), tmp)
    a.env = {"SIDECAR_FAULT": "install-seed:1:kill"}
    a.start()
    a.run("post-start", start_timeout="1s")
    a.proc.wait()
    assert not a.database.exists()
    a.env = {}
    a.start()
    a.post_start()
    assert a.status()["state"] == "PRIMARY" and a.status()["epoch"] == 1


@pytest.mark.parametrize("point", ["claimed:1:kill", "authority-swap:1:kill"])
def test_the_first_deployment_dies_after_its_claim(sidecar, tmp, point):
    a = sidecar("a", seed=handover.seed(tmp))
    a.binary = paths.staged(paths.faults_binary(), tmp)
    a.env = {"SIDECAR_FAULT": point}
    a.start()
    a.run("post-start", start_timeout="1s")
    a.proc.wait()
    a.env = {}
    a.start()
    a.post_start()
    assert a.status()["state"] == "PRIMARY" and a.status()["epoch"] == 1


def test_a_claim_gives_way_to_the_one_that_was_first(sidecar, tmp):
    seed = handover.seed(tmp)
    a, b = sidecar("a", seed=seed), sidecar("b", seed=seed)
    b.binary = paths.staged(paths.faults_binary(), tmp)
    b.env = {"SIDECAR_FAULT": "claimed:1:kill"}
    b.start()
    b.run("post-start", start_timeout="1s")
    b.proc.wait()
    b.env = {}
    a.start()
    a.post_start()
    b.start()
    b.post_start()
    assert b.status()["state"] == "STANDBY" and b.status()["lineage"] == a.status()["lineage"]


def test_a_lost_volume_does_not_begin_from_the_seed(sidecar, tmp):
    """The same uid comes back on an empty volume; the authority names it at epoch 1."""
    a = sidecar("a", seed=handover.seed(tmp), options={"uid": "app-0"})
    a.start()
    a.post_start()
    a.stop()
    shutil.rmtree(a.state_dir)
    for p in a.database.parent.glob("database.sqlite*"):
        p.unlink()
    a.start()
    r = a.post_start(check=False)
    assert r.returncode == 3 and "never had it" in r.stderr and not a.database.exists()
    assert a.status()["state"] == "EMPTY"


def test_a_failed_copy_leaves_nothing_behind(sidecar, tmp):
    seed = handover.seed(tmp, rows=500)
    a, b = sidecar("a", seed=seed), sidecar("b", seed=seed, options={"sync-timeout": "1s"})
    b.binary = paths.staged(paths.faults_binary(), tmp)
    b.env = {"SIDECAR_FAULT": "follow>pwrite:3:ENOSPC"}
    with a, b:
        a.post_start()
        r = b.post_start(check=False)
        assert r.returncode == 1 and "No space left" in r.stderr
        assert len(b.termination_log.read_text().splitlines()) == 1
        assert not b.database.exists() and not list(b.state_dir.glob("*.sqlite*"))
        assert b.status()["state"] == "EMPTY"
        b.post_start()
        wait.until(lambda: b.status()["state"] == "STANDBY", 5, "the second attempt")


def test_the_record_is_lost_between_the_commit_point_and_the_grant(pair):
    """Nobody serves then, and the authority names nobody: the successor, whom the old one still waits for, becomes primary."""
    a, b, _ = pair("old", "committed:1:kill")
    a.start()
    b.start()
    insert(a.sidecar.database, "before", 5)
    a.sidecar.pre_stop(check=False, start_timeout="1s")
    a.sidecar.proc.wait()
    a.sidecar.record.unlink()
    a.sidecar.env = {}
    a.sidecar.start()
    wait.until(lambda: (a.state, b.state) == ("FORWARDING", "PRIMARY"), 20, "the successor")
    assert "SC0441" in b.sidecar.log() and b.rows() == ["before"]
    record = json.loads(a.sidecar.record.read_text())
    assert (record["epoch"], record["primary"]["uid"]) == (2, b.sidecar.status()["uid"])


def test_a_database_is_taken_back_without_a_record(pair):
    """The successor and the authority's record are lost: the advised command has to work."""
    a, b, _ = pair("new", "grant:1:kill")
    t = pre_stop_of(a, b)
    wait.until(lambda: a.sidecar.status()["advice"] and not b.sidecar.proc.running(), 20, "the loss")
    a.sidecar.record.unlink()
    r = a.sidecar.run("promote")
    assert r.returncode == 0, r.stderr
    assert a.state == "PRIMARY" and json.loads(a.sidecar.record.read_text())["epoch"] == 2
    b.sidecar.env = {}
    b.sidecar.start()
    t.join(60 * wait.FACTOR)
    assert b.state == "PRIMARY" and b.rows() == ["before"]
