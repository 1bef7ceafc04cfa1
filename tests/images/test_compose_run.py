"""docker/compose.yaml runs: docker compose with images of the tag DEMO_IMAGES, on a free port, in a project of its own."""
from __future__ import annotations

import json
import os
import re
import signal
import subprocess

import pytest

from tools import http, ports, wait
from imagefile import TOP
from runtime import TAG, need_tag


class Project:
    def __init__(self):
        self.name, self.port = f"mod-demo-test-{os.getpid()}", ports.free_port()

    def __call__(self, *args: str, check: bool = True, timeout: float = 300) -> str:
        done = subprocess.run(["docker", "compose", "-p", self.name, "-f", str(TOP / "docker/compose.yaml"), *args],
                              env={**os.environ, "VERSION": TAG, "PORT": str(self.port), "NOTEJAM_WRITES_API": "1", "PHP_FPM_MAX_CHILDREN": "4"},
                              stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=timeout)
        assert not check or done.returncode == 0, f"docker compose {' '.join(args)}: {done.stderr[-3000:]}\n{self.logs()}"
        return done.stdout

    def logs(self) -> str:
        return self("logs", "--no-color", "--tail=40", check=False)

    def up(self) -> None:
        self("up", "--no-build", "--wait", "--wait-timeout", "240")

    def container(self, service: str) -> dict:
        ident = self("ps", "-a", "-q", service).strip()
        return json.loads(subprocess.run(["docker", "inspect", ident], check=True, capture_output=True, text=True).stdout)[0]


@pytest.fixture(scope="module")
def project():
    need_tag()
    for command, what in ((["docker", "compose", "version"], "docker has no compose plugin (Debian package: docker-compose, from 13 on)"),
                          (["docker", "info"], "docker's daemon does not answer"),
                          (["docker", "image", "inspect", f"mod-demo/httpd:{TAG}", f"mod-demo/php-fpm:{TAG}"], f"docker has no images of the tag {TAG}")):
        try:
            if subprocess.run(command, capture_output=True, timeout=60).returncode != 0:
                pytest.skip(what)
        except FileNotFoundError:
            pytest.skip("missing: docker (Debian package: docker.io)")
    p = Project()
    try:
        p.up()
        yield p
    finally:
        p("down", "--volumes", "--timeout", "5", check=False)


def written(project) -> set[str]:
    return {w["id"] for w in http.get(project.port, "/api/writes?limit=10000").json()["writes"]}


def test_every_service_is_well(project):
    for service in ("httpd", "php-fpm", "sidecar"):
        assert project.container(service)["State"]["Health"]["Status"] == "healthy"
    for service in ("key", "post-start"):
        assert project.container(service)["State"]["ExitCode"] == 0


def test_the_site(project):
    assert http.get(project.port, "/signin/").status == 200
    assert http.get(project.port, "/readyz").status == 200
    assert http.post(project.port, "/api/writes", {"id": "first"}).status == 201


def test_rights(project):
    for service in ("httpd", "php-fpm", "sidecar"):
        c = project.container(service)
        assert c["HostConfig"]["ReadonlyRootfs"] and c["HostConfig"]["CapDrop"] == ["ALL"] and c["Config"]["User"] == "10033:10033"
    project("exec", "-T", "php-fpm", "sh", "-c", "! touch /app/public/x 2>/dev/null && ! test -e /app/handover/secret && test -s /app/key/secret")


def test_metrics_of_php_fpm(project):
    said = project("exec", "-T", "httpd", "bash", "-c", "exec 3<>/dev/tcp/127.0.0.1/9117; printf 'GET /metrics HTTP/1.0\\r\\n\\r\\n' >&3; cat <&3")
    assert re.search(r"^phpfpm_up\{[^}]*\} 1$", said, re.M)


def test_a_crash_of_the_sidecar(project):
    """It comes back as the primary, and php-fpm's status with it."""
    before = project.container("sidecar")
    os.kill(before["State"]["Pid"], signal.SIGKILL)
    wait.until(lambda: project.container("sidecar")["RestartCount"] > before["RestartCount"], 30, "the sidecar's new start")
    wait.until(lambda: http.get(project.port, "/readyz").status == 200, 60, "readiness")
    wait.until(lambda: http.post(project.port, "/api/writes", {"id": "after-the-crash"}).status in (201, 409), 30, "a write")
    test_metrics_of_php_fpm(project)
    assert written(project) >= {"first", "after-the-crash"}


def test_down_and_up_keep_the_data(project):
    project("down", "--timeout", "60")
    project.up()
    assert written(project) >= {"first", "after-the-crash"}


def test_all_end_by_themselves(project):
    """Nobody has to be killed: status 137 would tell."""
    project("stop", "--timeout", "60")
    for service in ("httpd", "php-fpm", "sidecar"):
        assert project.container(service)["State"]["ExitCode"] == 0, service
