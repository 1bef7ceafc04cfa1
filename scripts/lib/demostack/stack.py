"""The folder run/, its state, and the parts of the stack that live in it."""
from __future__ import annotations

import fcntl
import glob
import json
import os
import pwd
import re
import secrets
import shutil
import signal
import subprocess
import tempfile
import urllib.error
import urllib.request
from pathlib import Path

from process import Failed, alive, end, free_port, launch, port_is_free, tail, until

TOP = Path(__file__).resolve().parents[3]
HERE = Path(__file__).resolve().parent
SEARCH = os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin:/sbin:/usr/local/bin:/usr/bin:/bin"
MODULES = ["unixd", "log_config", "logio", "authz_core", "mime", "dir", "alias", "env", "setenvif"]
PHP_WORKERS = 10


def service_user() -> tuple[int, int] | None:
    """uid and gid for the servers when root started the script, else None: the caller's own."""
    if os.geteuid() != 0:
        return None
    for name in ("www-data", "nobody"):
        try:
            pw = pwd.getpwnam(name)
            return pw.pw_uid, pw.pw_gid
        except KeyError:
            pass
    raise Failed("root started this, and there is neither a user www-data nor nobody to run the servers as")


def reachable(folder: Path) -> bool:
    """May everybody enter the folder?"""
    return all(os.stat(p).st_mode & 0o001 for p in [folder, *folder.parents])


def find_php_fpm() -> str:
    found = {p for d in SEARCH.split(":") if d for p in glob.glob(d + "/php-fpm[0-9]*") if os.access(p, os.X_OK)}

    def version(p: str):
        return tuple(int(x) for x in re.findall(r"\d+", os.path.basename(p)))
    program = max(found, key=version) if found else shutil.which("php-fpm", path=SEARCH)
    if not program:
        raise Failed("php-fpm is not there; scripts/demo installs it (Debian package php-fpm)")
    return program


def find_httpd() -> tuple[str, Path]:
    program = shutil.which("apache2", path=SEARCH) or shutil.which("httpd", path=SEARCH)
    modules = next((Path(d) for d in ("/usr/lib/apache2/modules", "/usr/lib64/httpd/modules") if Path(d).is_dir()), None)
    if not program or not modules:
        raise Failed("httpd is not there; scripts/demo installs it (Debian package apache2-bin)")
    return program, modules


def fill(template: str, values: dict) -> str:
    text = (HERE / template).read_text()
    return re.sub(r"@([A-Z_]+)@", lambda m: str(values[m.group(1)]), text)


