"""Everything at once: all kinds of requests from several threads, while httpd restarts gracefully.

Short by itself; under DEMO_SANITIZE=thread and memcheck it is what shows races and leaks of the children.
"""
import hashlib
import random
import threading
import time

import pytest

from tools import http, wait
from tools.httpd import HEALTH_PAGE, METRICS_PAGE, PHP, event_sizes

CLIENTS, ROUNDS = 6, 3
BODY = bytes(range(256)) * 1200       # beyond DemoSpool memory=


def kept(site, rnd):
    """Several requests on one connection."""
    with http.Connection(site.port) as c:
        for i in range(3):
            c.request("GET", f"/params.php?i={i}")
            r = c.read()
            assert r.status == 200 and r.json()["get"] == {"i": str(i)}
            if (r.header("Connection") or "").lower() == "close":
                break                 # the child goes, after a graceful restart


def upload(site, rnd):
    got = http.post(site, "/upload.php", BODY).json()
    assert (got["length"], got["sha256"]) == (len(BODY), hashlib.sha256(BODY).hexdigest())


def upload_chunked(site, rnd):
    got = http.post_chunked(site, "/upload.php", [BODY[:1000], BODY[1000:]]).json()
    assert got["sha256"] == hashlib.sha256(BODY).hexdigest() and got["content_length"] == str(len(BODY))


def upload_slow(site, rnd):
    """It waits without a thread; demo_park."""
    with http.Connection(site.port) as c:
        c.request("POST", "/upload.php", {"Content-Length": "3000", "Connection": "close"})
        for _ in range(3):
            time.sleep(0.02)
            c.send(b"x" * 1000)
        assert c.read("POST").json()["length"] == 3000


def upload_given_up(site, rnd):
    with http.Connection(site.port) as c:
        c.request("POST", "/upload.php", {"Content-Length": "3000"})
        c.send(b"x" * 1000)


def download(site, rnd):
    assert len(http.get(site, "/download.php?bytes=1500000").body) == 1500000


def download_slow(site, rnd):
    """The answer goes to a file, and from there to a reader that takes its time."""
    with http.Connection(site.port, rcvbuf=4096) as c:
        c.request("GET", "/download.php?bytes=1500000&length=1", {"Connection": "close"})
        time.sleep(0.1)
        assert len(c.read().body) == 1500000


def download_given_up(site, rnd):
    with http.Connection(site.port, rcvbuf=4096) as c:
        c.request("GET", "/download.php?bytes=1500000")
        c.head()


def errors(site, rnd):
    code = rnd.choice((204, 304, 404, 500, 503))
    assert http.get(site, f"/status.php?code={code}").status == code
    assert http.get(site, "/stderr.php?line[]=said").text == "logged"
    assert http.request(site, "HEAD", "/params.php").status == 200
    assert http.get(site, "/redirect.php?to=/params.php").status in (200, 302)
    assert http.get(site, "/nothing.php").status == 404


def stream(site, rnd):
    assert http.get(site, "/events.php?n=3&ms=5").text.count("data:") == 3


def pages(site, rnd):
    assert http.get(site, "/health/livez").status == 200
    assert http.get(site, "/health/readyz?verbose").status in (200, 503)
    assert "demo_requests_total" in http.get(site, "/metrics").text
    assert http.get(site, "/metrics", {"Accept": "application/openmetrics-text"}).text.endswith("# EOF\n")


JOBS = (kept, upload, upload_chunked, upload_slow, upload_given_up, download, download_slow, download_given_up,
        errors, stream, pages)


@pytest.fixture
def site(httpd, php_fpm):
    fpm = php_fpm(workers=4).start()
    port = fpm.url.rpartition(":")[2]
    # A name, so that it is resolved over and over.
    h = httpd(f"""
DemoBackend fcgi://localhost:{port}
DemoPool max=4 idle=20ms
DemoHealthCheck interval=100ms
DemoStatus {fpm.url.rpartition(':')[0]}:{fpm.status_port}/status
{PHP}
{HEALTH_PAGE}
{METRICS_PAGE}
""", docroot=fpm.docroot, mpm_config=event_sizes(8, children=4, start=2, workers=16, factor=10))
    h.error_log.claim("DM1040", optional=True)
    h.error_log.claim("AH00484|AH03490|AH10159", optional=True)      # all threads busy
    h.error_log.claim("DM0220", optional=True)                       # not resolved within the first moment
    return h


def test_everything_at_once(site):
    site.start()
    wait.until(lambda: http.get(site, "/health/readyz").status == 200, what="a backend that answers its check")
    wrong: list[str] = []
    begun = threading.Semaphore(0)

    def client(n):
        rnd = random.Random(n)
        for _ in range(ROUNDS):
            for job in rnd.sample(JOBS, len(JOBS)):
                begun.release()
                try:
                    job(site, rnd)
                except Exception as e:
                    wrong.append(f"{job.__name__}: {type(e).__name__}: {e}"[:500])
    threads = [threading.Thread(target=client, args=(n,)) for n in range(CLIENTS)]
    for t in threads:
        t.start()
    for _ in range(2):
        for _ in range(CLIENTS * ROUNDS * len(JOBS) // 3):
            begun.acquire()
        site.graceful()
    for t in threads:
        t.join()
    assert not wrong, f"{len(wrong)} of {CLIENTS * ROUNDS * len(JOBS)}:\n" + "\n".join(wrong[:10])
    site.stop(graceful=True, timeout=30)
