"""Kept connections: who gets them, who has to wait, and what becomes of a request on one that fails."""
import threading

import pytest

from tools import http, wait
from tools.httpd import ALL_TO_PHP, event_sizes
from tools.responder import At, Close, Stall, ok

KEPT, SHORT = 2, 40


def test_short_requests_beside_long_ones_stay_on_kept_connections(httpd, responder):
    """As many long requests as connections may be kept: the short ones neither wait for them nor open one each."""
    end = threading.Event()
    backend = responder(lambda ex: [Stall(end), ok(ex)] if ex.uri == "/long" else ok(ex))
    h = httpd(f"DemoBackend {backend.url}\nDemoPool max={KEPT} idle=60s\nDemoHealthCheck interval=1h\n{ALL_TO_PHP}",
              mpm_config=event_sizes(8)).start()
    statuses = []
    long = [threading.Thread(target=lambda: statuses.append(http.get(h, "/long", timeout=60).status)) for _ in range(KEPT)]
    for t in long:
        t.start()
    wait.until(lambda: len(backend.requests) == KEPT, what="the long requests")
    before = backend.connections
    with http.Connection(h.port) as c:
        for _ in range(SHORT):
            c.request("GET", "/short")
            assert c.read().status == 200
    opened = backend.connections - before
    end.set()
    for t in long:
        t.join()
    assert statuses == [200] * KEPT
    assert opened <= SHORT // 2, f"{opened} connections for {SHORT} requests"
    wait.until(lambda: backend.open <= KEPT, 10, "what has no right to be kept is closed")


def site(httpd, backend, *lines):
    return httpd("\n".join([f"DemoBackend {backend.url}", "DemoPool max=4 idle=60s", "DemoHealthCheck interval=1h", *lines, ALL_TO_PHP]),
                 mpm_config=event_sizes(8)).start()


def ask_on_a_kept_connection(h, backend, *steps, method="GET", body=None):
    """The answer to a request that met the steps, the first of them on a kept connection, and what came of it to the backend."""
    for _ in range(20):                     # a connection that took 50 ms is not kept, as when the machine is busy
        backend.script(ok)
        assert http.get(h, "/before").status == 200
        backend.script(*steps)
        known, n = {x.conn for x in backend.requests}, len(backend.requests)
        r = http.request(h, method, "/x.php", body=body)
        if backend.requests[n].conn in known:
            return r, backend.requests[n:]
    raise AssertionError("no connection is kept")


@pytest.mark.parametrize("limit, method, step", [("read", "GET", Stall()), ("send", "PUT", At("begin", Stall()))])
def test_time_out_on_a_kept_connection_ends_the_request(httpd, responder, limit, method, step):
    """It tells of the script, not of the connection: the script is not run a second time."""
    backend = responder()
    h = site(httpd, backend, f"DemoTimeout {limit}=1s")
    h.error_log.claim(f"DM1003.*{limit}: DemoTimeout {limit}= ran out \\(attempt 1,")
    r, came = ask_on_a_kept_connection(h, backend, step, method=method, body=b"x" * (32 << 20) if method == "PUT" else None)
    assert r.status == 504 and len(came) == 1


def test_kept_connection_that_is_dead_costs_no_attempt(httpd, responder):
    """Both attempts are left for new connections: the first of these ends unanswered, too."""
    backend = responder()
    h = site(httpd, backend, "DemoRetry attempts=2")
    h.error_log.claim("DM1003.*before it answered", optional=True)
    r, came = ask_on_a_kept_connection(h, backend, Close(), Close(), ok)
    assert r.status == 200 and len(came) == 3
    r, came = ask_on_a_kept_connection(h, backend, Close())
    assert r.status == 502 and len(came) == 3
