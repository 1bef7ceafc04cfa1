"""httpd with mod_demo, the relay, php-fpm: the chain of a pod."""
from __future__ import annotations

import hashlib
import os
import signal
import threading
import time

import pytest

from tools import http, wait


@pytest.fixture
def chain(httpd, relay, php_fpm):
    """chain(workers, …) -> (httpd, relay, php-fpm), all started; httpd is stopped first, or else it finds its backend down."""
    made = []

    def make(workers=4, config="", fpm=None, claimed=(), **options):
        php = php_fpm(workers, "unix", **(fpm or {})).start()
        r = relay(php, claimed, workers=workers, **options)
        h = httpd(f"DemoBackend fcgi://127.0.0.1:{r.port}\n<Directory \"{php.docroot}\">\n<FilesMatch \"\\.php$\">\n"
                  f"SetHandler demo-fcgi\n</FilesMatch>\n</Directory>\n{config}", docroot=php.docroot)
        made.append(h.start())
        return h, r, php
    yield make
    for h in made:
        h.stop()


def test_bodies_both_ways(chain):
    h, r, _ = chain()
    for size in (0, 70_000, 8_000_000):
        body = os.urandom(size)
        for answer in (http.post(h, "/upload.php", body), http.post_chunked(h, "/upload.php", [body[:1000], body[1000:]])):
            assert answer.status == 200 and answer.json()["sha256"] == hashlib.sha256(body).hexdigest()
        assert len(http.get(h, f"/download.php?bytes={size}").body) == size
    assert r.stats()["client_errors"] == 0


def test_overloaded_is_503_with_retry_after(chain):
    h, r, php = chain(workers=1, queue_max=1, queue_timeout_ms=400, config="DemoTimeout queue=1s")
    slow = threading.Thread(target=lambda: http.get(h, "/sleep.php?until=refused", timeout=60))
    slow.start()
    r.until(lambda s: s["in_flight"] == 1, "a slow request")
    answer = http.get(h, "/index.php")
    assert answer.status == 503 and answer.header("Retry-After")
    h.error_log.claim("OVERLOADED|overloaded|saturated|queue")
    php.let("refused")
    slow.join()
    # Its worker is back a moment after its answer: on a starved machine later than DemoTimeout queue= waits.
    wait.until(lambda: http.get(h, "/index.php").status == 200, 20, "a page again")


def test_reloads_and_max_requests_under_load(chain):
    h, r, php = chain(fpm={"max_requests": 50})
    failed, done, ending = [], [], threading.Event()

    def ask(number):
        while not ending.is_set():
            body = f"{number}-{len(done)}".encode()
            answer = http.post(h, "/upload.php", body)
            ok = answer.status == 200 and answer.json()["sha256"] == hashlib.sha256(body).hexdigest()
            (done if ok else failed).append(answer.status)
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    for _ in range(2):
        wait.until(lambda n=len(done): len(done) > n + 100 or failed, 30, "a hundred requests")
        before = set(php.pids())
        php.proc.send(signal.SIGUSR2)
        wait.until(lambda: php.pids() and not before & set(php.pids()), 20, "new workers")
    wait.until(lambda n=len(done): len(done) > n + 100 or failed, 30, "a hundred requests")
    ending.set()
    for t in threads:
        t.join(30 * wait.FACTOR)
    assert not failed, f"{len(failed)} failed of {len(done)}"


def test_a_pause_of_the_relay_is_only_a_wait(chain):
    h, r, _ = chain()
    assert http.get(h, "/index.php").status == 200
    assert r.call("hold", 0, 0) == "ok"
    answers = []
    threads = [threading.Thread(target=lambda: answers.append(http.get(h, "/index.php").status)) for _ in range(8)]
    for t in threads:
        t.start()
    r.until(lambda s: s["queued"] == 8, "eight that wait")
    time.sleep(0.2)
    assert not answers
    assert r.call("local", 1) == "ok"
    for t in threads:
        t.join(10 * wait.FACTOR)
    assert answers == [200] * 8


def test_the_lame_duck_is_not_seen(chain):
    h, r, _ = chain()
    failed, ending = [], threading.Event()

    def ask():
        while not ending.is_set():
            status = http.get(h, "/index.php").status
            if status != 200:
                failed.append(status)
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for t in threads:
        t.start()
    r.until(lambda s: s["completed"] > 50, "some requests")
    assert r.call("lame") == "ok"
    seen = r.stats()["completed"]
    r.until(lambda s: s["completed"] > seen + 100, "a hundred more")
    ending.set()
    for t in threads:
        t.join(10 * wait.FACTOR)
    assert not failed
