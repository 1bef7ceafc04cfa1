"""Several backends: who gets a request, who is left alone after failures, who stands by."""
import os
import resource
import subprocess
import threading
import time
from contextlib import contextmanager

import pytest

from tools import fcgi, http, metrics, paths, ports, wait
from tools.httpd import HEALTH_PAGE, METRICS_PAGE, PHP, event_sizes
from tools.responder import Reset

CONFIG = """
DemoBackend {urls}
# Nobody listens there: no request for the status page gets among those that are counted.
DemoStatus fcgi://127.0.0.1:{port}/status
{more}
""" + HEALTH_PAGE + METRICS_PAGE + PHP
FAST = "DemoHealthCheck interval=100ms timeout=20s fall=1\n"


def config(*backends, more=FAST):
    return CONFIG.format(urls=" ".join(b if isinstance(b, str) else b.url for b in backends), more=more,
                         port=ports.free_port())


def page(h, name="x.php"):
    (h.docroot / name).touch()
    return "/" + name


def checked(h, n: int):
    """Waits until the first check of n addresses was made."""
    wait.until(lambda: metrics.scrape(h).sum("demo_health_checks_total") >= n, 5, "the first checks")


def who(*names):
    return [lambda ex, n=n: fcgi.response(n.encode(), req_id=ex.id) for n in names]


def ask(h, n: int) -> list[str]:
    got = [http.get(h, "/x.php") for _ in range(n)]
    assert all(r.status == 200 for r in got), [r.status for r in got]
    return [r.text for r in got]


def test_all_share_the_work(httpd, responder):
    rs = [responder(step) for step in who("a", "b", "c")]
    h = httpd(config(*rs)).start()
    page(h)
    got = ask(h, 90)
    assert all(15 <= got.count(x) <= 50 for x in "abc"), got


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_outstanding_requests_count_over_all_children(httpd, responder, mpm):
    gate = threading.Event()
    rs = [responder(lambda ex: (gate.wait(20), fcgi.response(b"x", req_id=ex.id))[1]) for _ in range(2)]
    h = httpd(config(*rs, more="DemoHealthCheck interval=1h"), mpm=mpm).start()
    page(h)
    checked(h, 2)
    clients = []
    for i in range(8):
        c = http.Connection(h.port)
        c.request("GET", "/x.php")
        clients.append(c)
        wait.until(lambda: len(rs[0].requests) + len(rs[1].requests) == i + 1, 5)
    assert [len(r.requests) for r in rs] == [4, 4]
    assert metrics.scrape(h).sum("demo_backend_outstanding_requests") == 8
    gate.set()
    for c in clients:
        assert c.read().status == 200
        c.close()
    wait.until(lambda: metrics.scrape(h).sum("demo_backend_outstanding_requests") == 0, 5)


def test_address_found_down_gets_no_request(httpd, responder):
    a, b = responder(*who("a")), responder(*who("b"))
    h = httpd(config(a, b))
    h.error_log.claim("DM0231")
    h.start()
    page(h)
    checked(h, 2)
    b.stop()
    wait.until(lambda: metrics.scrape(h).sum("demo_backend_up") == 1, 5)
    assert set(ask(h, 20)) == {"a"}
    b.start()
    wait.until(lambda: metrics.scrape(h).sum("demo_backend_up") == 2, 5)
    assert set(ask(h, 40)) == {"a", "b"}


def test_failures_hold_back_with_growing_pauses(httpd, responder):
    """The ping passes, but requests fail: what the check does not see, the requests tell."""
    good, bad = responder(*who("good")), responder(Reset())
    h = httpd(config(good, bad))
    h.error_log.claim("DM[0-9]+", optional=True)
    h.start()
    page(h)
    checked(h, 2)
    end = time.monotonic() + 4
    while time.monotonic() < end:
        assert ask(h, 1) == ["good"]              # the retry takes the other one
    # Pauses of 1, 2, 4 s: at 0, 1 and 3 s.
    assert 2 <= len(bad.requests) <= 4, len(bad.requests)
    assert metrics.scrape(h).get("demo_backend_usable", backend=bad.url, address=f"127.0.0.1:{bad.port}") in (0, 1)


def test_the_only_backend_is_always_tried(httpd, responder):
    r = responder(Reset())
    h = httpd(config(r, more=FAST + "DemoRetry attempts=1\n"))
    h.error_log.claim("DM[0-9]+")
    h.start()
    page(h)
    checked(h, 1)
    for _ in range(10):
        assert http.get(h, "/x.php").status == 502
    assert len(r.requests) == 10
    r.script(*who("back"))
    assert ask(h, 1) == ["back"]                  # at once, no pause


@contextmanager
def no_descriptor_left(h):
    """What httpd's children have open stays usable; they can open nothing more."""
    def limit(pid, soft: int):
        subprocess.run([paths.require("prlimit"), f"--pid={pid}", f"--nofile={soft}:"], check=True, **paths.popen_user())
    before, _ = resource.getrlimit(resource.RLIMIT_NOFILE)     # it has the tests' own
    for pid in h.pids():
        used = {int(fd) for fd in os.listdir(f"/proc/{pid}/fd")}
        limit(pid, next(fd for fd in range(len(used) + 1) if fd not in used))
    yield
    for pid in h.pids():
        limit(pid, before)


