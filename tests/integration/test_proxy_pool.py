"""Kept connections: who gets them, and who has to wait."""
import threading

from tools import http, wait
from tools.httpd import ALL_TO_PHP, event_sizes
from tools.responder import Stall, ok

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
