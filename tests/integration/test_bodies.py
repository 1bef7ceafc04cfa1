"""Bodies of any size, both ways, through real php-fpm."""
import hashlib
import os

import pytest

from tools import http, metrics, wait
from tools.httpd import ALL_TO_PHP, METRICS_PAGE, PHP
from tools.sidecar import Sidecar, secret_file

MIB = 1 << 20


def pattern(n: int, chunk: int = 65536):
    """n bytes in pieces, the same as download.php makes."""
    unit = bytes(range(256)) * (chunk // 256 + 2)
    at = 0
    while at < n:
        take = min(chunk, n - at)
        yield unit[at & 255:(at & 255) + take]
        at += take


def digest(n: int) -> str:
    h = hashlib.sha256()
    for piece in pattern(n):
        h.update(piece)
    return h.hexdigest()


@pytest.fixture(scope="module")
def site(module_httpd, module_php_fpm):
    fpm = module_php_fpm(4).start()
    h = module_httpd(f"""DemoBackend {fpm.url}
DocumentRoot "{fpm.docroot}"
{PHP}""")
    h.fpm = fpm
    return h.start()


def uploaded(r: http.Response, n: int) -> None:
    assert r.status == 200, r.text[:500]
    got = r.json()
    assert got["length"] == n and got["sha256"] == digest(n), got


@pytest.mark.parametrize("n", [0, 1, 65535, 65536, 65537, 3 * MIB + 17])
@pytest.mark.parametrize("how", ["plain", "chunked"])
def test_upload(site, n, how):
    if how == "plain":
        r = http.post(site, "/upload.php", b"".join(pattern(n)), {"Content-Type": "application/octet-stream"})
    else:
        r = http.post_chunked(site, "/upload.php", pattern(n), {"Content-Type": "application/octet-stream"})
    uploaded(r, n)
    assert str(r.json()["content_length"]) == str(n), "the length is stated, chunked or not"


@pytest.mark.parametrize("query", ["bytes=0", "bytes=1", "bytes=65536", "bytes=70001&length=1", f"bytes={5 * MIB}&chunk=977"])
def test_download(site, query):
    n = int(query.split("=")[1].split("&")[0])
    r = http.get(site, f"/download.php?{query}")
    assert r.status == 200 and len(r.body) == n and hashlib.sha256(r.body).hexdigest() == digest(n)
    if "length" in query:
        assert r.header("Content-Length") == str(n)


def test_no_spool_file_stays(site):
    """Temporary files are gone when the request is, and hidden from the start (unlinked or not)."""
    http.post(site, "/upload.php", b"".join(pattern(3 * MIB)))

    def held():
        files = []
        for p in site.pids():
            for fd in os.listdir(f"/proc/{p}/fd"):
                try:
                    files.append(os.readlink(f"/proc/{p}/fd/{fd}"))
                except FileNotFoundError:       # closed meanwhile
                    pass
        return [f for f in files if "deleted" in f and "/mod_demo." in f]
    # The client has its answer a moment before the request ends.
    wait.until(lambda: not held(), 5, "the end of the temporary file")


@pytest.mark.parametrize("version,expect", [("HTTP/1.0", "close"), ("HTTP/1.1", "100-continue")])
def test_old_and_careful_clients(site, version, expect):
    body = b"".join(pattern(100000))
    with http.Connection(site.port) as c:
        if version == "HTTP/1.0":
            c.request("POST", "/upload.php", {}, body, version=version)
        else:
            c.request("POST", "/upload.php", {"Expect": "100-continue", "Content-Length": str(len(body)), "Connection": "close"})
            assert c.head().status == 100
            c.send(body)
        r = c.read("POST")
    uploaded(r, len(body))


@pytest.fixture
def through_sidecar(site, tmp, httpd):
    seed = tmp / "seed.sqlite"
    import sqlite3
    con = sqlite3.connect(seed)
    con.execute("CREATE TABLE t (x)")
    con.close()
    os.chmod(seed, 0o644)
    authority = tmp / "authority"
    authority.mkdir()
    from tools import paths
    paths.give(authority)
    s = Sidecar(tmp, "a", f"file://{authority}/primary", secret_file(tmp), site.fpm.url, seed)
    s.start()
    s.post_start()
    h = httpd(site.config.replace(site.fpm.url, s.url)).start()
    yield h
    h.stop()
    s.stop()
    s.check()


def test_bodies_through_the_sidecar(through_sidecar):
    n = 20 * MIB + 5
    uploaded(http.post_chunked(through_sidecar, "/upload.php", pattern(n)), n)
    r = http.get(through_sidecar, f"/download.php?bytes={n}")
    assert hashlib.sha256(r.body).hexdigest() == digest(n)


def test_refused_body_is_logged_without_a_nonsense_error(httpd, responder):
    """What httpd's filters refuse has no errno: the line that follows theirs shows none."""
    h = httpd(f"DemoBackend {responder().url}\n{ALL_TO_PHP}{METRICS_PAGE}", log_level="info").start()
    with http.Connection(h.port) as c:
        c.send(b"POST /x.php HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n")
        assert c.read().status == 400
    line = wait.until(lambda: next((x for x in h.error_log.lines() if "DM1032" in x), None), 5, "DM1032")
    assert "Unknown error" not in line and "httpd refused it" in line
    assert metrics.scrape(h).sum("demo_requests_total", code="400") == 1
