"""A pod of php-fpm on this machine: the sidecar, and beside it php-fpm as the image starts it, in a Debian 13.

php-fpm runs in a mount namespace of its own, where /app, /app/data, /app/var, /run/php and /tmp are the pod's, and with
docker/'s own files: php-fpm-start, the pool, php.ini and the variables of the Dockerfile.
"""
from __future__ import annotations

import json
import os
import shutil
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

from tools import fcgi, paths, ports, proc, wait
from tools.sidecar import Sidecar

sys.path.insert(0, str(paths.TOP / "tests" / "images"))
import imagefile  # noqa: E402

DOCKER = paths.TOP / "docker"
SYMFONY = paths.TOP / "tests" / "apps" / "symfony"
#: Binds of a pod's mount namespace; what /app is comes first.
ENTER = """set -e
root=$1 app=$2 pod=$3; shift 3
mount --make-rprivate /
for m in dev proc sys; do mountpoint -q "$root/$m" || { mkdir -p "$root/$m"; mount --rbind "/$m" "$root/$m"; }; done
mkdir -p "$root/app" "$root/run/php" "$root/source"
mount --bind "$app" "$root/app"
[ -z "$pod" ] || for m in data:app/data var:app/var run:run/php tmp:tmp; do mount --bind "$pod/${m%%:*}" "$root/${m#*:}"; done
exec "$@"
"""


def put(source: Path, target: Path, link: bool = False) -> None:
    """A copy of a file, or a link, in one step: another process of the tests may be running what was there before."""
    new = target.with_name(f".{target.name}.{os.getpid()}")
    if link:
        new.symlink_to(source)
    else:
        shutil.copy(source, new)
    os.replace(new, target)


class Debian:
    """The root file system of a Debian 13 with php-fpm; the image's files are put where the image has them."""

    def __init__(self, root: Path):
        self.root = root
        (root / "etc/php-fpm/conf.d").mkdir(parents=True, exist_ok=True)
        for name in ("php-fpm.conf", "www.conf"):
            put(DOCKER / "php-fpm" / name, root / "etc/php-fpm" / name)
        put(DOCKER / "php-fpm/php.ini", root / "etc/php-fpm/conf.d/50-mod-demo.ini")
        for program in ("php-fpm/php-fpm-start", "common/app-stage", "common/php-extensions"):
            put(DOCKER / program, root / "usr/local/bin" / Path(program).name)
        put(Path("/" + str(max(root.glob("usr/sbin/php-fpm[0-9]*")).relative_to(root))), root / "usr/local/sbin/php-fpm", link=True)

    def argv(self, app: Path, pod: Path | None, *command: str, user: bool = False) -> list[str]:
        """A command in it, with app as /app and a pod's volumes; as the image's user (www-data) or as root."""
        chroot = ["chroot", *(["--userspec=33:33"] if user else []), str(self.root)]
        return ["unshare", "--mount", "sh", "-c", ENTER, "sh", str(self.root), str(app), str(pod or ""), *chroot, *command]

    def run(self, app: Path, *command: str, env: dict[str, str] | None = None) -> subprocess.CompletedProcess:
        return subprocess.run(self.argv(app, None, *command), env=paths.base_env(env), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)

    def app_stage(self, source: Path, folder: Path, kind: str = "directory", env: dict[str, str] | None = None,
                  secrets: Path | None = None) -> subprocess.CompletedProcess:
        """What the image's build does with an application: folder/app and folder/out, as /app and /out are in the build."""
        for name in ("app", "out"):
            (folder / name).mkdir(parents=True)
        inside = ("mount --bind \"$4\" \"$1/source\"; mkdir -p \"$1/out\" \"$1/run/secrets\"; mount --bind \"$5\" \"$1/out\"; "
                  "[ -z \"$6\" ] || mount --bind \"$6\" \"$1/run/secrets\"; exec chroot \"$1\" app-stage \"$7\"")
        return subprocess.run(["unshare", "--mount", "sh", "-c", ENTER.replace('exec "$@"', inside).replace("; shift 3", ""), "sh",
                               str(self.root), str(folder / "app"), "", str(source), str(folder / "out"), str(secrets or ""), kind],
                              env=paths.base_env({"HOME": "/root", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                                                  **(env or {})}),
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=600)


