"""Counters over all children: exact across graceful restarts; what a dead child held is given back."""
import os
import signal
import threading

import pytest

from tools import http, metrics, wait
from tools.httpd import METRICS_PAGE, PHP

CONFIG = """
DemoBackend {url}
DocumentRoot {docroot}
""" + PHP + METRICS_PAGE


def config(f):
    return CONFIG.format(url=f.url, docroot=f.docroot)


def total(h) -> float:
    return metrics.scrape(h).sum("demo_requests_total", code="200")


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_exact_across_graceful_restarts(httpd, php_fpm, mpm):
    f = php_fpm(workers=8).start()
    h = httpd(config(f), mpm=mpm).start()
    clients, each, failed = 4, 150, []

    def client():
        for _ in range(each):
            try:
                if http.get(h, "/status.php").status != 200:
                    failed.append("status")
            except OSError as e:
                failed.append(repr(e))
    threads = [threading.Thread(target=client) for _ in range(clients)]
    for t in threads:
        t.start()
    for _ in range(3):
        h.graceful()
    for t in threads:
        t.join()
    assert failed == []
    m = metrics.scrape(h)
    n = clients * each
    assert m.sum("demo_requests_total") == n
    assert m.get("demo_request_duration_seconds_count") == n
    assert m.sum("demo_backend_requests_total", outcome="ok") == n
    assert m.sum("demo_connections_total") == n
    assert m.get("demo_requests_in_flight") == 0 and m.sum("demo_backend_outstanding_requests") == 0


def test_full_restart_of_the_process_begins_at_zero(httpd, php_fpm):
    f = php_fpm().start()
    h = httpd(config(f)).start()
    http.get(h, "/status.php")
    assert total(h) == 1
    h.restart()
    assert total(h) == 0


def test_removed_backend_leaves_and_others_keep_their_counters(httpd, php_fpm):
    a, b = php_fpm().start(), php_fpm().start()
    h = httpd(config(a).replace(a.url, f"{a.url} {b.url}")).start()
    for _ in range(40):
        http.get(h, "/status.php")
    before = metrics.scrape(h)
    h.config = config(a)
    h.graceful()

    def of_the_new_configuration():             # children of the old one may answer for a while yet
        m = metrics.scrape(h)
        return m if {x["backend"] for x in m.labels("demo_backend_up")} == {a.url} else None

    after = wait.until(of_the_new_configuration, 5)
    assert after.sum("demo_backend_requests_total", backend=a.url) == before.sum("demo_backend_requests_total", backend=a.url)
    assert before.sum("demo_backend_requests_total") == 40


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_killed_child_gives_back_what_it_held(httpd, php_fpm, mpm):
    f = php_fpm(workers=4).start()
    h = httpd(config(f), mpm=mpm).start()
    http.get(h, "/status.php")
    c = http.Connection(h.port)
    c.request("GET", "/sleep.php?ms=3000")
    wait.until(lambda: metrics.scrape(h).get("demo_requests_in_flight") == 1, 5)
    for pid in h.pids():
        os.kill(pid, signal.SIGKILL)

    def given_back():
        try:
            m = metrics.scrape(h)
        except OSError:
            return False
        return m.get("demo_requests_in_flight") == 0 and m.sum("demo_backend_outstanding_requests") == 0 \
            and m.sum("demo_pool_connections") == 0
    wait.until(given_back, 10, "the dead child's share")
    assert total(h) == 1
    c.close()
