"""Bodies cost httpd no memory, however large, whichever way they go.

DEMO_BODY_MIB says how large (default 24; 1024 takes some minutes and twice as much of TMPDIR).
"""
import hashlib
import json
import os
import subprocess
import threading
import time

import pytest

from tools import http, metrics, paths, ports, proc, wait
from tools.httpd import METRICS_PAGE, PHP, event_sizes

MIB = 1 << 20
SIZE = int(os.environ.get("DEMO_BODY_MIB", "24")) * MIB
GROWTH_KIB = 4 * 1024
WARM = 3 * MIB                # beyond what is kept in memory: every path is taken once before memory is looked at
PATIENCE = 600

pytestmark = pytest.mark.skipif(paths.SANITIZE, reason="a sanitizer keeps what was freed")


@pytest.fixture(scope="module")
def site(module_httpd, module_php_fpm, module_tmp):
    fpm = module_php_fpm(4).start()
    openssl = paths.require("openssl")
    subprocess.run([openssl, "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", module_tmp / "k.pem", "-out",
                    module_tmp / "c.pem", "-subj", "/CN=127.0.0.1", "-days", "2"], check=True, capture_output=True)
    tls = ports.free_port()
    h = module_httpd(f"""Listen 127.0.0.1:{tls}
<VirtualHost *:{tls}>
    Protocols h2 http/1.1
    SSLEngine on
    SSLCertificateFile "{module_tmp}/c.pem"
    SSLCertificateKeyFile "{module_tmp}/k.pem"
</VirtualHost>
DemoBackend {fpm.url}
Protocols h2c http/1.1
Timeout 300
DemoTimeout read=300s send=300s
Alias /stream "{fpm.docroot}"
Alias /capped "{fpm.docroot}"
{PHP}
<Location /stream>
    DemoRequestBuffering off
    DemoResponseBuffering off
</Location>
<Location /capped>
    DemoSpool max=1M
</Location>
{METRICS_PAGE}""", ["http2", "ssl"], docroot=fpm.docroot, mpm_config=event_sizes(8, children=2, workers=8, factor=8))
    h.error_log.claim("AH01906|AH01909|AH01873", optional=True)      # the certificate is its own authority; no session cache
    h.fpm, h.tls = fpm, f"https://127.0.0.1:{tls}"
    return h.start()


def pattern(n: int):
    """n bytes in pieces, as download.php makes them."""
    unit = bytes(range(256)) * 4096
    for at in range(0, n, MIB):
        yield unit[:min(MIB, n - at)]


def digest(n: int) -> str:
    h = hashlib.sha256()
    for piece in pattern(n):
        h.update(piece)
    return h.hexdigest()


class Growth:
    """The most anonymous memory that the children had at a time, above what they had before."""

    def __init__(self, h):
        self.h, self.over = h, threading.Event()

    def now(self) -> int:
        return sum(proc.rss_kib(p, "RssAnon") for p in self.h.pids())

    def __enter__(self):
        self.before = self.most = self.now()
        self.thread = threading.Thread(target=self._watch)
        self.thread.start()
        return self

    def _watch(self):
        while not self.over.wait(0.02):
            self.most = max(self.most, self.now())

    def __exit__(self, *exc):
        self.over.set()
        self.thread.join()
        if exc[0] is None:
            self.most = max(self.most, self.now())
            print(f"httpd's children: {self.before} KiB of anonymous memory, at most {self.most}")
            assert self.most - self.before < GROWTH_KIB, f"httpd grew from {self.before} to {self.most} KiB"


# -- ways to send ----------------------------------------------------------------------------------
def plain(site, target, n):
    with http.Connection(site.port, PATIENCE) as c:
        c.request("POST", target, {"Content-Length": str(n), "Connection": "close"})
        for piece in pattern(n):
            c.send(piece)
        return c.read().json()


def chunked(site, target, n):
    return http.post_chunked(site, target, pattern(n), timeout=PATIENCE).json()


