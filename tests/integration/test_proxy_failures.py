"""Backends that refuse, hang, break and come back; clients that leave. One log line names backend, phase and cause."""
import socket
import threading
import time
from contextlib import ExitStack

import pytest

from tools import fcgi, http, ports, wait
from tools.httpd import ALL_TO_PHP, METRICS_PAGE
from tools.responder import At, Close, Responder, Stall

FAST = "DemoHealthCheck interval=1h\n"
CHECKED = "DemoHealthCheck interval=2s timeout=300ms fall=1\n"


@pytest.fixture
def httpd(httpd):
    """As everywhere, but a backend that is down may be noticed by the background check, and an attempt fail."""
    def make(*args, **kw):
        h = httpd(*args, **kw)
        h.error_log.claim("DM0231|DM1003.*another follows", optional=True)
        return h
    return make


def conf(*lines, backend=None):
    return "\n".join([f"DemoBackend {backend}" if backend else "", *lines, FAST + ALL_TO_PHP])


def closed_at(ex, timeout=5.0):
    """Does httpd close the connection on which the request came?"""
    ex.sock.settimeout(timeout)
    try:
        return ex.sock.recv(1) == b""
    except ConnectionResetError:
        return True
    except TimeoutError:
        return False


def noted(h, what):
    wait.until(lambda: any(f"error={what}" in x for x in h.access_log()), 5, f"the note demo-error={what}")


def test_nothing_listens(httpd):
    port = ports.free_port()
    h = httpd(conf("DemoTimeout queue=300ms", backend=f"fcgi://127.0.0.1:{port}")).start()
    h.error_log.claim(rf"Connection refused.*DM1003: backend fcgi://127\.0\.0\.1:{port}.*queue: DemoTimeout queue= ran out; "
                      r"nothing listens there", count=1)
    r = http.get(h, "/x.php")
    assert r.status == 503 and r.header("Retry-After") and 0.25 < r.seconds < 8       # the default is 10 s
    noted(h, "queue: DemoTimeout queue= ran out")


def test_nothing_listens_and_no_queue(httpd, tmp):
    for url, why in ((f"fcgi://127.0.0.1:{ports.free_port()}", "nothing listens there"), (f"unix:{tmp}/no.sock", "does not exist")):
        h = httpd(conf("DemoTimeout queue=0", backend=url)).start()
        h.error_log.claim("DM1003.*another follows", optional=True)
        h.error_log.claim(rf"DM1003: backend .*connect: .*{why}.*attempt 2,", count=1)
        assert http.get(h, "/x.php").status == 503
        noted(h, "connect: ")


def test_request_waits_for_a_backend_that_comes_back(httpd):
    port = ports.free_port()
    h = httpd(conf(backend=f"fcgi://127.0.0.1:{port}")).start()
    h.error_log.claim("DM1003.*another follows", optional=True)
    got = []
    waiting = [threading.Thread(target=lambda m=m: got.append(http.request(h, m, "/x.php", body=b"b"))) for m in ("GET", "POST")]
    for t in waiting:
        t.start()
    time.sleep(0.4)
    assert not got
    r = Responder()
    r.port = port
    with r:
        for t in waiting:
            t.join(10 * wait.FACTOR)
    assert [x.status for x in got] == [200, 200] and len(r.requests) == 2


def test_request_waits_though_another_address_is_unreachable(httpd, responder, silent):
    """One address does not answer at all and is known to be down; the other one restarts, and is found down meanwhile."""
    b = responder()
    h = httpd(conf("DemoTimeout connect=300ms queue=30s", backend=f"{silent} {b.url}").replace(FAST, CHECKED)).start()
    h.error_log.wait_for(f"DM0231.*{silent}", 20)
    b.stop()
    got = []
    asking = [threading.Thread(target=lambda m=m: got.append(http.request(h, m, "/x.php", body=b"b", timeout=60))) for m in ("GET", "POST")]
    for t in asking:
        t.start()
    time.sleep(1)
    assert not got
    h.error_log.wait_for(f"DM0231.*{b.url}", 20)
    time.sleep(1)
    b.start()
    for t in asking:
        t.join(30 * wait.FACTOR)
    assert [x.status for x in got] == [200, 200] and len(b.requests) == 2


