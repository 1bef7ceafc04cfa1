"""The page of demo-metrics: formats, families, what moves them."""
import os
import re
import signal
import subprocess
import time

import pytest

from tools import fcgi, http, metrics, paths, ports, wait
from tools.httpd import HEALTH_PAGE, METRICS_PAGE, PHP

CONFIG = """
DemoBackend {url}
DemoStatus {status}
DemoHealthCheck interval=200ms timeout=20s
DocumentRoot {docroot}
""" + PHP + METRICS_PAGE


def config(f, status=None, **kw):
    return CONFIG.format(url=f.url, status=status or f.status_url, docroot=f.docroot, **kw)


@pytest.fixture(scope="module")
def stack(module_httpd, module_php_fpm):
    f = module_php_fpm().start()
    h = module_httpd(config(f)).start()
    wait.until(lambda: metrics.scrape(h).sum("demo_backend_up") == 1, 5, "the first check")
    return h


# -- formats ---------------------------------------------------------------------------

@pytest.mark.parametrize("accept,kind", [
    (None, "text/plain; version=0.0.4"),
    ("*/*", "text/plain; version=0.0.4"),
    ("text/plain;version=0.0.4;q=0.5,application/openmetrics-text;version=1.0.0", "application/openmetrics-text; version=1.0.0"),
    ("application/openmetrics-text;q=0.1,text/plain", "text/plain; version=0.0.4"),
])
def test_format_by_accept(stack, accept, kind):
    r = http.get(stack, "/metrics", headers=[("Accept", accept)] if accept else [])
    assert r.header("Content-Type").startswith(kind)
    metrics.parse(r.text, "openmetrics" in kind)


def test_promtool_finds_nothing_but_a_name_of_apache_exporter(stack):
    http.get(stack, "/params.php")
    text = http.get(stack, "/metrics").text
    r = subprocess.run([paths.require("promtool"), "check", "metrics"], input=text, capture_output=True, text=True)
    hints = (r.stdout + r.stderr).splitlines()
    assert len(hints) == 1 and hints[0].startswith("apache_sent_kilobytes_total use base unit"), hints


def test_methods(stack):
    head = http.request(stack, "HEAD", "/metrics")
    assert head.status == 200 and head.body == b""
    post = http.request(stack, "POST", "/metrics", body=b"x")
    assert post.status == 405 and "GET" in post.header("Allow")


def test_both_formats_tell_the_same_families(stack):
    assert metrics.scrape(stack).names == metrics.scrape(stack, openmetrics=True).names


# -- what moves them ------------------------------------------------------------------------

def test_requests_by_code_and_method(stack):
    before = metrics.scrape(stack)

    def grown(**labels):
        now = metrics.scrape(stack)
        return now.sum("demo_requests_total", **labels) - before.sum("demo_requests_total", **labels)
    for _ in range(3):
        http.get(stack, "/params.php")
    http.get(stack, "/status.php?code=404")
    http.get(stack, "/status.php?code=503")
    http.request(stack, "HEAD", "/params.php")
    http.post(stack, "/params.php", b"a=1")
    http.request(stack, "PROPFIND", "/params.php")
    wait.until(lambda: grown() >= 8, 5, "the last one to be counted")
    assert grown(code="200", method="GET") == 3
    assert grown(code="404", method="GET") == 1 and grown(code="503", method="GET") == 1
    assert grown(code="200", method="HEAD") == 1 and grown(code="200", method="POST") == 1
    assert grown(method="other") == 1
    assert grown() == 8
    now = metrics.scrape(stack)
    duration = now.get("demo_request_duration_seconds_count") - before.get("demo_request_duration_seconds_count")
    assert duration == 8


