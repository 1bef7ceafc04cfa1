"""The relay in front of a real php-fpm."""
from __future__ import annotations

import hashlib
import json
import os
import signal
import socket
import sqlite3
import threading
import time

import pytest

from tools import fcgi, paths, proc, wait


@pytest.fixture
def php(php_fpm):
    """php(workers, …) -> PhpFpm on a Unix socket, started."""
    def make(workers=4, **kw):
        return php_fpm(workers, "unix", **kw).start()
    return make


def params(fpm, script, **kw):
    return fcgi.script_params(f"/{script}", f"{fpm.docroot}/{script}", **kw)


def get(r, fpm, script, query="", timeout=10.0):
    return fcgi.request(r.address, params(fpm, script, query=query), timeout=timeout)


class Load:
    """Threads that ask again and again over kept connections; every answer is checked."""

    def __init__(self, r, fpm, threads=4, script="upload.php", method="POST"):
        self.r, self.fpm, self.script, self.method = r, fpm, script, method
        self.done, self.errors, self.ending = 0, [], threading.Event()
        self.lock = threading.Lock()
        self.threads = [threading.Thread(target=self.run, args=(i,), daemon=True) for i in range(threads)]
        for t in self.threads:
            t.start()

    def run(self, number):
        n = 0
        client = None
        while not self.ending.is_set():
            n += 1
            body = f"{number}-{n}".encode() * 50
            try:
                client = client or fcgi.Client(self.r.address, 20)
                a = client.request(params(self.fpm, self.script, method=self.method, body=body), body, keep=True)
                assert a.complete, "cut off"
                assert json.loads(a.body)["sha256"] == hashlib.sha256(body).hexdigest(), "somebody else's answer"
                with self.lock:
                    self.done += 1
            except Exception as e:  # each is a failed request
                with self.lock:
                    self.errors.append(f"{number}-{n}: {e!r}")
                if client:
                    client.close()
                client = None
        if client:
            client.close()

    def more(self, count, timeout=30):
        target = self.done + count
        wait.until(lambda: self.done >= target or self.errors, timeout, f"{count} more requests")

    def end(self):
        self.ending.set()
        for t in self.threads:
            t.join(30 * wait.FACTOR)
        assert not self.errors, f"{len(self.errors)} failed of {self.done}: {self.errors[:3]}"
        return self.done


def test_bodies_of_every_size(relay, php):
    fpm = php()
    r = relay(fpm)
    with fcgi.Client(r.address, 30) as c:
        for size in (0, 1, 65535, 65536, 300_000, 5_000_000):
            body = os.urandom(size)
            a = c.request(params(fpm, "upload.php", method="POST", body=body), body, keep=True)
            assert a.complete and json.loads(a.body)["sha256"] == hashlib.sha256(body).hexdigest()
        for size in (0, 70_000, 20_000_000):
            a = c.request(params(fpm, "download.php", query=f"bytes={size}"), keep=True)
            assert a.complete and len(a.body) == size
    assert r.stats()["completed"] == 9


def test_ping_and_status_pass(relay, php):
    fpm = php(workers=1)
    r = relay(fpm)
    for _ in range(3):
        assert fcgi.request(r.address, fcgi.script_params("/ping", "/ping")).body == b"pong"
    assert b"pool:" in fcgi.request(r.address, fcgi.script_params("/status", "/status")).body


def test_many_clients_share_few_workers(relay, php):
    """64 kept connections in front of two workers: nobody pins one, nobody starves."""
    fpm = php(workers=2)
    r = relay(fpm, workers=2)
    clients = [fcgi.Client(r.address, 30) for _ in range(64)]
    for _ in range(3):
        for c in clients:
            c.start(params(fpm, "index.php"), keep=True)
            c.stdin()
        for c in clients:
            assert c.read().complete
    for c in clients:
        c.close()
    # The last answer is read before it is counted.
    s = r.until(lambda s: s["completed"] >= 192, "all answers to be counted")
    assert s["upstream_connects"] <= 2 and s["completed"] == 192


def test_more_connections_than_workers_do_no_harm(relay, php):
    fpm = php(workers=2)
    r = relay(fpm, workers=50)
    load = Load(r, fpm, threads=12)
    load.more(600)
    load.end()