class Stack:
    """What runs, as run/state.json remembers it."""

    def __init__(self):
        self.run = Path(os.environ.get("DEMO_RUN") or TOP / "run").absolute()
        self.user = service_user()
        self.state = {"port": 0, "httpd": None, "active": "", "count": 0, "instances": {}}
        self._lock = None
        self._load()

    def _load(self) -> None:
        if self.state_file.exists():
            self.state |= json.loads(self.state_file.read_text())

    # -- the folder -----------------------------------------------------------------
    @property
    def state_file(self) -> Path:
        return self.run / "state.json"

    @property
    def root(self) -> Path:
        return self.run.resolve()

    def lock(self) -> None:
        """One script at a time."""
        self._make_run()
        self._lock = open(self.run / "lock", "w")
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise Failed("another scripts/demo is at work here; wait until it is done") from None
        self._load()

    def _make_run(self) -> None:
        if self.run.is_symlink() and not self.run.exists():
            self.run.unlink()
        if not self.run.exists():
            self.run.parent.mkdir(parents=True, exist_ok=True)
            # A checkout below a closed folder (/root): the servers' user could not enter run/ there.
            if self.user and not reachable(self.run.parent):
                place = Path(tempfile.mkdtemp(prefix="mod-demo-run-", dir="/var/tmp"))
                self.run.symlink_to(place)
            else:
                self.run.mkdir(parents=True)
        os.chmod(self.root, 0o755)

    def save(self) -> None:
        tmp = self.state_file.with_suffix(".tmp")
        with open(tmp, "w") as f:
            json.dump(self.state, f, indent=1)
            f.flush()
            os.fsync(f.fileno())
        os.replace(tmp, self.state_file)

    def wipe(self) -> None:
        place = self.root
        if self.run.is_symlink():
            self.run.unlink()
        shutil.rmtree(place, ignore_errors=True)

    def own(self, *paths: Path) -> None:
        """Folders and files of the servers' user."""
        for p in paths:
            if self.user:
                os.chown(p, *self.user)

    def folder(self, name: str) -> Path:
        p = self.root / name
        p.mkdir(parents=True, exist_ok=True)
        self.own(p)
        return p

    def stage(self) -> None:
        """Copy what the servers load: a build in the meantime does not disturb them, and they may read it."""
        for name, source in {"mod_demo.so": "mod_demo/.libs/mod_demo.so", "fcgi-sidecar": "fcgi-sidecar/fcgi-sidecar"}.items():
            source = TOP / "build" / source
            if not source.exists():
                raise Failed(f"{source} is not built; type scripts/demo")
            target = self.folder("bin") / name
            if not target.exists() or target.stat().st_mtime < source.stat().st_mtime:
                shutil.copyfile(source, target.with_suffix(".tmp"))
                os.chmod(target.with_suffix(".tmp"), 0o755)
                os.replace(target.with_suffix(".tmp"), target)
        app = self.root / "app"
        fresh = self.root / "app.tmp"
        shutil.rmtree(fresh, ignore_errors=True)
        shutil.copytree(TOP / "docker" / "app", fresh)
        for p in [fresh, *fresh.rglob("*")]:
            os.chmod(p, 0o755 if p.is_dir() or os.access(p, os.X_OK) else 0o644)
        if app.exists():
            shutil.copytree(fresh, app, dirs_exist_ok=True)     # php-fpm may be reading there
            shutil.rmtree(fresh)
        else:
            fresh.rename(app)
        secret = self.root / "secret"
        if not secret.exists():
            secret.touch(mode=0o600)
            secret.write_text(secrets.token_hex(32) + "\n")
            self.own(secret)
        self.folder("authority")

    def command(self, argv: list, timeout: float = 120) -> subprocess.CompletedProcess:
        """A command in the foreground, as the servers' user."""
        who = {"user": self.user[0], "group": self.user[1], "extra_groups": []} if self.user else {}
        try:
            return subprocess.run([str(a) for a in argv], stdin=subprocess.DEVNULL, capture_output=True, text=True,
                                  errors="replace", cwd="/", env=self.environment(), timeout=timeout, **who)
        except subprocess.TimeoutExpired:
            raise Failed(f"{os.path.basename(str(argv[0]))} {argv[1]} did not end within {timeout:g} s") from None

    def environment(self) -> dict[str, str]:
        return {"PATH": SEARCH, "LANG": "C.UTF-8", "HOME": str(self.root)}

    def make_seed(self) -> Path:
        """The database of a first deployment, made by the application's own migrations."""
        seed = self.folder("seed") / "database.sqlite"
        r = self.command(["php", self.root / "app/bin/migrate", "--database", seed])
        if r.returncode != 0:
            raise Failed(f"docker/app/bin/migrate exits with {r.returncode}: {r.stderr.strip() or r.stdout.strip()}")
        return seed

    # -- httpd ------------------------------------------------------------------------
    @property
    def port(self) -> int:
        return self.state["port"]

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/"

    def httpd_log(self) -> Path:
        return self.root / "httpd" / "error.log"

    def write_httpd_conf(self, instance: "Instance") -> Path:
        _, modules = find_httpd()
        folder = self.folder("httpd")
        (folder / "mime.types").write_text("text/css css\nimage/svg+xml svg\ntext/html html\ntext/javascript js\n")
        user = ""
        if self.user and self.port < 1024:
            pw = pwd.getpwuid(self.user[0])
            user = f"User {pw.pw_name}\nGroup #{self.user[1]}"
        load = [f'LoadModule {m}_module "{modules}/mod_{m}.so"' for m in MODULES if (modules / f"mod_{m}.so").exists()]
        conf = folder / "httpd.conf"
        tmp = folder / "httpd.conf.tmp"
        tmp.write_text(fill("httpd.conf.in", {
            "ROOT": self.root, "PORT": self.port, "USER": user, "MODULES": modules, "LOAD": "\n".join(load),
            "BACKEND": self._backend(instance, "relay"), "STATUS": self._backend(instance, "status")}))
        os.replace(tmp, conf)
        return conf

    def _backend(self, instance: "Instance", what: str) -> str:
        """Where httpd finds the relay, or the status page, of the instance that serves: behind a link that is moved."""
        listen = instance.listen(what)
        return f"unix:{self.root}/{what}.sock" if listen.startswith("/") else f"fcgi://{listen}"

    def _point_to(self, instance: "Instance") -> None:
        """Moves the links to the instance's sockets, where it has any."""
        for what in ("relay", "status"):
            listen = instance.listen(what)
            if listen.startswith("/"):
                tmp = self.root / f"{what}.sock.tmp"
                tmp.unlink(missing_ok=True)
                tmp.symlink_to(listen)
                os.replace(tmp, self.root / f"{what}.sock")

    def start_httpd(self, instance: "Instance") -> None:
        conf = self.write_httpd_conf(instance)
        self._point_to(instance)
        # A killed httpd leaves its file, and where nobody reaps it its process id stays taken, too.
        (self.root / "httpd" / "httpd.pid").unlink(missing_ok=True)
        program, _ = find_httpd()
        as_user = None if self.port < 1024 else self.user
        self.state["httpd"] = proc = launch([program, "-f", conf, "-DFOREGROUND"], self.folder("httpd") / "stdout.log",
                                            as_user, self.environment())
        self.save()
        if not until(lambda: not alive(proc) or self.ask("/livez")[0] == 200, 60) or not alive(proc):
            raise Failed(f"httpd does not start:\n{tail(proc['log'])}\n{tail(self.httpd_log())}")

    def switch_httpd(self, instance: "Instance") -> None:
        """Point httpd to another instance; where its configuration stays the same it is not restarted: a graceful restart
        costs up to a second in which nobody accepts, as the event MPM looks once a second whether an old child has ended
        before it starts a new one."""
        before = (self.root / "httpd" / "httpd.conf").read_text()
        conf = self.write_httpd_conf(instance)
        self._point_to(instance)
        if conf.read_text() == before:
            return
        program, _ = find_httpd()
        test = self.command([program, "-t", "-f", conf])
        if test.returncode != 0:
            raise Failed(f"httpd refuses its new configuration: {test.stderr.strip()}")
        os.kill(self.state["httpd"]["pid"], signal.SIGUSR1)

    def ask(self, path: str, timeout: float = 5) -> tuple[int, str, dict]:
        """GET a page of httpd: status (0: no answer), text, headers."""
        try:
            with urllib.request.urlopen(self.url.rstrip("/") + path, timeout=timeout) as r:
                return r.status, r.read().decode(errors="replace"), dict(r.headers)
        except urllib.error.HTTPError as e:
            return e.code, e.read().decode(errors="replace"), dict(e.headers)
        except OSError as e:
            return 0, str(e), {}

    def running(self) -> bool:
        return alive(self.state["httpd"])

    def processes(self) -> list[tuple[str, dict]]:
        out = [("httpd", self.state["httpd"])]
        for name, i in self.state["instances"].items():
            out += [(f"php-fpm {name}", i.get("php_fpm")), (f"fcgi-sidecar {name}", i.get("sidecar"))]
        return [(n, p) for n, p in out if p]

    def end_httpd(self) -> None:
        end(self.state["httpd"], (signal.SIGTERM,))
        for what in ("relay", "status"):
            (self.root / f"{what}.sock").unlink(missing_ok=True)
        self.state["httpd"] = None
        self.save()


