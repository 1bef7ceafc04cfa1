"""Hand-overs under writers of unique ids, through the relays of both instances and real php-fpm."""
import json
import signal
import socket
import sqlite3
import struct
import threading
import time

import pytest

from tools import fcgi, handover, wait
from tools.httpd import PHP


@pytest.fixture
def make(sidecar, php_fpm, tmp):
    seed = handover.seed(tmp, rows=200)

    def make(name, **kw):
        return handover.Instance(name, sidecar, php_fpm, seed, workers=4, **kw)
    return make


@pytest.fixture
def pair(make):
    a, b = make("a"), make("b")
    a.start()
    b.start()
    return a, b


def holds(w: handover.Writers, last: handover.Instance, failed: int = 0) -> None:
    """Nothing acknowledged is lost, nothing is there twice, the database is whole."""
    v = w.verdict(last.rows())
    assert v["lost"] == [] and v["duplicated"] == 0 and last.integrity() == "ok", v
    assert len(v["failed"]) <= failed, v["failed"][:5]
    assert last.state == "PRIMARY"


def relays(*instances):
    return [i.sidecar.relay for i in instances]


def test_nothing_is_lost_back_and_forth(pair):
    a, b = pair
    with handover.Writers(a.php.docroot, relays(a, b)) as w:
        for old, new in ((a, b), (b, a), (a, b)):
            w.wait(50)
            old.sidecar.pre_stop()
            assert (old.state, new.state) == ("FORWARDING", "PRIMARY")
            w.wait(50)
            old.sidecar.post_start()
            assert old.state == "STANDBY"
    holds(w, b)
    assert b.sidecar.status()["epoch"] == 4


def test_users_stay_signed_in(pair, httpd):
    """Sessions of PHP's are in the database, so they move with it; what they held before is there after."""
    a, b = pair
    h = httpd("".join("DemoBackend fcgi://%s:%d\n" % i.sidecar.relay for i in (a, b)) + PHP, docroot=a.php.docroot).start()
    users = handover.SignedIn(h.port)
    for old in (a, b):
        old.sidecar.pre_stop()
        assert users.signed_out() == []
        old.sidecar.post_start()
        assert users.signed_out() == []


def test_the_last_copy_is_equal_page_by_page(pair):
    """The standby's file, and the primary's after a checkpoint, differ in nothing but the fence."""
    a, b = pair
    with handover.Writers(a.php.docroot, relays(a)) as w:
        w.wait(100)
    a.sidecar.pre_stop()
    wait.until(lambda: b.state == "PRIMARY", 5, "the successor")
    one, two = bytearray(a.sidecar.database.read_bytes()), bytearray(b.sidecar.database.read_bytes())
    assert one[18] == 0x7f and two[18] == 2
    one[18] = 2
    assert one == two


def test_a_log_that_was_emptied_is_level(pair):
    """A checkpoint by hand leaves a log without a frame: there is nothing to send before the cut-over, and no write need come."""
    a, b = pair
    with handover.Writers(a.php.docroot, relays(a)) as w:
        w.wait(20)
    con = sqlite3.connect(a.sidecar.database, timeout=10, isolation_level=None)
    wait.until(lambda: con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0] == 0, 10, "an empty log")
    con.close()
    a.sidecar.pre_stop(timeout=20)
    assert (a.state, b.state) == ("FORWARDING", "PRIMARY")
    holds(w, b)


def test_the_authoritys_record_is_gone_or_spoilt(pair):
    """After the commit point nobody could become primary: so the cut-over does not begin, and the old one serves on."""
    a, b = pair
    record = a.sidecar.record
    good = record.read_text()
    with handover.Writers(a.php.docroot, relays(a, b)) as w:
        w.wait(20)
        record.write_text("spoilt")
        stop = threading.Thread(target=a.sidecar.pre_stop)
        stop.start()
        wait.until(lambda: "not begun" in a.sidecar.log(), 20, "the first attempt")
        assert a.state == "PRIMARY"
        w.wait(20)
        record.unlink()
        stop.join()
        assert (a.state, b.state) == ("FORWARDING", "PRIMARY")
        assert "SC0407" in a.sidecar.log() and json.loads(record.read_text())["lineage"] == json.loads(good)["lineage"]
        w.wait(20)
    holds(w, b)


def test_the_old_file_is_fenced(pair):
    a, b = pair
    cron = sqlite3.connect(a.sidecar.database, timeout=0.2)     # open before the cut-over, page 1 in its cache
    cron.execute("SELECT count(*) FROM writes").fetchone()
    a.sidecar.pre_stop()
    with pytest.raises(sqlite3.OperationalError):
        cron.execute("INSERT INTO writes VALUES ('late', 'cron')")
    cron.close()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        sqlite3.connect(a.sidecar.database).execute("INSERT INTO writes VALUES ('late', 'cron')")
    a.sidecar.kill()
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        sqlite3.connect(a.sidecar.database).execute("INSERT INTO writes VALUES ('late', 'cron')")


