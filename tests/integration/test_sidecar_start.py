"""How an instance comes to life: first deployment, standby, restarts, and what has to fail."""
import json
import os
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time

import pytest

from tools import fcgi, handover, leaseapi, paths, wait
from tools.handover import write
from tools.writers import stored


@pytest.fixture
def seed(tmp):
    return handover.seed(tmp)


@pytest.fixture
def pair(sidecar, seed):
    """A primary and one that has not begun."""
    a, b = sidecar("a", seed=seed), sidecar("b", seed=seed)
    a.start()
    a.post_start()
    b.start()
    return a, b


def test_first_deployment_installs_the_seed(sidecar, seed):
    with sidecar("a", seed=seed) as a:
        assert a.status()["state"] == "EMPTY" and a.http("/readyz").status == 503
        a.post_start()
        s = a.status()
        assert (s["state"], s["epoch"], s["primary"]) == ("PRIMARY", 1, True)
        assert stored(a.database) == []
        con = sqlite3.connect(a.database)
        assert con.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        con.close()
        a.post_start()
        assert a.status()["epoch"] == 1, "a second run changes nothing"


def test_a_primary_is_ready_when_php_fpm_is_there(sidecar, php_fpm, seed):
    """Not a request before: nobody would send one to an instance that is not ready."""
    a = handover.Instance("a", sidecar, php_fpm, seed)
    a.sidecar.start()
    a.sidecar.post_start()
    assert a.sidecar.http("/readyz").status == 503
    assert "php-fpm is down" in a.sidecar.http("/readyz?verbose").text
    a.php.start()
    assert a.sidecar.http("/readyz").status == 200
    a.php.stop()
    wait.until(lambda: a.sidecar.http("/readyz").status == 503, 10, "the primary is no longer ready")


def test_a_primary_is_not_ready_when_php_fpm_has_died(sidecar, php_fpm, seed):
    """Nor a request after its death: the last one was answered well."""
    a = handover.Instance("a", sidecar, php_fpm, seed).start()
    assert fcgi.request(a.sidecar.relay, handover.params(a.php, "id=one"), timeout=30).complete
    assert a.sidecar.http("/readyz").status == 200
    a.php.kill()
    wait.until(lambda: a.sidecar.http("/readyz").status == 503, 10, "the primary is no longer ready")
    assert "php-fpm is down" in a.sidecar.http("/readyz?verbose").text
    a.php.start()
    assert a.sidecar.http("/readyz").status == 200


@pytest.mark.parametrize("journal", ["delete", "wal", "persist"])
def test_a_seed_in_any_journal_mode(sidecar, tmp, journal):
    seed = handover.seed(tmp, rows=50, journal=journal)
    os.chmod(seed, 0o444)
    with sidecar("a", seed=seed) as a:
        a.post_start()
        con = sqlite3.connect(a.database)
        assert con.execute("PRAGMA journal_mode").fetchone()[0] == "wal"
        assert con.execute("SELECT count(*) FROM ballast").fetchone()[0] == 50
        con.close()


def end_within(a, seconds):
    began = time.monotonic()
    a.stop(timeout=40)
    assert time.monotonic() - began < seconds


def test_term_does_not_wait_for_a_standby_that_takes_nothing(pair):
    """It stands still, and there is more to send than the sockets hold."""
    a, b = pair
    b.post_start()
    b.proc.send(signal.SIGSTOP)
    try:
        con = sqlite3.connect(a.database)
        con.execute("INSERT INTO ballast (data) VALUES (randomblob(100 << 20))")
        con.commit()
        wait.until(lambda: a.status()["lag_bytes"] > 0, 10, "a stream that is stuck")
        end_within(a, 15)
        con.close()
    finally:
        b.proc.send(signal.SIGCONT)


def test_term_does_not_wait_for_a_request_that_does_not_come(sidecar, seed):
    """Somebody has begun to say something on the control port."""
    with sidecar("a", seed=seed) as a, socket.create_connection(a.control) as s:
        s.sendall(fcgi.begin_request() + fcgi.params_records({"CONTENT_LENGTH": "100"}))
        time.sleep(1)
        end_within(a, 5)


