"""What httpd itself offers, with scripts behind it: ranges, limits, trailers, error documents, TLS, the other MPMs."""
import re
import shutil
import ssl
import subprocess
import threading

import pytest

from tools import fcgi, http, metrics, wait
from tools.httpd import ALL_TO_PHP, METRICS_PAGE, PHP

PATTERN = bytes(range(256))


@pytest.fixture(scope="module")
def fpm(module_php_fpm):
    return module_php_fpm(workers=4).start()


@pytest.fixture(scope="module")
def site(module_httpd, fpm):
    return module_httpd(f"""
DemoBackend {fpm.url}
{PHP}
<Location "/limited">
    LimitRequestBody 1000
</Location>
<Location "/limited/stream">
    DemoRequestBuffering off
</Location>
Alias /limited/stream {fpm.docroot}
Alias /limited {fpm.docroot}
ErrorDocument 404 /status.php?body=lost
ErrorDocument 413 /params.php
""", docroot=fpm.docroot).start()


@pytest.fixture(scope="module")
def certificate(module_tmp):
    if not shutil.which("openssl"):
        pytest.skip("missing: openssl")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", module_tmp / "k.pem",
                    "-out", module_tmp / "c.pem", "-days", "2", "-subj", "/CN=localhost"], check=True, capture_output=True)
    return f"SSLEngine on\nSSLCertificateFile {module_tmp}/c.pem\nSSLCertificateKeyFile {module_tmp}/k.pem\nSSLSessionCache none\n"


# --- ranges ----------------------------------------------------------------------------------
@pytest.mark.parametrize("query", ["bytes=100000&length=1", "bytes=1000&length=1", "bytes=1000"])
def test_range(site, query):
    r = http.get(site, f"/download.php?{query}", {"Range": "bytes=10-19"})
    size = re.search(r"bytes=(\d+)", query).group(1)
    assert r.status == 206 and r.body == PATTERN[10:20]
    assert r.header("Content-Range") == f"bytes 10-19/{size}" and r.header("Content-Length") == "10"


def test_ranges_and_one_that_is_not_there(site):
    r = http.get(site, "/download.php?bytes=1000&length=1", {"Range": "bytes=0-1,998-"})
    assert r.status == 206 and r.header("Content-Type").startswith("multipart/byteranges")
    assert b"bytes 0-1/1000" in r.body and b"bytes 998-999/1000" in r.body
    with http.Connection(site.port) as c:
        for n in (1000, 300000):
            c.request("GET", f"/download.php?bytes={n}&length=1", {"Range": f"bytes={n}-"})
            r = c.read()
            assert r.status == 416 and b"Range Not Satisfiable" in r.body
        c.request("GET", "/status.php?body=next")
        assert c.read().text == "next"


# --- how a request comes ----------------------------------------------------------------------
def test_http10_keep_alive(site):
    with http.Connection(site.port) as c:
        for _ in range(3):
            c.request("GET", "/download.php?bytes=5000&length=1", {"Connection": "keep-alive"}, version="HTTP/1.0")
            r = c.read()
            assert r.status == 200 and len(r.body) == 5000 and r.header("Connection").lower() == "keep-alive"


def test_trailers_of_an_upload_are_no_header_fields(site):
    with http.Connection(site.port) as c:
        c.request("POST", "/params.php", {"Transfer-Encoding": "chunked", "Trailer": "X-Late"})
        c.send(b"3\r\na=b\r\n0\r\nX-Late: surely\r\n\r\n")
        server = c.read().json()["server"]
        assert server["CONTENT_LENGTH"] == "3" and "HTTP_X_LATE" not in server
        c.request("GET", "/status.php?body=next")       # and the connection goes on behind them
        assert c.read().text == "next"


def test_expect_without_a_body_and_of_something_else(site):
    with http.Connection(site.port) as c:
        c.request("GET", "/status.php?body=plain", {"Expect": "100-continue"})
        r = c.head()
        assert r.status in (100, 200)
        if r.status == 100:
            r = c.read()
    assert http.get(site, "/status.php", {"Expect": "a-miracle"}).status == 417


def test_range_is_left_to_a_script_that_says_so(site):
    r = http.get(site, "/download.php?bytes=100000&length=1", {"Range": "bytes=0-", "X-Test": "whole"})
    assert r.status == 206 and len(r.body) == 100000
    r = http.get(site, "/headers.php?h[]=Status:+206&h[]=Content-Range:+bytes+0-6/90", {"Range": "bytes=0-6"})
    assert r.status == 206 and r.text == "headers" and r.header("Content-Range") == "bytes 0-6/90"


def test_if_none_match_and_range_of_one_answer(site):
    target = "/headers.php?h[]=ETag:+%22v1%22&h[]=Cache-Control:+max-age=5"
    assert http.get(site, target, {"If-None-Match": '"v1"'}).status == 304
    r = http.get(site, target, {"Range": "bytes=0-3", "If-Range": '"v1"'})
    assert r.status == 206 and r.text == "head"
    r = http.get(site, target, {"Range": "bytes=0-3", "If-Range": '"other"'})
    assert r.status == 200 and r.text == "headers"


