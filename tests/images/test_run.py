"""Both images of the tag DEMO_IMAGES, started as a pod has them: nobody is root, the root is read-only, and it works."""
from __future__ import annotations

import json
import os
import re

import pytest

import imagefile
from runtime import TAG, Runtime, need_tool
from tools import wait
from tools.sidecar import secret_file

WORKERS = 3

OPCACHE = """<?php header('Content-Type: application/json');
$s = opcache_get_status(false);
echo json_encode(['on' => $s['opcache_enabled'], 'preloaded' => array_map('basename', $s['preload_statistics']['scripts'] ?? []),
                  'functions' => $s['preload_statistics']['functions'] ?? [], 'secret' => getenv('APP_SECRET')]);
"""


class Pods:
    """A pod of the sidecar and php-fpm, and httpd beside it."""

    def __init__(self, runtime: Runtime, folder):
        self.runtime = runtime
        volumes = {}
        for name, inside in (("data", "/app/data"), ("run", "/run/php"), ("handover", "/app/handover"), ("var", "/app/var"), ("scripts", "/scripts"),
                             ("secrets", "/run/secrets/app"), ("httpd", "/run/httpd")):
            (folder / name).mkdir()
            volumes[name] = (folder / name, inside)
        secret_file(folder).rename(folder / "handover/secret")
        (folder / "scripts/preload.php").write_text("<?php function preloaded_for_all() { return 'yes'; }\n")
        (folder / "scripts/opcache.php").write_text(OPCACHE)
        (folder / "secrets/secret").write_text("one for all pods")
        for path in [folder, *folder.rglob("*")]:
            os.chown(path, 10033, 10033)
        sidecar = {"SIDECAR_AUTHORITY": "file:///app/handover/authority", "SIDECAR_SECRET_FILE": "/app/handover/secret",
                   "SIDECAR_ADVERTISE": "127.0.0.1", "SIDECAR_PEER": "127.0.0.1", "SIDECAR_TERMINATION_LOG": "/tmp/termination-log"}
        mounts = {host: inside for host, inside in (volumes[n] for n in ("data", "run", "handover"))}
        self.sidecar = runtime.run("php-fpm", "sidecar", "fcgi-sidecar", "serve", env=sidecar, volumes=mounts)
        wait.until(lambda: runtime.call("exec", self.sidecar, "http-check", "http://127.0.0.1:9180/livez", check=False).returncode == 0, 30, "the sidecar", every=0.5)
        first = runtime.run("php-fpm", "post-start", "fcgi-sidecar", "post-start", env=sidecar, volumes=mounts, wait=True)
        assert first.returncode == 0, first.stderr
        self.php = runtime.run("php-fpm", "php-fpm",
                               env={"PHP_FPM_MAX_CHILDREN": str(WORKERS), "NOTEJAM_WRITES_API": "1", "PHP_OPCACHE_PRELOAD": "/scripts/preload.php"},
                               volumes={host: inside for host, inside in (volumes[n] for n in ("data", "run", "var", "scripts", "secrets"))})
        self.httpd = runtime.run("httpd", "httpd", env={"BACKEND_URL": "fcgi://127.0.0.1:9000", "HTTPD_STATUS_URL": "fcgi://127.0.0.1:9002/status",
                                                        "HTTPD_ACCESS_LOG": "json"}, volumes=dict([volumes["httpd"]]))
        self.healthy(self.php, "php-fpm")
        self.healthy(self.httpd, "httpd")

    def healthy(self, container: str, name: str) -> None:
        """By the image's own HEALTHCHECK."""
        command = imagefile.read(name).health
        wait.until(lambda: self.runtime.call("exec", container, *command, check=False).returncode == 0, 40, f"{name}: {' '.join(command)}", every=0.5)

    def get(self, path: str, port: int = 8080) -> str:
        return self.runtime.inside(self.httpd, "http-check", "--body", f"http://127.0.0.1:{port}{path}")


@pytest.fixture(scope="module")
def pods(module_tmp):
    tool = need_tool()
    if os.geteuid() != 0:
        pytest.skip("root is needed, to give folders to the images' user")
    runtime = Runtime(tool, TAG)
    works = runtime.run("httpd", "works", "true", wait=True)
    if works.returncode != 0:
        runtime.end()
        pytest.skip(f"{tool} cannot start containers here: {(works.stderr.strip().splitlines() or ['?'])[-1]}")
    try:
        folder = module_tmp / "pod"
        folder.mkdir()
        yield Pods(runtime, folder)
    finally:
        runtime.end()


def test_pages_health_and_metrics(pods):
    assert "Notejam" in pods.get("/signin/")
    for path in ("/livez", "/readyz", "/healthz"):
        assert pods.get(path)
    metrics = pods.get("/metrics", 9117)
    assert "\nphpfpm_up" in metrics and "demo_" in metrics
    assert re.search(r"^phpfpm_total_processes\{[^}]*\} (\d+)$", metrics, re.M).group(1) == str(WORKERS), "as PHP_FPM_MAX_CHILDREN has it"


def test_nobody_is_root_and_nothing_but_volumes_can_be_written(pods):
    for container, volume in ((pods.php, "/app/var"), (pods.sidecar, "/app/data"), (pods.httpd, "/run/httpd")):
        assert pods.runtime.inside(container, "sh", "-c", "id -u; id -g").split() == ["10033", "10033"]
        pods.runtime.inside(container, "sh", "-c", f"! touch /x /app/public/x /usr/local/bin/x /etc/x 2>/dev/null && touch {volume}/x && rm {volume}/x")
        status = pods.runtime.inside(container, "cat", "/proc/1/status")
        assert "CapEff:\t0000000000000000" in status and "NoNewPrivs:\t1" in status


def test_opcache_preloads_and_the_secret_is_the_files(pods):
    asked = ["env", "SCRIPT_NAME=/opcache.php", "SCRIPT_FILENAME=/scripts/opcache.php", "REQUEST_METHOD=GET", "QUERY_STRING=", "REQUEST_URI=/opcache.php",
             "cgi-fcgi", "-bind", "-connect", "/run/php/php-fpm.sock"]
    said = json.loads(pods.runtime.inside(pods.php, *asked).split("\n\n", 1)[1])
    assert said["on"] is True and said["preloaded"] == ["preload.php"] and said["functions"] == ["preloaded_for_all"]
    assert said["secret"] == "one for all pods"


def test_access_log_in_json(pods):
    pods.get("/signin/?mark=json")

    def logged():
        lines = [line for line in pods.runtime.logs(pods.httpd).splitlines() if '"query":"?mark=json"' in line]
        return lines and json.loads(lines[0])
    entry = wait.until(logged, 20, "the line of the access log", every=0.5)
    assert entry["status"] == 200 and entry["path"] == "/signin/" and entry["backend"] and entry["duration_us"] > 0


def test_httpd_without_a_backend_says_so(pods):
    done = pods.runtime.run("httpd", "without", wait=True)
    assert done.returncode != 0 and "BACKEND_URL" in done.stderr + done.stdout and "DemoBackend" in done.stderr + done.stdout


def test_their_stop_signals_end_them_by_themselves(pods):
    """Last: nobody has to be killed, which status 137 would tell."""
    for container in (pods.httpd, pods.php, pods.sidecar):
        pods.runtime.call("stop", "--time", "60", container)
        wait.until(lambda c=container: pods.runtime.state(c, "Status") in ("exited", "stopped"), 60, f"the end of {container}", every=0.5)
        assert pods.runtime.state(container, "ExitCode") == "0", pods.runtime.logs(container)[-2000:]
