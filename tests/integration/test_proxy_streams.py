"""Bodies that are slow, large or endless: who waits for whom."""
import gzip
import os
import socket
import threading
import time

import pytest

from tools import fcgi, http, proc, wait
from tools.httpd import ALL_TO_PHP, PHP, event_sizes
from tools.responder import Split, Stall

MIB = 1 << 20


@pytest.fixture(scope="module")
def fpm(module_php_fpm):
    return module_php_fpm(workers=2).start()


@pytest.fixture(scope="module")
def site(module_httpd, fpm):
    return module_httpd(f"""
DemoBackend {fpm.url}
DemoTimeout queue=2s
{PHP}
<Location "/stream">
    DemoRequestBuffering off
    DemoResponseBuffering off
</Location>
<Location "/capped">
    DemoSpool max=1M
</Location>
Alias /stream {fpm.docroot}
Alias /capped {fpm.docroot}
""", docroot=fpm.docroot, mpm_config=event_sizes(16, children=2, factor=20)).start()


def busy(fpm):
    return fpm.status()["active processes"]


def test_slow_readers_hold_neither_thread_nor_worker(site, fpm):
    """60 clients that read nothing of 8 MiB each, on 32 threads and 2 PHP workers."""
    site.error_log.claim("AH00484", optional=True)       # all threads may be busy for a moment
    slow = []
    for _ in range(60):
        c = http.Connection(site.port, rcvbuf=4096)
        c.request("GET", f"/download.php?bytes={8 * MIB}")
        slow.append(c)
    wait.until(lambda: len([x for x in fpm.access_log() if "download.php" in x]) >= 60 and busy(fpm) == 0, 60,
               "all answers to be generated, no worker busy")
    for _ in range(20):
        assert http.get(site, "/index.php").status == 200
    r = slow[7].read()                                   # and nothing of theirs is lost
    assert len(r.body) == 8 * MIB and r.body[:512] == bytes(i & 255 for i in range(512))
    assert r.body[-256:] == bytes(i & 255 for i in range(8 * MIB - 256, 8 * MIB))
    for c in slow:
        c.close()


def test_answer_beyond_the_cap_falls_back_to_streaming(site, fpm):
    c = http.Connection(site.port, rcvbuf=4096)
    c.request("GET", f"/capped/download.php?bytes={16 * MIB}&length=1")
    wait.until(lambda: site.error_log.grep("DM1050"), 10, "the note that the spool is full")
    assert busy(fpm) >= 1                                # PHP waits for the client
    r = c.read()
    assert len(r.body) == 16 * MIB and r.body[-256:] == bytes(i & 255 for i in range(16 * MIB - 256, 16 * MIB))
    c.close()


def test_request_body_beyond_the_cap_is_413(site, fpm):
    site.error_log.claim("DM1030", count=2)
    assert http.post(site, "/capped/upload.php", b"x" * (2 * MIB)).status == 413
    assert http.post_chunked(site, "/capped/upload.php", [b"x" * MIB] * 3).status == 413
    assert http.post(site, "/capped/upload.php", b"x" * MIB).json()["length"] == MIB


def test_slow_upload_occupies_no_worker(site, fpm):
    with http.Connection(site.port) as c:
        c.request("POST", "/upload.php", {"Content-Length": "100000"})
        for _ in range(5):
            c.send(b"x" * 1000)
            time.sleep(0.05)
        # A kept connection of the test before may count for the moment until it is closed.
        wait.until(lambda: busy(fpm) == 0, 5, "no worker busy while the upload is under way")
        c.send(b"x" * 95000)
        assert c.read().json()["length"] == 100000


def test_streamed_upload_reaches_the_backend_at_once(httpd, responder):
    b = responder()
    h = httpd(f"DemoBackend {b.url}\nDemoRequestBuffering off\n{ALL_TO_PHP}").start()
    with http.Connection(h.port) as c:
        c.request("POST", "/x.php", {"Content-Length": "6"})
        c.send(b"abc")
        wait.until(lambda: b.requests and any(r.type == fcgi.STDIN and r.content == b"abc" for r in b.last.records), 5,
                   "the first half at the backend")
        c.send(b"def")
        assert c.read().status == 200
    assert b.last.stdin == b"abcdef" and b.last.params["CONTENT_LENGTH"] == "6"
    assert http.post_chunked(h, "/x.php", [b"of unknown ", b"length"]).status == 200
    assert b.last.stdin == b"of unknown length" and b.last.params["CONTENT_LENGTH"] == "17"


