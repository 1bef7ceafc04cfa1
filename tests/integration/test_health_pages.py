"""/livez, /readyz, /healthz: what is asked, what is answered."""
import os
import signal
import socket
import threading
import time

import pytest

from tools import fcgi, http, proc, wait
from tools.httpd import HEALTH_PAGE, PHP
from tools.resolver import Resolver
from tools.responder import Stall

CONFIG = """
DemoBackend {urls}
{more}
""" + HEALTH_PAGE
DOWN = r"DM0231: backend .* is down"


def config(*backends, more="DemoHealthCheck interval=200ms timeout=20s"):
    return CONFIG.format(urls=" ".join(b.url for b in backends), more=more)


def ready(h) -> bool:
    return http.get(h, "/health/readyz").status == 200


def cpu_seconds(h) -> float:
    return sum(proc.cpu_seconds(p) for p in h.pids())


def verbose(h, page="readyz", query="") -> http.Response:
    return http.get(h, f"/health/{page}?verbose{query}")


@pytest.fixture(scope="module")
def stack(module_httpd, module_php_fpm):
    f = module_php_fpm().start()
    h = module_httpd(config(f)).start()
    wait.until(lambda: ready(h), 5, "readiness")
    return h


# -- the pages ------------------------------------------------------------------------

@pytest.mark.parametrize("page", ["livez", "readyz", "healthz"])
def test_short_answer(stack, page):
    r = http.get(stack, f"/health/{page}")
    assert (r.status, r.text) == (200, "ok\n")
    assert r.header("Cache-Control") == "no-store"
    assert r.header("Content-Type").startswith("text/plain")


def test_verbose_has_a_line_a_check(stack):
    assert verbose(stack).text.splitlines() == ["[+]httpd ok", "[+]php-fpm ok", "readyz check passed"]
    assert verbose(stack, "livez").text.splitlines() == ["[+]httpd ok", "livez check passed"]


def test_exclude(stack):
    assert "php-fpm" not in verbose(stack, query="&exclude=php-fpm").text
    both = verbose(stack, query="&exclude=php-fpm&exclude=httpd")
    assert both.text.splitlines() == ["readyz check passed"]
    unknown = verbose(stack, query="&exclude=no%20such")
    assert unknown.status == 200 and "warn: no such check to exclude: no such" in unknown.text


@pytest.mark.parametrize("path", ["/health/", "/health/nosuch", "/health/readyz/more", "/health/readyzz"])
def test_other_names_are_404(stack, path):
    assert http.get(stack, path).status == 404


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE"])
def test_other_methods_are_405(stack, method):
    r = http.request(stack, method, "/health/livez", body=b"")
    assert r.status == 405 and "GET" in r.header("Allow")


def test_head(stack):
    r = http.request(stack, "HEAD", "/health/readyz")
    assert (r.status, r.body) == (200, b"")


def test_json(stack):
    r = http.get(stack, "/health/readyz", headers=[("Accept", "application/health+json")])
    assert r.header("Content-Type") == "application/health+json"
    got = r.json()
    assert got["status"] == "pass"
    assert [c["status"] for c in got["checks"]["php-fpm"]] == ["pass"]
    assert got["checks"]["php-fpm"][0]["time"].endswith("Z")
    refused = http.get(stack, "/health/readyz", headers=[("Accept", "application/health+json;q=0, text/plain")])
    assert refused.header("Content-Type").startswith("text/plain")


# -- readiness follows php-fpm, liveness does not ------------------------------------------

