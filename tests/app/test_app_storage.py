"""The database as it is handed around: copied, missing, locked, fenced."""

import concurrent.futures
import pathlib
import shutil
import sqlite3
import subprocess

import pytest

from notejam import PASSWORD, migrate


def assert_unavailable(page):
    assert page.status == 503, page.text
    assert int(page.headers["Retry-After"]) > 0
    assert "Not available at the moment" in page.words or '"error"' in page.text
    assert not page.headers.get_all("Set-Cookie")


def logged(server, text):
    return any("notejam: 503" in line and text in line for line in server.log_lines())


def test_user_stays_signed_in_on_a_copy(servers):
    old = servers(NOTEJAM_INSTANCE="old").create_database().start()
    browser = old.browser().sign_up("a@example.com")
    note = browser.create_note("moves along")
    form = browser.get("/notes/create/").form()

    new = servers(NOTEJAM_INSTANCE="new")
    source, target = sqlite3.connect(old.database), sqlite3.connect(new.database)
    source.backup(target)
    source.close()
    target.close()
    new.start()
    old.stop()

    browser.url = new.url
    page = browser.get(note)
    assert page.status == 200 and "moves along" in page.words
    assert page.headers["X-Instance"] == "new"
    page = browser.request("POST", "/notes/create/", {**form.fields, "name": "form loaded before", "text": "t"})
    assert page.status == 302, "even a form from the old instance is taken"
    assert new.sql("PRAGMA journal_mode") == [("wal",)]


def test_reading_pages_writes_nothing(server):
    browser = server.browser().sign_up("a@example.com")
    note = browser.create_note("n")
    browser.get("/")  # shows the message of the last redirect
    changes = sqlite3.connect(server.database)
    before = changes.execute("PRAGMA data_version").fetchone()
    for path in ("/", note, note + "edit/", "/settings/", "/nothing/"):
        browser.get(path)
    for path in ("/", "/signin/", "/signup/", "/forgot-password/"):
        server.browser().get(path)
    assert changes.execute("PRAGMA data_version").fetchone() == before
    changes.close()
    assert len(server.sql("SELECT 1 FROM sessions")) == 1, "anonymous visitors have no session"


def test_session_in_use_is_prolonged_once_an_hour(server):
    browser = server.browser().sign_up("a@example.com")
    server.sql("UPDATE sessions SET updated_at = updated_at - 3600001, expires_at = expires_at - 3600001")
    before, = server.sql("SELECT expires_at FROM sessions")
    browser.get("/")
    after, = server.sql("SELECT expires_at FROM sessions")
    assert after[0] > before[0]
    browser.get("/")
    assert server.sql("SELECT expires_at FROM sessions") == [after]


def test_idle_session_ends(server):
    browser = server.browser().sign_up("a@example.com")
    server.sql("UPDATE sessions SET expires_at = 1")
    assert browser.get("/").status == 302
    assert "notejam_session" not in browser.cookies


def test_missing_database(servers):
    server = servers().start()
    for path in ("/", "/signin/", "/notes/1/", "/api/writes/count"):
        assert_unavailable(server.browser().get(path))
    browser = server.browser()
    browser.cookies["notejam_session"] = "a" * 64
    assert_unavailable(browser.get("/"))
    page = browser.request("POST", "/signin/", {"email": "a@example.com", "password": PASSWORD})
    assert_unavailable(page)
    assert logged(server, f"database {server.database} is missing")
    assert not server.database.exists(), "a missing database is never created by a request"
    server.create_database()
    assert server.browser().get("/api/writes/count").status == 200, "it goes on as soon as the file is there"


@pytest.mark.parametrize("version, hint", [(1, "upgrade it with bin/migrate"), (99, "made by a newer release")])
def test_schema_version_that_does_not_fit(server, version, hint):
    browser = server.browser().sign_up("a@example.com")
    server.sql(f"PRAGMA user_version = {version}")
    assert_unavailable(browser.get("/"))
    assert logged(server, f"has schema version {version}") and logged(server, hint)