def test_scripts_that_go_on_after_their_answer(pair):
    a, b = pair
    with handover.Writers(a.php.docroot, relays(a, b), n=3, query="&late=1") as w:
        w.wait(15)
        a.sidecar.pre_stop()
        w.wait(15)
    wait.until(lambda: {f"{i}-late" for i in w.acknowledged} <= set(b.rows()), 5, "the late rows")
    rows = set(b.rows())
    holds(w, b)
    assert {f"{i}-late" for i in w.acknowledged} <= rows


def frames_in_log(database) -> int:
    """mxFrame of the wal-index (sqlite.org/walformat.html, "The WAL-Index Header")."""
    with open(f"{database}-shm", "rb") as f:
        return struct.unpack_from("=I", f.read(24), 16)[0]


def test_the_log_of_a_followed_primary_stays_short(pair):
    """Beyond 1,000 frames each commit of PHP's would make a checkpoint. A machine that stands still may let it grow: so not
    each time, but three times in a row."""
    a, _ = pair
    short, last = [], 0
    with handover.Writers(a.php.docroot, relays(a), n=8) as w:
        end = time.monotonic() + 60 * wait.FACTOR
        while short[-3:] != [True] * 3:
            assert time.monotonic() < end, f"begun anew {len(short)} times, {short.count(True)} of them before 1,000 frames; has {last}"
            now = frames_in_log(a.sidecar.database)
            if now < last:
                short.append(last < 1000)
            last = now
            time.sleep(0.001)
    holds(w, a)


def test_a_long_request_is_no_pause(make):
    """The cut-over waits until the long request has ended, and meanwhile the others are served."""
    a, b = make("a"), make("b")
    a.start()
    b.start()
    long_answer = []

    def long_request():
        with fcgi.Client(a.sidecar.relay, timeout=30) as c:
            r = c.request(fcgi.script_params("/sidecar.php", str(a.php.docroot / "sidecar.php"), "POST",
                                             query="id=long&ms=3000"))
            long_answer.append((r.status, r.body, time.monotonic()))
    t = threading.Thread(target=long_request)
    with handover.Writers(a.php.docroot, relays(a), n=2, pause=0.01) as w:
        w.wait(10)
        began = time.monotonic()
        t.start()
        time.sleep(0.3)
        a.sidecar.pre_stop()
        w.wait(10)
    t.join()
    *answer, ended = long_answer[0]
    assert answer == [200, b"ok"]
    holds(w, b)
    meanwhile = [t for t, _ in w.done if began + 0.8 < t < ended - 0.3]
    assert meanwhile, "no write while the cut-over waited for the long request"
    assert "long" in b.rows()


def test_a_request_that_never_ends_does_not_lose_the_database(make):
    a, b = make("a", options={"young-wait": "500ms", "hold-timeout": "1s", "handoff-timeout": "8s"}), make("b")
    a.start()
    b.start()
    with fcgi.Client(a.sidecar.relay, timeout=60) as c:
        c.start(fcgi.script_params("/sidecar.php", str(a.php.docroot / "sidecar.php"), "POST", query="id=stuck&ms=20000"))
        c.stdin()
        time.sleep(0.2)
        a.sidecar.pre_stop()
        assert b.state == "PRIMARY"
        assert "SC0432" in a.sidecar.log() and "SC0435" in a.sidecar.log()


def test_pre_stop_without_a_standby(make):
    a = make("a", options={"handoff-timeout": "1s"}).start()
    r = a.sidecar.pre_stop(check=False)
    assert r.returncode == 75 and "no standby came" in r.stderr and str(a.sidecar.database) in r.stderr
    assert a.state == "PRIMARY"
    with handover.Writers(a.php.docroot, relays(a), n=1) as w:
        w.wait(5)


def test_pre_stop_waits_for_a_standby(make):
    a, b = make("a").start(), make("b")
    done = []
    t = threading.Thread(target=lambda: done.append(a.sidecar.pre_stop().returncode))
    t.start()
    time.sleep(0.5)
    b.start()
    t.join(30 * wait.FACTOR)
    assert done == [0] and b.state == "PRIMARY"


