"""How long a thread of httpd goes on with one client, and that nobody starves by it."""
import os
import threading
from pathlib import Path

import pytest

from tools import fcgi, http, paths, proc, wait
from tools.httpd import ALL_TO_PHP, event_sizes
from tools.responder import Stall

THREADS = 2
MPM = event_sizes(THREADS) + "MaxKeepAliveRequests 0\n"
LOAD_S = 60         # at most: the load is ended when the test knows what it wants to


@pytest.fixture
def site(httpd, responder):
    return httpd(f"DemoBackend {responder().url}\nDemoHealthCheck interval=1h\n{ALL_TO_PHP}", mpm_config=MPM)


@pytest.fixture
def greedy(tmp):
    """Clients that send the next request as soon as they have an answer."""
    wrk = paths.which("wrk")
    if not wrk:
        pytest.skip("wrk is not installed")
    started = []

    def start(h, connections):
        p = proc.Process([wrk, "-t1", f"-c{connections}", f"-d{LOAD_S}s", h.url("/x.php")], tmp / "wrk.log", name="wrk")
        started.append(p)
        wait.until(lambda: len(h.access_log()) > 20 * connections, 20, "the load")
        return p
    yield start
    for p in started:
        p.stop()


def test_a_busy_client_for_each_thread_leaves_room_for_another(site, greedy):
    h = site.start()
    load = greedy(h, THREADS)
    for _ in range(3):
        assert http.get(h, "/x.php", timeout=LOAD_S / 2).status == 200
    assert load.running(), f"answered only after the others had left\n{load.output()}"


def test_where_nobody_waits_a_busy_client_keeps_its_connection(site):
    h = site.start()
    with http.Connection(h.port) as c:
        t = threading.Timer(1, lambda: None)        # longer than a turn where others wait
        t.start()
        while t.is_alive():
            c.request("GET", "/x.php")
            r = c.read()
            assert r.status == 200 and r.header("Connection") != "close"


def test_the_next_request_of_a_connection_is_answered_however_late(site):
    """At once, while a thread waits for it; later, when the MPM's listener brings it."""
    h = site.start()
    with http.Connection(h.port) as c:
        for pause in (0, 0, 0.05, 0, 0.3, 0, 0):
            threading.Event().wait(pause)
            c.request("GET", "/x.php")
            assert c.read().status == 200


def test_clients_that_leave_while_they_are_waited_for(site):
    h = site.start()
    for _ in range(5 * THREADS):
        with http.Connection(h.port) as c:
            c.request("GET", "/x.php")
            assert c.read().status == 200
    wait.until(lambda: len(h.access_log()) == 5 * THREADS, 5, "a line of the log for each request")
    assert http.get(h, "/x.php").status == 200


# --- who interrupts whom ----------------------------------------------------------------------------------

CROWD = (os.cpu_count() or 1) + 4       # clients, more than there are processors


CGI = "#!/bin/sh\necho Content-Type: text/plain\necho\ncut -d ' ' -f 41 /proc/$$/stat\n"    # its policy


@pytest.fixture
def working(httpd, responder, tmp):
    """httpd, the responder: answers take what PHP takes for a page, on connections that stay; /cgi tells its policy."""
    r = responder()
    r.script([0.002, fcgi.response("ok")])
    script = tmp / "policy"
    script.write_text(CGI)
    script.chmod(0o755)
    h = httpd(f"DemoBackend {r.url}\nDemoHealthCheck interval=1h\n{ALL_TO_PHP}ScriptAlias /cgi {script}\n"
              f"<Location /cgi>\n    SetHandler cgi-script\n    Options +ExecCGI\n    Require all granted\n</Location>\n", ["alias", "cgi"], mpm_config=event_sizes(2 * CROWD))
    return h.start(), r


def gives_way(h) -> bool:
    return os.SCHED_BATCH in proc.policies(h.pids())


def test_where_many_requests_are_in_php_threads_of_httpd_do_not_interrupt_it(working, greedy):
    h, _ = working
    load = greedy(h, CROWD)
    wait.until(lambda: gives_way(h), 30, "a thread that gives way")
    load.stop()
    wait.until(lambda: not gives_way(h), 30, "threads as they were")
    assert http.get(h, "/x.php").status == 200


def test_a_program_that_another_handler_starts_does_not_inherit_it(working, greedy):
    h, _ = working
    load = greedy(h, CROWD)
    wait.until(lambda: gives_way(h), 30, "a thread that gives way")
    for _ in range(5):
        with http.Connection(h.port) as c:      # most likely by the thread that had the first one
            for path in ("/x.php", "/cgi"):
                c.request("GET", path)
                answer = c.read()
                assert answer.status == 200
        assert int(answer.text) == os.SCHED_OTHER
    load.stop()


def test_a_thread_with_the_only_request_is_as_any_other(working):
    h, r = working
    for _ in range(20):
        assert http.get(h, "/x.php").status == 200
    go = threading.Event()
    r.script([Stall(go), fcgi.response("ok")])
    r.forget()
    answers = []
    t = threading.Thread(target=lambda: answers.append(http.get(h, "/x.php", timeout=60)))
    t.start()
    r.wait_requests()
    assert not gives_way(h)
    go.set()
    t.join()
    assert answers[0].status == 200


def test_a_policy_that_the_administrator_chose_stays(working, greedy):
    h, _ = working
    for pid in h.pids():
        for task in Path(f"/proc/{pid}/task").iterdir():
            os.sched_setscheduler(int(task.name), os.SCHED_BATCH, os.sched_param(0))
    load = greedy(h, CROWD)
    wait.until(lambda: len(h.access_log()) > 2000, 60, "requests")
    load.stop()
    assert set(proc.policies(h.pids())) == {os.SCHED_BATCH}