# --- limits of httpd ---------------------------------------------------------------------------
@pytest.mark.parametrize("how", ["length", "chunked"])
@pytest.mark.parametrize("path", ["/limited/upload.php", "/limited/stream/upload.php"])
def test_limit_request_body(site, fpm, path, how):
    """Refused before a script runs; the ErrorDocument is another script, and gets no body."""
    before = len([x for x in fpm.access_log() if "upload.php" in x])
    body = b"x" * 2000
    r = http.post(site, path, body) if how == "length" else http.post_chunked(site, path, [body[:900], body[900:]])
    assert r.status == 413
    assert r.json()["server"]["REDIRECT_STATUS"] == "413" and r.json()["server"]["REQUEST_METHOD"] == "GET"
    assert len([x for x in fpm.access_log() if "upload.php" in x]) == before
    assert http.post(site, path, b"x" * 1000).json()["length"] == 1000


def test_expect_is_not_answered_where_the_body_is_refused(site):
    with http.Connection(site.port) as c:
        c.request("POST", "/limited/upload.php", {"Expect": "100-continue", "Content-Length": "2000"})
        assert c.head().status == 413


def test_error_document_by_a_script(site):
    with http.Connection(site.port) as c:
        c.request("POST", "/nothing.html", {}, b"a=b")
        r = c.read()
        assert r.status in (200, 404) and r.text == "lost"
        c.request("GET", "/status.php?body=next")
        assert c.read().text == "next"


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_error_document_by_a_script_after_the_body_was_read(httpd, responder, buffering):
    def answer(ex):
        what = ex.params["SCRIPT_NAME"]
        if what == "/broken.php":
            return fcgi.stdout("no header\r\n\r\n") + fcgi.end_request()
        return fcgi.response(f"{ex.params['REQUEST_METHOD']} {what} {ex.stdin.decode()}")

    b = responder(answer)
    h = httpd(f"DemoBackend {b.url}\nDemoRequestBuffering {buffering}\nErrorDocument 502 /sorry.php\n{PHP}").start()
    h.error_log.claim("DM1003.*malformed header", count=1)
    with http.Connection(h.port) as c:
        c.request("POST", "/broken.php", {}, b"a=b")
        r = c.read()
        assert (r.status, r.text) == (502, "GET /sorry.php ")
        c.request("POST", "/next.php", {}, b"c=d")
        assert c.read().text == "POST /next.php c=d"


@pytest.mark.parametrize("limit", ["LimitRequestBody 10", "DemoSpool memory=10 max=10"])
@pytest.mark.parametrize("chunked", [False, True])
def test_error_document_by_a_script_of_a_body_that_is_too_long(httpd, responder, limit, chunked):
    """The limit holds for its path as well, but it gets no body."""
    b = responder(lambda ex: fcgi.response(f"{ex.params['REQUEST_METHOD']} {ex.params['SCRIPT_NAME']} {ex.stdin.decode()}"))
    h = httpd(f"DemoBackend {b.url}\n{limit}\nErrorDocument 413 /sorry.php\n{PHP}").start()
    h.error_log.claim("DM10", optional=True)
    h.error_log.claim("AH", optional=True)
    body = b"x" * 4000
    r = http.post_chunked(h, "/upload.php", [body[:900], body[900:]]) if chunked else http.post(h, "/upload.php", body)
    assert (r.status, r.text) == (413, "GET /sorry.php ")
    assert len(b.requests) == 1


@pytest.mark.parametrize("buffering", ["on", "off"])
def test_client_that_reads_no_more_is_dropped_after_timeout(httpd, fpm, buffering):
    """A streamed answer ends with httpd's Timeout, and PHP's worker is free; a buffered one has long left PHP."""
    h = httpd(f"DemoBackend {fpm.url}\nTimeout 1\nDemoResponseBuffering {buffering}\n{PHP}", docroot=fpm.docroot).start()
    h.error_log.claim("DM1004", optional=True)
    with http.Connection(h.port, rcvbuf=4096) as c:
        c.request("GET", f"/download.php?bytes={32 << 20}")
        wait.until(lambda: [x for x in fpm.access_log() if f"bytes={32 << 20}" in x], 30, "the script to end")
        wait.until(lambda: fpm.status()["active processes"] == 0, 10, "a free worker")
        wait.until(lambda: [x for x in h.access_log() if "download.php" in x], 30, "the end of the request")
        with pytest.raises((http.Truncated, OSError)):
            c.read()


