"""A network that falls apart between two instances: namespaces of their own on one bridge, whose ports no longer talk to
each other. Nothing is refused or reset: packets vanish, for longer than any time-out; the test reaches both sides."""
import json
import os
import pwd
import grp
import shutil
import signal
import subprocess
import threading
import time

import pytest

from tools import handover, paths, proc, wait
from tools.sidecar import Sidecar

SHORT = {"peer-timeout": "500ms", "hold-timeout": "2s", "handoff-timeout": "90s", "young-wait": "2s"}
LONGER = 4.0   # seconds: than each of them that says a peer is gone


def ip(*args: str) -> None:
    r = subprocess.run(args, capture_output=True, text=True)
    if r.returncode:
        raise OSError(f"{' '.join(args)}: {r.stderr.strip()}")


class Network:
    """A bridge with the test on it, and a namespace a side."""

    def __init__(self):
        n = os.getpid()
        self.bridge, self.net = f"scb{n}", f"10.{100 + n // 250 % 100}.{n % 250}"
        self.sides = [f"scn{n}{x}" for x in "ab"]
        self.ports = [f"scp{n}{x}" for x in "ab"]

    def make(self) -> None:
        ip("ip", "link", "add", self.bridge, "type", "bridge")
        ip("ip", "addr", "add", f"{self.net}.1/24", "dev", self.bridge)
        ip("ip", "link", "set", self.bridge, "up")
        for i, (side, port) in enumerate(zip(self.sides, self.ports)):
            ip("ip", "netns", "add", side)
            ip("ip", "link", "add", port, "type", "veth", "peer", "name", "eth0", "netns", side)
            ip("ip", "link", "set", port, "master", self.bridge, "up")
            ip("ip", "-n", side, "addr", "add", f"{self.address(i)}/24", "dev", "eth0")
            ip("ip", "-n", side, "link", "set", "eth0", "up")
            ip("ip", "-n", side, "link", "set", "lo", "up")

    def address(self, i: int) -> str:
        return f"{self.net}.{2 + i}"

    def cut(self, on: bool = True) -> None:
        for port in self.ports:
            ip("bridge", "link", "set", "dev", port, "isolated", "on" if on else "off")

    def remove(self) -> None:
        for side in self.sides:
            subprocess.run(["ip", "netns", "del", side], capture_output=True)
        subprocess.run(["ip", "link", "del", self.bridge], capture_output=True)


class Walled(Sidecar):
    """A sidecar in a namespace; its php-fpm is behind a Unix socket, which knows no network."""

    def __init__(self, tmp, name, authority, secret, upstream="", seed=None, side="", address="", **kw):
        super().__init__(tmp, name, authority, secret, upstream, seed, **kw)
        self.side, self.address = side, address
        self.options.update({"listen": f"{address}:{self.port}", "control-listen": f"{address}:{self.control_port}",
                             "http-listen": f"{address}:{self.http_port}", "advertise": address})

    def argv(self, command, *args, **options):
        user, group = paths.unprivileged()
        return ["ip", "netns", "exec", self.side, "setpriv", f"--reuid={pwd.getpwnam(user).pw_uid}",
                f"--regid={grp.getgrnam(group).gr_gid}", "--clear-groups", *super().argv(command, *args, **options)]

    def run(self, command, *args, timeout=60, **options):
        return subprocess.run(self.argv(command, *args, **options), env=self._env(), cwd="/", stdin=subprocess.DEVNULL,
                              capture_output=True, text=True, errors="replace", timeout=timeout * wait.FACTOR)

    def start(self, timeout=15, **options):
        self.proc = proc.Process(self.argv("serve", **options), self.root / "serve.log", env=self._env(),
                                 name=f"fcgi-sidecar[{self.name}]")
        wait.until(lambda: "SC0100" in self.log(), timeout, f"fcgi-sidecar[{self.name}]")
        return self

    @property
    def relay(self):
        return (self.address, self.port)


