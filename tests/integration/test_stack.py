"""The whole stack as one machine runs it: httpd -> fcgi-sidecar -> php-fpm -> SQLite, with the demo application."""
import re
import shutil
import signal
import subprocess
import uuid

import pytest

from tools import http, paths, wait
from tools.httpd import METRICS_PAGE, PHP, Httpd
from tools.phpfpm import PhpFpm
from tools.sidecar import Sidecar, secret_file
from tools.writers import Writers, integrity

APP = paths.TOP / "docker" / "app"


class Pod:
    """A sidecar, a php-fpm and a database: what a pod holds."""

    def __init__(self, tmp, name, app, seed, secret, authority):
        self.name = name
        self.fpm = PhpFpm(tmp, 8, "unix", name=f"{name}-fpm", docroot=app / "public")
        self.sidecar = Sidecar(tmp, name, authority, secret, self.fpm.url, seed, {"queue-timeout": "2s", "young-wait": "3s"})
        self.fpm.env = {"NOTEJAM_DATABASE": str(self.sidecar.database), "NOTEJAM_INSTANCE": name,
                        "NOTEJAM_WRITES_API": "1", "NOTEJAM_MAIL": "log"}

    def start(self) -> "Pod":
        """In the order of a pod's life."""
        self.sidecar.start()
        self.sidecar.post_start()
        self.fpm.start()
        return self

    def stop(self) -> None:
        self.fpm.stop()
        self.sidecar.stop()


class World:
    def __init__(self, tmp):
        self.tmp, self.pods = tmp, []
        self.app = tmp / "app"
        shutil.copytree(APP, self.app)
        self.secret = secret_file(tmp)
        (tmp / "authority").mkdir()
        self.seed = tmp / "seed" / "database.sqlite"
        self.seed.parent.mkdir()
        subprocess.run([paths.require("php"), str(self.app / "bin/migrate"), "--database", str(self.seed)], check=True,
                       capture_output=True)
        paths.give(tmp / "authority")
        paths.give(self.seed.parent)
        self.httpd = None

    def pod(self, name) -> Pod:
        p = Pod(self.tmp, name, self.app, self.seed, self.secret, f"file://{self.tmp}/authority/primary")
        self.pods.append(p)
        return p

    def config(self, pod: Pod) -> str:
        return f"""DemoBackend {pod.sidecar.url}
DemoTimeout queue=2s
DocumentRoot "{self.app}/public"
DemoFrontController /index.php
{PHP}
<LocationMatch "^/(livez|readyz|healthz)$">
    SetHandler demo-health
</LocationMatch>
{METRICS_PAGE}"""

    def serve(self, pod: Pod) -> Httpd:
        self.httpd = Httpd(self.tmp, self.config(pod)).start()
        return self.httpd

    def stop(self) -> None:
        if self.httpd:
            self.httpd.stop()
        for p in self.pods:
            p.stop()


@pytest.fixture
def world(tmp):
    for tool in ("php", "php-fpm", "fcgi-sidecar", "mod_demo.so"):
        paths.require(tool)
    w = World(tmp)
    yield w
    w.stop()
    if w.httpd:
        w.httpd.check()
    for p in w.pods:
        p.sidecar.check()



def csrf_field(page: str) -> dict[str, str]:
    name, value = re.search(r'<input type="hidden" name="([^"]+)" value="([^"]+)"', page).groups()
    return {name: value}


def test_sign_up_write_and_read(world):
    pod = world.pod("a").start()
    h = world.serve(pod)
    s = http.Session(h)
    page = s.get("/signup/")
    assert page.status == 200 and page.header("X-Instance") == "a"
    email = f"{uuid.uuid4().hex[:8]}@example.org"
    form = {"email": email, "password": "correct horse battery", "repeat_password": "correct horse battery"}
    r = s.post("/signup/", form | csrf_field(page.text))
    assert r.status in (302, 303), r.text
    if "signin" in (r.header("Location") or ""):
        page = s.get("/signin/")
        r = s.post("/signin/", {"email": email, "password": "correct horse battery"} | csrf_field(page.text))
        assert r.status in (302, 303), r.text
    page = s.get("/notes/create/")
    r = s.post("/notes/create/", {"name": "A note", "text": "& its text", "pad": "0"} | csrf_field(page.text))
    assert r.status in (302, 303), r.text
    assert "A note" in s.get("/").text
    assert http.get(h, "/notes/1/").status == 302, "anonymous"
    assert http.get(h, "/no/such/page").status == 404
    assert http.get(h, "/readyz").status == 200
    assert "demo_" in http.get(h, "/metrics").text
    assert http.get(h, "/assets/app.css").header("Content-Type", "").startswith("text/css")


def test_database_is_the_seed_and_belongs_to_the_pool(world):
    pod = world.pod("a").start()
    assert integrity(pod.sidecar.database) == "ok"
    st = pod.sidecar.database.stat()
    who = paths.unprivileged()
    if who:
        import pwd
        assert st.st_uid == pwd.getpwnam(who[0]).pw_uid
    assert st.st_mode & 0o007 == 0 or st.st_mode & 0o002 == 0
    status = pod.sidecar.status()
    assert {"lineage", "epoch", "state", "primary"} <= set(status)


def roll_out(world: World, old: Pod, name: str) -> Pod:
    """In the order of a pod's life, the old one's and the new one's."""
    new = world.pod(name).start()
    old.sidecar.pre_stop()
    world.httpd.config = world.config(new)
    world.httpd.graceful()
    wait.until(lambda: all(http.get(world.httpd, "/signin/").header("X-Instance") == name for _ in range(3)), 20,
               f"answers of {name}")
    old.fpm.stop(signal.SIGQUIT)
    old.sidecar.stop()
    return new


def test_rollouts_under_writers_lose_nothing(world):
    pod = world.pod("a").start()
    h = world.serve(pod)
    writers = Writers(h, 8).start()
    writers.wait_acknowledged(100)
    for name in ("b", "c"):
        pod = roll_out(world, pod, name)
        writers.wait_acknowledged(100)
    writers.stop()
    report = writers.report(pod.sidecar.database)
    assert not report.lost and not report.duplicated, report
    assert not report.failed and not report.unknown, f"{report}\n{writers.failed()[:3]} {writers.unknown()[:3]}"
    assert integrity(pod.sidecar.database) == "ok"
    assert report.gap < 5 * wait.FACTOR, report
    assert pod.sidecar.status()["epoch"] == 3


def test_php_fpm_gone_and_back(world):
    pod = world.pod("a").start()
    h = world.serve(pod)
    assert http.get(h, "/signin/").status == 200
    pod.fpm.stop()
    h.error_log.claim(r"demo:(warn|error)", optional=True)
    r = http.get(h, "/signin/", timeout=40)
    assert r.status in (502, 503, 504)
    pod.fpm.start()
    wait.until(lambda: http.get(h, "/signin/", timeout=40).status == 200, 20, "the site to come back")