def test_streamed_upload_that_breaks_off(httpd, responder):
    b = responder()
    h = httpd(f"DemoBackend {b.url}\nDemoRequestBuffering off\n{ALL_TO_PHP}").start()
    c = http.Connection(h.port)
    c.request("POST", "/x.php", {"Content-Length": "6"})
    c.send(b"abc")
    wait.until(lambda: b.requests, 5)
    c.close()
    wait.until(lambda: b.open == 0, 5, "the end of the connection to the backend")
    wait.until(lambda: h.error_log.grep("DM1003.*client: "), 5, "the note of the client's end")


@pytest.mark.parametrize("target", ["/events.php?n=2&until=", "/stream/sleep.php?flush=1&until="])
def test_events_arrive_at_once(site, target, fpm):
    gate = f"gate-{len(target)}"
    with http.Connection(site.port) as c:
        c.request("GET", target + gate)
        c.head()
        assert c.line() and c.line() in (b"data: 0", b"first")      # and PHP has not written the rest
        fpm.let(gate)


def gated(httpd, responder, begin, rest, directives=""):
    """A site whose backend sends the rest when the gate is set."""
    gate = threading.Event()
    b = responder([fcgi.stdout(begin), Stall(gate), fcgi.stdout(rest), fcgi.end_request()])
    return httpd(f"DemoBackend {b.url}\n{directives}\n{ALL_TO_PHP}").start(), b, gate


@pytest.mark.parametrize("header,waits", [("X-Accel-Buffering: no", False), ("X-Accel-Buffering: yes", True),
                                          ("Content-Type: text/event-stream; charset=utf-8", False)])
def test_who_is_passed_on_at_once(httpd, responder, header, waits):
    h, b, gate = gated(httpd, responder, header + "\r\n\r\nfirst", "second")
    with http.Connection(h.port) as c:
        c.request("GET", "/x.php")
        if waits:
            b.wait_requests(1)
            c.sock.settimeout(0.5)
            with pytest.raises(TimeoutError):
                c.head()
            gate.set()
            c.sock.settimeout(30)
            assert c.read().body == b"firstsecond"
        else:
            assert c.head().header("X-Accel-Buffering") is None
            assert c.line() == b"5" and c.exactly(5) == b"first"
            gate.set()


@pytest.mark.parametrize("header,directive", [("Content-Type: text/event-stream", "on"),
                                              ("X-Accel-Buffering: no", "on"), ("X-Some: thing", "off")])
def test_header_of_a_stream_does_not_wait_for_its_body(httpd, responder, header, directive):
    """A browser's EventSource counts as open when it has the header."""
    h, _, gate = gated(httpd, responder, header + "\r\n\r\n", "first", f"DemoResponseBuffering {directive}")
    with http.Connection(h.port) as c:
        c.request("GET", "/x.php")
        assert c.head().status == 200
        gate.set()
        assert c.line() == b"5" and c.exactly(5) == b"first"


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_upload_that_a_filter_inflates_has_its_real_length(httpd, responder, buffering):
    b = responder()
    h = httpd(f"DemoBackend {b.url}\nDemoRequestBuffering {buffering}\n{ALL_TO_PHP}<Location />\n"
              "SetInputFilter DEFLATE\n</Location>\n", modules=["deflate", "filter"]).start()
    plain = os.urandom(50000).hex().encode()
    assert http.post(h, "/x.php", gzip.compress(plain), {"Content-Encoding": "gzip"}).status == 200
    assert b.last.stdin == plain and b.last.params["CONTENT_LENGTH"] == str(len(plain))


def test_memory_stays(site, fpm):
    """256 MiB down and up; the whole of httpd grows by less than 4 MiB."""
    http.get(site, f"/download.php?bytes={4 * MIB}")
    http.post(site, "/upload.php", b"x" * (4 * MIB))
    pids = site.pids()
    before = sum(proc.rss_kib(p) for p in pids)
    with http.Connection(site.port, timeout=60) as c:
        c.request("GET", f"/download.php?bytes={256 * MIB}", {"Connection": "close"})
        c.head()
        got = len(c.buf)
        while True:
            data = c.sock.recv(1 << 20)
            if not data:
                break
            got += len(data)
    assert got >= 256 * MIB
    with http.Connection(site.port, timeout=60) as c:
        c.request("POST", "/upload.php", {"Content-Length": str(256 * MIB)})
        for _ in range(256):
            c.send(b"y" * MIB)
        assert c.read().json()["length"] == 256 * MIB
    after = sum(proc.rss_kib(p) for p in pids)
    assert after - before < 4096 * (4 if os.environ.get("DEMO_SANITIZE") else 1)


