"""A real httpd on a free port of 127.0.0.1, with a configuration of its own."""
from __future__ import annotations

import os
import signal
import subprocess
import time
from pathlib import Path

from . import paths, ports, proc, sanitize, wait
from .logwatch import LogWatch

#: What every instance loads, in this order, unless it is linked in.
BASE = ["unixd", "log_config", "logio", "authz_core", "mime", "dir", "alias", "env", "setenvif"]
#: What a module needs before it.
NEEDS = {"proxy_fcgi": ["proxy"], "proxy_http": ["proxy"], "ssl": ["socache_shmcb"], "deflate": ["filter"],
         "session_cookie": ["session"], "auth_basic": ["authn_core", "authn_file", "authz_user"]}

#: Pieces of a configuration that nearly every test has.
PHP = """\
<FilesMatch "\\.php$">
    SetHandler demo-fcgi
</FilesMatch>
"""
ALL_TO_PHP = """\
<Location "/">
    SetHandler demo-fcgi
</Location>
"""
METRICS_PAGE = """\
<Location "/metrics">
    SetHandler demo-metrics
</Location>
"""
HEALTH_PAGE = """\
<Location "/health">
    SetHandler demo-health
</Location>
"""

ACCESS_LOG = """\
LogFormat "%h %t \\"%r\\" %>s %O %D id=%{X-Test}i error=%{demo-error}n backend=%{demo-backend}n attempts=%{demo-attempts}n" test
CustomLog "access.log" test
"""

TEMPLATE = """\
ServerRoot "{root}"
ServerName 127.0.0.1
PidFile "{root}/httpd.pid"
DefaultRuntimeDir "{root}"
CoreDumpDirectory "{root}/core"
Mutex file:{root} default
{listen}
{user}
{load}
ErrorLog "{error_log}"
LogLevel {log_level}
{access_log}TypesConfig "{root}/mime.types"
DocumentRoot "{docroot}"
DirectoryIndex index.html index.php
<Directory "/">
    AllowOverride None
    Require all granted
</Directory>
GracefulShutdownTimeout 5
AcceptFilter http none
{patience}
{mpm}
{config}
"""
MPM = {
    "event": "StartServers 2\nServerLimit 4\nThreadsPerChild 25\nMaxRequestWorkers 100\nMinSpareThreads 25\n"
             "MaxSpareThreads 75\nAsyncRequestWorkerFactor 2",
    "worker": "StartServers 2\nServerLimit 4\nThreadsPerChild 25\nMaxRequestWorkers 100",
    "prefork": "StartServers 4\nMaxRequestWorkers 20\nMinSpareServers 4\nMaxSpareServers 10",
}


def event_sizes(threads: int, *, children: int = 1, start: int = 1, workers: int | None = None, factor: int = 2) -> str:
    """mpm_config of an event MPM whose children stay as many as there are, whatever the load.

    threads a child, children and workers (all their threads) at the most, start of them at once, factor idle
    connections a free thread
    """
    workers = workers or threads * children
    return (f"StartServers {start}\nServerLimit {children}\nThreadsPerChild {threads}\nMaxRequestWorkers {workers}\n"
            f"MinSpareThreads 1\nMaxSpareThreads {workers}\nAsyncRequestWorkerFactor {factor}\n")