def test_shortage_of_httpd_itself_is_not_held_against_a_backend(httpd, responder):
    main, backup = responder(*who("main")), responder(*who("backup"))
    h = httpd(config(main, more=f"DemoHealthCheck interval=1h\nDemoPool off\nDemoRetry attempts=1\nDemoBackupBackend {backup.url}\n"),
              mpm_config=event_sizes(8))
    h.error_log.claim("DM1003.*connect: .*file descriptor.*ulimit -n", count=1)
    h.start()
    page(h)
    checked(h, 2)
    with http.Connection(h.port) as c:
        c.request("GET", "/x.php")
        assert c.read().text == "main"
        with no_descriptor_left(h):
            c.request("GET", "/x.php")
            assert c.read().status == 503
    assert ask(h, 1) == ["main"]


def test_backup_serves_only_while_no_other_works(httpd, responder):
    main, backup = responder(*who("main")), responder(*who("backup"))
    h = httpd(config(main, more=FAST + f"DemoBackupBackend {backup.url}\n"))
    h.error_log.claim("DM[0-9]+", optional=True)
    h.start()
    page(h)
    checked(h, 2)
    assert set(ask(h, 20)) == {"main"}
    main.stop()
    assert set(ask(h, 20)) == {"backup"}
    assert http.get(h, "/health/readyz").status == 200
    main.start()
    wait.until(lambda: ask(h, 1) == ["main"], 10, "the return to the main backend")
    wait.until(lambda: metrics.scrape(h).sum("demo_backend_usable") == 2, 5)
    assert set(ask(h, 20)) == {"main"}


def test_same_url_twice_is_one_backend(httpd, responder):
    r = responder(*who("a"))
    h = httpd(config(r, r)).start()
    page(h)
    checked(h, 1)
    assert len(metrics.scrape(h).labels("demo_backend_up")) == 1


def test_each_virtual_server_has_its_own(httpd, responder):
    a, b = responder(*who("a")), responder(*who("b"))
    h = httpd("", ports_count=2)
    h.config = config(a) + "\n".join(
        f'<VirtualHost *:{p}>\nDocumentRoot "{h.docroot}"\n{extra}\n</VirtualHost>'
        for p, extra in zip(h.ports, ["", f"DemoBackend {b.url}"]))
    h.start()
    page(h)
    checked(h, 2)
    assert {http.get(h.ports[0], "/x.php").text for _ in range(10)} == {"a"}
    assert {http.get(h.ports[1], "/x.php").text for _ in range(10)} == {"b"}


def test_backup_of_a_virtual_server_stands_by_the_inherited_backend(httpd, responder):
    """DemoBackupBackend alone takes nothing away: what the main server has stays the first choice."""
    main, spare = responder(*who("main")), responder(*who("spare"))
    h = httpd("", ports_count=2)
    h.config = config(main) + f'<VirtualHost *:{h.ports[1]}>\nDocumentRoot "{h.docroot}"\nDemoBackupBackend {spare.url}\n</VirtualHost>'
    h.start()
    page(h)
    checked(h, 2)
    assert {http.get(h.ports[1], "/x.php").text for _ in range(10)} == {"main"}
    h.error_log.claim("DM[0-9]+", optional=True)
    main.stop()
    wait.until(lambda: http.get(h.ports[1], "/x.php").text == "spare", 10, "the backup of the virtual host")


def test_health_check_of_a_virtual_server_does_not_change_the_main_ones(httpd, responder):
    """A backend that two servers share is checked once, as the first of them says; the other one is told."""
    r = responder(*who("a"))
    h = httpd("", ports_count=2)
    h.config = config(r) + f"<VirtualHost *:{h.ports[1]}>\nDemoHealthCheck expect=other\n</VirtualHost>"
    h.error_log.claim("DM1006.*DemoHealthCheck.*same backend", count=1)
    h.start()
    checked(h, 1)
    assert http.get(h.ports[0], "/health/readyz").status == 200


@pytest.mark.parametrize("check, told", [("DemoHealthCheck expect=other", 1), ("", 0)], ids=["its own check", "none of its own"])
def test_two_virtual_servers_name_one_backend(httpd, responder, check, told):
    """Each in a DemoBackend of its own: it is one backend all the same, and checked as the first of them says."""
    r = responder(*who("a"))
    h = httpd("", ports_count=2)
    h.config = config(r) + f"<VirtualHost *:{h.ports[1]}>\nDemoBackend {r.url}\n{check}\n</VirtualHost>"
    if told:
        h.error_log.claim(f"DM1006.*DemoHealthCheck.*{r.url}.*same backend", count=1)
    h.start()
    checked(h, 1)
    assert http.get(h.ports[0], "/health/readyz").status == 200


def test_ports_of_dead_backends_do_not_block(httpd, responder):
    dead = [f"fcgi://127.0.0.1:{ports.free_port()}" for _ in range(5)]
    r = responder(*who("alive"))
    h = httpd(config(*dead, r))
    h.error_log.claim("DM0231", count=5)
    h.error_log.claim("DM[0-9]+", optional=True)
    h.start()
    page(h)
    checked(h, 6)
    assert set(ask(h, 30)) == {"alive"}
