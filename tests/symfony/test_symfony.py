"""A Symfony application through httpd, mod_demo and the sidecar, over hand-overs, as its image would run it.

Twice: tests/apps/symfony as it is, on Debian's packages, and the same as a finished project with a vendor/ that says
nothing about sessions and secrets, as the Symfony Demo comes.
"""
from __future__ import annotations

import json
import re
import sqlite3
import sys
import threading
from pathlib import Path

import pytest

from tools import fcgi, http, paths, wait
from tools.httpd import Httpd
from tools.sidecar import secret_file
from tools.writers import Writers, integrity, stored

from pod import SYMFONY, Pod, finished

sys.path.insert(0, str(paths.TOP / "tests" / "e2e-cluster"))
import client  # noqa: E402

POST = "/en/blog/posts/lorem-ipsum-dolor-sit-amet"


class Site:
    """httpd in front of the newest pod."""

    def __init__(self, debian, app: Path, folder: Path, env: dict[str, str]):
        self.debian, self.app, self.folder, self.env = debian, app, folder, env
        self.secret = secret_file(folder)
        (folder / "authority").mkdir()
        paths.give(folder / "authority")
        self.pods: list[Pod] = []
        self.httpd: Httpd | None = None

    def pod(self) -> Pod:
        name = f"pod-{len(self.pods) + 1}"
        self.pods.append(Pod(self.debian, self.app, self.folder, name, f"file://{self.folder}/authority/primary", self.secret, self.env))
        return self.pods[-1].start()

    def config(self) -> str:
        # As docker/httpd/site.conf has it.
        return (f"DemoBackend {self.primary.sidecar.url}\nDemoDocumentRoot /app/public\nDocumentRoot {self.app}/public\nDirectoryIndex disabled\n"
                "<FilesMatch \"\\.php$\">\n  SetHandler demo-fcgi\n</FilesMatch>\nDemoFrontController /index.php\n")

    def start(self) -> "Site":
        self.pod()
        self.httpd = Httpd(self.folder, self.config()).start()
        return self

    def roll_out(self) -> None:
        """A new pod, the old one's pre-stop, then httpd learns of it, and the old one goes."""
        old, new = self.primary, self.pod()
        old.sidecar.pre_stop()
        wait.until(lambda: new.state.upper() == "PRIMARY", 20, f"{new.name} to be primary")
        self.httpd.config = self.config()
        self.httpd.graceful()
        old.stop()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.httpd.port}"

    @property
    def primary(self) -> Pod:
        return self.pods[-1]

    def stop(self) -> None:
        if self.httpd:
            self.httpd.stop()
        for pod in reversed(self.pods):
            pod.stop()


@pytest.fixture(scope="module", params=["debian", "finished"])
def built(request, debian, module_tmp):
    """The application as the image's build makes it: (kind, folder of /app, folder of /out, what app-stage said)."""
    folder = module_tmp / request.param
    folder.mkdir()
    source = SYMFONY if request.param == "debian" else finished(debian, folder)
    done = debian.app_stage(source, folder)
    assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
    return request.param, folder / "app", folder / "out", done.stdout + done.stderr


@pytest.fixture(scope="module")
def site(built, debian):
    paths.require("apache2")
    _, app, _, _ = built
    folder = app.parent / "run"
    folder.mkdir(mode=0o755)
    s = Site(debian, app, folder, {"APP_SECRET": "the same in every pod"})
    try:
        yield s.start()
    finally:
        s.stop()


