"""How a base gets onto the follower's disk: past the page cache or through it, whatever the size of its pages, and only
when the database is sound."""
import os
import shutil
import sqlite3
import subprocess
import tempfile
import threading
from pathlib import Path

import pytest

from tools import handover, paths, wait
from tools.handover import hand_over_and_compare, write
from tools.writers import stored

MIB = 1 << 20


def seed_of(folder, page_size=4096, mib=3):
    """A database that ends within a block of the disk, where its pages are small enough."""
    p = Path(folder) / "seed.sqlite"
    con = sqlite3.connect(p)
    con.execute(f"PRAGMA page_size={page_size}")
    con.execute("PRAGMA journal_mode=WAL")
    con.execute("CREATE TABLE writes (id TEXT NOT NULL, instance TEXT)")
    con.execute("CREATE TABLE ballast (n INTEGER PRIMARY KEY, data BLOB)")
    con.executemany("INSERT INTO ballast (data) VALUES (randomblob(10000))", ((),) * (mib * 100))
    con.commit()
    for _ in range(2 * 64 * 1024 // page_size):
        con.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
        if page_size >= 4096 or p.stat().st_size % 4096 != 0:
            break
        con.execute("INSERT INTO ballast (data) VALUES (randomblob(?))", (page_size,))
        con.commit()
    assert page_size >= 4096 or p.stat().st_size % 4096 != 0, "the last block is not whole"
    assert con.execute("PRAGMA page_size").fetchone()[0] == page_size
    con.close()
    paths.give(p)
    return p


@pytest.fixture
def two(sidecar, tmp):
    """two(…) -> a primary and one that has not begun; fault: at which the one or the other fails."""
    def make(page_size=4096, mib=3, old=None, new=None, **kw):
        seed = seed_of(tmp, page_size, mib)
        a, b = sidecar("a", seed=seed), sidecar("b", seed=seed, **kw)
        for s, fault in ((a, old), (b, new)):
            if fault:
                s.binary, s.env = paths.staged(paths.faults_binary(), tmp), {"SIDECAR_FAULT": fault}
        a.start()
        a.post_start()
        b.start()
        return a, b
    return make


def is_level(a, b):
    wait.until(lambda: b.status()["state"] == "STANDBY" and stored(b.database) == stored(a.database), 30, "a level standby")


def follows_and_takes_over(a, b):
    write(a.database, "after")
    is_level(a, b)
    hand_over_and_compare(a, b)


@pytest.mark.parametrize("page_size", [512, 1024, 4096, 65536])
@pytest.mark.parametrize("new", [None, "open-direct:1:EINVAL"], ids=["past the cache", "through it"])
def test_pages_of_each_size(two, page_size, new):
    a, b = two(page_size, new=new)
    write(a.database, "before")
    b.post_start()
    follows_and_takes_over(a, b)


@pytest.mark.parametrize("n", [1, 2, 3])
def test_a_file_system_that_refuses_when_it_is_written(two, n):
    """EINVAL comes with the first write on some, on others where a file is of another kind than before."""
    a, b = two(new=f"pwrite-direct:{n}:EINVAL")
    b.post_start()
    hand_over_and_compare(a, b)


def test_a_file_system_in_memory(two):
    """No disk, and before Linux 6.6 no way past the page cache."""
    if not os.path.isdir("/dev/shm") or shutil.disk_usage("/dev/shm").free < 64 * MIB:
        pytest.skip("/dev/shm with 64 MiB free is missing")
    with tempfile.TemporaryDirectory(dir="/dev/shm", prefix="demo-base-") as d:
        os.chmod(d, 0o755)
        paths.give(d)
        a, b = two(options={"database": f"{d}/database.sqlite", "state-dir": f"{d}/.sidecar"})
        b.database = Path(d) / "database.sqlite"
        b.post_start()
        follows_and_takes_over(a, b)
        b.stop()


@pytest.mark.parametrize("action", ["ENOSPC", "EIO"])
def test_the_disk_fails_in_the_middle(two, action):
    """The reason is told, nothing half-written stays in the way, and the primary is not concerned."""
    a, b = two(new=f"pwrite-direct:3:{action}")
    r = b.post_start(check=False)
    if action == "ENOSPC":      # another attempt does not cure it
        assert r.returncode == 1 and "incoming.sqlite" in r.stderr and "No space left" in r.stderr
        assert not b.database.exists() and not (b.state_dir / "incoming.sqlite").exists()
        b.post_start()
    assert "incoming.sqlite" in b.log()
    follows_and_takes_over(a, b)


def test_the_disk_does_not_take_what_went_through_the_cache(two):
    """The kernel tells that once, here in the middle, and the sync at the end succeeds: the copy begins anew, in a new file."""
    a, b = two(mib=24, new="open-direct:1:EINVAL,write-back:2:EIO")
    b.post_start()
    assert "SC0443" in b.log() and "incoming.sqlite: Input/output error" in b.log() and "SC0413" not in b.log()
    follows_and_takes_over(a, b)


def test_a_file_system_that_can_not_write_back(two):
    a, b = two(mib=24, new="open-direct:1:EINVAL,write-back:1:EINVAL")
    b.post_start()
    assert "SC0443" not in b.log() and "SC0410" not in b.log()
    is_level(a, b)


def test_a_standby_whose_disk_is_full_tries_on(two, tmp):
    """Nobody waits for it any more who would begin the copy again."""
    a, b = two()
    b.post_start()
    is_level(a, b)
    b.stop()
    con = sqlite3.connect(a.database)
    con.execute("UPDATE ballast SET data = randomblob(10000)")
    con.commit()
    con.close()
    handover.begin_log_anew(a)
    b.binary, b.env = paths.staged(paths.faults_binary(), tmp), {"SIDECAR_FAULT": "pwrite-direct:2:ENOSPC"}
    b.start()
    wait.until(lambda: "No space left" in b.log(), 10, "the full disk")
    is_level(a, b)
    assert "SC0411" not in b.log()


def test_who_reads_it_through_the_cache_meanwhile(two):
    """A backup's or a scanner's reads put pages into the cache which the base then goes past."""
    a, b = two(mib=24)
    incoming, stop, seen = b.state_dir / "incoming.sqlite", threading.Event(), []

    def read():
        while not stop.is_set():
            for p in (incoming, b.database):
                try:
                    seen.append(len(p.read_bytes()))
                except OSError:
                    pass
            stop.wait(0.01)
    t = threading.Thread(target=read)
    t.start()
    try:
        b.post_start()
        write(a.database, *(f"w{i}" for i in range(50)))
        is_level(a, b)
    finally:
        stop.set()
        t.join()
    assert seen
    hand_over_and_compare(a, b)


def test_the_page_cache_is_left_alone(two):
    """What a container's memory is charged for, and what PHP's syncs on the same disk would have to write."""
    if not shutil.which("fincore"):
        pytest.skip("fincore is missing (util-linux)")
    a, b = two(mib=24)
    try:
        probe = os.open(b.root / "data" / "probe", os.O_WRONLY | os.O_CREAT | os.O_DIRECT)
    except OSError as e:
        pytest.skip(f"no O_DIRECT in {b.root}: {e.strerror}")
    os.close(probe)
    b.post_start()
    out = subprocess.run(["fincore", "--bytes", "--noheadings", "--output", "RES", b.database], capture_output=True,
                         text=True, check=True).stdout
    if "SC0413" in b.log():
        pytest.skip("the stream broke on this machine: what was there was read to go on with it")
    assert int(out) < b.database.stat().st_size / 4


def spoil(database):
    """Bytes in the middle of the file that are no page, and as PHP would find it: not in anybody's cache of pages."""
    with open(database, "r+b") as f:
        f.seek(database.stat().st_size // 2 // 4096 * 4096)
        for _ in range(40):
            f.write(b"\xff" * 4096)


@pytest.mark.parametrize("old", [None, "unchecked:1:EIO"], ids=["the old one checks", "an older version does not"])
def test_a_database_that_is_not_sound(two, old):
    """No standby is made of it, and the hook says why; the primary serves what it has."""
    a, b = two(old=old)
    spoil(a.database)
    if old is None:
        r = b.post_start(check=False)
        assert r.returncode == 1 and "fails its check" in r.stderr, r.stderr
        assert "SC0418" in a.log()
        assert b.status()["state"] == "EMPTY"
    else:
        t = threading.Thread(target=b.post_start, kwargs={"check": False, "timeout": 120})
        t.start()
        wait.until(lambda: "fails its check" in b.log(), 30, "the new one's own check")
        assert b.status()["state"] != "STANDBY"
        b.stop()
        t.join()
    assert not b.database.exists()
    assert a.status()["state"] == "PRIMARY"


def test_an_older_primary_that_checks_nothing(two):
    a, b = two(old="unchecked:1:EIO")
    r = b.post_start()
    assert "checking the base" in r.stderr
    is_level(a, b)
    hand_over_and_compare(a, b)


def test_a_check_that_takes_longer_than_post_start_waits(two):
    """Something moves all the while, so that a connection which breaks after it is no reason to give up and remove the copy."""
    a, b = two(old="check:1:6s,check:1:EIO", options={"sync-timeout": "3s"})
    b.post_start()
    assert "SC0404" in a.log() and "SC0413" in b.log() and "SC0411" not in b.log()
    is_level(a, b)


def test_a_description_that_takes_longer_than_post_start_waits(two):
    """Of what lay there after a restart; the primary can not be reached at first."""
    a, b = two(new="install:1:kill", options={"sync-timeout": "3s"})
    b.post_start(check=False, start_timeout="1s")
    b.proc.wait()
    b.env = {"SIDECAR_FAULT": "describe:1:5s,follow>connect:1:ETIMEDOUT"}
    b.start()
    b.post_start()
    assert "SC0410" in b.log() and "SC0413" in b.log() and "SC0411" not in b.log()
    is_level(a, b)


def test_requests_while_the_check_goes_on(two):
    """Frames are sent meanwhile; the standby is level when it becomes one."""
    a, b = two(mib=24)
    stop = threading.Event()

    def writes():
        i = 0
        while not stop.is_set():
            write(a.database, f"w{i}")
            i += 1
    t = threading.Thread(target=writes)
    t.start()
    try:
        b.post_start()
    finally:
        stop.set()
        t.join()
    is_level(a, b)
    hand_over_and_compare(a, b)