def test_an_empty_file_is_a_database(sidecar, tmp):
    seed = tmp / "empty.sqlite"
    seed.touch()
    a, b = sidecar("a", seed=seed), sidecar("b", seed=seed)
    with a, b:
        a.post_start()
        b.post_start()
        a.pre_stop()
        assert b.status()["state"] == "PRIMARY"
        con = sqlite3.connect(b.database)
        con.execute("CREATE TABLE t (x)")
        con.close()


def test_without_a_seed(sidecar, tmp):
    with sidecar("a", seed=tmp / "none.sqlite") as a:
        r = a.post_start(check=False)
        assert r.returncode == 1 and "there is no seed database" in r.stderr
        assert "there is no seed database" in a.termination_log.read_text()
        assert len(a.termination_log.read_text().splitlines()) == 1
        assert not a.database.exists() and a.status()["state"] == "EMPTY"


def test_a_damaged_seed(sidecar, tmp):
    seed = tmp / "bad.sqlite"
    seed.write_bytes(b"this is no database, but it is long enough to be looked at by SQLite" * 100)
    with sidecar("a", seed=seed) as a:
        r = a.post_start(check=False)
        assert r.returncode == 1 and "not a database" in r.stderr
        assert not a.database.exists() and not list(a.state_dir.glob("*.sqlite*"))


def test_a_database_that_is_there_is_adopted(sidecar, seed):
    a = sidecar("a", seed=seed)
    con = sqlite3.connect(a.database)
    con.execute("CREATE TABLE writes (id)")
    con.execute("INSERT INTO writes VALUES ('precious')")
    con.commit()
    con.close()
    paths.give(a.database)
    with a:
        a.post_start()
        assert stored(a.database) == ["precious"]


def found(instance, *rows):
    """A database that lies at --database before the first start."""
    con = sqlite3.connect(instance.database)
    con.execute("CREATE TABLE writes (id)")
    con.executemany("INSERT INTO writes VALUES (?)", [(r,) for r in rows])
    con.commit()
    con.close()
    paths.give(instance.database)


def test_a_killed_writer_left_its_journal(sidecar, seed):
    """A hot journal beside the database that is adopted: half a transaction is rolled back, as any program would do."""
    a = sidecar("a", seed=seed)
    found(a, "precious")
    half = ("import os, sqlite3, sys; c = sqlite3.connect(sys.argv[1]); c.execute('PRAGMA cache_size=2'); c.execute('BEGIN IMMEDIATE')\n"
            "c.executemany('INSERT INTO writes VALUES (?)', (('half' * 250,) for i in range(1000)))\nos.kill(os.getpid(), 9)")
    subprocess.run([sys.executable, "-c", half, a.database], timeout=60)
    journal = a.database.with_name(a.database.name + "-journal")
    assert journal.stat().st_size > 0
    paths.give(a.database)
    paths.give(journal)
    with a:
        a.post_start()
        assert stored(a.database) == ["precious"] and not journal.exists()


def test_a_database_that_can_not_be_written(sidecar, seed):
    """Nobody becomes primary of it, and what to look at is told."""
    a = sidecar("a", seed=seed)
    found(a, "precious")
    a.database.chmod(0o444)
    with a:
        r = a.post_start(check=False)
        assert r.returncode == 1 and f"{a.database} can not be written" in r.stderr
        assert a.status()["state"] == "EMPTY" and not a.record.exists()
        a.database.chmod(0o644)
        a.post_start()
        assert stored(a.database) == ["precious"]


def test_a_primary_that_can_not_open_its_database(sidecar, seed):
    """post-start fails with the reason as long as that lasts; when it is gone it succeeds."""
    a, b = sidecar("a", seed=seed), sidecar("b", seed=seed)
    found(a, "precious")
    in_the_way = a.database.with_name(a.database.name + "-shm")
    in_the_way.mkdir()
    with a, b:
        for again in range(2):
            r = a.post_start(check=False)
            assert r.returncode == 1 and str(a.database) in r.stderr, r.stderr
        assert "SC0411" in a.log()
        r = b.post_start(check=False, sync_timeout="1s")
        assert r.returncode != 0 and "not PRIMARY" not in r.stderr
        in_the_way.rmdir()
        a.post_start()
        b.post_start()
        assert stored(b.database) == ["precious"]


