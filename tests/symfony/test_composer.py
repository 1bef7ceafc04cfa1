"""The build of an application that composer completes, with a repository of folders and archives in packagist's place."""
from __future__ import annotations

import json
import shutil
import sqlite3
import zipfile

import pytest

NO_PACKAGIST = {"packagist.org": False}


def package(folder, name: str, **more) -> None:
    (folder / "src").mkdir(parents=True)
    short = name.split("/")[1]
    space = short.capitalize()
    (folder / "composer.json").write_text(json.dumps({"name": name, "version": "1.0.0", "autoload": {"psr-4": {f"Acme\\{space}\\": "src/"}}, **more}))
    (folder / "src" / f"{space}.php").write_text(f"<?php\nnamespace Acme\\{space};\nfinal class {space} {{ public static function say(): string {{ return '{short}'; }} }}\n")


@pytest.fixture
def application(tmp):
    """With a package to run with, and one for development alone."""
    app = tmp / "source"
    (app / "public").mkdir(parents=True)
    (app / "public/index.php").write_text("<?php\nrequire __DIR__ . '/../vendor/autoload.php';\necho Acme\\Hello\\Hello::say();\n")
    (app / "public/style.css").write_text("body {}\n")
    package(app / "packages/hello", "acme/hello")
    package(app / "packages/lint", "acme/lint")
    (app / "composer.json").write_text(json.dumps({
        "name": "acme/application", "require": {"acme/hello": "^1"}, "require-dev": {"acme/lint": "^1"},
        "repositories": [{"type": "path", "url": "packages/*", "options": {"symlink": False}}, NO_PACKAGIST]}))
    return app


@pytest.fixture
def secrets(tmp):
    folder = tmp / "secrets"
    folder.mkdir()
    (folder / "composer-auth").write_text(json.dumps({"http-basic": {"repo.example.org": {"username": "me", "password": "not-in-a-layer"}}}))
    (folder / "composer-config").write_text(json.dumps({"config": {"vendor-dir": "vendor", "preferred-install": "dist"}, "repositories": [NO_PACKAGIST]}))
    return folder


def test_packages_without_those_for_development(debian, application, secrets, tmp):
    done = debian.app_stage(application, tmp / "built", secrets=secrets)
    assert done.returncode == 0, done.stderr + done.stdout
    app, out = tmp / "built/app", tmp / "built/out"
    assert (app / "vendor/acme/hello/src/Hello.php").exists() and not (app / "vendor/acme/lint").exists()
    said = debian.run(app, "php", "/app/public/index.php")
    assert said.stdout == "hello", said.stderr
    assert sorted(p.name for p in (out / "public").iterdir()) == ["style.css"]
    # The credentials are neither in what becomes a layer nor left in the build's folder for temporary files.
    for place in (app, out, debian.root / "tmp", debian.root / "root"):
        assert not [p for p in place.rglob("*") if p.is_file() and not p.is_symlink() and b"not-in-a-layer" in p.read_bytes()]
    assert not list((debian.root / "tmp").glob("tmp.*"))


def test_a_package_that_cannot_be_had(debian, application, tmp):
    wants = json.loads((application / "composer.json").read_text())
    wants["require"]["acme/nowhere"] = "^1"
    (application / "composer.json").write_text(json.dumps(wants))
    done = debian.app_stage(application, tmp / "built")
    assert done.returncode != 0 and "acme/nowhere" in done.stderr
    assert "--composer-config" in done.stderr.splitlines()[-1] and "vendor/" in done.stderr.splitlines()[-1]


def test_symfony_demo_of_the_version_asked_for(debian, secrets, tmp):
    demo = tmp / "demo"
    (demo / "public").mkdir(parents=True)
    (demo / "data").mkdir()
    (demo / "public/index.php").write_text("<?php echo 'demo';\n")
    con = sqlite3.connect(demo / "data/database.sqlite")
    con.execute("CREATE TABLE symfony_demo_user (username TEXT)")
    con.execute("INSERT INTO symfony_demo_user VALUES ('jane_admin')")
    con.commit()
    con.close()
    archives = secrets / "archives"
    archives.mkdir()
    for version in ("2.6.0", "2.7.1", "2.8.0"):
        (demo / "composer.json").write_text(json.dumps({"name": "symfony/symfony-demo", "type": "project", "version": version}))
        with zipfile.ZipFile(archives / f"demo-{version}.zip", "w") as z:
            for p in demo.rglob("*"):
                z.write(p, p.relative_to(demo))
    (secrets / "composer-config").write_text(json.dumps({"repositories": [{"type": "artifact", "url": "/run/secrets/archives"}, NO_PACKAGIST]}))
    nothing = tmp / "nothing"
    nothing.mkdir()
    done = debian.app_stage(nothing, tmp / "built", "symfony-demo", {"SYMFONY_DEMO_VERSION": "2.7.*"}, secrets)
    assert done.returncode == 0, done.stderr + done.stdout
    app = tmp / "built/app"
    assert json.loads((app / "composer.json").read_text())["version"] == "2.7.1" and (app / "vendor/autoload.php").exists()
    seed = app / "seed/database.sqlite"
    assert seed.read_bytes()[18:20] == b"\2\2", "converted to a write-ahead log"
    copy = shutil.copy(seed, tmp / "copy.sqlite")
    con = sqlite3.connect(copy)
    assert con.execute("SELECT username FROM symfony_demo_user").fetchall() == [("jane_admin",)]
    con.close()


def test_a_damaged_seed_database_is_refused(debian, tmp):
    app = tmp / "source"
    (app / "public").mkdir(parents=True)
    (app / "data").mkdir()
    (app / "data/database.sqlite").write_bytes(b"no database at all" * 100)
    done = debian.app_stage(app, tmp / "built")
    assert done.returncode != 0 and "database" in done.stderr