class Httpd:
    """An httpd with mod_demo.

    tmp        folder of this instance (made if absent)
    config     what goes at the end of httpd.conf; {port}, {root}, {docroot} are not replaced
    modules    further modules of httpd by name ("rewrite", "http2", …); needs come along
    mpm        event, worker or prefork
    env        variables of the process beside a small fixed set
    mpm_config replaces the sizes of the MPM
    ports      how many ports it listens on (port: the first)
    demo       load mod_demo
    docroot    DocumentRoot; default tmp/htdocs
    """

    def __init__(self, tmp, config: str = "", modules=(), mpm: str = "event", env: dict[str, str] | None = None, *,
                 mpm_config: str | None = None, ports_count: int = 1, demo: bool = True, docroot=None,
                 log_level: str = "info demo:debug", access_log: bool = True, name: str = "httpd"):
        self.binary = paths.require("apache2")
        self.name = name
        self.root = Path(tmp) / name
        self.root.mkdir(parents=True, exist_ok=True)
        os.chmod(self.root, 0o755)
        self.docroot = Path(docroot) if docroot else self.root / "htdocs"
        self.docroot.mkdir(parents=True, exist_ok=True)
        self.config, self.modules, self.mpm, self.mpm_config = config, list(modules), mpm, mpm_config
        self.demo, self.log_level, self.env = demo, log_level, dict(env or {})
        self.access = access_log
        self.ports = [ports.free_port() for _ in range(ports_count)]
        self.error_log = LogWatch(self.root / "error.log")
        if paths.CHECKER == "memcheck":      # a child takes its time to look for leaks
            self.error_log.claim("AH00045", optional=True)
        self.proc: proc.Process | None = None

    # -- configuration -----------------------------------------------------------
    @property
    def port(self) -> int:
        return self.ports[0]

    @property
    def conf(self) -> Path:
        return self.root / "httpd.conf"

    def _load(self) -> str:
        want: list[str] = [f"mpm_{self.mpm}"]
        for m in BASE + self.modules:
            want += [n for n in NEEDS.get(m, []) if n not in want]
            if m not in want:
                want.append(m)
        out = []
        for m in want:
            so = paths.httpd_modules() / f"mod_{m}.so"
            if so.exists():
                out.append(f'LoadModule {m}_module "{so}"')
            elif m.replace("mpm_", "") not in paths.httpd_static_modules() and m not in paths.httpd_static_modules():
                paths.missing(f"mod_{m}.so")
        if self.demo:
            out.append(f'LoadModule demo_module "{paths.require("mod_demo.so")}"')
        return "\n".join(out)

    def write_conf(self) -> Path:
        """Write httpd.conf from what the instance holds; start() and conf_test() do it by themselves."""
        who = paths.unprivileged()
        (self.root / "core").mkdir(exist_ok=True)
        os.chmod(self.root / "core", 0o1777)
        (self.root / "mime.types").write_text("text/html html\ntext/plain txt\ntext/css css\nimage/png png\n")
        self.conf.write_text(TEMPLATE.format(
            root=self.root, docroot=self.docroot, error_log=self.error_log.path,
            log_level=self.log_level if self.demo else self.log_level.split()[0],
            listen="\n".join(f"Listen 127.0.0.1:{p}" for p in self.ports),
            user=f"User {who[0]}\nGroup {who[1]}" if who else "", load=self._load(),
            # A check that only took long, as they do on a starved machine, is not what a test is about.
            patience="DemoHealthCheck timeout=20s" if self.demo else "",
            access_log=ACCESS_LOG if self.access else "",
            mpm=MPM[self.mpm] if self.mpm_config is None else self.mpm_config, config=self.config))
        return self.conf

    def _env(self) -> dict[str, str]:
        return paths.base_env({**sanitize.env(self.root, preload=True), **self.env})

    def conf_test(self) -> tuple[int, str]:
        """httpd -t: (exit status, what it said)."""
        self.write_conf()
        r = subprocess.run([self.binary, "-t", "-f", str(self.conf)], env=self._env(), stdin=subprocess.DEVNULL,
                           stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, errors="replace", timeout=60)
        return r.returncode, r.stdout

    # -- life ----------------------------------------------------------------------
    def start(self) -> "Httpd":
        """Start it and wait until it accepts; AssertionError with its words when it refuses."""
        self.write_conf()
        before = self._generations()
        self.proc = proc.Process([*sanitize.wrap(self.root), self.binary, "-f", self.conf, "-DFOREGROUND"], self.root / "stdout.log",
                                 env=self._env(), name=self.name)

        def up():
            if not self.proc.running():
                raise AssertionError(f"httpd ended with {self.proc.returncode}:\n{self.proc.output()}"
                                     f"\n{self.error_log.text(all=True)[-3000:]}")
            return self._generations() > before and all(ports.accepts(p) for p in self.ports)
        wait.until(up, 20, f"httpd on port {self.port}")
        return self

    def _generations(self) -> int:
        return self.error_log.text(all=True).count("configured -- resuming normal operations")

    def graceful(self, timeout: float = 20) -> None:
        """Graceful restart, with the configuration as it is now in the object; returns once the new one serves."""
        self.write_conf()
        before = self._generations()
        self.proc.send(signal.SIGUSR1)
        wait.until(lambda: self._generations() > before or not self.proc.running(), timeout, "the graceful restart")
        assert self.proc.running(), f"httpd ended at the graceful restart:\n{self.error_log.text()[-3000:]}"

    def stop(self, graceful: bool = False, timeout: float = 15) -> None:
        """SIGTERM, or graceful: SIGWINCH, which lets requests end and takes a second at least."""
        if self.proc and self.proc.running():
            if not graceful:
                self._wait_idle()
            self.proc.stop(signal.SIGWINCH if graceful else signal.SIGTERM, timeout)
        self.proc = None

    def _wait_idle(self) -> None:
        """On SIGTERM the event MPM closes its workers' sockets beneath them; a worker that is about to be done
        with one then meets a bad descriptor, or crashes. So give those that end anyway the time to do so."""
        end = time.monotonic() + 0.5
        while any(ports.connections(p) for p in self.ports) and time.monotonic() < end:
            time.sleep(0.01)
        self.error_log.claim(r"\(9\)Bad file descriptor: AH03093", optional=True)
        if self.mpm == "worker":        # its children take some seconds, with any module or none (2.4.58)
            self.error_log.claim("AH00045: child process .* still did not exit", optional=True)

    def restart(self) -> None:
        self.stop()
        self.start()

    def __enter__(self) -> "Httpd":
        return self.start()

    def __exit__(self, *exc) -> None:
        self.stop()
        if exc[0] is None:
            self.check()

    def check(self) -> None:
        """Fails for unclaimed warnings in the error log and for sanitizer reports."""
        try:
            self.error_log.check()
        except AssertionError as e:
            raise AssertionError(f"{e}\n{proc.backtraces(self.binary, self.root / 'core')}") from None
        bad = sanitize.reports(self.root)
        assert not bad, "sanitizer reports:\n" + "\n".join(bad)[:8000]

    # -- looking at it ---------------------------------------------------------------
    def url(self, path: str = "/", port: int | None = None) -> str:
        return f"http://127.0.0.1:{port or self.port}{path}"

    def pids(self) -> list[int]:
        """The processes that serve, without the parent."""
        return proc.descendants(self.proc.pid) if self.proc else []

    def rss_kib(self) -> int:
        return sum(proc.rss_kib(p) for p in self.pids())

    def access_log(self) -> list[str]:
        p = self.root / "access.log"
        return p.read_text(errors="replace").splitlines() if p.exists() else []