def test_locked_database_gives_503_after_waiting(server):
    browser = server.browser().sign_up("a@example.com")
    fields = browser.get("/notes/create/").form().fields
    holder = sqlite3.connect(server.database, isolation_level=None)
    holder.execute("BEGIN IMMEDIATE")
    assert browser.get("/").status == 200, "readers do not wait"
    page = browser.request("POST", "/notes/create/", {**fields, "name": "n", "text": "t"})
    assert_unavailable(page)
    assert logged(server, "is locked by another writer")
    holder.execute("ROLLBACK")
    holder.close()
    assert browser.request("POST", "/notes/create/", {**fields, "name": "n", "text": "t"}).status == 302
    assert len(server.sql("SELECT 1 FROM notes")) == 1


def test_writers_that_read_first_wait_for_each_other(servers):
    server = servers(PHP_CLI_SERVER_WORKERS="4").create_database().start()
    browser = server.browser().sign_up("a@example.com")
    fields = browser.get("/pads/create/").form().fields

    def create(number):
        return browser.request("POST", "/pads/create/", {**fields, "name": f"pad {number}"}).status

    with concurrent.futures.ThreadPoolExecutor(8) as pool:
        assert set(pool.map(create, range(80))) == {302}
    assert len(server.sql("SELECT 1 FROM pads")) == 80


def test_fenced_database_is_read_and_not_written(server):
    """Byte 18 (write version) above 2 makes a database read-only for every SQLite."""
    browser = server.browser().sign_up("a@example.com")
    note = browser.create_note("n")
    fields = browser.get("/notes/create/").form().fields
    server.sql("UPDATE sessions SET updated_at = 1")  # due to be prolonged
    server.sql("PRAGMA wal_checkpoint(TRUNCATE)")
    with server.database.open("r+b") as file:
        file.seek(18)
        file.write(b"\x7f")
    assert browser.get(note).status == 200
    assert_unavailable(browser.request("POST", "/notes/create/", {**fields, "name": "x", "text": "x"}))
    assert_unavailable(browser.request("POST", "/api/writes", {"id": "x"}))
    signing_in = server.browser()
    assert_unavailable(signing_in.sign_in("a@example.com"))
    assert "notejam_session" not in signing_in.cookies
    assert len(server.sql("SELECT 1 FROM sessions")) == 1
    assert logged(server, "is read-only")


def test_file_that_is_no_database(server):
    server.database.write_bytes(b"not a database" * 1000)
    assert_unavailable(server.browser().get("/api/writes/count"))
    assert logged(server, "is not an SQLite database")


def test_commit_is_synced_to_disk_before_the_answer(servers, tmp_path):
    compiler = shutil.which("cc") or shutil.which("gcc")
    if compiler is None:
        pytest.skip("cc is missing (Debian package gcc)")
    library, count = tmp_path / "count_syncs.so", tmp_path / "count"
    source = pathlib.Path(__file__).with_name("count_syncs.c")
    subprocess.run([compiler, "-shared", "-fPIC", "-o", library, source, "-ldl"], check=True)
    # PHP binds its extensions' libraries past what is preloaded, unless they are preloaded themselves.
    server = servers(LD_PRELOAD=f"{library}:libsqlite3.so.0", SYNC_COUNT=str(count)).create_database().start()
    # Held open, so that no checkpoint (it syncs as well) comes with the end of each request.
    holder = sqlite3.connect(server.database)
    holder.execute("SELECT count(*) FROM writes").fetchall()

    browser = server.browser()
    assert browser.request("POST", "/api/writes", {"id": "first"}).status == 201
    for name in ("second", "third"):
        before = count.stat().st_size
        assert browser.request("POST", "/api/writes", {"id": name}).status == 201
        assert count.stat().st_size > before, "the commit was written, but not synced"
    holder.close()


def test_default_database_is_where_the_image_has_it(servers):
    server = servers(NOTEJAM_DATABASE="").start()
    page = server.browser().get("/api/writes/count")
    if page.status == 503:
        assert logged(server, "/app/data/database.sqlite")


def test_deleting_a_user_takes_everything_along(server):
    browser = server.browser().sign_up("a@example.com")
    browser.create_note("n", pad=browser.create_pad("p").split("/")[2])
    connection = sqlite3.connect(server.database)
    connection.execute("PRAGMA foreign_keys = ON")
    connection.execute("DELETE FROM users")
    connection.commit()
    connection.close()
    for table in ("notes", "pads", "sessions"):
        assert server.sql(f"SELECT * FROM {table}") == []
    assert browser.get("/").status == 302


def test_migration_under_a_running_application(server):
    browser = server.browser().sign_up("a@example.com")
    assert migrate(server.database).returncode == 0
    assert browser.get("/").status == 200