def test_queue_is_bounded(httpd):
    h = httpd(conf("DemoQueue max=2", "DemoTimeout queue=4s", backend=f"fcgi://127.0.0.1:{ports.free_port()}")).start()
    h.error_log.claim("DM1003", optional=True)
    results = []
    ts = [threading.Thread(target=lambda: results.append(http.get(h, "/x.php"))) for _ in range(6)]
    for t in ts:
        t.start()
    for t in ts:
        t.join()
    fast = [r for r in results if r.seconds < 3]
    assert len(fast) == 4 and {r.status for r in results} == {503} and all(r.header("Retry-After") for r in results)
    h.error_log.wait_for("queue: DemoQueue is full")


@pytest.fixture
def silent():
    """The URL of a listener whose queue is full: it does not answer at all."""
    with ExitStack() as opened:
        s = opened.enter_context(socket.socket())
        s.bind(("127.0.0.1", 0))
        s.listen(0)
        for _ in range(4):
            c = opened.enter_context(socket.socket())
            c.setblocking(False)
            c.connect_ex(s.getsockname())
        time.sleep(0.1)
        yield "fcgi://127.0.0.1:%d" % s.getsockname()[1]


def test_connect_timeout(httpd, silent):
    h = httpd(conf("DemoTimeout connect=300ms", backend=silent)).start()
    h.error_log.claim("DM1003.*connect: DemoTimeout connect= ran out", count=1)
    r = http.get(h, "/x.php")
    assert r.status == 503 and r.header("Retry-After")
    noted(h, "connect: ")


def test_read_timeout(httpd, responder):
    b = responder(Stall())
    h = httpd(conf("DemoTimeout read=300ms", backend=b.url)).start()
    h.error_log.claim("DM1003.*read: DemoTimeout read= ran out", count=1)
    r = http.get(h, "/x.php")
    assert r.status == 504 and 0.25 < r.seconds < 50 and len(b.requests) == 1
    noted(h, "read: DemoTimeout read= ran out")
    assert closed_at(b.last)


def test_read_timeout_counts_from_the_last_byte(httpd, responder):
    b = responder([fcgi.stdout("A: b\r\n\r\n")] + [x for i in range(8) for x in (0.3, fcgi.stdout("."))] + [fcgi.end_request()])
    h = httpd(conf("DemoTimeout read=2s", backend=b.url)).start()
    assert http.get(h, "/x.php").body == b"." * 8


def test_total_timeout(httpd, responder):
    b = responder([fcgi.stdout("A: b\r\n")] + [x for i in range(40) for x in (0.1, fcgi.stdout("X: y\r\n"))] + [Stall()])
    h = httpd(conf("DemoTimeout total=500ms", backend=b.url)).start()
    h.error_log.claim("DM1003.*total: DemoTimeout total= ran out", count=1)
    r = http.get(h, "/x.php")
    assert r.status == 504
    noted(h, "total: ")


@pytest.mark.parametrize("where", ["connect", "queue", "resolve"])
def test_total_timeout_before_a_connection(httpd, silent, where):
    """total= is over whatever the request waits for, and is what it is told by."""
    url = {"connect": silent, "queue": f"fcgi://127.0.0.1:{ports.free_port()}",
           "resolve": "fcgi://nobody.invalid"}[where]
    h = httpd(conf("DemoTimeout connect=20s queue=20s total=500ms", backend=url)).start()
    h.error_log.claim("DM0220", optional=True)
    h.error_log.claim("DM1003.*total: DemoTimeout total= ran out", count=1)
    r = http.get(h, "/x.php")
    assert r.status == 504 and r.seconds < 15
    noted(h, "total: ")


