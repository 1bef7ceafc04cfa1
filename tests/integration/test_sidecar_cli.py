"""The sidecar's command line: help, errors, exit codes, bad files."""
import json
import os
import socket
import subprocess

import pytest

from tools import handover, paths


def run(*args, env=None):
    paths.require("fcgi-sidecar")
    return subprocess.run([str(paths.sidecar_binary()), *args], env={"PATH": "/usr/bin:/bin"} | (env or {}),
                          capture_output=True, text=True, timeout=20, check=False)


def test_help_lists_every_command_and_option():
    r = run("--help")
    assert r.returncode == 0 and r.stderr == ""
    for word in ("serve", "post-start", "pre-stop", "status", "snapshot", "check", "version", "--database",
                 "SIDECAR_STATE_DIR", "/app/data/database.sqlite"):
        assert word in r.stdout
    r = run("status", "--help")
    assert r.returncode == 0 and "--json" in r.stdout
    assert "--json" not in run("serve", "--help").stdout


def test_version():
    assert run("version").stdout == run("--version").stdout
    assert run("version").stdout.startswith("fcgi-sidecar ")


@pytest.mark.parametrize("args, why", [
    ([], "a command is needed"),
    (["dance"], 'unknown command "dance"'),
    (["serve", "--dance"], "unknown option --dance"),
    (["serve", "--dance=1"], "unknown option --dance"),
    (["serve", "extra"], 'unexpected argument "extra"'),
    (["version", "extra"], 'unexpected argument "extra"'),
    (["serve", "--listen"], "--listen needs a value"),
    (["serve", "--listen="], '--listen: "" must be HOST:PORT or unix:/path'),
    (["serve", "--listen=9000"], "--listen"),
    (["serve", "--control-listen=127.0.0.1:99999"], "--control-listen"),
    (["serve", "--workers=0"], "--workers"),
    (["serve", "--workers=many"], "--workers"),
    (["serve", "--hold-timeout=5"], "--hold-timeout"),
    (["serve", "--log-format=xml"], "--log-format"),
    (["serve", "--json"], "--json is no option of serve"),
    (["serve", "--backup-url=file:///x"], "--backup-url"),
    (["status", "--json=1"], "--json takes no value"),
    (["snapshot"], "snapshot needs the FILE"),
    (["snapshot", "a", "b"], 'unexpected argument "b"'),
    (["backup"], "backup is not built"),
    (["restore"], "restore is not built"),
    (["worker"], "worker is not built"),
    (["serve"], "--authority"),
    (["serve", "--authority=http://x"], "--authority"),
    (["serve", "--authority=file://relative"], "--authority"),
    (["serve", "--authority=lease://noname"], "--authority"),
    (["serve", "--authority=lease://a/b/c"], "--authority"),
    (["serve", "--authority=lease://A B/c"], "--authority"),
    *((["serve", f"--{name}=0s"], f'--{name}: "0s" must be above 0') for name in (
        "hold-timeout", "handoff-timeout", "peer-timeout", "queue-timeout", "client-idle-timeout")),
    (["serve", "--upstream=127.0.0.1:0"], "--upstream"),
    (["serve", "--authority=file:///none", "--owner=no such user"], "--owner: there is no user"),
    (["serve", "--authority=file:///none", "--owner=0:no such group"], "--owner: there is no group"),
    (["serve", "--advertise=two words"], "--advertise"),
    (["serve", "--advertise=" + "x" * 300], "--advertise"),
    (["serve", "--peer=two words"], "--peer"),
    (["serve", "--peer=host:99999"], "--peer"),
    (["serve", "--peer=:9001"], "--peer"),
    (["serve", "--workers=4097"], "--workers must be within 1 and 4096"),
    (["serve", "--forward-connections=65537"], "--forward-connections must be within"),
    (["serve", "--params-max=65M"], "--params-max must be within"),
    (["serve", "--listen=unix:/" + "x" * 107], "--listen"),
    (["serve", "--upstream=unix:/" + "x" * 107], "--upstream"),
    *((["serve", f"--{name}={time}"], f'--{name}: "{time}" must be a time such as 500ms, 10s, 5m or 1h, 100h at most')
      for name in ("hold-timeout", "lame-duck", "client-idle-timeout")
      for time in ("101h", "360001s", "1000000h", "99999999999999999999ms")),
])
def test_usage_errors_say_what_and_end_with_2(args, why):
    r = run(*args)
    assert r.returncode == 2, r.stderr
    assert why in r.stderr and len(r.stderr.splitlines()) == 1


