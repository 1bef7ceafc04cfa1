"""scripts/demo as a user types it: start, start again, status, rollout, stop."""
import re
import shutil
import socket
import subprocess
import time

from tools import http, paths, proc, wait


def test_help_and_usage(demo):
    out = demo.ok("--help")
    for word in ("rollout", "stop", "status", "--port", "8080"):
        assert word in out
    r = demo("dance")
    assert r.returncode == 2 and "dance" in r.stderr
    r = demo("start", "--port", "99999")
    assert r.returncode == 2 and "99999" in r.stderr


def test_nothing_runs_yet(demo):
    assert "Nothing runs" in demo.ok("stop")
    r = demo("status")
    assert r.returncode == 3 and "Nothing runs" in r.stdout
    r = demo("rollout")
    assert r.returncode == 1 and "start it with scripts/demo" in r.stderr


def test_a_taken_port_is_named(demo):
    with socket.socket() as s:
        s.bind(("127.0.0.1", 0))
        s.listen()
        port = s.getsockname()[1]
        r = demo("start", "--port", str(port))
    assert r.returncode == 1
    assert f"port {port}" in r.stderr and "--port" in r.stderr
    assert not demo.pids()


def test_start_ends_with_the_address(demo):
    t0 = time.monotonic()
    out = demo.start()
    assert time.monotonic() - t0 < 60 * wait.FACTOR
    assert f"{demo.url}/" in out.splitlines()[-3]
    r = http.get(demo.url, "/signin/")
    assert r.status == 200 and "Notejam" in r.text and r.header("X-Instance") == "demo-1"
    r = http.get(demo.url, "/")
    assert r.status == 302 and r.header("Location", "").startswith("/signin/?next=")
    r = http.get(demo.url, "/assets/app.css")
    assert r.status == 200 and r.header("Content-Type", "").startswith("text/css")


def test_health_and_metrics(demo):
    r = http.get(demo.url, "/readyz?verbose")
    assert r.status == 200 and len(r.text.strip().splitlines()) >= 2, r.text
    for path in ("/livez", "/healthz", "/readyz"):
        assert http.get(demo.url, path).status == 200
    text = http.get(demo.url, "/metrics").text
    assert re.search(r"^demo_\w+(\{.*\})? [0-9.e+]+$", text, re.M), text[:500]


def test_sources_are_not_served(demo):
    for path in ("/../src/App.php", "/%2e%2e/src/App.php", "/..%2fschema.sql", "/schema.sql", "/src/App.php"):
        r = http.get(demo.url, path)
        assert "namespace Notejam" not in r.text and "CREATE TABLE" not in r.text
        assert r.status in (302, 400, 403, 404), (path, r.status)


def test_only_loopback_and_no_root(demo):
    pids = demo.pids()
    assert len(pids) > 10
    if paths.unprivileged():
        assert 0 not in proc.uids(pids)
    for line in open("/proc/net/tcp"):
        f = line.split()
        if f[3] == "0A" and int(f[1].split(":")[1], 16) in demo.listening():
            assert f[1].startswith("0100007F:"), f"listens beyond 127.0.0.1: {f[1]}"


def test_second_start_says_that_it_runs(demo):
    before = demo.pids()
    out = demo.ok("start", "--port", str(demo.port))
    assert "runs already" in out and demo.url in out
    assert set(before) & set(demo.pids())


def test_status_lists_every_process(demo):
    out = demo.ok("status")
    state = demo.state
    for pid in (state["httpd"]["pid"], state["instances"]["demo-1"]["php_fpm"]["pid"],
                state["instances"]["demo-1"]["sidecar"]["pid"]):
        assert re.search(rf"\b{pid}\b.*", out), out
    assert str(demo.port) in out and "readyz: 200" in out


