"""Slow uploads hold no thread of httpd: more of them than there are threads, and others are served."""
import socket
import ssl
import time

import pytest

from tools import http, wait
from tools.httpd import PHP, event_sizes

THREADS = 8


@pytest.fixture(autouse=True)
def _full_is_meant(site):
    """All threads of httpd may be busy here, and it says so."""
    site.error_log.claim("AH00484|AH03490|AH10159", optional=True)
    yield


@pytest.fixture(scope="module")
def fpm(module_php_fpm):
    return module_php_fpm(workers=2).start()


@pytest.fixture(scope="module")
def site(module_httpd, fpm):
    return module_httpd(f"""
DemoBackend {fpm.url}
Timeout 60
LogFormat "%s %>s %r" statuses
CustomLog "statuses.log" statuses
<Location "/limited">
    LimitRequestBody 500
</Location>
""" + PHP, docroot=fpm.docroot, mpm_config=event_sizes(THREADS, children=4, workers=THREADS, factor=20)).start()


def begin(site, chunked=False, length=3000, target="/upload.php?q=1"):
    c = http.Connection(site.port)
    c.request("POST", target, {"Transfer-Encoding": "chunked"} if chunked else {"Content-Length": str(length)})
    return c


@pytest.mark.parametrize("chunked", [False, True])
def test_slow_uploads_hold_no_thread(site, fpm, chunked):
    before = len(fpm.access_log())
    slow = [begin(site, chunked) for _ in range(5 * THREADS)]
    for piece in range(3):
        for c in slow:
            c.send_chunk(b"x" * 1000) if chunked else c.send(b"x" * 1000) if piece < 2 else None
        time.sleep(0.15)
        for _ in range(5):
            assert http.get(site, "/status.php").seconds < 40       # not until the slow ones are timed out
    assert not [x for x in fpm.access_log()[before:] if "upload.php" in x]
    for c in slow:
        c.send_chunk(b"") if chunked else c.send(b"x" * 1000)
    for c in slow:
        assert c.read().json()["length"] == 3000
    for c in slow:
        c.close()
    wait.until(lambda: len([x for x in site.access_log() if "POST /upload.php?q=1 " in x and " 200 " in x]) >= 5 * THREADS, 5,
               "the access log to have them all")


def test_slow_upload_with_the_next_request_behind_it(site):
    with begin(site) as c:
        c.send(b"x" * 10)
        time.sleep(0.3)
        c.send(b"x" * 2990 + b"GET /status.php?body=second HTTP/1.1\r\nHost: x\r\n\r\n")
        assert c.read().json()["length"] == 3000
        assert c.read().text == "second"
        c.request("POST", "/upload.php", {"Content-Length": "3"})    # and the connection goes on as any other
        time.sleep(0.3)
        c.send(b"abc")
        assert c.read().json()["length"] == 3
        c.request("POST", "/upload.php", body=b"at once")
        assert c.read().json()["length"] == 7


@pytest.mark.parametrize("target, bad, status", [("/upload.php?refused", "no chunk size\r\n", 400),
                                                 ("/limited/upload.php", "400\r\n" + "x" * 1024, 413)],
                         ids=["malformed", "too large"])
def test_slow_upload_that_is_refused_later(site, target, bad, status):
    """The body is bad after a while: an error as always, in the access log too."""
    c = begin(site, chunked=True, target=target)
    c.send_chunk(b"x" * 100)
    time.sleep(0.3)
    c.send(bad)
    assert c.read().status == status
    c.close()
    log = site.root / "statuses.log"
    wait.until(lambda: f"{status} {status} POST {target} HTTP/1.1\n" in log.read_text(), 5, f"the access log to have the {status}")


def test_slow_upload_whose_client_leaves(site):
    c = begin(site)
    c.send(b"x")
    time.sleep(0.3)
    c.close()
    wait.until(lambda: site.error_log.grep("DM1032"), 5, "the note that the body did not arrive")
    assert http.get(site, "/status.php").status == 200


def test_client_that_stops_sending_is_timed_out(site, httpd):
    site = httpd(site.config.replace("Timeout 60", "Timeout 2"), docroot=site.docroot).start()
    site.error_log.claim("AH00484|AH03490|AH10159", optional=True)
    c = begin(site)
    c.send(b"x")
    t0 = time.monotonic()
    try:
        c.rest()
    except ConnectionResetError:
        pass
    assert 1 < time.monotonic() - t0 < 40
    wait.until(lambda: [x for x in site.access_log() if " 408 " in x and "error=client: " in x], 5, "the access log")
    c.close()


def test_slow_upload_and_graceful_restart(site):
    slow = [begin(site) for _ in range(2 * THREADS)]
    for c in slow:
        c.send(b"x" * 1000)
    time.sleep(0.3)
    site.graceful()
    for c in slow:
        c.send(b"x" * 2000)
    assert {c.read().json()["length"] for c in slow} == {3000}


@pytest.mark.parametrize("mpm", ["worker", "prefork"])
def test_other_mpms_wait_with_a_thread(httpd, fpm, mpm):
    h = httpd(f"DemoBackend {fpm.url}\n{PHP}", mpm=mpm, docroot=fpm.docroot).start()
    with begin(h) as c:
        c.send(b"x" * 1000)
        time.sleep(0.3)
        c.send(b"x" * 2000)
        assert c.read().json()["length"] == 3000


def test_slow_upload_over_tls(httpd, fpm, tmp):
    import shutil
    import subprocess
    if not shutil.which("openssl"):
        pytest.skip("missing: openssl")
    subprocess.run(["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-keyout", tmp / "k.pem", "-out", tmp / "c.pem",
                    "-days", "2", "-subj", "/CN=localhost"], check=True, capture_output=True)
    h = httpd(f"""DemoBackend {fpm.url}
SSLEngine on
SSLCertificateFile {tmp}/c.pem
SSLCertificateKeyFile {tmp}/k.pem
SSLSessionCache none
{PHP}""", modules=["ssl"], docroot=fpm.docroot, mpm_config=event_sizes(THREADS, factor=20)).start()
    h.error_log.claim("AH00484|AH01906|AH01909|AH02217|AH01873", optional=True)
    context = ssl._create_unverified_context()

    def connect():
        c = http.Connection(h.port)
        c.sock = context.wrap_socket(c.sock)
        return c
    slow = []
    for _ in range(3 * THREADS):
        c = connect()
        slow.append(c)
        c.request("POST", "/upload.php", {"Content-Length": "20000"})
        c.send(b"x" * 100)
    time.sleep(0.4)
    c = connect()
    c.request("GET", "/params.php", {"Connection": "close"})
    assert c.read().json()["server"]["HTTPS"] == "on"
    for c in slow:
        c.send(b"x" * 19900)
    assert {c.read().json()["length"] for c in slow} == {20000}
    for c in slow:
        c.close()
    h.stop(graceful=True)           # a hard stop while connections end makes httpd 2.4.71 itself crash now and then