def test_histograms_are_cumulative_and_in_seconds(stack):
    before = metrics.scrape(stack)
    slow = http.get(stack, "/sleep.php?ms=120")
    assert slow.status == 200

    def count(m):
        return m.get("demo_request_duration_seconds_count")
    now = wait.until(lambda: (m := metrics.scrape(stack)) and count(m) > count(before) and m, 5, "the request to be counted")

    def bucket(m, le):
        return m.get("demo_request_duration_seconds_bucket", le=le)
    assert bucket(now, "0.1") == bucket(before, "0.1")
    above = next(le for le in ("0.25", "0.5", "1", "2.5", "5", "10", "+Inf") if float(le) > 0.12 + slow.seconds)
    assert bucket(now, above) == bucket(before, above) + 1
    assert bucket(now, "+Inf") == now.get("demo_request_duration_seconds_count")
    took = now.get("demo_request_duration_seconds_sum") - before.get("demo_request_duration_seconds_sum")
    assert 0.12 <= took < 0.12 + 2 * slow.seconds
    edges = sorted((float(x["le"]), x["le"]) for x in now.labels("demo_request_duration_seconds_bucket"))
    counts = [bucket(now, le) for _, le in edges]
    assert counts == sorted(counts)


def test_host_of_a_status_page_is_no_backend(stack):
    """Its addresses take no requests: an alert that no address is known must not count them."""
    m = metrics.scrape(stack)
    backends = [x["backend"] for x in m.labels("demo_backend_up")]
    assert len(backends) == 1 and m.labels("demo_backend_addresses") == [{"backend": backends[0]}]


def test_bytes_in_and_out(stack):
    before = metrics.scrape(stack)
    http.post(stack, "/upload.php", b"x" * 70000)
    http.get(stack, "/download.php?bytes=50000")

    def both_counted():
        m = metrics.scrape(stack)
        return m if m.get("demo_request_duration_seconds_count") - before.get("demo_request_duration_seconds_count") == 2 else None
    now = wait.until(both_counted, 5, "both requests to be counted")
    assert now.get("demo_request_bytes_total") - before.get("demo_request_bytes_total") == 70000
    out = now.get("demo_response_bytes_total") - before.get("demo_response_bytes_total")
    assert 50000 <= out <= 50500


def test_build_and_start(stack):
    m = metrics.scrape(stack)
    label = m.labels("demo_build_info")[0]
    assert label["mpm"] == "event" and label["httpd"].startswith("Apache/2.4") and label["version"]
    assert m.get("demo_start_time_seconds") > 1.6e9


def test_stderr_lines(stack):
    before = metrics.scrape(stack).get("demo_stderr_lines_total")
    stack.error_log.claim("one line", count=1)
    http.get(stack, "/stderr.php?line[]=one+line")
    wait.until(lambda: metrics.scrape(stack).get("demo_stderr_lines_total") == before + 1, 5, "the line to be counted")


# -- errors -----------------------------------------------------------------------------------

def test_errors_by_phase_and_backend_state(httpd, php_fpm, responder):
    f = php_fpm()
    r = responder(fcgi.response(b"x", headers="no header at all\r\n"))
    h = httpd(f"""
DemoBackend {r.url}
DemoHealthCheck interval=100ms timeout=20s
DemoRetry attempts=1
DemoTimeout queue=200ms
DocumentRoot {f.docroot}
""" + PHP + METRICS_PAGE)
    h.error_log.claim("DM[0-9]+")
    h.start()
    assert http.get(h, "/params.php").status == 502
    m = metrics.scrape(h)
    assert m.get("demo_errors_total", phase="response") == 1
    assert m.sum("demo_backend_requests_total", outcome="failed") == 1
    assert m.sum("demo_requests_total", code="502") == 1
    r.stop()
    wait.until(lambda: metrics.scrape(h).sum("demo_backend_up") == 0, 5, "the backend to be seen down")
    assert http.get(h, "/params.php").status == 503
    m = metrics.scrape(h)
    # It was refused until the time for waiting ran out.
    assert m.get("demo_errors_total", phase="queue") + m.get("demo_errors_total", phase="connect") == 1
    assert m.get("demo_queue_duration_seconds_count") == 1 and m.get("demo_queue_length") == 0