def test_total_timeout_within_the_body(httpd, responder):
    """An upload that takes too long is not given to PHP, which would work for nobody."""
    b = responder([fcgi.response("late")])
    h = httpd(conf("DemoTimeout total=200ms", backend=b.url)).start()
    h.error_log.claim("DM1003.*total: DemoTimeout total= ran out", count=1)
    with socket.create_connection(("127.0.0.1", h.port), 15) as s:
        s.sendall(b"POST /x.php HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nExpect: 100-continue\r\n\r\n")
        assert s.recv(65536).startswith(b"HTTP/1.1 100 ")       # the request has begun
        time.sleep(0.3)
        s.sendall(b"y")
        assert s.recv(65536).startswith(b"HTTP/1.1 504 ")
    assert b.requests == []


@pytest.mark.parametrize("mpm", ["event", "worker"])
def test_total_timeout_while_the_body_trickles(httpd, responder, mpm):
    """The client is told, and the rest of its body is not waited for."""
    b = responder()
    h = httpd(conf("DemoTimeout total=1s", backend=b.url), mpm=mpm).start()
    h.error_log.claim("DM1003.*total: DemoTimeout total= ran out; the request body", count=1)
    began, answered = time.monotonic(), b""
    with http.Connection(h.port) as c:
        c.request("POST", "/x.php", {"Content-Length": "10000"})
        c.sock.settimeout(0.1)
        while not answered and time.monotonic() < began + 15:
            c.send(b"x")
            try:
                answered = c.sock.recv(65536)
            except TimeoutError:
                pass
    assert answered.startswith(b"HTTP/1.1 504 ") and b"\r\nConnection: close\r\n" in answered and b.requests == []
    noted(h, "total: ")


def test_send_timeout(httpd, responder):
    b = responder(At("accept", Stall()))
    h = httpd(conf("DemoTimeout send=300ms", backend=b.url)).start()
    h.error_log.claim("DM1003.*send: DemoTimeout send= ran out", count=1)
    assert http.post(h, "/x.php", b"x" * (32 << 20)).status == 504
    noted(h, "send: ")


def test_a_streamed_body_is_sent_once_from_the_queue_too(httpd):
    """What a backend had of it, before it said that it is overloaded, is gone: another attempt would send the rest."""
    port = ports.free_port()
    h = httpd(conf("DemoRequestBuffering off", "DemoTimeout queue=30s", backend=f"fcgi://127.0.0.1:{port}") + METRICS_PAGE).start()
    h.error_log.claim("DM1003.*OVERLOADED", count=1)
    answers = []
    t = threading.Thread(target=lambda: answers.append(http.post(h, "/x.php", b"0123456789" * 1000)))
    t.start()
    wait.until(lambda: "demo_queue_length 1" in http.get(h, "/metrics").text, 20, "the request waits in the queue")
    with Responder(fcgi.end_request(protocol_status=fcgi.OVERLOADED), fcgi.response("ran"), port=port) as b:
        t.join(60)
        assert len(b.requests) == 1 and len(b.requests[0].stdin) == 10000
    assert answers[0].status == 503 and answers[0].header("Retry-After")


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_a_client_that_stops_sending_is_no_fault_of_the_backend(httpd, responder, buffering):
    h = httpd(conf("Timeout 1", f"DemoRequestBuffering {buffering}", backend=responder().url)).start()
    h.error_log.claim("DM1003.*client: the client sent nothing", optional=True)
    with http.Connection(h.port) as c:
        c.request("POST", "/x.php", {"Content-Length": "10"}, b"1")
        wait.until(lambda: [x for x in h.access_log() if "POST /x.php" in x], 30, "the end of the request")
    assert '" 408 ' in h.access_log()[-1]