def test_the_build(built):
    kind, app, out, said = built
    con = sqlite3.connect(f"file:{app}/seed/database.sqlite?immutable=1", uri=True)
    assert (app / "seed/database.sqlite").read_bytes()[18:20] == b"\2\2", "write-ahead log"
    tables = {r[0] for r in con.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    con.close()
    assert {"user", "post", "comment"} <= tables | {t.replace("symfony_demo_", "") for t in tables}
    assert ("php_sessions" if kind == "finished" else "sessions") in tables
    assert sorted(p.name for p in (app / "seed").iterdir()) == ["database.sqlite"]
    assert not any((app / "data").iterdir()) and not any((app / "var").iterdir())
    container = app / "var.image/cache/prod/App_KernelProdContainer.php"
    assert container.exists() and "another machine" not in container.read_text()
    assert not list(out.rglob("*.php")), "no PHP source in httpd's image"
    assert list((out / "public/assets").glob("app-*.css")), said


OPCACHE = """<?php $p = opcache_get_status(false)['preload_statistics'] ?? null;
echo json_encode(['memory' => $p['memory_consumption'] ?? 0, 'classes' => $p['classes'] ?? []]);
"""


def test_opcache_has_preloaded_what_symfony_lists(built, site):
    """config/preload.php of the application, without anybody asking for it; its list is in the warm cache of the image."""
    (site.primary.root / "tmp/opcache.php").write_text(OPCACHE)
    said = json.loads(fcgi.request(str(site.primary.socket), fcgi.script_params("/opcache.php", "/tmp/opcache.php"), timeout=20).body)
    assert said["memory"] > 0, "config/preload.php itself"
    if built[0] == "finished":      # Symfony writes its list with composer's autoloader alone
        assert "App\\Kernel" in said["classes"] and len([c for c in said["classes"] if c.startswith("Symfony\\")]) > 50, said


def test_pages_and_assets(site):
    assert http.get(site.httpd, "/").header("Location", "").endswith("/en/blog/")
    page = http.get(site.httpd, "/en/blog/")
    assert page.status == 200 and "Lorem ipsum" in page.text
    css = re.search(r'href="(/assets/app-[^"]+\.css)"', page.text).group(1)
    assert http.get(site.httpd, css).status == 200
    assert "Lorem ipsum" in http.get(site.httpd, "/en/blog/search?q=Lorem").text
    assert http.get(site.httpd, "/en/nothing/here").status == 404


def test_a_streamed_answer_comes_in_parts(site):
    with http.Connection(site.httpd.port) as c:
        c.request("GET", "/stream")
        first = b""
        while b"part 0" not in first:
            first += c.sock.recv(65536)
        assert b"part 4" not in first, "the first part waits for nothing"
        while b"part 4" not in first:
            more = c.sock.recv(65536)
            assert more, first
            first += more


def test_a_deferred_write_comes_after_its_answer(site):
    assert http.post(site.httpd, "/api/deferred", {"id": "deferred-1"}).status == 202
    wait.until(lambda: "deferred-1" in stored(site.primary.database), 20, "the write after the answer")


def test_only_administrators(site, module_tmp):
    nobody = client.Browser(site.url, str(module_tmp / "nobody.jar"))
    nobody.page("/en/admin/post/")
    assert nobody.at == "/en/login"


def test_users_stay_signed_in_over_two_rollouts(site, module_tmp):
    """And nothing is lost: neither writes under way, nor one that is made after its answer, nor a form that is open."""
    jane = client.Browser(site.url, str(module_tmp / "jane.jar"))
    jane.submit("/en/login", {"_username": "jane_admin", "_password": "kitten"})
    assert "Sign out" in jane.page("/en/admin/post/") and jane.at == "/en/admin/post/"
    jane.submit(POST, {"comment[content]": "before the rollouts"})

    with Writers(site.httpd, 4, pause=0.02) as writers:
        for n in (1, 2):
            writers.wait_acknowledged(20)
            action, form = next((a, f) for a, f in client.Forms(jane.page(POST)).forms if "comment[content]" in f)
            deferred = f"deferred-rollout-{n}"
            assert http.post(site.httpd, "/api/deferred", {"id": deferred}).status == 202
            stream: list[bytes] = []
            reader = threading.Thread(target=lambda: stream.append(http.get(site.httpd, "/stream", timeout=60).body))
            reader.start()
            old = site.primary
            site.roll_out()
            reader.join(60)
            assert stream and stream[0].count(b"part") == 5, "a stream that began before goes to its end"
            assert site.primary is not old
            assert deferred in stored(site.primary.database), "the write after the answer has moved"
            # Another pod answers; the session, and the token of a form that was loaded before, are good.
            assert "Sign out" in jane.page("/en/admin/post/") and jane.at == "/en/admin/post/"
            text = f"a form from before rollout {n}"
            jane.page(action or POST, {**form, "comment[content]": text}, site.url + POST)
            assert text in jane.page(POST)
            writers.wait_acknowledged(20)
    report = writers.report(site.primary.database)
    print(report)
    assert not report.lost and not report.duplicated and not report.failed and not report.unknown, str(report)
    assert integrity(site.primary.database) == "ok"
    assert "before the rollouts" in jane.page(POST)
    jane.save()


def test_a_new_post(site, module_tmp):
    jane = client.Browser(site.url, str(module_tmp / "jane.jar"))
    jane.submit("/en/admin/post/new", {"post[title]": "Ünicode & <tags>", "post[summary]": "short", "post[content]": "long enough a text"})
    assert jane.at == "/en/admin/post/" and "Ünicode &amp; &lt;tags&gt;" in jane.page("/en/blog/")


def test_remember_me_is_good_in_every_pod(site, module_tmp):
    """A cookie that one pod signed with the secret which all of them have."""
    john = client.Browser(site.url, str(module_tmp / "john.jar"))
    john.submit("/en/login", {"_username": "john_user", "_password": "kitten"}, {"_remember_me": "on"})
    kept = {c.name: c.value for c in john.jar}
    assert "REMEMBERME" in kept
    site.roll_out()
    page = http.get(site.httpd, "/en/blog/", headers={"Cookie": f"REMEMBERME={kept['REMEMBERME']}"})
    assert "John Doe" in page.text


def test_php_had_nothing_to_complain_about(site):
    for pod in site.pods:
        said = pod.log.read_text(errors="replace")
        assert not re.search(r"PHP (Fatal|Warning|Notice|Deprecated)|\[critical\]|CRITICAL", said, re.I), said[-3000:]