def test_old_results_count_for_the_metrics_as_for_readiness_and_choice(httpd, responder):
    """The child that checks hangs: nobody knows whether the backends are up, and each may be tried."""
    alive, dead = responder(), f"fcgi://127.0.0.1:{ports.free_port()}"
    h = httpd(f"DemoBackend {alive.url} {dead}\nDemoHealthCheck interval=100ms timeout=100ms fall=1\n" + HEALTH_PAGE + METRICS_PAGE)
    h.error_log.claim("DM0231", optional=True)
    h.start()

    def state():
        m = metrics.scrape(h)
        return [m.sum(f"demo_backend_{name}", backend=b) for b in (alive.url, dead) for name in ("up", "usable")]
    wait.until(lambda: state() == [1, 1, 0, 0], 10, "the first checks")
    leader = int(re.search(r"\[pid (\d+)", h.error_log.grep("DM0230")[0])[1])
    os.kill(leader, signal.SIGSTOP)
    try:
        wait.until(lambda: http.get(h, "/health/readyz").status == 503, 10, "results that are too old")
        assert "last checked" in http.get(h, "/health/readyz?verbose").text
        assert state() == [0, 1, 0, 1]
    finally:
        os.kill(leader, signal.SIGCONT)
    wait.until(lambda: state() == [1, 1, 0, 0], 10, "checks again")


# -- apache_* ---------------------------------------------------------------------------------

APACHE = """up version info uptime_seconds_total accesses_total workers scoreboard cpuload
sent_kilobytes_total generation processes connections""".split()


@pytest.mark.parametrize("mpm", ["event", "worker", "prefork"])
def test_scoreboard(httpd, php_fpm, mpm):
    f = php_fpm().start()
    h = httpd(config(f), mpm=mpm).start()
    for _ in range(5):
        assert http.get(h, "/index.html").status == 200

    def counted():
        m = metrics.scrape(h)
        return m if m.get("apache_accesses_total") >= 5 else None
    m = wait.until(counted, 5)
    assert {"apache_" + n for n in APACHE} <= m.names
    assert m.get("apache_up") == 1 and 2.4 < m.get("apache_version") < 3
    assert m.get("apache_workers", state="busy") >= 1
    assert m.get("apache_scoreboard", state="reply") >= 1
    assert m.get("apache_processes", state="all") == len(h.pids())
    assert m.get("apache_workers", state="idle") == m.get("apache_scoreboard", state="idle")
    assert m.get("apache_requests_total", method="GET", status="200") >= 5

    def consistent():               # unless a scrape before was logged just then
        m = metrics.scrape(h)
        return {m.get("apache_accesses_total"), m.get("apache_response_time_seconds_count"),
                m.get("apache_response_size_bytes_count"), m.sum("apache_requests_total")}
    wait.until(lambda: len(consistent()) == 1, 5)
    states = {x["state"] for x in m.labels("apache_scoreboard")}
    assert states == set("idle startup read reply keepalive dns closing logging graceful_stop idle_cleanup open_slot".split())


# -- phpfpm_* ----------------------------------------------------------------------------------

PHPFPM = """up start_since accepted_connections listen_queue max_listen_queue listen_queue_length idle_processes
active_processes total_processes max_active_processes max_children_reached slow_requests""".split()


def test_status_page(httpd, php_fpm):
    f = php_fpm(workers=4).start()
    h = httpd(config(f)).start()
    m = metrics.scrape(h)
    uri = f"tcp://127.0.0.1:{f.status_port}/status"
    assert {"phpfpm_" + n for n in PHPFPM} <= m.names
    for n in PHPFPM:
        assert m.labels("phpfpm_" + n) == [{"pool": "www", "scrape_uri": uri}]
    assert m.sum("phpfpm_up") == 1 and m.sum("phpfpm_total_processes") == 4
    assert m.sum("phpfpm_listen_queue_length") == 511