@pytest.mark.parametrize("streamed", [False, True])
def test_answer_before_the_body_is_taken(httpd, responder, streamed):
    """PHP may answer without reading the body; what it says counts."""
    b = responder(At("params", [fcgi.response("no thanks", "Status: 413\r\n"), Close()]))
    h = httpd(conf("DemoRequestBuffering off" if streamed else "", backend=b.url)).start()
    h.error_log.claim("DM1003", optional=True)
    r = http.post(h, "/x.php", b"x" * (16 << 20))
    assert (r.status, r.body) == (413, b"no thanks")


def test_answer_while_the_body_is_sent_does_not_deadlock(httpd, responder):
    """A backend that writes 8 MiB before it reads 8 MiB."""
    out = fcgi.stream(fcgi.STDOUT, b"A: b\r\n\r\n" + b"o" * (8 << 20), chunk=65535)
    b = responder(At("params", out))
    h = httpd(conf(backend=b.url)).start()
    got = []
    t = threading.Thread(target=lambda: got.append(http.request(h, "PUT", "/x.php", body=b"i" * (8 << 20))))
    t.start()
    wait.until(lambda: b.requests and b.requests[0].complete, 15, "the body at the backend")
    b.requests[0].sock.sendall(fcgi.end_request())
    t.join(15 * wait.FACTOR)
    assert got and got[0].status == 200 and len(got[0].body) == 8 << 20 and len(b.requests[0].stdin) == 8 << 20


@pytest.mark.parametrize("when", ["before the answer", "within the body"])
def test_client_gone_closes_the_backend(httpd, responder, when):
    b = responder([fcgi.stdout("A: b\r\n\r\n" + "x" * 100000)] * (when == "within the body") + [Stall()])
    h = httpd(conf(backend=b.url)).start()
    c = http.Connection(h.port)
    c.request("GET", "/x.php")
    b.wait_requests(1)
    c.close()
    assert closed_at(b.last)
    wait.until(lambda: h.error_log.grep("client: the client went away"), 5)


def test_second_backend_takes_over(httpd, responder):
    good = responder()
    dead = f"fcgi://127.0.0.1:{ports.free_port()}"
    h = httpd(conf(backend=f"{dead} {good.url}")).start()
    h.error_log.claim("DM1003.*nothing listens there.*another follows", optional=True)
    for i in range(12):
        assert http.request(h, ("GET", "POST")[i % 2], "/x.php", body=b"x").status == 200
    assert len(good.requests) == 12


def test_backup_backend(httpd, responder):
    main, backup = responder(lambda ex: fcgi.response("main", req_id=ex.id)), responder(lambda ex: fcgi.response("backup", req_id=ex.id))
    h = httpd(conf(f"DemoBackupBackend {backup.url}", backend=main.url)).start()
    h.error_log.claim("DM1003", optional=True)
    assert {http.get(h, "/x.php").body for _ in range(6)} == {b"main"}
    main.stop()
    assert {http.get(h, "/x.php").body for _ in range(6)} == {b"backup"}


@pytest.mark.parametrize("step,why", [(fcgi.end_request(protocol_status=fcgi.OVERLOADED), "OVERLOADED"), (Close(), "before it answered"),
                                      (fcgi.response("x", "Status: zzz\r\n"), "malformed Status"), (Stall(), "read= ran out")])
def test_idempotent_request_goes_to_the_other_backend(httpd, responder, step, why):
    bad, good = responder(step), responder(lambda ex: fcgi.response("good", req_id=ex.id))
    h = httpd(conf("DemoTimeout read=1s" if isinstance(step, Stall) else "", backend=f"{bad.url} {good.url}")).start()
    h.error_log.claim(f"DM1003.*{why}.*another follows", optional=True)
    assert {http.get(h, "/x.php").body for _ in range(6)} == {b"good"}


@pytest.mark.parametrize("step", [Close(), fcgi.response("x", "Status: zzz\r\n"), Stall()])
def test_post_is_never_executed_twice(httpd, responder, step):
    bad = [responder(step), responder(step)]
    h = httpd(conf("DemoTimeout read=300ms", "DemoRetry attempts=5", backend=" ".join(b.url for b in bad))).start()
    h.error_log.claim("DM1003.*attempt 1,", count=1)
    assert http.post(h, "/x.php", b"order").status in (502, 504)
    assert sum(len(b.requests) for b in bad) == 1


