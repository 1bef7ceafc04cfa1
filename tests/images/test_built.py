"""What is in the images of the tag DEMO_IMAGES: no compiler, no root, labels, how they stop, what their health checks say.

Looked at through podman or docker, whichever has them.
"""
from __future__ import annotations

import io
import json
import re
import subprocess
import tarfile

import pytest

import imagefile
from runtime import TAG, need_tool

BUILD_TOOLS = re.compile(r"(^|/)(gcc|cc|c\+\+|clang|cpp|ld|as|make|composer|git|apxs2?|gdb|curl|wget)(-\d+(\.\d+)?)?$|^usr/include/|\.a$|-dev$")


def output(*command: str) -> bytes:
    return subprocess.run(command, check=True, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, timeout=300).stdout


@pytest.fixture(scope="session")
def tool():
    return need_tool()


class Built:
    def __init__(self, tool: str, name: str):
        self.file = imagefile.read(name)
        image = f"mod-demo/{name}:{TAG}"
        inspected = json.loads(output(tool, "image", "inspect", image))[0]
        self.config, self.arch = inspected["Config"], inspected["Architecture"]
        # podman has it beside Config, docker in it
        self.health = self.config.get("Healthcheck") or inspected.get("HealthCheck") or inspected.get("Healthcheck")
        made = output(tool, "create", image).decode().strip()
        try:
            self.tar = tarfile.open(fileobj=io.BytesIO(output(tool, "export", made)))
        finally:
            output(tool, "rm", made)
        self.entries = {m.name.lstrip("./"): m for m in self.tar.getmembers()}

    def text(self, path: str) -> str:
        return self.tar.extractfile(self.entries[path]).read().decode()


@pytest.fixture(scope="session", params=["httpd", "php-fpm"])
def built(request, tool):
    return Built(tool, request.param)


def test_what_the_dockerfile_says_is_there(built):
    config, file = built.config, built.file
    assert config["User"] == file.user == "10033:10033"
    assert config["StopSignal"] == file.stop == {"httpd": "SIGWINCH", "php-fpm": "SIGQUIT"}[file.name]
    assert {int(p.split("/")[0]) for p in config["ExposedPorts"]} == file.ports
    assert config["Cmd"] == file.command
    env = dict(e.split("=", 1) for e in config["Env"])
    assert {k: env.get(k) for k in file.env} == {k: v.strip('"') for k, v in file.env.items()}
    assert built.health["Test"] == ["CMD", *file.health]


def test_labels(built):
    labels = built.config["Labels"]
    assert built.file.labels <= set(labels)
    assert labels["org.opencontainers.image.title"] == f"mod-demo/{built.file.name}"
    assert labels["org.opencontainers.image.version"] == imagefile.version()
    assert re.fullmatch(r"[0-9a-f]{40}|unknown", labels["org.opencontainers.image.revision"])


def test_no_tools_of_the_build(built):
    found = [n for n, m in built.entries.items() if (m.isfile() or m.issym()) and BUILD_TOOLS.search(n) and "/share/" not in n]
    assert not found, found[:20]
    packages = re.findall(r"^Package: (\S+)", built.text("var/lib/dpkg/status"), re.M)
    assert not [p for p in packages if p.endswith("-dev") or p.startswith(("gcc-1", "binutils")) and p != "gcc-14-base" and p != "gcc-12-base"]


def test_nothing_runs_with_more_rights(built):
    """Debian's own su, mount and passwd are all that is setuid: no-new-privileges makes them harmless, nothing of ours is."""
    ours = [n for n, m in built.entries.items() if m.isfile() and m.mode & 0o6000 and not n.startswith(("usr/bin/", "bin/", "usr/sbin/", "usr/lib/"))]
    assert not ours


def test_programs_and_scripts_are_executable(built):
    for name in built.file.programs:
        assert built.entries[f"usr/local/bin/{name}"].mode & 0o555 == 0o555


def test_only_volumes_are_the_users(built):
    """With a read-only root nothing else could be written anyway; without it nothing else can either."""
    volumes = {"httpd": {"run/httpd", "var/empty"}, "php-fpm": {"run/php", "app/data", "app/var", "app/handover", "app/key"}}[built.file.name]
    owned = {n for n, m in built.entries.items() if m.uid == 10033 and not n.startswith(("var/lib/php", "run/lock", "var/cache/apache2"))}
    assert owned == volumes, owned ^ volumes
    writable = [n for n, m in built.entries.items() if n.startswith(("app/", "usr/local/")) and m.mode & 0o022 and not m.issym() and n not in volumes]
    assert not writable, writable[:10]


def test_no_secret_and_no_leftovers(built):
    assert not [n for n in built.entries if n.startswith(("run/secrets/", "root/.composer", "root/.config", "source", "out/", "build/"))
                and built.entries[n].isfile()]
    assert not [n for n in built.entries if n.startswith("var/lib/apt/lists/") and built.entries[n].isfile()]
    if built.file.name == "httpd":
        assert not [n for n in built.entries if n.endswith(".php")]


def test_the_seed_database(built):
    if built.file.name != "php-fpm":
        pytest.skip("in the image of php-fpm")
    seed = built.tar.extractfile(built.entries["app/seed/database.sqlite"]).read(100)
    assert seed[:16] == b"SQLite format 3\0" and seed[18:20] == b"\2\2", "write-ahead log"
    assert not [n for n in built.entries if n.startswith("app/seed/") and n.endswith(("-wal", "-shm"))]


def test_extensions_of_php(built):
    if built.file.name != "php-fpm":
        pytest.skip("in the image of php-fpm")
    there = {n.rsplit("/", 1)[1] for n in built.entries if re.match(r"usr/lib/php/\d+/\w+\.so$", n)}
    wanted = {f"{e}.so" for e in ("mbstring", "intl", "pdo_sqlite", "sqlite3", "pdo_pgsql", "pgsql", "zip", "dom", "simplexml", "xmlreader")}
    assert wanted <= there
    # PHP 8.5 has it built in.
    assert "opcache.so" in there or int(max(n.split("/")[3] for n in built.entries if n.startswith("usr/lib/php/2"))) > 20240924
