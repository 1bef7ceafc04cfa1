"""Files that lie where the database goes and are not of its lineage, and instances at an address that are not the ones meant."""
from __future__ import annotations

import os
import shutil
import signal
import socket
import sqlite3
import threading

import pytest

from tools import chaos, fcgi, handover, paths, wait

MIB = 1 << 20


@pytest.fixture
def seed(tmp):
    return handover.seed(tmp)


@pytest.fixture
def stranger():
    """stranger(path): a database whose only row is in its log; as a process that was killed leaves it."""
    def make(path):
        live = path.with_name("live.sqlite")
        con = sqlite3.connect(live)
        con.execute("PRAGMA journal_mode = WAL")
        con.execute("PRAGMA wal_autocheckpoint = 0")
        con.execute("CREATE TABLE writes (id)")
        con.execute("INSERT INTO writes VALUES ('precious')")
        con.commit()
        for suffix in ("", "-wal"):
            shutil.copy(f"{live}{suffix}", f"{path}{suffix}")
            paths.give(path.with_name(path.name + suffix))
        con.close()
        live.unlink()
    return make


def rows(path):
    con = sqlite3.connect(path)
    try:
        return [r[0] for r in con.execute("SELECT id FROM writes")]
    finally:
        con.close()


def set_aside(instance):
    return sorted(p.name.removeprefix(instance.database.name) for p in instance.database.parent.glob("*.replaced-*"))


def check_whole(instance):
    """It was set aside with its log, without which its row would be lost."""
    names = set_aside(instance)
    assert len(names) == 2 and names[1] == names[0] + "-wal", names
    assert rows(instance.database.with_name(instance.database.name + names[0])) == ["precious"]


def test_it_is_set_aside_with_its_log(sidecar, seed, stranger):
    with sidecar("a", seed=seed) as a, sidecar("b", seed=seed) as b:
        a.post_start()
        stranger(b.database)
        b.post_start()
        assert b.status()["state"] == "STANDBY" and rows(b.database) == []
        check_whole(b)


def test_after_a_first_copy_that_was_cut_short_it_is_a_stranger_still(sidecar, tmp, stranger):
    seed = handover.seed(tmp, rows=6000, row_bytes=4000)
    a, b = sidecar("a", seed=seed), sidecar("b", seed=seed)
    with chaos.Chaos(a.control_port, a.port) as c:
        a.options["advertise"] = c.host
        with a, b:
            a.post_start()
            stranger(b.database)
            c.rate = 6 * MIB
            t = threading.Thread(target=b.post_start, kwargs={"check": False, "start_timeout": "2s"})
            t.start()
            wait.until(lambda: c.passed > a.database.stat().st_size // 4, 30, "a quarter of the base")
            b.kill()
            t.join(60)
            c.rate = None
            b.start()
            b.post_start()
            check_whole(b)


def test_a_log_that_was_left_is_not_put_into_the_seed(sidecar, seed, stranger):
    a = sidecar("a", seed=seed)
    stranger(a.database)
    a.database.unlink()
    with a:
        a.post_start()
        assert rows(a.database) == []
        names = set_aside(a)
        assert len(names) == 1 and names[0].endswith("-wal")


def test_a_snapshot_does_not_go_where_a_log_was_left(sidecar, seed, stranger):
    with sidecar("a", seed=seed) as a:
        a.post_start()
        target = a.root / "snapshot.sqlite"
        stranger(target)
        before = target.read_bytes()
        r = a.run("snapshot", str(target))
        assert r.returncode == 2 and f"{target}-wal is there" in r.stderr
        assert target.read_bytes() == before
        target.with_name(target.name + "-wal").unlink()
        assert a.run("snapshot", str(target)).returncode == 0 and rows(target) == []


def test_promote_is_not_kept_by_another_instance_at_the_address_of_the_primary(sidecar, seed):
    """A pod's address is given to another pod."""
    a, b = sidecar("a", seed=seed), sidecar("b", seed=seed)
    with b:
        with a:
            a.post_start()
            b.post_start()
            r = b.run("promote")
            assert r.returncode == 3 and "use its pre-stop" in r.stderr
            a.kill()
        shutil.rmtree(a.state_dir)
        a.state_dir.mkdir()
        paths.give(a.state_dir)
        with a:
            assert a.status()["state"] == "EMPTY"
            assert b.run("promote").returncode == 0
            wait.until(lambda: b.status()["state"] == "PRIMARY", 20, "the new primary")


def test_a_standby_that_ends_promises_nothing(sidecar, seed):
    """TERM without pre-stop: it is there for --lame-duck, and a primary that hands over looks for another one."""
    with socket.create_server(("127.0.0.1", 0)) as php:     # accepts, which is all that is asked of it
        a = sidecar("a", seed=seed, options={"handoff-timeout": "4s"})
        b = sidecar("b", seed=seed, upstream=f"127.0.0.1:{php.getsockname()[1]}", options={"lame-duck": "20s"})
        with a, b:
            a.post_start()
            b.post_start()
            with fcgi.Client(b.relay, timeout=60):          # somebody is connected still
                os.kill(b.proc.pid, signal.SIGTERM)
                wait.until(lambda: "SC0101" in b.log(), 20, "b ends")
                assert a.pre_stop(check=False).returncode != 0
                assert "is leaving" in a.log()
            assert a.status()["state"] == "PRIMARY"
