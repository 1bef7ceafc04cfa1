"""bin/migrate: new databases, upgrades, refusals."""

import re
import shutil
import sqlite3
import subprocess

import pytest

from notejam import APP, MIGRATE, migrate

LATEST = len(list((APP / "migrations").glob("*.sql")))


@pytest.fixture(autouse=True)
def _local(servers):
    """Skips when the tests run against APP_URL."""


@pytest.fixture
def database(tmp_path):
    (tmp_path / "db").mkdir()
    return tmp_path / "db" / "database.sqlite"


def at_version(path, version):
    """A database as an earlier release left it."""
    connection = sqlite3.connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    for file in sorted((APP / "migrations").glob("*.sql"))[:version]:
        connection.executescript(file.read_text())
    connection.execute("PRAGMA application_id = 0x4e4a414d")
    connection.execute(f"PRAGMA user_version = {version}")
    connection.commit()
    connection.close()
    return path


def query(path, sql):
    connection = sqlite3.connect(path)
    try:
        return connection.execute(sql).fetchall()
    finally:
        connection.close()


def schema(path):
    rows = query(path, "SELECT type, name, tbl_name, sql FROM sqlite_schema ORDER BY type, name")
    return [(*row[:3], row[3] and re.sub(r"\s*--[^\n]*|\s+", " ", row[3]).strip()) for row in rows]


def files(folder):
    return sorted(path.name for path in folder.iterdir())


def test_new_database(database):
    done = migrate(database)
    assert done.returncode == 0 and f"created at version {LATEST}" in done.stdout
    assert files(database.parent) == ["database.sqlite"], "nothing else is left"
    assert query(database, "PRAGMA user_version") == [(LATEST,)]
    assert query(database, "PRAGMA journal_mode") == [("wal",)]
    assert query(database, "PRAGMA integrity_check") == [("ok",)]


def test_schema_sql_is_the_sum_of_the_migrations(database, tmp_path):
    assert migrate(database).returncode == 0
    assert schema(database) == schema(at_version(tmp_path / "sum.sqlite", LATEST))


def test_code_and_files_agree_on_the_version():
    assert f"const VERSION = {LATEST};" in (APP / "src" / "Schema.php").read_text()


@pytest.mark.parametrize("version", range(1, LATEST))
def test_upgrade_keeps_the_data(database, tmp_path, version):
    at_version(database, version)
    connection = sqlite3.connect(database)
    connection.execute("INSERT INTO users VALUES (1, 'a@example.com', 'x', 0)")
    connection.execute("INSERT INTO notes VALUES (1, 1, NULL, 'n', 't', 0, 0)")
    connection.commit()
    connection.close()
    done = migrate(database)
    assert done.returncode == 0 and f"upgraded from version {version} to {LATEST}" in done.stdout, done.stderr
    assert query(database, "SELECT name, text FROM notes") == [("n", "t")]
    assert query(database, "PRAGMA user_version") == [(LATEST,)]
    assert migrate(tmp_path / "new.sqlite").returncode == 0
    assert schema(database) == schema(tmp_path / "new.sqlite")


def test_second_run_changes_nothing(database):
    migrate(database)
    before = database.read_bytes()
    done = migrate(database)
    assert done.returncode == 0 and "already" in done.stdout
    assert database.read_bytes() == before


def test_empty_file_is_filled(database):
    database.touch()
    assert migrate(database).returncode == 0
    assert query(database, "PRAGMA user_version") == [(LATEST,)]
    assert migrate(database, "--check").returncode == 0


def test_newer_database_is_refused(database):
    at_version(database, LATEST)
    query(database, f"PRAGMA user_version = {LATEST + 1}")
    before = database.read_bytes()
    done = migrate(database)
    assert done.returncode == 3
    assert f"has schema version {LATEST + 1}" in done.stderr and "no way back" in done.stderr
    assert database.read_bytes() == before


def test_somebody_elses_database_is_refused(database):
    query(database, "CREATE TABLE theirs (x)")
    before = database.read_bytes()
    done = migrate(database)
    assert done.returncode == 1 and "not a Notejam database" in done.stderr
    assert database.read_bytes() == before


def test_file_that_is_no_database_is_refused(database):
    database.write_text("hello " * 1000)
    done = migrate(database)
    assert done.returncode == 1 and str(database) in done.stderr
    assert database.read_text() == "hello " * 1000


def test_log_left_from_a_lost_database_is_not_applied_to_a_new_one(database):
    database.with_name("database.sqlite-wal").write_bytes(b"x" * 4096)
    done = migrate(database)
    assert done.returncode == 1 and "database.sqlite-wal is left from a database that is gone" in done.stderr
    assert not database.exists()


def test_folder_that_is_not_there(tmp_path):
    done = migrate(tmp_path / "nowhere" / "db.sqlite")
    assert done.returncode == 1 and f"{tmp_path}/nowhere: no such folder" in done.stderr


@pytest.mark.parametrize("prepare", ["new", "old"])
def test_several_at_once(database, prepare):
    if prepare == "old":
        at_version(database, 1)
    running = [subprocess.Popen(["php", str(MIGRATE), "--database", str(database)],
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) for _ in range(6)]
    results = [(process.communicate(timeout=60), process.returncode) for process in running]
    assert all(status == 0 for _, status in results), results
    word = "created" if prepare == "new" else "upgraded"
    assert sum(word in out for (out, _), _ in results) == 1, "one does the work, the others see that it is done"
    assert query(database, "PRAGMA integrity_check") == [("ok",)]
    assert files(database.parent) == ["database.sqlite"]


def test_failing_migration_changes_nothing(database, tmp_path):
    copy = tmp_path / "release"
    shutil.copytree(APP, copy)
    last = sorted((copy / "migrations").glob("*.sql"))[-1]
    last.write_text("CREATE TABLE half (x);\nCREATE TABLE users (y);\n")
    at_version(database, 1)
    before = schema(database)
    done = subprocess.run(["php", str(copy / "bin" / "migrate"), "--database", str(database)],
                          capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 1 and last.name in done.stderr and "table users already exists" in done.stderr
    assert schema(database) == before
    assert query(database, "PRAGMA user_version") == [(1,)]


def test_check_only_looks(database):
    at_version(database, 1)
    done = migrate(database, "--check")
    assert done.returncode == 1 and "version 1" in done.stdout
    assert query(database, "PRAGMA user_version") == [(1,)]
    assert migrate(database.with_name("missing.sqlite"), "--check").returncode == 1


def test_usage():
    assert migrate("x", "--bogus").returncode == 2
    assert migrate("").returncode == 2
    done = migrate("x", "--help")
    assert done.returncode == 0 and "--database FILE" in done.stdout