@pytest.fixture
def network():
    """Skips where namespaces can not be made."""
    for tool in ("ip", "bridge", "setpriv"):
        if not shutil.which(tool):
            pytest.skip(f"{tool} is missing (Debian: iproute2, util-linux)")
    if os.geteuid() != 0 or paths.unprivileged() is None:
        pytest.skip("network namespaces need root")
    n = Network()
    try:
        n.make()
        n.cut(False)
    except OSError as e:
        n.remove()
        pytest.skip(f"no network namespaces here: {e}")
    yield n
    n.remove()


@pytest.fixture
def pair(network, php_fpm, secret, tmp):
    """Makes the two instances; the second may have faults."""
    made = []
    seed = handover.seed(tmp, rows=20)
    (tmp / "authority").mkdir()
    paths.give(tmp / "authority")

    def make(fault=""):
        def sidecar(name, upstream="", seed=None):
            i = len(made)
            s = Walled(tmp, name, f"file://{tmp}/authority/authority.json", secret, upstream, seed, side=network.sides[i],
                       address=network.address(i), options=dict(SHORT))
            if i == 1 and fault:
                s.binary, s.env = paths.staged(paths.faults_binary(), tmp), {"SIDECAR_FAULT": fault}
            made.append(s)
            return s
        return [handover.Instance(n, sidecar, php_fpm, seed, workers=4).start() for n in "ab"]
    yield make
    for s in reversed(made):
        if s.proc:
            s.proc.send(signal.SIGCONT)
        s.stop()


def writable(*instances) -> list[str]:
    return [i.name for i in instances if i.sidecar.status()["primary"]]


def holds(w, last) -> None:
    v = w.verdict(last.rows())
    assert v["lost"] == [] and v["duplicated"] == 0 and v["failed"] == [] and last.integrity() == "ok", v


def handing_over(old):
    t = threading.Thread(target=old.sidecar.pre_stop, kwargs={"timeout": 120})
    t.start()
    return t


def test_cut_off_the_primary_serves_and_hands_over_later(network, pair):
    a, b = pair()
    with handover.Writers(a.php.docroot, [a.sidecar.relay], n=3, pause=0.01) as w:
        w.wait(10)
        network.cut()
        wait.until(lambda: "not following" in b.sidecar.log(), 30, "the standby notices")
        t = handing_over(a)
        end = time.monotonic() + LONGER
        while time.monotonic() < end:
            assert writable(a, b) == ["a"]
            w.wait(5)
        assert t.is_alive()
        network.cut(False)
        t.join(120 * wait.FACTOR)
        assert writable(a, b) == ["b"]
        w.wait(10)
    holds(w, b)


def test_cut_off_in_the_middle_of_the_grant(network, pair, tmp):
    """The new one is primary and can not say so: the old one holds, and writes nowhere, until it hears."""
    a, b = pair("swapped:1:stop")
    record = a.sidecar.record
    with handover.Writers(a.php.docroot, [a.sidecar.relay], n=3, pause=0.01) as w:
        w.wait(10)
        t = handing_over(a)
        wait.until(lambda: json.loads(record.read_text())["epoch"] == 2, 30, "the swap")
        network.cut()
        b.sidecar.proc.send(signal.SIGCONT)
        wait.until(lambda: writable(a, b) == ["b"], 20, "the new one")
        end = time.monotonic() + LONGER
        with handover.Writers(a.php.docroot, [b.sidecar.relay], n=2, pause=0.01) as other:
            while time.monotonic() < end:
                assert writable(a, b) == ["b"] and a.state == "FENCED"
                other.wait(5)
        assert t.is_alive()
        network.cut(False)
        t.join(120 * wait.FACTOR)
        assert (a.state, b.state) == ("FORWARDING", "PRIMARY")
        w.wait(10)
    rows = b.rows()
    assert set(rows) >= set(w.acknowledged) | set(other.acknowledged) and len(rows) == len(set(rows))
    assert w.failed == [] and other.failed == [] and b.integrity() == "ok"