def test_a_variable_is_named_in_its_error():
    r = run("serve", env={"SIDECAR_QUEUE_TIMEOUT": "soon"})
    assert r.returncode == 2 and "SIDECAR_QUEUE_TIMEOUT" in r.stderr
    r = run("serve", env={"SIDECAR_BACKUP_URL": "s3://bucket"})
    assert r.returncode == 2 and "SIDECAR_BACKUP_URL" in r.stderr


def test_the_option_wins_over_the_variable(tmp_path):
    r = run("check", "--database", str(tmp_path / "given"), env={"SIDECAR_DATABASE": "/from/the/environment"})
    assert "/from/the/environment" not in r.stdout


@pytest.mark.parametrize("content, mode, why", [
    ("0123456789abcdef" * 2, 0o644, "open to every user"),
    ("short", 0o600, "bytes; 16 to"),
    ("", 0o600, "bytes; 16 to"),
    (None, 0, "No such file"),
])
def test_a_secret_that_is_none(tmp_path, content, mode, why):
    f = tmp_path / "secret"
    if content is not None:
        f.write_text(content)
        os.chmod(f, mode)
    r = run("serve", f"--secret-file={f}", f"--authority=file://{tmp_path}/a", f"--state-dir={tmp_path}/s")
    assert r.returncode == 1 and why in r.stderr and str(f) in r.stderr
    assert not content or content not in r.stderr


@pytest.fixture
def instance(sidecar, tmp):
    s = sidecar("a", seed=handover.seed(tmp))
    s.state_dir.mkdir(parents=True)
    paths.give(s.state_dir)
    return s


@pytest.mark.parametrize("text, code, why", [
    ("not json", 1, "is damaged"),
    ('{"format":1}', 1, "is damaged"),
    ('{"format":2,"state":"PRIMARY"}', 3, "newer fcgi-sidecar"),
])
def test_a_state_file_that_can_not_be_trusted_is_refused(instance, text, code, why):
    (instance.state_dir / "state.json").write_text(text)
    paths.give(instance.state_dir / "state.json")
    r = instance.run("serve", timeout=10)
    assert r.returncode == code and why in r.stderr


def test_one_flipped_character_of_the_state_is_found(instance):
    with instance:
        instance.post_start()
    f = instance.state_dir / "state.json"
    f.write_text(f.read_text().replace('"epoch":1', '"epoch":2'))
    r = instance.run("status")
    assert r.returncode == 1 and "is damaged" in r.stderr


@pytest.mark.parametrize("option", ["listen", "control_listen", "http_listen"])
def test_a_port_that_is_taken_names_its_option(instance, option):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        address = f"127.0.0.1:{taken.getsockname()[1]}"
        r = instance.run("serve", timeout=20, **({"listen": "127.0.0.1:0", "control_listen": "127.0.0.1:0",
                                                  "http_listen": "127.0.0.1:0"} | {option: address}))
    assert r.returncode == 1
    assert f"--{option.replace('_', '-')}: can not listen on {address}: Address already in use" in r.stderr


def test_two_serves_on_one_state_directory(instance):
    with instance:
        r = instance.run("serve", timeout=10, listen="127.0.0.1:0", control_listen="127.0.0.1:0",
                         http_listen="127.0.0.1:0")
        assert r.returncode == 1 and "another serve runs" in r.stderr


