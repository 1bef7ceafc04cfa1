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


def demo_database(database) -> None:
    """As the Symfony Demo ships its own: in rollback-journal mode, with a user."""
    con = sqlite3.connect(database)
    con.execute("CREATE TABLE symfony_demo_user (username TEXT)")
    con.execute("INSERT INTO symfony_demo_user VALUES ('jane_admin')")
    con.commit()
    con.close()


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
    demo_database(demo / "data/database.sqlite")
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


RUNTIME = """<?php
namespace Acme\\Runtime;
use Composer\\Composer;
use Composer\\EventDispatcher\\EventSubscriberInterface;
use Composer\\IO\\IOInterface;
use Composer\\Plugin\\PluginInterface;
final class Runtime implements PluginInterface, EventSubscriberInterface {
    public static function getSubscribedEvents(): array { return ['post-autoload-dump' => 'write']; }
    public function write($event): void {
        file_put_contents($event->getComposer()->getConfig()->get('vendor-dir') . '/autoload_runtime.php', "<?php return require __DIR__ . '/autoload.php';\\n");
    }
    public function activate(Composer $composer, IOInterface $io): void {}
    public function deactivate(Composer $composer, IOInterface $io): void {}
    public function uninstall(Composer $composer, IOInterface $io): void {}
}
"""

#: What a Symfony project's console does in its build, each with its trace; like sass-bundle it fetches a compiler.
CONSOLE = """#!/usr/bin/env php
<?php
require dirname(__DIR__) . '/vendor/autoload_runtime.php';
$top = dirname(__DIR__);
foreach (['APP_ENV' => 'prod', 'APP_DEBUG' => '0', 'DATABASE_URL' => 'sqlite:////app/data/database.sqlite'] as $name => $value) {
    if (getenv($name) !== $value) { fwrite(STDERR, "$name is " . getenv($name)); exit(1); }
}
$write = static function (string $file, string $text) use ($top): void { @mkdir(dirname("$top/$file"), 0755, true); file_put_contents("$top/$file", $text); };
$command = $argv[1];
fwrite(STDERR, "console: $command\\n");
switch ($command) {
case 'list': foreach (['asset-map:compile', 'assets:install', 'cache:warmup', 'importmap:install', 'sass:build'] as $c) { echo "$c  does it\\n"; } break;
case 'assets:install': $write("$argv[2]/bundles/acme/admin.css", 'a {}'); break;
case 'importmap:install': $write('assets/vendor/bootstrap.js', ';'); break;
case 'sass:build': if (getenv('NO_NETWORK')) { fwrite(STDERR, "cannot fetch dart-sass\\n"); exit(1); } $write('var/dart-sass/sass', 'binary'); $write('var/sass/app.output.css', 'b {}'); break;
case 'asset-map:compile': $write('public/assets/manifest.json', '{}'); $write('public/assets/app-1a2b3c4.css', file_get_contents("$top/var/sass/app.output.css")); break;
case 'cache:warmup': $write('var/cache/prod/App_KernelProdContainer.preload.php', '<?php'); break;
default: exit(1);
}
"""


@pytest.fixture
def project(tmp):
    """A checkout of the shape that Symfony's own projects have, the Symfony Demo's among them: nothing is installed yet."""
    app = tmp / "project"
    for folder in ("public", "bin", "config", "assets/styles", "data", "src"):
        (app / folder).mkdir(parents=True)
    (app / "public/index.php").write_text("<?php\nrequire_once dirname(__DIR__) . '/vendor/autoload_runtime.php';\necho getenv('APP_ENV');\n")
    (app / "public/.htaccess").write_text("# of apache-pack\n")
    (app / "bin/console").write_text(CONSOLE)
    (app / "bin/console").chmod(0o755)
    (app / "config/preload.php").write_text("<?php\nif (file_exists($f = dirname(__DIR__) . '/var/cache/prod/App_KernelProdContainer.preload.php')) { require $f; }\n")
    (app / "assets/styles/app.scss").write_text("a { b { color: red } }\n")
    (app / ".env").write_text("APP_ENV=dev\nAPP_SECRET=0123456789abcdef0123456789abcdef\nDATABASE_URL=sqlite:///%kernel.project_dir%/data/database.sqlite\n")
    demo_database(app / "data/database.sqlite")
    (app / "data/database_test.sqlite").write_bytes(b"of the tests")
    package(app / "packages/hello", "acme/hello")
    package(app / "packages/lint", "acme/lint")
    package(app / "packages/runtime", "acme/runtime", type="composer-plugin", require={"composer-plugin-api": "^2"},
            extra={"class": "Acme\\Runtime\\Runtime"})
    (app / "packages/runtime/src/Runtime.php").write_text(RUNTIME)
    (app / "composer.json").write_text(json.dumps({
        "name": "acme/project", "type": "project", "require": {"php": ">=8.2", "ext-ctype": "*", "ext-pdo_sqlite": "*", "acme/hello": "^1", "acme/runtime": "^1"},
        "require-dev": {"acme/lint": "^1"}, "config": {"allow-plugins": {"acme/runtime": True}, "sort-packages": True},
        "scripts": {"auto-scripts": {"cache:clear": "symfony-cmd", "assets:install %PUBLIC_DIR%": "symfony-cmd", "importmap:install": "symfony-cmd"},
                    "post-install-cmd": ["@auto-scripts"], "post-update-cmd": ["@auto-scripts"]},
        "repositories": [{"type": "path", "url": "packages/*", "options": {"symlink": False}}, NO_PACKAGIST]}))
    return app