def test_a_database_that_serve_could_open_after_all(sidecar, seed):
    """serve goes on trying: post-start is told of what is, not of its last failure."""
    a, b = sidecar("a", seed=seed), sidecar("b", seed=seed)
    found(a, "precious")
    in_the_way = a.database.with_name(a.database.name + "-shm")
    in_the_way.mkdir()
    with a, b:
        assert a.post_start(check=False).returncode == 1
        in_the_way.rmdir()
        b.post_start()                                          # nobody can follow before a's database is open
        a.post_start()
        assert stored(b.database) == ["precious"]


def test_a_database_behind_a_symbolic_link(sidecar, seed):
    """SQLite keeps the log beside the file that the link leads to: so PHP and the sidecar mean the same one."""
    a, b = sidecar("a", seed=seed), sidecar("b", seed=seed)
    real = [i.root / "data" / "real" / "app.sqlite" for i in (a, b)]
    for i, path in zip((a, b), real):
        path.parent.mkdir()
        paths.give(path.parent)
        i.database.symlink_to("real/app.sqlite")
    with a, b:
        a.post_start()
        write(a.database, "one")
        b.post_start()
        a.pre_stop()
        write(b.database, "two")
        a.post_start()
        b.pre_stop()
        assert stored(real[0]) == ["one", "two"]
        assert a.database.is_symlink() and b.database.is_symlink()


def test_the_second_becomes_a_standby_and_follows(pair):
    a, b = pair
    write(a.database, "before")
    b.post_start()
    s = b.status()
    assert (s["state"], s["epoch"], s["primary"]) == ("STANDBY", 1, False)
    assert s["lineage"] == a.status()["lineage"] and s["primary_uid"] == a.status()["uid"]
    assert stored(b.database) == ["before"]
    write(a.database, "after")
    wait.until(lambda: "after" in stored(b.database), 5, "the row on the standby")
    assert b.http("/readyz").status == 200
    with pytest.raises(sqlite3.OperationalError, match="readonly"):
        write(b.database, "wrong")
    assert oct(b.database.stat().st_mode) == oct(a.database.stat().st_mode)
    assert b.database.stat().st_uid == b.database.parent.stat().st_uid


def seen(database) -> set:
    """The ids in the file of a standby that follows; nothing when it was met within a transaction."""
    try:
        return set(stored(database))
    except sqlite3.DatabaseError:
        return set()


def test_a_copy_while_the_database_is_written(sidecar, tmp):
    seed = handover.seed(tmp, rows=20000)
    a, b = sidecar("a", seed=seed), sidecar("b", seed=seed)
    with a, b:
        a.post_start()
        stop, ids = threading.Event(), []

        def work():
            con = sqlite3.connect(a.database, timeout=10)
            while not stop.is_set():
                i = f"row-{len(ids)}"
                con.execute("INSERT INTO writes (id) VALUES (?)", (i,))
                con.execute("UPDATE ballast SET data = randomblob(1000) WHERE n = abs(random()) % 20000")
                con.commit()
                ids.append(i)
                if len(ids) % 50 == 0:
                    con.execute("PRAGMA wal_checkpoint(RESTART)")
            con.close()
        t = threading.Thread(target=work)
        t.start()
        try:
            wait.until(lambda: len(ids) > 20, 10, "some rows")
            before = list(ids)
            b.post_start()
            wait.until(lambda: set(before) <= seen(b.database), 10, "what was written before the copy")
        finally:
            stop.set()
            t.join()
        wait.until(lambda: stored(b.database) == ids, 10, "all rows on the standby")
        a.pre_stop()
        assert stored(b.database) == ids
        con = sqlite3.connect(b.database)
        assert con.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
        con.close()


def test_the_primary_is_gone(pair):
    a, b = pair
    b.stop()
    b.options["sync-timeout"] = "2s"
    b.start()
    a.kill()
    r = b.post_start(check=False, timeout=90)
    assert r.returncode == 1 and "can not connect" in r.stderr
    assert "can not connect" in b.termination_log.read_text()
    assert not b.database.exists() and not list(b.state_dir.glob("incoming*"))
    assert b.status()["state"] == "EMPTY" and b.http("/readyz").status == 503