@pytest.mark.parametrize("pm", ["dynamic", "ondemand"])
def test_process_managers(relay, php, pm):
    fpm = php(workers=4, pm=pm)
    r = relay(fpm)
    load = Load(r, fpm, threads=8)
    load.more(200)
    load.end()


def test_max_requests_is_not_seen(relay, php):
    fpm = php(workers=4, max_requests=5)
    r = relay(fpm, workers=4)
    load = Load(r, fpm, threads=8)
    load.more(400)
    load.end()
    s = r.stats()
    assert s["upstream_connects"] >= 80 and s["upstream_errors"] == 0


def test_a_reload_under_load_is_not_seen(relay, php):
    fpm = php(workers=4)
    r = relay(fpm, workers=4)
    load = Load(r, fpm, threads=8)
    for _ in range(3):
        load.more(100)
        before = set(fpm.pids())
        fpm.proc.send(signal.SIGUSR2)
        wait.until(lambda: fpm.pids() and not before & set(fpm.pids()), 20, "new workers")
    load.more(100)
    load.end()


def test_a_disturbance_leaves_nothing_behind(relay, php):
    """PHP that stands still, a crowd that asks and leaves, a reload: afterwards requests run on the connections there are,
    as before, and none is refused or lost."""
    fpm = php(workers=4)
    r = relay(fpm, workers=4)
    load = Load(r, fpm, threads=16)

    def standstill():
        pids = fpm.pids()
        for pid in pids:
            os.kill(pid, signal.SIGSTOP)
        try:
            r.until(lambda s: s["in_flight"] + s["queued"] == 16 and s["queued"] >= 12, "everybody waits")
            time.sleep(0.2)
        finally:
            for pid in pids:
                os.kill(pid, signal.SIGCONT)

    def crowd():
        leaving = [fcgi.Client(r.address, 20) for _ in range(100)]
        for c in leaving:
            c.start(params(fpm, "index.php"), keep=True)
            c.stdin()
        for c in leaving:
            c.close()
        r.until(lambda s: s["clients"] == 16, "they are gone")

    def reload():
        before = set(fpm.pids())
        fpm.proc.send(signal.SIGUSR2)
        wait.until(lambda: fpm.pids() and not before & set(fpm.pids()), 20, "new workers")

    def calm():
        before = r.stats()
        load.more(200)
        after = r.stats()
        return load.errors or (after["upstream_connects"] == before["upstream_connects"] and after["upstream_connections"] == 4)

    for disturb in (standstill, crowd, standstill, reload):
        wait.until(calm, 60, "200 requests without a new connection")
        disturb()
    wait.until(calm, 60, "200 requests without a new connection")
    load.end()
    s = r.stats()
    assert s["overloaded_queue"] + s["overloaded_timeout"] == 0


def test_a_restart_is_not_seen(relay, php):
    """Stopped when idle, away for a while, started again: who asks meanwhile waits."""
    fpm = php(workers=2)
    r = relay(fpm, claimed=["SC0301"])
    assert get(r, fpm, "index.php").complete
    fpm.stop(signal.SIGQUIT)
    answers = []
    asking = [threading.Thread(target=lambda: answers.append(get(r, fpm, "index.php", timeout=20))) for _ in range(5)]
    for t in asking:
        t.start()
    r.until(lambda s: s["queued"] == 5 and not s["upstream_up"], "five that wait")
    fpm.start()
    for t in asking:
        t.join(20 * wait.FACTOR)
    assert len(answers) == 5 and all(a.complete for a in answers)


def test_killed_workers_cost_only_their_own_requests(relay, php):
    fpm = php(workers=4)
    r = relay(fpm, workers=4, claimed=["SC0303", "SC0301"])     # the latter: it took a connection and was killed before it read
    slow = fcgi.Client(r.address, 20)
    slow.start(params(fpm, "sleep.php", query="until=never"), keep=True)
    slow.stdin()
    r.until(lambda s: s["in_flight"] == 1, "the slow one runs")
    for pid in fpm.pids():
        os.kill(pid, signal.SIGKILL)
    assert not slow.read().complete
    slow.close()
    for _ in range(20):
        assert get(r, fpm, "index.php").complete


