"""A failure, and what else fails or runs at that moment.

A disk that did not take what a standby wrote: the kernel tells that once, to one of those who sync the file, and the next
sync succeeds. No promise rests on that file any more.
"""
import os

import pytest

from tools import handover, paths, wait


@pytest.fixture
def pair(sidecar, php_fpm, tmp):
    """pair(fault) -> a primary that has a row, and a standby that fails there; old: where the primary does."""
    def make(fault="", old=""):
        seed = handover.seed(tmp)
        a, b = (handover.Instance(n, sidecar, php_fpm, seed, workers=1) for n in "ab")
        for i, f in ((a, old), (b, fault)):
            i.sidecar.binary, i.sidecar.env = paths.staged(paths.faults_binary(), tmp), {"SIDECAR_FAULT": f}
        a.start()
        handover.write(a.sidecar.database, "before")
        b.start()
        return a, b
    return make


def hand_over_in_a_new_file(a, b, inode, want):
    """b becomes primary, and what it then has is not in the file that it had."""
    a.sidecar.pre_stop()
    assert (b.state, b.rows()) == ("PRIMARY", want)
    log = b.sidecar.log()
    assert "SC0443" in log and "SC0413" not in log
    assert os.stat(b.sidecar.database).st_ino != inode


@pytest.mark.parametrize("record", ["fsync", "rename", "fsync-folder"])
def test_the_record_fails_as_well(pair, record):
    """PREPARE's sync of the image and its save of the promise: the first failure is not told again."""
    a, b = pair(f"prepare>fsync-image:1:EIO,prepare>{record}:1:ENOSPC")
    hand_over_in_a_new_file(a, b, os.stat(b.sidecar.database).st_ino, ["before"])
    assert "SC0435" in a.sidecar.log()


def test_the_sync_that_runs_fails(pair):
    """It began before PREPARE, and is told of the failure after it: PREPARE's own sync has nothing to find."""
    a, b = pair("fsync-now:1:2s,fsync-now:1:EIO")
    inode = os.stat(b.sidecar.database).st_ino
    handover.write(a.sidecar.database, "late")
    wait.until(lambda: b.rows() == ["before", "late"], 10, "the row, which is being synced")
    hand_over_in_a_new_file(a, b, inode, ["before", "late"])


def test_the_sync_before_it_is_noted_fails(pair):
    """A second without frames, and the image would be noted as whole."""
    a, b = pair("fsync-note:1:EIO")
    inode = os.stat(b.sidecar.database).st_ino
    handover.write(a.sidecar.database, "late")
    wait.until(lambda: "SC0443" in b.sidecar.log(), 10, "the message")
    hand_over_in_a_new_file(a, b, inode, ["before", "late"])


def test_promote_refuses_what_is_half_applied(pair):
    """The standby's disk took half of the last frames, and before it has followed again the primary is gone for ever."""
    a, b = pair("apply>pwrite:6:EIO,apply>follow:1:5s")         # page 1 takes three of them
    handover.write(a.sidecar.database, *(f"one-transaction-of-many-pages-{i:06d}" for i in range(2000)))
    wait.until(lambda: "can not write the standby's database" in b.sidecar.log(), 10, "the failure")
    a.sidecar.kill()
    r = b.sidecar.run("promote")
    assert r.returncode == 3 and "half of it" in r.stderr and "promote --force" in r.stderr, r.stderr
    assert b.state == "STANDBY"


def test_the_log_is_let_alone_until_all_is_rolled_back(pair):
    """PRIMARY is saved, fence and write lock are still there. Who keeps the log short has the same connection, and would
    give the lock back: PHP would commit into a log whose header is void."""
    a, b = pair(old="hold>fsync-fence:1:EIO,rolling-back:1:1s,rolling-back>tidy:1:kill")
    a.sidecar.pre_stop(check=False, start_timeout="2s")
    a.sidecar.proc.wait(30)
    assert "SC0435" in a.sidecar.log(), "the log was tidied before"
    a.sidecar.env = {}
    a.sidecar.start()
    a.sidecar.pre_stop()
    assert (b.state, b.rows()) == ("PRIMARY", ["before"])