def test_a_checkout_of_a_symfony_project(debian, project, tmp):
    done = debian.app_stage(project, tmp / "built")
    said = done.stderr + done.stdout
    assert done.returncode == 0, said
    app, out = tmp / "built/app", tmp / "built/out"
    assert [line.split()[1] for line in said.splitlines() if line.startswith("console: ")][-5:] == [
        "assets:install", "importmap:install", "sass:build", "asset-map:compile", "cache:warmup"], "and none of composer's scripts"
    assert (app / "vendor/autoload_runtime.php").exists(), "a plugin of composer has had its turn"
    assert not (app / "vendor/acme/lint").exists()
    assert {str(p.relative_to(out / "public")) for p in out.rglob("*") if p.is_file()} == {
        ".htaccess", "assets/manifest.json", "assets/app-1a2b3c4.css", "bundles/acme/admin.css"}
    # var/ begins with what the build has warmed, without the compiler of style sheets
    assert {str(p.relative_to(app / "var.image")) for p in (app / "var.image").rglob("*") if p.is_file()} == {
        "cache/prod/App_KernelProdContainer.preload.php", "sass/app.output.css"}
    assert not any((app / "var").iterdir()) and not any((app / "data").iterdir())
    assert [p.name for p in (app / "seed").iterdir()] == ["database.sqlite"] and (app / "seed/database.sqlite").read_bytes()[18:20] == b"\2\2"
    assert debian.run(app, "php", "/app/public/index.php", env={"APP_ENV": "prod"}).stdout == "prod"


def test_style_sheets_that_came_along_need_no_compiler(debian, project, tmp):
    (project / "var/sass").mkdir(parents=True)
    (project / "var/sass/app.output.css").write_text("made { before: yes }")
    done = debian.app_stage(project, tmp / "built", env={"NO_NETWORK": "1"})
    assert done.returncode == 0 and "warning: sass:build failed" in done.stderr, done.stderr
    assert "made { before" in (tmp / "built/out/public/assets/app-1a2b3c4.css").read_text()


def test_style_sheets_that_cannot_be_had(debian, project, tmp):
    done = debian.app_stage(project, tmp / "built", env={"NO_NETWORK": "1"})
    assert done.returncode != 0 and "sass:build failed" in done.stderr.splitlines()[-1]


def test_an_extension_that_is_missing_is_named_with_its_package(debian, project, tmp):
    wants = json.loads((project / "composer.json").read_text())
    wants["require"] |= {"ext-redis": "*", "ext-pdo_mysql": "*"}
    (project / "composer.json").write_text(json.dumps(wants))
    done = debian.app_stage(project, tmp / "built")
    assert done.returncode != 0
    assert "redis pdo_mysql" in done.stderr and "--app-packages 'php-mysql php-redis'" in done.stderr.splitlines()[-1]


def test_an_extension_that_a_package_in_vendor_needs(debian, project, tmp):
    """The directory is complete, and composer is not asked: somebody has to say it."""
    (project / "vendor/composer").mkdir(parents=True)
    (project / "vendor/autoload.php").write_text("<?php\n")
    (project / "vendor/composer/installed.json").write_text(json.dumps({"packages": [
        {"name": "acme/picture", "require": {"php": ">=8.1", "ext-imagick": "*", "ext-apcu": "*"}}, {"name": "acme/lint", "require": {"ext-xdebug": "*"}},
        {"name": "acme/polyfill", "provide": {"ext-apcu": "*"}}], "dev-package-names": ["acme/lint"]}))
    done = debian.app_stage(project, tmp / "built")
    assert done.returncode != 0 and done.stderr.splitlines()[-1].endswith("--app-packages 'php-imagick'"), done.stderr


def test_a_vendor_folder_for_another_php(debian, project, tmp):
    (project / "vendor").mkdir()
    (project / "vendor/autoload.php").write_text("<?php\nthrow new RuntimeException('needs a PHP version >= 9.9');\n")
    done = debian.app_stage(project, tmp / "built")
    assert done.returncode != 0 and "9.9" in done.stderr and "vendor/ does not load with PHP 8" in done.stderr.splitlines()[-1]