class Instance:
    """One pod's worth: a sidecar, a php-fpm behind it, a database of their own."""

    def __init__(self, stack: Stack, name: str):
        self.stack, self.name = stack, name
        self.data = stack.state["instances"].setdefault(name, {})
        self.dir = stack.root / "instances" / name

    @classmethod
    def new(cls, stack: Stack) -> "Instance":
        stack.state["count"] += 1
        return cls(stack, f"demo-{stack.state['count']}")

    def port(self, which: str) -> int:
        """relay, control, http, php-fpm or status; the same for the instance's whole life."""
        ports = self.data.setdefault("ports", {})
        if which not in ports:
            ports[which] = free_port()
        return ports[which]

    @property
    def database(self) -> Path:
        return self.dir / "data" / "database.sqlite"

    def listen(self, what: str) -> str:
        """Where its php-fpm, relay or php-fpm's status page listens: a socket in its folder, or HOST:PORT."""
        if len(str(self.dir)) + len("/php-fpm.sock") < 100:     # the kernel's limit of a socket's name is 107
            return f"{self.dir}/{what}.sock"
        return f"127.0.0.1:{self.port(what)}"

    def unlink_sockets(self) -> None:
        for what in ("php-fpm", "relay", "status"):
            (self.dir / f"{what}.sock").unlink(missing_ok=True)

    def prepare(self) -> None:
        self.stack.folder("instances")
        for d in (self.dir, self.dir / "data", self.dir / "tmp", self.dir / "mail"):
            d.mkdir(mode=0o755 if d == self.dir else 0o700, exist_ok=True)
            self.stack.own(d)
        for which in ("relay", "control", "http", "php-fpm", "status"):
            if not port_is_free(self.port(which)):
                self.data["ports"].pop(which)       # somebody took it while the instance was stopped
                self.port(which)

    def sidecar_argv(self, command: str, *more) -> list:
        listen, relay = self.listen("php-fpm"), self.listen("relay")
        options = {
            "database": self.database, "seed-database": self.stack.root / "seed/database.sqlite",
            "state-dir": self.dir / "data/.sidecar", "listen": f"unix:{relay}" if relay.startswith("/") else relay,
            "control-listen": f"127.0.0.1:{self.port('control')}", "http-listen": f"127.0.0.1:{self.port('http')}",
            "upstream": f"unix:{listen}" if listen.startswith("/") else listen, "advertise": "127.0.0.1",
            "authority": f"file://{self.stack.root}/authority/primary", "secret-file": self.stack.root / "secret",
            "termination-log": self.dir / "termination-log", "uid": self.name, "workers": PHP_WORKERS,
            "handoff-timeout": "60s", "sync-timeout": "60s", "young-wait": "5s",
        }
        return [self.stack.root / "bin/fcgi-sidecar", command, *(f"--{k}={v}" for k, v in options.items()), *more]

    def _http(self, path: str) -> int:
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port('http')}{path}", timeout=3) as r:
                return r.status
        except urllib.error.HTTPError as e:
            return e.code
        except OSError:
            return 0

    def start_sidecar(self) -> None:
        self.data["sidecar"] = proc = launch(self.sidecar_argv("serve"), self.dir / "sidecar.log", self.stack.user,
                                             self.stack.environment())
        self.stack.save()
        if not until(lambda: not alive(proc) or self._http("/livez") == 200, 60) or not alive(proc):
            raise Failed(f"fcgi-sidecar of {self.name} does not start:\n{tail(proc['log'])}")

    def hook(self, command: str, timeout: float) -> subprocess.CompletedProcess:
        """post-start or pre-stop, in the foreground."""
        return self.stack.command(self.sidecar_argv(command), timeout)

    def post_start(self) -> None:
        r = self.hook("post-start", 120)
        if r.returncode != 0:
            raise Failed(f"post-start of {self.name} exits with {r.returncode}: {r.stderr.strip()}\n"
                         f"{tail(self.dir / 'sidecar.log')}")

    def status(self) -> dict:
        r = self.stack.command(self.sidecar_argv("status", "--json"), 30)
        try:
            return json.loads(r.stdout)
        except ValueError:
            return {}

    def start_php_fpm(self) -> None:
        conf = self.dir / "php-fpm.conf"
        conf.write_text(fill("php-fpm.conf.in", {
            "DIR": self.dir, "LISTEN": self.listen("php-fpm"), "WORKERS": PHP_WORKERS, "NAME": self.name,
            "STATUS": self.listen("status")}))
        log = self.dir / "php-fpm.log"
        begin = log.stat().st_size if log.exists() else 0
        self.data["php_fpm"] = proc = launch([find_php_fpm(), "--nodaemonize", "--fpm-config", conf],
                                             self.dir / "php-fpm.out", self.stack.user, self.stack.environment())
        self.stack.save()

        def ready():
            if not alive(proc):
                return True
            return log.exists() and b"ready to handle connections" in log.read_bytes()[begin:]
        if not until(ready, 60) or not alive(proc):
            raise Failed(f"php-fpm of {self.name} does not start:\n{tail(log)}\n{tail(proc['log'])}")

    def end_php_fpm(self) -> None:
        end(self.data.get("php_fpm"), (signal.SIGQUIT, signal.SIGTERM))
        self.data["php_fpm"] = None
        self.stack.save()

    def end_sidecar(self) -> bool:
        gentle = end(self.data.get("sidecar"), (signal.SIGTERM,), 20)
        self.data["sidecar"] = None
        self.stack.save()
        return gentle

    def forget(self) -> None:
        """End it and delete its folder."""
        self.end_php_fpm()
        self.end_sidecar()
        shutil.rmtree(self.dir, ignore_errors=True)
        self.stack.state["instances"].pop(self.name, None)
        self.stack.save()