# --- how httpd runs ------------------------------------------------------------------------------
@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_each_mpm(httpd, fpm, mpm):
    h = httpd(f"DemoBackend {fpm.url}\n{PHP}{METRICS_PAGE}", mpm=mpm, docroot=fpm.docroot).start()
    with http.Connection(h.port) as c:
        for i in range(5):
            c.request("GET", f"/status.php?body=n{i}")
            assert c.read().text == f"n{i}"
    assert http.post(h, "/upload.php", b"x" * 300000).json()["length"] == 300000
    assert http.post_chunked(h, "/upload.php", [b"x" * 9000] * 20).json()["length"] == 180000
    assert len(http.get(h, "/download.php?bytes=9000000").body) == 9000000
    assert http.request(h, "HEAD", "/download.php?bytes=5000&length=1").header("Content-Length") == "5000"
    wait.until(lambda: metrics.scrape(h).get("demo_requests_total", code="200", method="GET") == 6, 10, "the count")


@pytest.mark.parametrize("mpm", ["event", "prefork"])
def test_children_that_end_after_some_connections(httpd, fpm, mpm):
    """MaxConnectionsPerChild: whoever is served by a child that ends is served whole, and counted.  httpd makes new ones when
    it looks, once a second, and with the worker MPM, with or without the module, only after many."""
    children = "ServerLimit 4\nStartServers 2\n"
    threads = "ThreadsPerChild 4\nMaxRequestWorkers 16\nMinSpareThreads 1\nMaxSpareThreads 16\n"
    h = httpd(f"DemoBackend {fpm.url}\n{ALL_TO_PHP}{METRICS_PAGE}", mpm=mpm, docroot=fpm.docroot,
              mpm_config=children + ("MaxRequestWorkers 4\n" if mpm == "prefork" else threads)
              + "MaxConnectionsPerChild 7\n").start()
    h.error_log.claim("AH00484|AH00161", optional=True)
    first = set(h.pids())
    for i in range(60):
        assert http.get(h, f"/status.php?body=n{i}", timeout=90).text == f"n{i}"
    assert not first & set(h.pids()), "no child was replaced"
    wait.until(lambda: metrics.scrape(h).get("demo_requests_total", code="200", method="GET") == 60, 10, "the count")
    wait.until(lambda: metrics.scrape(h).get("demo_requests_in_flight") == 0, 10, "nothing in flight")


def test_graceful_restarts_under_load_with_tls(httpd, fpm, certificate):
    h = httpd(f"DemoBackend {fpm.url}\n{certificate}{PHP}", modules=["ssl"], docroot=fpm.docroot).start()
    h.error_log.claim("AH01906|AH01909|AH02217|AH01873|AH00484", optional=True)
    context = ssl._create_unverified_context()
    stop, wrong, served = threading.Event(), [], []

    def client(name):
        while not stop.is_set():
            try:
                with http.Connection(h.port) as c:
                    c.sock = context.wrap_socket(c.sock)
                    c.request("GET", f"/download.php?bytes=40000&n={name}", {"Connection": "close"})
                    r = c.read()
                    if r.status != 200 or len(r.body) != 40000:
                        wrong.append(f"{r.status}, {len(r.body)} bytes")
                    served.append(1)
            except (OSError, http.Truncated) as e:
                wrong.append(repr(e))
    threads = [threading.Thread(target=client, args=(i,)) for i in range(4)]
    for t in threads:
        t.start()
    try:
        for _ in range(3):
            n = len(served)
            wait.until(lambda n=n: len(served) > n + 10 or wrong, 30, "requests between two restarts")
            h.graceful()
    finally:
        stop.set()
        for t in threads:
            t.join()
    assert not wrong
    h.stop(graceful=True)


def test_http2_over_tls(httpd, fpm, certificate, tmp):
    """Many streams on one connection: each has its own answer; an upload; a 502 does not end the others."""
    if not shutil.which("curl"):
        pytest.skip("missing: curl")
    h = httpd(f"DemoBackend {fpm.url}\nProtocols h2 http/1.1\n{certificate}{PHP}", modules=["ssl", "http2"],
              docroot=fpm.docroot).start()
    h.error_log.claim("AH01906|AH01909|AH02217|AH01873|DM1003|DM1040|AH10034", optional=True)
    base = f"https://127.0.0.1:{h.port}"
    args = ["curl", "-sk", "--http2", "--parallel", "--parallel-max", "20"]
    for i in range(30):
        args += ["-o", str(tmp / f"{i}"), f"{base}/download.php?bytes={1000 * i + 1}"]
    subprocess.run(args, check=True, timeout=60)
    assert [(tmp / f"{i}").stat().st_size for i in range(30)] == [1000 * i + 1 for i in range(30)]
    (tmp / "body").write_bytes(b"x" * 500000)
    out = subprocess.run(["curl", "-sk", "--http2", "-w", " %{http_version}", "-T", str(tmp / "body"), f"{base}/upload.php"],
                         capture_output=True, text=True, timeout=60).stdout
    assert '"length":500000' in out and out.endswith(" 2")
    h.stop(graceful=True)