def test_status_for_a_reader_who_has_seen_enough(demo):
    """scripts/demo status | head -n 1"""
    with subprocess.Popen([str(paths.TOP / "scripts" / "demo"), "status"], env=demo.env, stdin=subprocess.DEVNULL,
                          stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as p:
        p.stdout.close()
        assert p.stderr.read() == ""
        assert p.wait(60 * wait.FACTOR) == 0


def test_rollout_under_load_loses_nothing(demo):
    old = demo.state["instances"]["demo-1"]
    out = demo.ok("rollout", timeout=240)
    assert re.search(r"acknowledged +[1-9]\d\d+ ", out), out
    assert re.search(r"^ +lost +(\d+) +\(of those before the copy began: 0\)", out, re.M), out
    assert re.search(r"stored twice +0$", out, re.M) and re.search(r"integrity_check +ok$", out, re.M), out

    assert re.search(r"^ +lost +0 ", out, re.M), out
    assert http.get(demo.url, "/signin/").header("X-Instance") == "demo-2"
    assert not proc.alive(old["php_fpm"]["pid"]) and not proc.alive(old["sidecar"]["pid"])


def test_rollout_that_fails_leaves_the_old_instance_serving(demo):
    in_the_way = demo.run_dir / "instances" / "demo-3"
    in_the_way.write_text("a file where the instance's folder should be")
    try:
        r = demo("rollout", "--writers", "2")
    finally:
        in_the_way.unlink(missing_ok=True)
    assert r.returncode == 1 and "demo-2 goes on serving" in r.stdout and "demo-3" in r.stderr, r.stdout + r.stderr
    assert http.post(demo.url, "/api/writes", {"id": "after-the-failure"}).header("X-Instance") == "demo-2"


def test_rollout_again(demo):
    out = demo.ok("rollout", "--writers", "2", timeout=240)
    assert re.search(r"^ +lost +0 ", out, re.M), out
    assert http.post(demo.url, "/api/writes", {"id": "after-the-failure"}).status == 409, "it is still there"


def test_stop_and_start_keep_the_data(demo):
    r = http.post(demo.url, "/api/writes", {"id": "kept-over-a-stop"})
    assert r.status == 201, r.text
    demo.ok("stop")
    demo.start()
    assert "kept-over-a-stop" in http.get(demo.url, "/api/writes?limit=10000").text or \
        http.post(demo.url, "/api/writes", {"id": "kept-over-a-stop"}).status == 409


def test_start_ends_what_an_incomplete_run_left(demo):
    import os
    import signal
    os.kill(demo.state["httpd"]["pid"], signal.SIGKILL)
    wait.until(lambda: not proc.alive(demo.state["httpd"]["pid"]), 5)
    r = demo("status")
    assert r.returncode == 1 and "ended" in r.stdout
    demo.start()
    assert http.get(demo.url, "/livez").status == 200


def test_stop_leaves_nothing(demo):
    pids, listening = demo.pids(), demo.listening()
    assert demo.port in listening and len(pids) > 5
    out = demo.ok("stop")
    assert "Stopped" in out
    assert not [p for p in pids if proc.alive(p)] and not demo.pids()
    for port in listening:
        with socket.socket() as s:
            assert s.connect_ex(("127.0.0.1", port)) != 0
    assert not list(demo.run_dir.glob("**/*.sock"))
    assert "Nothing runs" in demo.ok("stop", "--wipe")
    assert not demo.run_dir.exists()


def test_works_from_a_closed_folder(demo):
    """Root's home cannot be entered by the user that the servers run as."""
    if not paths.unprivileged():
        import pytest
        pytest.skip("only root has a checkout that the servers' user cannot enter")
    closed = demo.run_dir.parent / "closed"
    closed.mkdir(mode=0o700)
    demo.env["DEMO_RUN"] = str(closed / "run")
    real = None
    try:
        demo.start()
        real = (closed / "run").resolve()
        assert http.get(demo.url, "/readyz").status == 200
    finally:
        out = subprocess.run([str(paths.TOP / "scripts/demo"), "stop", "--wipe"], env=demo.env, capture_output=True, text=True)
        demo.env["DEMO_RUN"] = str(demo.run_dir)
    assert out.returncode == 0 and real and not real.exists()
    shutil.rmtree(closed)