@pytest.mark.parametrize("listen", ["tcp", "unix"])
def test_saturated_pool_can_be_scraped(httpd, php_fpm, listen):
    f = php_fpm(workers=1, listen=listen).start()
    h = httpd(config(f)).start()
    clients = [http.Connection(h.port) for _ in range(4)]
    for c in clients:
        c.request("GET", "/sleep.php?until=scraped")

    def queued():
        m = metrics.scrape(h)
        # The health check's ping may be one of those in the queue, and a page is not of one moment.
        return m if (m.sum("phpfpm_listen_queue") >= 3 and m.sum("demo_backend_outstanding_requests") == 4
                     and m.get("demo_requests_in_flight") == 4) else None
    m = wait.until(queued, 10, "three requests in the listen queue", every=0.1)
    f.let("scraped")
    assert m.sum("phpfpm_active_processes") == 1 and m.sum("phpfpm_idle_processes") == 0
    for c in clients:
        assert c.read().status == 200
        c.close()
    h.error_log.claim("DM0231", optional=True)


def test_status_page_on_the_backends_own_listener(httpd, php_fpm):
    f = php_fpm().start()
    h = httpd(config(f).replace(f"DemoStatus {f.status_url}\n", "")).start()
    m = metrics.scrape(h)
    # pm.status_listen moves the page away from the pool's listener: what is there is a 404.
    assert m.labels("phpfpm_up") == [{"pool": "", "scrape_uri": f"tcp://{f.listen}/status"}] or m.sum("phpfpm_up") == 1


def test_status_pages_of_virtual_hosts_that_share_a_backend(httpd, php_fpm):
    """Each server's DemoStatus is shown, not the last one's alone; one that several servers name is shown once."""
    one, two = php_fpm(2).start(), php_fpm(2).start()
    h = httpd("", ports_count=3)
    h.config = (config(one) + f"<VirtualHost *:{h.ports[1]}>\nDemoStatus {two.status_url}\n</VirtualHost>\n"
                f"<VirtualHost *:{h.ports[2]}>\nServerName other\n</VirtualHost>\n")
    h.start()
    uris = sorted(f"tcp://127.0.0.1:{f.status_port}/status" for f in (one, two))
    assert sorted(known["scrape_uri"] for known in metrics.scrape(h).labels("phpfpm_up")) == uris
    assert metrics.scrape(h).sum("phpfpm_up") == 2


def test_two_names_of_one_status_page_are_one_series(httpd, php_fpm):
    """Prometheus refuses a page that tells a series twice."""
    f = php_fpm(2).start()
    h = httpd("", ports_count=2)
    other = f.status_url.replace("127.0.0.1", "localhost")
    h.config = config(f) + f"<VirtualHost *:{h.ports[1]}>\nDemoStatus {other}\n</VirtualHost>\n"
    h.start()
    uri = f"tcp://127.0.0.1:{f.status_port}/status"
    wait.until(lambda: metrics.scrape(h).sum("demo_backend_resolutions_total", outcome="ok") > 0, 10, "the second name")
    time.sleep(1.1)             # for so long the pages that were read before are kept
    shown = [x for x in metrics.scrape(h).labels("phpfpm_up") if x["scrape_uri"] == uri]
    assert len(shown) == 1


def test_status_page_that_does_not_answer_costs_a_bounded_time(httpd, php_fpm, responder):
    f, r = php_fpm().start(), responder(30)
    h = httpd(config(f, status=r.url + "/status")).start()
    got = http.get(h, "/metrics")
    assert got.seconds < 20 and metrics.parse(got.text).sum("phpfpm_up") == 0


@pytest.mark.parametrize("page", [b"", b"<html>no</html>", b"pool:\n", b":\n:::\n", b"pool: x\naccepted conn: 9999999999999999999999\n",
                                  b"accepted conn: 1\n" * 3000], ids=range(6))
def test_odd_status_pages(httpd, php_fpm, responder, page):
    f, r = php_fpm().start(), responder(fcgi.response(page))
    h = httpd(config(f, status=r.url + "/status")).start()
    m = metrics.scrape(h)
    assert m.sum("phpfpm_up") == (1 if b"pool: x" in page else 0)
    assert m.labels("phpfpm_accepted_connections") == []