def test_another_key_is_refused(pair, tmp):
    a, b = pair
    from tools import sidecar as tool
    b.stop()
    b.options["secret-file"] = tool.secret_file(tmp, "other")
    b.options["sync-timeout"] = "1s"
    b.start()
    r = b.post_start(check=False)
    assert r.returncode == 1 and "not signed with our --secret-file" in r.stderr
    assert "SC0601" in a.log() and not b.database.exists()
    secret = open(b.options["secret-file"]).read().strip()
    assert secret not in a.log() + b.log() + r.stderr


def test_a_half_open_peer_does_not_stop_the_control_port(pair):
    a, b = pair
    silent = [socket.create_connection(a.control) for _ in range(10)]
    try:
        t0 = time.monotonic()
        b.post_start()
        assert time.monotonic() - t0 < 15 * wait.FACTOR
    finally:
        for s in silent:
            s.close()


def test_garbage_on_the_control_port(pair):
    a, b = pair
    for junk in (b"GET / HTTP/1.0\r\n\r\n", os.urandom(4096), b"\x01\x01\x00\x01\xff\xff", b"\x01" * 8):
        with socket.create_connection(a.control, timeout=2) as s:
            s.sendall(junk)
    b.post_start()
    assert b.status()["state"] == "STANDBY"


def test_restart_of_the_primary(pair):
    a, b = pair
    b.post_start()
    write(a.database, "one")
    a.kill()
    a.start()
    s = a.status()
    assert (s["state"], s["epoch"]) == ("PRIMARY", 1)
    write(a.database, "two")
    wait.until(lambda: b.status()["state"] == "STANDBY" and "two" in stored(b.database), 15, "the standby follows again")


def test_restart_of_the_standby(pair):
    a, b = pair
    b.post_start()
    b.kill()
    write(a.database, "meanwhile")
    b.start()
    b.post_start()
    assert b.status()["state"] == "STANDBY" and "meanwhile" in stored(b.database)


def test_post_start_of_a_restarted_standby_waits_until_it_follows(pair):
    a, b = pair
    b.post_start()
    write(a.database, "meanwhile")
    a.kill()
    b.kill()
    b.start()
    hook = threading.Thread(target=b.post_start)
    hook.start()
    wait.until(lambda: (b.status()["copy"] or {}).get("phase") == "following the primary again", 10, "the hook's work")
    a.start()
    hook.join()
    assert b.status()["state"] == "STANDBY" and "meanwhile" in stored(b.database)


def test_post_start_of_a_restarted_standby_whose_primary_is_gone(pair):
    """It stays, for the operator may have to promote it: a hook that failed would have it killed."""
    a, b = pair
    b.post_start()
    a.kill()
    b.kill()
    b.start(sync_timeout="1s")
    assert "done: STANDBY" in b.post_start().stderr
    assert b.run("promote").returncode == 0 and b.status()["primary"]


def test_a_state_that_the_authority_has_left_behind(pair):
    a, b = pair
    a.stop()
    record = json.loads(a.record.read_text())
    record["epoch"], record["primary"]["uid"] = 5, "another"
    a.record.write_text(json.dumps(record))
    r = a.run("serve", timeout=10)
    assert r.returncode == 3 and "out of date" in r.stderr


def test_a_foreign_lineage_is_not_called_out_of_date(pair):
    """Who believed that would remove the only good database."""
    a, b = pair
    a.stop()
    a.record.unlink()
    b.post_start()
    r = a.run("serve", timeout=10)
    assert r.returncode == 3 and "another lineage" in r.stderr and "out of date" not in r.stderr
    assert "remove the record if it names that one" in r.stderr


def test_two_first_instances_at_once(sidecar, seed):
    both = [sidecar("a", seed=seed).start(), sidecar("b", seed=seed).start()]
    threads = [threading.Thread(target=s.post_start) for s in both]
    for t in threads:
        t.start()
    for t in threads:
        t.join()
    assert sorted(s.status()["state"] for s in both) == ["PRIMARY", "STANDBY"]
    assert both[0].status()["lineage"] == both[1].status()["lineage"]