class Pod:
    """One instance. start() is a pod's start, hand_over() its end when a successor is there."""

    def __init__(self, debian: Debian, app: Path, folder: Path, name: str, authority: str, secret: Path, env: dict[str, str]):
        self.debian, self.app, self.name = debian, app, name
        self.sidecar = Sidecar(folder, name, authority, secret, seed=app / "seed" / "database.sqlite")
        self.root = self.sidecar.root
        for volume in ("data", "var", "run", "tmp"):
            (self.root / volume).mkdir(exist_ok=True)
        self.socket = self.root / "run" / "php-fpm.sock"
        self.sidecar.options["upstream"] = f"unix:{self.socket}"
        self.log = self.root / "php-fpm.log"
        self.log.touch()
        paths.give(self.root)
        self.status_port = ports.free_port()
        self.env = {**imagefile.read("php-fpm").env, "PHP_FPM_STATUS_LISTEN": f"127.0.0.1:{self.status_port}",
                    "PHP_FPM_MAX_CHILDREN": "6", "PHP_OPCACHE_MEMORY": "64", "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
                    "NOTEJAM_WRITES_API": "1", "HOSTNAME": name, **env}
        self.php: proc.Process | None = None

    def start(self) -> "Pod":
        self.sidecar.start()
        self.sidecar.post_start()
        self.php = proc.Process(self.debian.argv(self.app, self.root, "php-fpm-start", user=True), self.log, env=self.env,
                                name=f"php-fpm[{self.name}]")

        def up():
            assert self.php.running(), f"php-fpm[{self.name}] ended with {self.php.returncode}:\n{self.php.output()}"
            try:
                return fcgi.request(("127.0.0.1", self.status_port), fcgi.script_params("/ping", "/ping"), timeout=2).body == b"pong"
            except (OSError, fcgi.ProtocolError):
                return False
        wait.until(up, 30, f"php-fpm[{self.name}]'s pong")
        return self

    @property
    def database(self) -> Path:
        return self.sidecar.database

    @property
    def state(self) -> str:
        return self.sidecar.status()["state"]

    def stop(self) -> None:
        """The end of a pod's containers: php-fpm, then the sidecar."""
        if self.php and self.php.running():
            self.php.stop(signal.SIGQUIT, 40)
        self.php = None
        self.sidecar.stop()


def finished(debian: Debian, folder: Path) -> Path:
    """The application as a finished project: its packages in vendor/ and composer's autoloader, PHP's own sessions, no
    secret, a database that was written in rollback-journal mode, and what another machine compiled in var/."""
    to = folder / "finished"
    shutil.copytree(SYMFONY, to)
    (to / "vendor").mkdir()
    shutil.copytree(debian.root / "usr/share/php", to / "vendor" / "php", symlinks=True)
    (to / "composer.json").write_text(json.dumps({
        "name": "acme/finished", "require": {"php": ">=8.2", "ext-ctype": "*"}, "repositories": [{"packagist.org": False}],
        "autoload": {"psr-4": {"App\\": "src/", "Symfony\\": "vendor/php/Symfony/"}, "files": ["config/autoload.php"]},
        "scripts": {"auto-scripts": {"cache:clear": "symfony-cmd"}, "post-install-cmd": ["@auto-scripts"]}}))
    composed = debian.run(to, "composer", "--working-dir=/app", "--no-interaction", "--no-scripts", "install",
                          env={"COMPOSER_ALLOW_SUPERUSER": "1", "COMPOSER_HOME": "/tmp/composer"})
    assert composed.returncode == 0, composed.stderr + composed.stdout
    (to / "config/packages/session.php").unlink()
    (to / "debian-packages").unlink()
    (to / "data").mkdir()
    made = debian.run(to, "php", "/app/bin/migrate", "--database", "/app/data/database.sqlite", env={"APP_ENV": "prod"})
    assert made.returncode == 0, made.stderr + made.stdout
    con = sqlite3.connect(to / "data/database.sqlite")
    con.execute("DROP TABLE sessions")
    con.commit()
    assert con.execute("PRAGMA journal_mode=DELETE").fetchone()[0] == "delete"
    con.close()
    (to / "bin/migrate").unlink()
    stale = to / "var/cache/prod"
    stale.mkdir(parents=True)
    (stale / "App_KernelProdContainer.php").write_text("<?php throw new Exception('compiled on another machine');\n")
    return to