# --- beside other parts of httpd ----------------------------------------------------------------
def test_deflate_and_ssi_and_http2(httpd, fpm):
    h = httpd(f"""
DemoBackend {fpm.url}
{PHP}
AddOutputFilterByType DEFLATE text/html text/plain application/json
<Files "*.shtml">
    Options +Includes
    SetOutputFilter INCLUDES
    ForceType text/html
</Files>
Protocols h2c http/1.1
""", modules=["deflate", "filter", "include", "http2"], docroot=fpm.docroot)
    (fpm.docroot / "page.shtml").write_text('<p><!--#include virtual="/status.php?body=included" --></p>')
    h.start()
    r = http.get(h, "/status.php?body=" + "z" * 2000, {"Accept-Encoding": "gzip"})
    import gzip
    assert r.header("Content-Encoding") == "gzip" and gzip.decompress(r.body) == b"z" * 2000
    assert http.get(h, "/page.shtml").body == b"<p>included</p>"
    import shutil
    import subprocess
    curl = shutil.which("curl")
    if not curl:
        pytest.skip("missing: curl")
    out = subprocess.run([curl, "-s", "--http2-prior-knowledge", "-w", "%{http_version} %{http_code}", "-d", "a=b",
                          h.url("/upload.php")], capture_output=True, text=True, timeout=30).stdout
    assert '"length":3' in out and out.endswith("2 200")
    out = subprocess.run([curl, "-s", "--http2-prior-knowledge", h.url("/params.php")], capture_output=True,
                         text=True, timeout=30).stdout
    assert '"SERVER_PROTOCOL":"HTTP' in out and "CONTENT_LENGTH" not in out     # RFC 3875 §4.1.2: there is no body
    out = subprocess.run([curl, "-s", "--http2-prior-knowledge", h.url(f"/download.php?bytes={8 * MIB}")],
                         capture_output=True, timeout=30).stdout
    assert len(out) == 8 * MIB


def test_expect_100_and_http10(site):
    with http.Connection(site.port) as c:
        c.request("POST", "/upload.php", {"Expect": "100-continue", "Content-Length": "3"})
        assert c.head().status == 100
        c.send(b"abc")
        assert c.read().json()["length"] == 3
    with http.Connection(site.port) as c:
        c.request("POST", "/stream/upload.php", {"Expect": "100-continue", "Content-Length": "3"})
        assert c.head().status == 100
        c.send(b"abc")
        assert c.read().json()["length"] == 3
    with http.Connection(site.port) as c:
        c.request("GET", "/download.php?bytes=100000", version="HTTP/1.0")
        assert len(c.read().body) == 100000


def test_pipelined_requests_are_answered_in_order(site):
    with http.Connection(site.port) as c:
        c.send("".join(f"GET /status.php?body=n{i} HTTP/1.1\r\nHost: x\r\n\r\n" for i in range(20)))
        assert [c.read().text for _ in range(20)] == [f"n{i}" for i in range(20)]


# --- kept connections with php-fpm ------------------------------------------------------------------
def test_kept_connections_do_not_starve_another_client(httpd, php_fpm):
    """One worker, a busy gateway in front of it: who asks php-fpm himself still gets his turn."""
    fpm = php_fpm(workers=1).start()
    h = httpd(f"DemoBackend {fpm.url}\nDemoHealthCheck interval=1h\n{PHP}",
              docroot=fpm.docroot).start()
    stop = threading.Event()
    done, errors = [], []

    def load():
        try:
            while not stop.is_set():
                with http.Connection(h.port) as c:
                    for _ in range(50):
                        c.request("GET", "/status.php")
                        assert c.read().status == 200
                        done.append(1)
        except Exception as e:                           # noqa: BLE001 - told below
            errors.append(e)
    threads = [threading.Thread(target=load) for _ in range(8)]
    for t in threads:
        t.start()
    try:
        wait.until(lambda: len(done) > 50, 10)
        for _ in range(5):
            t0 = time.monotonic()
            assert http.post(h, "/upload.php", b"abc").json()["length"] == 3
            assert fpm.ping()
            assert time.monotonic() - t0 < 15
    finally:
        stop.set()
        for t in threads:
            t.join(10 * wait.FACTOR)
    assert not errors
    wait.until(lambda: fpm.ping(), 2)