def test_metrics_are_clean(pair):
    a, b = pair
    b.post_start()
    paths.require("promtool")
    for s in pair:
        text = s.http("/metrics").text
        r = subprocess.run(["promtool", "check", "metrics"], input=text, capture_output=True, text=True, check=False)
        assert r.returncode == 0, r.stdout + r.stderr
    assert 'sidecar_state{state="STANDBY"} 1' in b.http("/metrics").text
    assert a.http("/nothing").status == 404
    assert a.http("/readyz?verbose").text.startswith("[+]serve ok")
    both = a.http("/readyz?verbose&exclude=serve&exclude=database&exclude=nobody").text
    assert both == "[+]serve excluded\n[+]database excluded\nwarn: no such check to exclude: nobody\nok\n"
    assert a.http("/readyz", headers={"Accept": "application/health+json"}).text.startswith('{"checks"')


@pytest.fixture
def lease(tmp):
    with leaseapi.LeaseApi() as api:
        account = tmp / "account"
        account.mkdir()
        (account / "token").write_text(api.token + "\n")
        paths.give(account)
        api.path = api.put_object("testing", "php-fpm")
        api.options = {"kubernetes-api": api.url, "kubernetes-account": account}
        yield api


def test_lease_authority(sidecar, seed, lease):
    make = lambda name: sidecar(name, seed=seed, authority_url="lease://testing/php-fpm", options=lease.options)  # noqa: E731
    a, b = make("a"), make("b")
    with a, b:
        a.post_start()
        b.post_start()
        write(a.database, "one")
        lease.lose_answers = 1      # the swap at the cut-over is done, but nobody is told
        a.pre_stop()
        spec = lease.objects[lease.path]["spec"]
        assert spec["holderIdentity"] == b.status()["uid"] and spec["leaseTransitions"] == 2
        assert b.status()["state"] == "PRIMARY" and stored(b.database) == ["one"]


def test_lease_authority_forbidden(sidecar, seed, lease):
    lease.token = "another"
    a = sidecar("a", seed=seed, authority_url="lease://testing/php-fpm",
                options=lease.options | {"sync-timeout": "1s"})
    with a:
        r = a.post_start(check=False)
        assert r.returncode == 1 and "HTTP 401" in r.stderr and "get and update" in r.stderr
        assert not a.database.exists(), "no bootstrap when the authority can not be asked"


def test_a_lease_that_is_gone_and_may_not_be_created(sidecar, seed, lease):
    """Nobody else can have become primary: it goes on, through a restart too, and tells it once each time."""
    a = sidecar("a", seed=seed, authority_url="lease://testing/php-fpm", options=lease.options)
    with a:
        a.post_start()
        lease.refused = ("POST",)
        lease.objects.clear()
        for told in (1, 2, 3):
            wait.until(lambda: a.log().count("SC0408") == told and "HTTP 403" in a.log(), 12, "what is wrong with the record")
            if told < 3:
                a.stop()
                a.start()
            assert a.status()["state"] == "PRIMARY"
        lease.refused = ()
        wait.until(lambda: "SC0407" in a.log() and lease.path in lease.objects, 12, "the record to be written again")


def test_pre_stop_when_the_whole_release_is_deleted(sidecar, seed, lease):
    """The service account is gone: no pod can follow, so none is waited for."""
    a = sidecar("a", seed=seed, authority_url="lease://testing/php-fpm", options=lease.options | {"handoff-timeout": "40s"})
    with a:
        a.post_start()
        lease.token = "of an account that is deleted"
        r = a.pre_stop(check=False)
        assert r.returncode == 1 and "no standby can come" in r.stderr and "HTTP 401" in r.stderr
        status = a.status()
        assert status["state"] == "PRIMARY" and status["leaving"] and not status["handing_over"]


def test_the_authoritys_address_is_stale(pair):
    """--peer finds the primary when its address in the record does not answer."""
    a, b = pair
    record = json.loads(a.record.read_text())
    record["primary"]["control"] = "127.0.0.1:1"
    a.record.write_text(json.dumps(record))
    b.stop()
    b.options["peer"] = f"127.0.0.1:{a.control_port}"
    b.start()
    b.post_start()
    assert b.status()["state"] == "STANDBY"
