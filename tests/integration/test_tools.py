"""The tests' own tools: what they promise is what the other tests build on."""
import hashlib
import pwd
import shutil
import signal
import subprocess

import pytest

from tools import fcgi, growth, http, paths, ports, proc, wait
from tools.logwatch import LogWatch
from tools.responder import At, Close, Reset, Split


def test_ports_are_distinct_and_free():
    got = {ports.free_port() for _ in range(50)}
    assert len(got) == 50
    assert not any(ports.accepts(p, timeout=0.2) for p in list(got)[:5])


@pytest.mark.parametrize("n", [0, 1, 127, 128, 65535, 65536, 100000])
def test_pairs_round_trip(n):
    params = {"A": "x" * n, "B" * max(n, 1): "", "Ü": "ß"}
    assert fcgi.decode_pairs(fcgi.pairs(params)) == params


def test_responder_records_and_answers(responder):
    r = responder()
    got = fcgi.request(r.address, {"SCRIPT_NAME": "/a", "X": "y" * 70000}, b"body" * 50000)
    assert (got.status, got.body, got.complete) == (200, b"ok\n", True)
    ex = r.wait_requests(1)[0]
    assert ex.params["X"] == "y" * 70000 and ex.stdin == b"body" * 50000 and not ex.keep_conn


def test_responder_plays_its_script_in_turn(responder):
    r = responder(fcgi.response(b"1"), [fcgi.stdout(b"\r\nhalf"), Close()], Reset(),
                  Split(fcgi.response(b"4"), 1), lambda ex: fcgi.response(ex.params["Q"], req_id=ex.id))
    assert fcgi.request(r.address, {"Q": "x"}).body == b"1"
    half = fcgi.request(r.address, {"Q": "x"})
    assert half.body == b"half" and not half.complete
    with pytest.raises(ConnectionResetError):
        fcgi.request(r.address, {"Q": "x"})
    assert fcgi.request(r.address, {"Q": "x"}).body == b"4"
    with fcgi.Client(r.address) as c:
        for i in range(3):
            assert c.request({"Q": f"q{i}"}, keep=True).body == b"q%d" % i
    assert r.connections == 5 and len(r.requests) == 7


def test_responder_acts_before_the_request_is_whole(responder):
    r = responder(At("params", fcgi.response(b"early")))
    with fcgi.Client(r.address) as c:
        c.start({"Q": "x"})
        assert c.read().body == b"early"


def test_responder_answers_pings_by_itself(responder):
    r = responder(fcgi.response(b"script"))
    assert fcgi.request(r.address, fcgi.script_params("/ping", "/ping")).body == b"pong"
    assert r.pings == 1 and not r.requests


def test_responder_on_a_unix_socket(responder):
    r = responder(unix=True)
    assert fcgi.request(r.address, {"A": "b"}).status == 200


@pytest.mark.parametrize("listen", ["tcp", "unix"])
def test_php_fpm(php_fpm, listen):
    with php_fpm(2, listen, ini={"memory_limit": "64M"}) as fpm:
        body = b"z" * 300000
        r = fcgi.request(fpm.address, fcgi.script_params("/upload.php", str(fpm.docroot / "upload.php"), "POST", body=body), body)
        assert b'"length":300000' in r.body and hashlib.sha256(body).hexdigest().encode() in r.body
        wait.until(lambda: fpm.status()["total processes"] == 2, 5, "both workers, the second may still be starting")
        old = fpm.pids()
        assert len(old) == 2
        fpm.reload()
        assert not set(old) & set(fpm.pids())
        r = fcgi.request(fpm.address, fcgi.script_params("/stderr.php", str(fpm.docroot / "stderr.php"), query="line[]=abc"))
        assert b"abc" in r.err


LOG = """\
[Sat Nov 21 11:35:12.730213 2026] [core:notice] [pid 1:tid 2] AH00094: Command line
[Sat Nov 21 11:35:12.730213 2026] [demo:warn] [pid 1:tid 2] DM0001: one
[Sat Nov 21 11:35:12.730213 2026] [demo:error] [pid 1:tid 2] (111)Connection refused: [client 127.0.0.1:2] DM0002: two
[Sat Nov 21 11:35:12.730213 2026] [demo:debug] [pid 1:tid 2] DM0003: error in the text
"""


def test_logwatch_fails_for_what_nobody_claimed(tmp):
    path = tmp / "error.log"
    path.write_text(LOG)
    log = LogWatch(path)
    with pytest.raises(AssertionError, match="DM0001.*\n.*DM0002"):
        log.check()
    log.check()                      # once is enough
    path.write_text(LOG + LOG)
    log.claim("DM000[12]", count=2)
    log.check()
    path.write_text(LOG * 3)
    log.claim("DM000[12]")
    log.claim("DM0009", optional=True)
    log.claim("DM0003")
    log.check()
    log.claim("DM0001")
    with pytest.raises(AssertionError, match="never logged"):
        log.check(timeout=0.1)


