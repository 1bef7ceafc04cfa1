"""Whom the relay's thread interrupts: with more requests in php-fpm than processors nobody, in a hand-over everybody."""
from __future__ import annotations

import os
import threading

import pytest

from tools import fcgi, proc, wait

CROWD = (os.cpu_count() or 1) + 2   # requests, more than there are processors


def gives_way(r) -> bool:
    return os.SCHED_BATCH in proc.policies([r.pid])


class Crowd:
    """Requests that are in PHP until it is let go on, each on a connection of its own."""

    def __init__(self, r, fpm, count: int):
        self.fpm, self.answers = fpm, []
        self.threads = [threading.Thread(target=self.ask, args=(r.address,), daemon=True) for _ in range(count)]
        for t in self.threads:
            t.start()
        r.until(lambda s: s["in_flight"] == count, f"{count} requests in PHP")

    def ask(self, address):
        params = fcgi.script_params("/sleep.php", f"{self.fpm.docroot}/sleep.php", query="until=crowd")
        self.answers.append(fcgi.request(address, params, timeout=60 * wait.FACTOR))

    def end(self):
        self.fpm.let("crowd")
        for t in self.threads:
            t.join(60 * wait.FACTOR)
        assert len(self.answers) == len(self.threads) and all(a.complete and b"first" in a.body for a in self.answers)


@pytest.fixture
def busy(php_fpm, relay):
    """busy(count) -> relay, crowd"""
    fpm = php_fpm(CROWD, "unix").start()
    r = relay(fpm, workers=CROWD)
    return lambda count: (r, Crowd(r, fpm, count))


def test_with_more_requests_than_processors(busy):
    r, crowd = busy(CROWD)
    wait.until(lambda: gives_way(r), 10, "the relay gives way")
    crowd.end()
    wait.until(lambda: not gives_way(r), 10, "the relay is as it was")


def test_with_fewer(busy):
    r, crowd = busy(1)
    assert not gives_way(r)
    crowd.end()
    assert not gives_way(r)


def test_a_handover_does_not_wait_for_scripts(busy):
    r, crowd = busy(CROWD)
    wait.until(lambda: gives_way(r), 10, "the relay gives way")
    assert r.call("hold", 0, 0) == "ok"
    wait.until(lambda: not gives_way(r), 10, "the relay is as it was")
    assert r.call("local", 1) == "ok"
    crowd.end()