def test_the_database_waits_for_the_successors_php(make):
    """pre-stop has waited for long when the standby comes, and its php-fpm starts after that: the old one serves meanwhile."""
    a, b = make("a").start(), make("b")
    done = []
    with handover.Writers(a.php.docroot, relays(a), n=2, pause=0.01) as w:
        t = threading.Thread(target=lambda: done.append(a.sidecar.pre_stop().returncode))
        t.start()
        w.wait(20)
        time.sleep(5.5)     # longer than a standby without php-fpm was once waited for
        b.sidecar.start()
        b.sidecar.post_start()
        w.wait(20)
        assert a.state == "PRIMARY"
        b.php.start()
        t.join(30)
        w.wait(20)
    assert done == [0] and "SC0440" not in a.sidecar.log()
    holds(w, b)


def test_hooks_run_twice(pair):
    a, b = pair
    a.sidecar.pre_stop()
    a.sidecar.pre_stop()
    assert b.sidecar.status()["epoch"] == 2
    b.sidecar.post_start()
    assert b.state == "PRIMARY"
    r = pair[0].sidecar.run("status", "--json")
    assert json.loads(r.stdout)["state"] == "FORWARDING"


def test_pre_stop_of_a_standby_is_refused(pair):
    r = pair[1].sidecar.pre_stop(check=False)
    assert r.returncode == 3 and "STANDBY, not PRIMARY" in r.stderr


def test_three_instances(make):
    a, b, c = make("a").start(), make("b").start(), make("c").start()
    with handover.Writers(a.php.docroot, relays(a, b, c), n=4) as w:
        w.wait(20)
        a.sidecar.pre_stop()
        states = {b.state, c.state}
        assert "PRIMARY" in states
        new, other = (b, c) if b.state == "PRIMARY" else (c, b)
        wait.until(lambda: other.state == "STANDBY" and other.sidecar.status()["primary_uid"] == new.sidecar.status()["uid"],
                   15, "the other standby follows the winner")
        w.wait(20)
        w.relays = relays(b, c)     # what endpoints tell, before the old one ends
        w.wait(20)
        a.stop()
        new.sidecar.pre_stop()
        w.wait(20)
    holds(w, other)
    assert other.sidecar.status()["epoch"] == 3


@pytest.mark.parametrize("leaving", [0, 1])
def test_a_standby_that_leaves_is_no_successor(make, leaving):
    """Three are scaled down to one: the primary must not choose the standby whose pod goes too."""
    a, *standbys = make("a").start(), make("b").start(), make("c").start()
    gone, stays = standbys[leaving], standbys[1 - leaving]
    with handover.Writers(a.php.docroot, relays(a, gone, stays), n=4) as w:
        w.wait(20)
        assert gone.sidecar.pre_stop(check=False).returncode == 3
        a.sidecar.pre_stop()
        assert stays.state == "PRIMARY"
        w.relays = relays(stays)
        a.stop()
        gone.stop()
        w.wait(20)
    holds(w, stays, failed=len([f for f in w.failed if "refused" in f[1] or "reset" in f[1].lower()]))


def test_primary_and_a_standby_leave_at_once(make):
    """Whatever the order in which the two hooks arrive, the one that stays has all of it."""
    a, b, c = make("a").start(), make("b").start(), make("c").start()
    with handover.Writers(a.php.docroot, relays(a, b, c), n=4) as w:
        w.wait(20)
        hooks = [threading.Thread(target=i.sidecar.pre_stop, kwargs={"check": False}) for i in (a, c)]
        for t in hooks:
            t.start()
        for t in hooks:
            t.join(60 * wait.FACTOR)
        wait.until(lambda: b.state == "PRIMARY", 15, "the one that stays to be primary")
        w.relays = relays(b)
        a.stop()
        c.stop()
        w.wait(20)
    holds(w, b, failed=len([f for f in w.failed if "refused" in f[1] or "reset" in f[1].lower()]))


def test_term_of_the_old_one_is_not_seen(make):
    """serve gets TERM right after the hook, while clients still come."""
    a, b = make("a").start(), make("b").start()
    with handover.Writers(a.php.docroot, relays(b), n=4) as w:
        w.wait(20)
        a.sidecar.pre_stop()
        a.php.stop()
        a.sidecar.stop()
        w.wait(20)
    holds(w, b)


def test_a_standby_that_stops_answering(pair):
    """SIGSTOP of the standby in the cut-over: roll-back, requests go on, later it succeeds."""
    a, b = pair
    b.sidecar.proc.send(signal.SIGSTOP)
    done = []
    with handover.Writers(a.php.docroot, relays(a), n=3) as w:
        w.wait(10)
        t = threading.Thread(target=lambda: done.append(a.sidecar.pre_stop(timeout=90).returncode))
        t.start()
        wait.until(lambda: "SC0435" in a.sidecar.log(), 30, "a roll-back")
        w.wait(10)
        b.sidecar.proc.send(signal.SIGCONT)
        t.join(90 * wait.FACTOR)
        w.wait(10)
    assert done == [0]
    holds(w, b)