@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_red_while_php_fpm_is_down(httpd, php_fpm, mpm):
    f = php_fpm()
    h = httpd(config(f), mpm=mpm)
    h.error_log.claim(DOWN)
    h.start()
    r = verbose(h)
    assert r.status == 503 and "[-]php-fpm failed: " in r.text and "readyz check failed" in r.text
    wait.until(lambda: f"{f.listen}: connect: Connection refused" in verbose(h).text, 5)
    assert http.get(h, "/health/livez").status == 200
    failed = http.get(h, "/health/healthz", headers=[("Accept", "application/health+json")])
    assert failed.status == 503 and failed.json()["status"] == "fail"
    assert "Connection refused" in failed.json()["checks"]["php-fpm"][0]["output"]
    assert http.get(h, "/health/readyz?exclude=php-fpm").status == 200
    f.start()
    wait.until(lambda: ready(h), 5, "readiness after php-fpm's start")
    f.stop()
    wait.until(lambda: not ready(h), 5, "the end of readiness after php-fpm's stop")
    assert http.get(h, "/health/livez").status == 200


def test_first_answer_after_start_is_quick(httpd, php_fpm):
    f = php_fpm().start()
    h = httpd(config(f, more="DemoHealthCheck interval=1h")).start()
    wait.until(lambda: ready(h), 5, "the first check")      # the next one would be in an hour


def test_full_restart_knows_nothing_of_before(httpd, php_fpm):
    f = php_fpm().start()
    h = httpd(config(f, more="DemoHealthCheck interval=1h")).start()
    wait.until(lambda: ready(h), 2)
    f.stop()
    h.error_log.claim(DOWN)
    before = h._generations()
    h.proc.send(signal.SIGHUP)
    wait.until(lambda: h._generations() > before, 10)
    assert http.get(h, "/health/readyz").status == 503
    wait.until(lambda: "Connection refused" in verbose(h).text, 3)


def test_graceful_restarts_leave_readiness_green(httpd, php_fpm):
    f = php_fpm().start()
    h = httpd(config(f)).start()
    wait.until(lambda: ready(h), 5)
    for _ in range(3):
        h.graceful()
        end = time.monotonic() + 0.5
        while time.monotonic() < end:
            r = verbose(h)
            assert r.status == 200, r.text


# -- what a check finds ----------------------------------------------------------------------

def test_missing_ping_page_is_named(httpd, php_fpm):
    f = php_fpm().start()
    h = httpd(config(f, more="DemoHealthCheck uri=/nosuch interval=200ms timeout=20s")).start()
    wait.until(lambda: ready(h), 5)
    line = verbose(h).text.splitlines()[1]
    assert line.startswith("[+]php-fpm ok: ") and "set ping.path = /nosuch" in line
    got = http.get(h, "/health/readyz", headers=[("Accept", "application/health+json")]).json()
    assert got["status"] == "warn"


@pytest.mark.parametrize("answer,cause", [
    (fcgi.response(b"something else"), 'did not answer "pong" but "something else"'),
    (fcgi.response(b"pong", "Status: 500 Oops\r\n"), "status 500"),
    (fcgi.end_request(), "no end of the header"),
    (fcgi.end_request(protocol_status=2), "OVERLOADED"),
    (b"HTTP/1.0 400 Bad Request\r\n\r\n", "malformed FastCGI"),
], ids=["other-body", "status", "empty", "overloaded", "http"])
def test_bad_answers_are_told(httpd, responder, answer, cause):
    r = responder(answer, ping=False)
    h = httpd(config(r))
    h.error_log.claim(DOWN)
    h.start()
    wait.until(lambda: cause in verbose(h).text, 5, cause)
    assert not ready(h)


def test_script_with_a_query(httpd, responder):
    r = responder(fcgi.response(b"fine"), ping=False)
    h = httpd(config(r, more="DemoHealthCheck uri=/health.php?deep=1 expect=fine")).start()
    wait.until(lambda: ready(h), 10)
    asked = r.requests[0].params
    assert [asked[x] for x in ("SCRIPT_NAME", "QUERY_STRING", "REQUEST_URI")] == ["/health.php", "deep=1", "/health.php?deep=1"]
    assert asked["SCRIPT_FILENAME"].endswith("/health.php")


