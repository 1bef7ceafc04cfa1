"""What only the operator can decide: promote, and the advice that names it, where nobody would serve any more by himself."""
import json
import signal
import threading

import pytest

from tools import handover, paths, wait
from tools.handover import write
from tools.writers import stored


@pytest.fixture
def two(sidecar, tmp):
    """A primary and its standby, without PHP; the build with faults."""
    seed = handover.seed(tmp, rows=200, row_bytes=10000)
    a, b = (sidecar(n, seed=seed) for n in "ab")
    for s in (a, b):
        s.binary = paths.staged(paths.faults_binary(), tmp)
    a.start()
    a.post_start()
    write(a.database, "before")
    return a, b


def fenced(a, b, fault):
    """a is past the commit point, b has died at that point of the GRANT."""
    b.env = {"SIDECAR_FAULT": fault}
    b.start()
    b.post_start()
    t = threading.Thread(target=a.pre_stop, kwargs={"check": False, "start_timeout": "2s"})
    t.start()
    wait.until(lambda: not b.proc.running() and a.status()["state"] == "FENCED", 30, "the loss of the successor")
    return t


def copying_again(a, b):
    """b was a standby and has begun another base when it died; it is there again, and a is gone."""
    b.start()
    b.post_start()
    wait.until(lambda: stored(b.database) == ["before"], 20, "a standby that is level")
    b.stop()
    write(a.database, *(f"later-{i}" for i in range(20000)))
    handover.begin_log_anew(a)
    a.proc.send(signal.SIGSTOP)
    b.env = {"SIDECAR_FAULT": "pwrite-direct:2:kill"}
    b.start()
    a.proc.send(signal.SIGCONT)
    b.proc.wait(30 * wait.FACTOR)
    a.kill()
    b.env = {}
    b.start()


def test_the_successor_is_lost_after_its_swap(two):
    """The authority names it; what it may have written is lost, and only the operator can say so."""
    a, b = two
    t = fenced(a, b, "swapped:1:kill")
    advice = wait.until(lambda: a.status()["advice"], 20, "the advice")
    assert "fcgi-sidecar promote --force, on this instance" in advice
    r = a.run("promote")
    assert r.returncode == 3 and "the successor has the database" in r.stderr and "promote --force" in r.stderr
    assert a.status()["state"] == "FENCED"
    r = a.run("promote", "--force")
    assert r.returncode == 0, r.stderr
    assert (a.status()["state"], a.status()["epoch"]) == ("PRIMARY", 3)
    write(a.database, "after")
    b.env = {}
    b.start()       # it comes back all the same: the authority has gone on without it
    wait.until(lambda: b.status()["state"] in ("STANDBY", "PRIMARY") and stored(b.database) == ["before", "after"], 30, "a standby again")
    t.join(120 * wait.FACTOR)


def test_the_successor_has_handed_on_and_is_gone(two):
    """Nobody is left to confirm; the authority names a third one, and that is where requests go."""
    a, b = two
    t = fenced(a, b, "swapped:1:kill")
    record = json.loads(a.record.read_text())
    third = record["primary"] | {"uid": "3" * 32}
    a.record.write_text(json.dumps(record | {"epoch": 3, "primary": third}))
    wait.until(lambda: a.status()["state"] == "FORWARDING", 20, "the old one")
    t.join(60 * wait.FACTOR)
    assert "SC0444" in a.log() and (a.status()["epoch"], a.status()["advice"]) == (3, None)
    # After a restart it asks again where that is.
    a.record.write_text(json.dumps(record | {"epoch": 4, "primary": third}))
    a.kill()
    a.start()
    assert a.status()["state"] == "FORWARDING" and "held -> forward, epoch 4" in a.log()


def test_the_authority_was_brought_back_from_an_earlier_epoch(two):
    """Its record is not newer than the primary: nobody calls the only current database out of date."""
    a, b = two
    b.start()
    b.post_start()
    old = a.record.read_text()
    a.pre_stop()
    new = json.loads(a.record.read_text())
    assert new["epoch"] == 2
    for restart in (False, True):
        if restart:
            b.kill()
        a.record.write_text(old)
        if restart:
            b.start()
        wait.until(lambda: json.loads(a.record.read_text()) == new, 20, "the record")
        assert b.status()["state"] == "PRIMARY"
    assert b.log().count("SC0407") == 2


def test_a_copy_of_before_is_promoted_while_the_next_one_comes(two):
    """The primary is gone for good while a standby that was whole copies the base again."""
    a, b = two
    copying_again(a, b)
    assert b.status()["state"] == "SYNCING"
    advice = wait.until(lambda: b.status()["advice"], 30, "the advice")
    assert "fcgi-sidecar promote --force" in advice and "lacks what was written" in advice
    r = b.run("promote")
    assert r.returncode == 3 and "promote --force" in r.stderr and b.status()["state"] == "SYNCING"
    r = b.run("promote", "--force")
    assert r.returncode == 0, r.stderr
    assert b.status()["state"] == "PRIMARY" and stored(b.database) == ["before"]


def test_a_copy_of_before_outlives_a_post_start_that_fails(two):
    a, b = two
    b.options["sync-timeout"] = "1s"
    copying_again(a, b)
    assert b.post_start(check=False).returncode != 0
    assert b.status()["state"] == "SYNCING" and stored(b.database) == ["before"]
    b.kill()
    b.start()
    assert b.run("promote", "--force").returncode == 0 and stored(b.database) == ["before"]