def test_a_standby_is_promoted_by_the_operator(pair):
    a, b = pair
    r = b.sidecar.run("promote")
    assert r.returncode == 3 and "answers" in r.stderr, "not while the primary is there"
    with handover.Writers(a.php.docroot, relays(a), n=2) as w:
        w.wait(10)
    wait.until(lambda: set(b.rows()) >= set(w.acknowledged), 5, "replication")
    a.sidecar.kill()
    r = b.sidecar.run("promote")
    assert r.returncode == 0, r.stderr
    assert b.state == "PRIMARY" and b.sidecar.status()["epoch"] == 2
    assert set(b.rows()) >= set(w.acknowledged)
    r = a.sidecar.run("serve", timeout=10)
    assert r.returncode == 3 and "out of date" in r.stderr, "the old one does not come back as primary"


def test_an_old_primary_that_was_declared_gone_ends(pair):
    """It stood still while the operator promoted the other one: two sides must not be written."""
    a, b = pair
    a.sidecar.proc.send(signal.SIGSTOP)
    r = b.sidecar.run("promote")
    assert r.returncode == 0, r.stderr
    a.sidecar.proc.send(signal.SIGCONT)
    wait.until(lambda: not a.sidecar.proc.running(), 30, "the end of the old one")
    assert "SC0442" in a.sidecar.log() and b.state == "PRIMARY"


def test_a_standby_is_promoted_without_a_record(pair):
    """The authority was lost together with the primary."""
    a, b = pair
    a.sidecar.kill()
    a.sidecar.record.unlink()
    r = b.sidecar.run("promote")
    assert r.returncode == 0, r.stderr
    assert (b.state, b.sidecar.status()["epoch"]) == ("PRIMARY", 2) and "SC0441" in b.sidecar.log()


def test_a_record_that_was_removed_is_written_again(pair):
    """Else the next new instance would take it for a first deployment."""
    a, _ = pair
    record = a.sidecar.record
    good = record.read_text()
    record.unlink()
    wait.until(lambda: record.exists() and record.read_text() == good, 30, "the record")
    wait.until(lambda: "SC0407" in a.sidecar.log(), 10, "the message")


def test_a_whole_standby_is_promoted_after_a_restart(pair):
    """It was killed, but after the primary: what lies there is what it noted when the stream ended."""
    a, b = pair
    with handover.Writers(a.php.docroot, relays(a), n=2) as w:
        w.wait(10)
    wait.until(lambda: set(b.rows()) >= set(w.acknowledged), 5, "replication")
    a.sidecar.kill()
    wait.until(lambda: "not following" in b.sidecar.log(), 20, "the end of the stream")
    b.sidecar.kill()
    b.sidecar.start()
    advice = wait.until(lambda: b.sidecar.status()["advice"], 20, "the advice")
    assert "fcgi-sidecar promote, on this instance" in advice and "--force" not in advice
    r = b.sidecar.run("promote")
    assert r.returncode == 0, r.stderr
    assert b.sidecar.status()["advice"] is None
    assert b.state == "PRIMARY" and set(b.rows()) >= set(w.acknowledged)


def test_a_recorded_request_is_refused(pair):
    """What somebody on the network saw is not executed a second time."""
    a, b = pair
    seen = []
    listener = socket.create_server(("127.0.0.1", 0))

    def tap():
        s, _ = listener.accept()
        up = socket.create_connection(a.sidecar.control)
        data = s.recv(65536)
        seen.append(data)
        up.sendall(data)
        while chunk := up.recv(65536):
            s.sendall(chunk)
        s.close()
        up.close()
    t = threading.Thread(target=tap)
    t.start()
    r = a.sidecar.run("status", "--json", control_listen=f"127.0.0.1:{listener.getsockname()[1]}")
    t.join(10 * wait.FACTOR)
    listener.close()
    assert json.loads(r.stdout)["serving"] is True
    with socket.create_connection(a.sidecar.control) as s:
        s.sendall(seen[0])
        s.settimeout(5 * wait.FACTOR)
        answer = b""
        while chunk := s.recv(65536):
            answer += chunk
    assert b"seen before" in answer and b"lineage" not in answer
    with socket.create_connection(a.sidecar.control) as s:
        s.sendall(seen[0].replace(b"/v1/local/status", b"/v1/local/statuz"))
        s.settimeout(5 * wait.FACTOR)
        assert b"not signed" in s.recv(65536)