def test_check_has_a_time_out(httpd, responder):
    r = responder(30, ping=False)
    h = httpd(config(r, more="DemoHealthCheck interval=100ms timeout=150ms"))
    h.error_log.claim(DOWN)
    h.start()
    wait.until(lambda: "read: no answer within 150 ms" in verbose(h).text, 5)


def test_one_check_at_a_time(httpd, responder):
    """A slow answer is waited for: checks do not pile up in php-fpm's queue."""
    busy = threading.Event()
    r = responder([Stall(busy), fcgi.response(b"pong")], fcgi.response(b"pong"), ping=False)
    h = httpd(config(r, more="DemoHealthCheck interval=50ms timeout=20s")).start()
    r.wait_requests(1)
    time.sleep(0.5)
    assert len(r.requests) == 1
    busy.set()
    r.wait_requests(4)
    wait.until(lambda: ready(h), 10)


def test_more_addresses_than_checks_at_a_time(httpd, tmp):
    """The thread that looks after them sleeps while all checks wait for an answer."""
    names = Resolver(tmp)
    with socket.create_server(("0.0.0.0", 0), backlog=256) as silent:
        names.set(many=" ".join(f"127.0.1.{i + 1}" for i in range(60)))
        h = httpd("DemoBackend fcgi://many:%d\nDemoHealthCheck interval=10m timeout=10m\n%s" % (silent.getsockname()[1], HEALTH_PAGE),
                  env=names.env).start()
        wait.until(lambda: verbose(h).text.count("not checked yet") == 60, 20, "the addresses of the name")
        before = cpu_seconds(h)
        time.sleep(2)
        assert cpu_seconds(h) - before < 0.2
        h.stop()


def test_addresses_that_never_answer_leave_the_others_their_turn(httpd, responder, tmp):
    """More of them than checks at a time, each due again when its check runs into the time-out."""
    names, alive = Resolver(tmp), responder()
    with socket.create_server(("0.0.0.0", 0), backlog=256) as silent:
        names.set(many=" ".join(f"127.0.1.{i + 1}" for i in range(64)))
        h = httpd("DemoBackend fcgi://many:%d %s\nDemoHealthCheck interval=100ms timeout=500ms\n%s"
                  % (silent.getsockname()[1], alive.url, HEALTH_PAGE), env=names.env)
        h.error_log.claim(DOWN, optional=True)
        h.start()
        wait.until(lambda: verbose(h).text.count("no answer within") >= 32, 20, "the addresses of the name")
        before = alive.pings
        wait.until(lambda: alive.pings >= before + 2, 20, "checks of the address that answers")
        assert ready(h)
        h.stop()


def test_fall_and_rise(httpd, responder):
    good, bad = fcgi.response(b"pong"), fcgi.response(b"no")
    r = responder(good, bad, bad, good, bad, bad, bad, good, good, bad, good, good, good, ping=False)
    h = httpd(config(r, more="DemoHealthCheck interval=50ms timeout=20s fall=3 rise=3"))
    h.error_log.claim(DOWN, count=1)
    h.start()
    wait.until(lambda: len(r.requests) >= 14 and ready(h), 10)
    assert len(h.error_log.grep("DM0230")) == 2          # at the start, and after the third success in a row


def test_one_of_two_backends_is_enough(httpd, php_fpm):
    a, b = php_fpm().start(), php_fpm()
    h = httpd(config(a, b))
    h.error_log.claim(DOWN)
    h.start()
    wait.until(lambda: "Connection refused" in verbose(h).text and "not checked yet" not in verbose(h).text, 5)
    lines = verbose(h).text.splitlines()
    assert "[+]php-fpm ok: 1 of 2 addresses answer" in lines
    assert f"[+]php-fpm/{a.listen} ok" in lines
    assert any(x.startswith(f"[-]php-fpm/{b.listen} failed: connect: Connection refused") for x in lines)
    assert ready(h)


def test_unix_socket(httpd, php_fpm):
    f = php_fpm(listen="unix").start()
    h = httpd(config(f)).start()
    wait.until(lambda: ready(h), 5)