def test_a_client_that_goes_frees_its_worker(relay, php):
    fpm = php(workers=1)
    r = relay(fpm, workers=1)
    c = fcgi.Client(r.address, 10)
    c.start(params(fpm, "sleep.php", query="ms=300&after=300"))
    c.stdin()
    r.until(lambda s: s["in_flight"] == 1, "it runs")
    c.close()
    r.until(lambda s: s["in_flight"] == 0 and s["client_aborts"] == 1, "its end")
    assert get(r, fpm, "index.php").complete


def test_never_behind_a_running_script(relay, php):
    """fastcgi_finish_request(): the worker that answered still runs; the next request takes another."""
    fpm = php(workers=2)
    r = relay(fpm, workers=2)
    get(r, fpm, "index.php")
    assert get(r, fpm, "finish.php", "until=asked").body == b"finished"
    for _ in range(10):
        assert get(r, fpm, "index.php").complete
    r.until(lambda s: s["after_end"] == 1, "all but one script ended")
    fpm.let("asked")


def test_drained_means_that_no_script_runs(relay, php):
    fpm = php(workers=2)
    r = relay(fpm)
    get(r, fpm, "finish.php", "until=asked&file=late")
    assert r.call("hold", 0, 0) == "ok"
    assert r.call("drained", 10) == "timeup"
    fpm.let("asked")
    assert r.call("drained", 60000) == "ok"
    assert (fpm.root / "tmp" / "late").read_text() == "done\n"


def test_drained_waits_for_scripts_without_a_client(relay, php):
    """The client goes; PHP finds out when it writes, and until then it may change the database."""
    fpm = php(workers=2)
    (fpm.docroot / "alone.php").write_text(
        "<?php ignore_user_abort(true); require __DIR__ . '/until.inc'; until();"
        "file_put_contents(sys_get_temp_dir().'/alone', 'done'); echo 'done';")
    r = relay(fpm)
    for body in (b"", b"x" * 1000):
        c = fcgi.Client(r.address, 10)
        c.start(params(fpm, "alone.php", method="POST", query=f"until=gone-{len(body)}", body=body))
        c.stdin(body)
        r.until(lambda s: s["in_flight"] == 1, "it runs")
        c.close()
        r.until(lambda s: s["in_flight"] == 0, "its client is gone")
        assert r.call("hold", 0, 0) == "ok"
        assert r.call("drained", 10) == "timeup"
        fpm.let(f"gone-{len(body)}")
        assert r.call("drained", 60000) == "ok"
        assert (fpm.root / "tmp" / "alone").read_text() == "done"
        (fpm.root / "tmp" / "alone").unlink()
        assert r.call("local", 0) == "ok"
    assert get(r, fpm, "index.php").complete


@pytest.mark.parametrize("method", ["PUT", "POST"])
def test_drained_waits_for_scripts_in_the_middle_of_a_body(relay, php, method):
    """The client goes before it has sent all of it, and the script runs on with what it has; of POST, it begins then."""
    fpm = php(workers=2)
    (fpm.docroot / "half.php").write_text(
        "<?php ignore_user_abort(true); require __DIR__ . '/until.inc'; $tmp = sys_get_temp_dir();"
        "fread(fopen('php://input', 'r'), 1000); touch(\"$tmp/begun\"); until();"
        "echo str_repeat('x', 1 << 20); flush(); file_put_contents(\"$tmp/half\", 'done');")
    r = relay(fpm)
    c = fcgi.Client(r.address, 10)
    body = b"x" * 500000
    c.start(params(fpm, "half.php", method=method, query="until=gone", body=body))
    c.stdin(body[:200000], end=False)
    begun = (fpm.root / "tmp" / "begun").exists
    if method == "PUT":
        wait.until(begun, 10, "the script")
    r.until(lambda s: s["in_flight"] == 1, "the request")
    c.close()
    r.until(lambda s: s["in_flight"] == 0, "its client is gone")
    wait.until(begun, 10, "the script, with half a body")
    assert r.call("hold", 0, 0) == "ok"
    assert r.call("drained", 500) == "timeup"
    fpm.let("gone")
    assert r.call("drained", 60000) == "ok"
    assert (fpm.root / "tmp" / "half").read_text() == "done"
    assert r.call("local", 0) == "ok"
    assert get(r, fpm, "index.php").complete