@pytest.mark.parametrize("line", ["AddressSanitizer: heap-use-after-free", "free(): corrupted unsorted chunks",
                                  "[x] [core:notice] [pid 1:tid 1] AH00052: child pid 7 exit signal Segmentation fault (11)"])
def test_logwatch_sees_a_crash(tmp, line):
    (tmp / "error.log").write_text(line + "\n")
    with pytest.raises(AssertionError):
        LogWatch(tmp / "error.log").check()


def test_httpd_without_the_module(httpd):
    h = httpd("Alias /x /nonexistent", demo=False)
    assert h.conf_test()[0] == 0
    (h.docroot / "a.txt").write_text("text")
    h.start()
    r = http.get(h, "/a.txt")
    assert (r.status, r.body) == (200, b"text")
    with http.Connection(h.port) as c:
        for _ in range(2):
            c.request("GET", "/a.txt")
            assert c.read().body == b"text"
    before = h.pids()
    h.graceful()
    assert http.get(h, "/a.txt").status == 200
    assert before
    who = paths.unprivileged()
    if who:
        uid = pwd.getpwnam(who[0]).pw_uid
        # A new child is root's for the moment before it changes its user.
        wait.until(lambda: proc.uids(h.pids()) == {uid}, what=f"children of user {who[0]} alone")
    pid = h.proc.pid
    h.stop()
    assert not proc.alive(pid)


def test_httpd_says_why_it_refuses(httpd):
    h = httpd("NoSuchDirective on", demo=False)
    rc, out = h.conf_test()
    assert rc != 0 and "NoSuchDirective" in out
    with pytest.raises(AssertionError, match="NoSuchDirective"):
        h.start()


def test_process_is_ended_by_its_id(tmp):
    p = proc.Process(["/bin/sh", "-c", "sleep 60 & wait"], tmp / "sh.log")
    kids = proc.children(p.pid)
    assert p.stop(signal.SIGTERM) == -signal.SIGTERM
    wait.until(lambda: not any(proc.alive(k) for k in kids), 5, "the end of its children")


def test_sanitizers_watch_the_module(httpd, responder):
    h = httpd(f"DemoBackend {responder().url}").start()
    for pid in h.pids():
        maps = open(f"/proc/{pid}/maps").read()
        for checker, mark in (("address", "libasan"), ("thread", "libtsan"), ("memcheck", "vgpreload_memcheck")):
            assert (mark in maps) == (paths.CHECKER == checker), checker
    log = h.root / "san" / "sanitizer.1"
    log.parent.mkdir(exist_ok=True)
    log.write_text("AddressSanitizer: a report")
    with pytest.raises(AssertionError, match="a report"):
        h.check()
    log.unlink()


@pytest.mark.parametrize("of,grows", [
    (lambda x: 20000 + x % 7 * 30, False),                          # noise
    (lambda x: 20000 + 600 * (x > 40), False),                      # one step: a pool met its largest request
    (lambda x: 20000 + 5 * x, True),                                # so much a request
    (lambda x: 20000 + 5 * x + x % 7 * 100 + 5000 * (x == 3), True),
    (lambda x: 20000 - 5 * x, False)])
def test_growth_is_told_from_noise_and_steps(of, grows):
    assert growth.judge([(x, of(x)) for x in range(100)], 256)["grows"] is grows


def test_growth_of_a_few_points_is_not_judged():
    assert growth.judge([(0, 1), (1, 1000)], 256)["grows"] is None


@pytest.mark.parametrize("change, says", [
    (lambda t: t, ""),
    (lambda t: t.replace("SC_MOVE(DRAINING,   PRIMARY,", "// "), "DRAINING -> PRIMARY is only in the model"),
    (lambda t: t + 'SC_MOVE(SYNCING, PRIMARY, "by itself")\n', "SYNCING -> PRIMARY is only in the code's table"),
], ids=["as it is", "a move less", "a move more"])
def test_the_codes_moves_are_compared_with_the_models(tmp, change, says):
    node = tmp / "fcgi-sidecar" / "node"
    node.mkdir(parents=True)
    table = (paths.TOP / "fcgi-sidecar" / "node" / "sc_states.def").read_text()
    (node / "sc_states.def").write_text(change(table))
    shutil.copytree(paths.TOP / "tests" / "model", tmp / "tests" / "model")
    r = subprocess.run([tmp / "tests" / "model" / "check", "--tables"], capture_output=True, text=True)
    assert (r.returncode, says in r.stdout) == (1 if says else 0, True), r.stdout + r.stderr