# -- once a server ---------------------------------------------------------------------------

def test_checks_run_once_a_server_not_once_a_child(httpd, responder):
    r = responder()
    h = httpd(config(r, more="DemoHealthCheck interval=100ms timeout=20s"), mpm="prefork").start()
    wait.until(lambda: ready(h), 5)
    assert len(h.pids()) >= 4
    before, start = r.pings, time.monotonic()
    wait.until(lambda: r.pings >= before + 15, 10, "fifteen checks")
    assert time.monotonic() - start >= 1.2, "more than one child checks"


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_another_child_takes_over(httpd, responder, mpm):
    r = responder()
    h = httpd(config(r, more="DemoHealthCheck interval=100ms timeout=20s"), mpm=mpm).start()
    wait.until(lambda: ready(h), 5)
    leader = int(h.error_log.grep("DM0230")[0].split("[pid ")[1].split(":")[0].split("]")[0])
    assert leader in h.pids()
    os.kill(leader, signal.SIGKILL)
    before = r.pings
    wait.until(lambda: r.pings > before + 2, 5, "checks by another child")
    assert ready(h)


def test_old_generation_steps_down_while_it_still_serves(httpd, php_fpm, responder):
    """After a graceful restart the new configuration is checked at once, though an old child lives on."""
    a, b = php_fpm().start(), responder()
    h = httpd(config(a) + PHP, docroot=a.docroot).start()
    wait.until(lambda: ready(h), 5)
    with http.Connection(h.port) as slow:
        slow.request("GET", "/sleep.php?until=checked")
        wait.until(lambda: a.status()["active processes"] >= 1, 5)
        h.config = config(b)
        h.graceful()
        wait.until(lambda: b.pings > 0 and ready(h), 10, "checks of the new backend")
        a.let("checked")
        assert slow.read().status == 200


def test_busy_pool_is_not_dead(httpd, php_fpm):
    """The only worker is never free for the ping in time, but requests succeed."""
    f = php_fpm(workers=1).start()
    h = httpd(config(f, more="DemoHealthCheck interval=200ms timeout=250ms fall=1\nDemoPool off") +
              PHP, docroot=f.docroot).start()
    wait.until(lambda: ready(h), 5)
    stop = threading.Event()

    def load():
        while not stop.is_set():
            assert http.get(h, "/sleep.php?ms=100").status == 200
    threads = [threading.Thread(target=load) for _ in range(6)]
    for t in threads:
        t.start()
    try:
        wait.until(lambda: "busy: /ping: read: no answer" in verbose(h).text, 10)
        end = time.monotonic() + 1.5
        while time.monotonic() < end:
            r = verbose(h)
            assert r.status == 200, r.text
            time.sleep(0.05)
    finally:
        stop.set()
        for t in threads:
            t.join()


def test_refusing_ping_is_not_dead_while_requests_succeed(httpd, responder):
    """A relay that is full answers the ping OVERLOADED, and the requests that are in its queue."""
    full = threading.Event()

    def answer(ex):
        refused = full.is_set() and ex.uri == "/ping"
        return fcgi.end_request(req_id=ex.id, protocol_status=2) if refused else fcgi.response(b"pong", req_id=ex.id)
    r = responder(answer, ping=False)
    h = httpd(config(r, more="DemoHealthCheck interval=500ms timeout=20s") + PHP)
    (h.docroot / "x.php").touch()
    h.start()
    wait.until(lambda: ready(h), 5)
    full.set()
    r.forget()

    def checks():
        assert http.get(h, "/x.php").status == 200
        assert ready(h)
        return sum(ex.uri == "/ping" for ex in r.requests)
    wait.until(lambda: checks() >= 4, 20, "checks that are refused")
    assert "busy: /ping: response: END_REQUEST says OVERLOADED, but requests succeed" in verbose(h).text
    h.error_log.claim(DOWN)
    wait.until(lambda: not ready(h), 20, "the end of readiness without requests")