def test_nothing_is_executed_twice(relay, php):
    """Workers come and go all the time, also those that have just taken a connection; each request leaves its mark once."""
    fpm = php(workers=4, max_requests=3)
    (fpm.docroot / "mark.php").write_text(
        "<?php file_put_contents(sys_get_temp_dir().'/marks', $_GET['id'].\"\\n\", FILE_APPEND|LOCK_EX); echo 'ok';")
    r = relay(fpm, workers=4, claimed=["SC0303", "SC0301"])
    acknowledged, lock, ending = [], threading.Lock(), threading.Event()

    def ask(number):
        n = 0
        while not ending.is_set():
            n += 1
            try:
                a = get(r, fpm, "mark.php", f"id={number}-{n}")
            except (OSError, fcgi.ProtocolError):
                continue
            if a.complete and a.body == b"ok":
                with lock:
                    acknowledged.append(f"{number}-{n}")
    threads = [threading.Thread(target=ask, args=(i,)) for i in range(6)]
    for t in threads:
        t.start()
    rounds = 0
    while rounds < 10 or len(acknowledged) <= 100 and rounds < 200:
        rounds += 1
        time.sleep(0.2)
        for pid in fpm.pids()[:2]:
            try:
                os.kill(pid, signal.SIGKILL)
            except ProcessLookupError:
                pass
    ending.set()
    for t in threads:
        t.join(20 * wait.FACTOR)
    marks = (fpm.root / "tmp" / "marks").read_text().split()
    assert len(marks) == len(set(marks)), "a request ran twice"
    assert set(acknowledged) <= set(marks)
    assert len(acknowledged) > 100


def test_hold_and_release_under_load(relay, php):
    fpm = php(workers=4)
    r = relay(fpm)
    load = Load(r, fpm, threads=6)

    def executed():
        return len([x for x in fpm.access_log() if "upload.php" in x])
    for epoch in range(1, 11):
        load.more(20)
        assert r.call("hold", 10000, 50000) == "ok"
        assert r.call("drained", 50000) == "ok"
        before = r.stats()["completed"]
        wait.until(lambda: executed() >= before, 5, "php-fpm's log, which comes after the answer")     # noqa: B023
        time.sleep(0.03)
        assert executed() == before, "a request reached PHP while held"
        assert r.call("local", epoch) == "ok"
    load.end()


def test_forwarding_under_load(relay, php, tmp):
    """The whole of a hand-over as the relay sees it, back and forth."""
    fpm = php(workers=4)
    other = php(workers=4)
    a, b = (relay(f, claimed=["SC0311"]) for f in (fpm, other))
    load = Load(a, fpm, threads=6)
    epoch = 0
    here, there = a, b
    assert b.call("forward", f"127.0.0.1:{a.port}", epoch) == "ok"
    for _ in range(6):
        load.more(30)
        epoch += 1
        assert here.call("hold", 10000, 50000) == "ok"
        assert here.call("drained", 50000) == "ok"
        assert there.call("local", epoch) == "ok"
        assert here.call("forward", f"127.0.0.1:{there.port}", epoch) == "ok"
        here, there = there, here
    load.more(30)
    load.end()
    s = a.stats(), b.stats()
    assert s[0]["forwarded"] > 0 and s[0]["taken_back"] == s[1]["refused_hop"]