def test_idle_connections_are_closed_soon(httpd, php_fpm):
    fpm = php_fpm(workers=2).start()
    h = httpd(f"DemoBackend {fpm.url}\nDemoHealthCheck interval=1h\n{PHP}",
              docroot=fpm.docroot).start()
    for _ in range(4):
        http.get(h, "/status.php")

    def kept():
        return sum(os.readlink(f"/proc/{p}/fd/{fd}").startswith("socket") for p in fpm.pids()
                   for fd in os.listdir(f"/proc/{p}/fd") if os.path.lexists(f"/proc/{p}/fd/{fd}"))
    wait.until(lambda: busy(fpm) == 0, 3, "no worker bound to an idle connection")


def test_connections_are_kept_and_pool_off(httpd, responder):
    b = responder()
    h = httpd(f"DemoBackend {b.url}\nDemoPool idle=2s\n{ALL_TO_PHP}", mpm_config=event_sizes(8)).start()

    def kept():                      # not every one: a connection that took 50 ms is closed, as here when the machine is busy
        assert http.get(h, "/x.php").status == 200
        assert b.last.keep_conn
        return len({r.conn for r in b.requests}) < len(b.requests)
    wait.until(kept, 20, "a connection that carried two requests")
    h2 = httpd(f"DemoBackend {b.url}\nDemoPool off\n{ALL_TO_PHP}").start()
    b.forget()
    for _ in range(3):
        assert http.get(h2, "/x.php").status == 200
    assert not any(r.keep_conn for r in b.requests) and len({r.conn for r in b.requests}) == 3


def test_pool_is_bounded_over_all_children(httpd, responder):
    b = responder(lambda ex: [0.02, fcgi.response("x", req_id=ex.id)])
    h = httpd(f"DemoBackend {b.url}\nDemoPool max=3 idle=1s\n{ALL_TO_PHP}", mpm_config=event_sizes(8, children=3, start=3)).start()
    ts = [threading.Thread(target=lambda: [http.get(h, "/x.php") for _ in range(5)]) for _ in range(16)]
    for t in ts:
        t.start()
    for t in ts:
        t.join()
    live = {}
    for r in b.requests:
        live.setdefault(r.conn, []).append(r.keep_conn)
    wait.until(lambda: b.open <= 3, 3, "no more than three idle connections")
    wait.until(lambda: b.open == 0, 5, "idle connections to be closed")


def test_answer_in_pieces_on_a_kept_connection_waits_for_no_acknowledgement(httpd, fpm, tmp):
    """php-fpm sends the second piece when the first is acknowledged, and loses it when it is reloaded before."""
    h = httpd(f"""DemoBackend {fpm.url}
{PHP}
LogFormat "%{{demo-connect-us}}n %{{demo-total-us}}n" times
CustomLog "{tmp}/times.log" times""", docroot=fpm.docroot).start()

    def kept():
        lines = [x.split() for x in (tmp / "times.log").read_text().splitlines()]
        return [int(total) for connect, total in lines if connect == "-"]
    with http.Connection(h.port) as c:
        for _ in range(30):                     # one that is fast is enough: the machine may be busy
            c.request("GET", "/download.php?bytes=12000")
            assert len(c.read().body) == 12000
    wait.until(kept, 5, "answers over kept connections")
    assert min(kept()) < 35000, "40 ms is what a receiver delays an acknowledgement"


def test_segments_are_so_small_that_a_piece_of_php_fpm_is_acknowledged_on_arrival(httpd, responder):
    """Not when a thread of httpd comes to read it: a worker that is reloaded may be gone by then, with the rest of the answer."""
    def answer(ex):                             # while the connection is there: kept ones are closed soon
        sizes.append(ex.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG))
        return fcgi.response("x", req_id=ex.id)
    sizes = []
    h = httpd(f"DemoBackend {responder(answer).url}\n{ALL_TO_PHP}").start()
    assert http.get(h, "/x.php").status == 200
    assert sizes[0] <= 1448