def test_attempts_are_counted(httpd, responder):
    b = responder(Close())
    h = httpd(conf("DemoRetry attempts=4", backend=b.url), log_level="info demo:debug").start()
    h.error_log.claim("DM1003", count=4)
    assert http.get(h, "/x.php").status == 502 and len(b.requests) == 4
    h2 = httpd(conf("DemoRetry attempts=1", backend=b.url)).start()
    h2.error_log.claim("DM1003", count=1)
    assert http.get(h2, "/x.php").status == 502 and len(b.requests) == 5


def test_attempts_out_of_the_queue_are_counted(httpd, responder):
    """What PHP was asked twice is noted as two attempts, though the second came after a wait in the queue."""
    b = responder(fcgi.end_request(protocol_status=fcgi.OVERLOADED), fcgi.response("fine"))
    h = httpd(conf(backend=b.url)).start()
    assert http.get(h, "/x.php").body == b"fine" and len(b.requests) == 2
    wait.until(lambda: any("attempts=2" in x for x in h.access_log()), 5, "the note demo-attempts=2")


def test_error_document_and_keep_alive_after_an_error(httpd, responder):
    b = responder(fcgi.response("x", "Bad\r\n"), fcgi.response("fine"))
    h = httpd(conf('ErrorDocument 502 "sorry, a bad gateway"', backend=b.url)).start()
    h.error_log.claim("DM1003", count=1)
    with http.Connection(h.port) as c:
        c.request("GET", "/x.php")
        r = c.read()
        assert (r.status, r.body) == (502, b"sorry, a bad gateway")
        c.request("GET", "/x.php")
        assert c.read().body == b"fine"


def test_error_document_by_php(httpd, responder):
    b = responder(lambda ex: fcgi.response(ex.params["SCRIPT_NAME"] + " " + ex.params.get("REDIRECT_STATUS", "") + " "
                                           + ex.params.get("REDIRECT_URL", ""), req_id=ex.id))
    h = httpd(f"DemoBackend {b.url}\nErrorDocument 404 /error.php\n<Files *.php>\nSetHandler demo-fcgi\n</Files>").start()
    r = http.get(h, "/missing")
    assert (r.status, r.body) == (404, b"/error.php 404 /missing")
    assert "PATH_INFO" not in b.last.params and "PATH_TRANSLATED" not in b.last.params


def test_notes_of_a_failure_are_logged_with_its_error_document(httpd, responder):
    """httpd logs the notes of the request that an internal redirect ended at."""
    b = responder(fcgi.response("x", "Bad\r\n"))
    h = httpd(f"DemoBackend {b.url}\nErrorDocument 502 /sorry.txt\n<Files *.php>\nSetHandler demo-fcgi\n</Files>")
    (h.docroot / "sorry.txt").write_text("sorry")
    r = http.get(h.start(), "/x.php")
    h.error_log.claim("DM1003", count=1)
    assert (r.status, r.body) == (502, b"sorry")
    wait.until(lambda: any("error=response: malformed" in x and f"backend={b.url}" in x and "attempts=1" in x
                           for x in h.access_log()), 5, "the notes in the access log")


def test_server_without_a_backend(httpd, responder):
    b = responder()
    h = httpd("", ports_count=2)
    h.config = f"<VirtualHost 127.0.0.1:{h.ports[1]}>\nDemoBackend {b.url}\n{ALL_TO_PHP}</VirtualHost>\n{ALL_TO_PHP}"
    h.start()
    assert http.get(h.ports[1], "/x.php").status == 200
    h.error_log.claim("DM1005.*DemoBackend.*BACKEND_URL", count=1)
    assert http.get(h.ports[0], "/x.php").status == 500