def test_lame_duck_loses_nobody(relay, php):
    fpm = php(workers=4)
    r = relay(fpm)
    load_errors, answered = [], []

    def ask():
        """A client that looks at its kept connection before it uses it, as web servers do."""
        c = None
        for _ in range(100):
            if c is not None and c.sock.fileno() >= 0:
                c.sock.setblocking(False)
                try:
                    gone = c.sock.recv(1, socket.MSG_PEEK) == b""
                except BlockingIOError:
                    gone = False
                except OSError:
                    gone = True
                c.sock.settimeout(10 * wait.FACTOR)
                if gone:
                    c.close()
                    c = None
            c = c or fcgi.Client(r.address, 10)
            try:
                a = c.request(params(fpm, "index.php"), keep=True)
                (answered if a.complete else load_errors).append(1)
            except (OSError, fcgi.ProtocolError) as e:
                load_errors.append(e)
                c = None
        c.close()
    threads = [threading.Thread(target=ask) for _ in range(4)]
    for t in threads:
        t.start()
    r.until(lambda s: s["completed"] > 50, "some requests")
    assert r.call("lame") == "ok"
    for t in threads:
        t.join(30 * wait.FACTOR)
    assert not load_errors and len(answered) == 400
    assert r.call("quiet", 50000) == "ok"


def test_idle_clients_cost_little_and_harm_nobody(relay, php):
    fpm = php(workers=2)
    r = relay(fpm, max_clients=2000)
    idle = [socket.create_connection(r.address) for _ in range(1000)]
    r.until(lambda s: s["clients"] == 1000, "a thousand clients")
    for s in idle[:50]:   # they have had their requests, too
        c = fcgi.Client.__new__(fcgi.Client)
        c.sock, c.reader = s, fcgi.Reader(s)
        assert c.request(params(fpm, "download.php", query="bytes=100000"), keep=True).complete
    r.until(lambda s: s["clients_idle"] == 1000, "all idle")
    if not os.environ.get("DEMO_SANITIZE"):
        assert r.rss_kib() <= 10 * 1024
    assert get(r, fpm, "index.php").complete
    for s in idle:
        s.close()
    r.until(lambda s: s["clients"] == 0, "all gone")


def test_no_descriptor_is_left(relay, php):
    fpm = php(workers=2, max_requests=7)
    r = relay(fpm, workers=2, upstream_idle_timeout_ms=200)
    before = proc.fd_count(r.pid)
    load = Load(r, fpm, threads=4)
    load.more(100)
    load.end()
    for _ in range(20):
        c = fcgi.Client(r.address, 10)
        c.start(params(fpm, "sleep.php", query="ms=50"))
        c.stdin()
        c.close(reset=True)
    r.until(lambda s: s["clients"] == 0 and s["upstream_connections"] == 0, "nothing open")
    wait.until(lambda: proc.fd_count(r.pid) == before, 5, "as many descriptors as before")


def test_few_descriptors_mean_few_clients(relay, php):
    """More clients than the limit of open files allows: some wait outside, those inside are served."""
    fpm = php(workers=2)
    r = relay(fpm, claimed=["SC0332"], files=100, workers=2, forward_connections=1)
    clients = [fcgi.Client(r.address, 20) for _ in range(120)]
    r.until(lambda s: s["clients"] >= 16, "as many as fit")
    served = 0
    for c in clients:
        assert c.request(params(fpm, "index.php"), keep=True).complete
        c.close()
        served += 1
    assert served == 120


def test_the_whole_sidecar_stays_small(sidecar, php, tmp):
    """All of serve, its libraries included, with a thousand clients that have had a request each."""
    fpm = php(workers=2)
    seed = tmp / "seed.sqlite"
    with sqlite3.connect(seed) as db:
        db.execute("CREATE TABLE t (a)")
    db.close()
    paths.give(seed)
    s = sidecar(upstream=fpm.url, seed=seed).start()
    s.post_start()
    clients = [socket.create_connection(("127.0.0.1", s.port)) for _ in range(1000)]
    request = (fcgi.begin_request(1, fcgi.RESPONDER, fcgi.KEEP_CONN) + fcgi.params_records(params(fpm, "index.php"))
               + fcgi.record(fcgi.STDIN))
    for c in clients:
        c.sendall(request)
    for c in clients:
        reader = fcgi.Reader(c)
        while reader.record().type != fcgi.END_REQUEST:
            pass
    if not os.environ.get("DEMO_SANITIZE"):
        wait.until(lambda: s.proc and proc.rss_kib(s.proc.pid) <= 10 * 1024, 20, "at most 10 MiB resident")
    for c in clients:
        c.close()