def test_status_without_serve_reads_the_state_file(instance):
    with instance:
        instance.post_start()
        running = instance.status()
        assert running["serving"] is True and running["state"] == "PRIMARY" and running["primary"] is True
        assert {"lineage", "epoch", "state", "primary"} <= running.keys()
        assert "PRIMARY" in instance.run("status").stdout
    r = instance.run("status", "--json")
    assert r.returncode == 0
    stopped = json.loads(r.stdout)
    assert stopped["serving"] is False and stopped["lineage"] == running["lineage"]


def test_check(instance):
    with instance:
        instance.post_start()
        r = instance.run("check")
        assert r.returncode == 0, r.stdout
        assert all(line.startswith("[+]") for line in r.stdout.splitlines())
    record = json.loads(instance.record.read_text())
    record["primary"]["uid"] = "somebody-else"
    instance.record.write_text(json.dumps(record))
    r = instance.run("check")
    assert r.returncode == 1 and "[-]authority" in r.stdout


@pytest.mark.parametrize("name", ["database.sqlite", "./database.sqlite", "link", "database.sqlite-wal",
                                  "database.sqlite-journal"])
def test_snapshot_does_not_replace_the_live_database(instance, name):
    """Who writes to the old file would lose all of it, and a fence there would fence nobody."""
    folder = os.path.dirname(instance.database)
    with instance:
        instance.post_start()
        os.symlink(instance.database, f"{folder}/link")
        before = os.stat(instance.database).st_ino
        r = instance.run("snapshot", f"{folder}/{name}")
        assert r.returncode == 2 and "live database" in r.stderr
        assert os.stat(instance.database).st_ino == before
        assert not os.path.exists(f"{folder}/{name}.part")


def test_snapshot_of_a_standby_is_refused(sidecar, tmp):
    """Its file is behind, and may hold half a transaction."""
    seed = handover.seed(tmp)
    with sidecar("a", seed=seed) as a, sidecar("b", seed=seed) as b:
        a.post_start()
        b.post_start()
        r = b.run("snapshot", str(b.root / "snapshot.sqlite"))
        assert r.returncode == 3 and "STANDBY" in r.stderr and f"127.0.0.1:{a.control_port}" in r.stderr
        a.pre_stop()
        r = a.run("snapshot", str(a.root / "snapshot.sqlite"))
        assert r.returncode == 3 and "FORWARDING" in r.stderr and f"127.0.0.1:{b.control_port}" in r.stderr
        assert b.run("snapshot", str(b.root / "snapshot.sqlite")).returncode == 0
    assert not os.path.exists(a.root / "snapshot.sqlite")


@pytest.mark.parametrize("option, value", [("listen", "nowhere"), ("listen", "192.0.2.1:1"), ("upstream", "nowhere")])
def test_an_address_that_can_not_be_used_names_its_option(instance, option, value):
    r = instance.run("serve", timeout=20, **{option: value})
    assert r.returncode != 0 and f"--{option}" in r.stderr and value in r.stderr


def test_snapshot(instance, tmp):
    out = tmp / "snapshot.sqlite"
    with instance:
        instance.post_start()
        r = instance.run("snapshot", str(instance.root / "snapshot.sqlite"))
        assert r.returncode == 0, r.stderr
    import sqlite3
    con = sqlite3.connect(instance.root / "snapshot.sqlite")
    assert con.execute("PRAGMA integrity_check").fetchone()[0] == "ok"
    con.close()
    r = instance.run("snapshot", "/nowhere/at/all.sqlite")
    assert r.returncode == 1 and "/nowhere/at/all.sqlite" in r.stderr
    assert not out.exists()


@pytest.mark.parametrize("option", ["database", "state-dir"])
def test_a_path_that_sqlite_can_not_open(instance, tmp, option):
    """Known at the start, not when somebody hands over to it."""
    folder = tmp / ("d" * 250) / ("e" * 250)
    folder.mkdir(parents=True)
    r = instance.run("serve", **{option.replace("-", "_"): str(folder / "db.sqlite")})
    assert r.returncode == 2 and f"--{option}: of " in r.stderr and "at most" in r.stderr