def curl_send(n, *args):
    curl = subprocess.Popen([paths.require("curl"), "-sS", "-X", "POST", "-T", "-", *args], stdin=subprocess.PIPE,
                            stdout=subprocess.PIPE)
    for piece in pattern(n):
        curl.stdin.write(piece)
    out = curl.communicate(timeout=PATIENCE)[0]
    assert curl.returncode == 0
    return json.loads(out)


def http2(site, target, n):
    return curl_send(n, "--http2-prior-knowledge", site.url(target))


def tls(site, target, n):
    return curl_send(n, "-k", "--http1.1", site.tls + target)


def tls_http2(site, target, n):
    return curl_send(n, "-k", "--http2", site.tls + target)


@pytest.mark.parametrize("target", ["/upload.php", "/stream/upload.php"])
@pytest.mark.parametrize("how", [plain, chunked, http2, tls, tls_http2])
def test_upload(site, how, target):
    how(site, target, WARM)
    with Growth(site):
        got = how(site, target, SIZE)
    assert got["length"] == SIZE and got["sha256"] == digest(SIZE)


# -- ways to receive -------------------------------------------------------------------------------
def received(c) -> tuple[int, str]:
    r, h, n = c.head(), hashlib.sha256(), 0
    assert r.status == 200 and r.header("Content-Length")
    data = c.buf or c.sock.recv(1 << 18)        # the header of a stream comes alone
    while data:
        h.update(data)
        n += len(data)
        data = c.sock.recv(1 << 18)
    return n, h.hexdigest()


def at_once(site, target, n):
    with http.Connection(site.port, PATIENCE) as c:
        c.request("GET", f"{target}?bytes={n}&length=1", {"Connection": "close"})
        return received(c)


def late(site, target, n):
    """A client that takes nothing until PHP is done with it."""
    with http.Connection(site.port, PATIENCE, rcvbuf=16384) as c:
        c.request("GET", f"{target}?bytes={n}&length=1", {"Connection": "close"})
        wait.until(lambda: metrics.scrape(site).sum("demo_requests_in_flight") == 0, PATIENCE, "the whole answer in the spool")
        return received(c)


def stalling(site, target, n):
    """A client that takes a pause in the middle, which is PHP's then."""
    with http.Connection(site.port, PATIENCE, rcvbuf=16384) as c:
        c.request("GET", f"{target}?bytes={n}&length=1", {"Connection": "close"})
        time.sleep(0.3)
        return received(c)


def curl_receive(*args):
    curl = subprocess.Popen([paths.require("curl"), "-sS", *args], stdout=subprocess.PIPE)
    h, got = hashlib.sha256(), 0
    while data := curl.stdout.read(1 << 18):
        h.update(data)
        got += len(data)
    assert curl.wait(60) == 0
    return got, h.hexdigest()


def by_http2(site, target, n):
    return curl_receive("--http2-prior-knowledge", site.url(f"{target}?bytes={n}&length=1"))


def by_tls(site, target, n):
    return curl_receive("-k", "--http1.1", f"{site.tls}{target}?bytes={n}&length=1")


def by_tls_http2(site, target, n):
    return curl_receive("-k", "--http2", f"{site.tls}{target}?bytes={n}&length=1")


@pytest.mark.parametrize("target,how", [
    ("/download.php", at_once), ("/download.php", late), ("/download.php", by_http2), ("/download.php", by_tls),
    ("/download.php", by_tls_http2), ("/stream/download.php", at_once), ("/stream/download.php", stalling),
    ("/stream/download.php", by_http2), ("/stream/download.php", by_tls), ("/stream/download.php", by_tls_http2),
    ("/capped/download.php", stalling), ("/capped/download.php", by_http2)])
def test_download(site, how, target):
    how(site, target, WARM if "late" not in how.__name__ else 16 * MIB)
    with Growth(site):
        got = how(site, target, SIZE)
    assert got == (SIZE, digest(SIZE))
