"""Free ports of 127.0.0.1."""
from __future__ import annotations

import random
import socket
from pathlib import Path

HOST = "127.0.0.1"
LOWEST = 10000
#: A process takes ports from blocks of this many, each of which is its own alone.
BLOCK = 64
_block: list[int] = []
_held: list[socket.socket] = []     # what says to others that a block is taken, until the process ends


def _ephemeral() -> int:
    """Where the range begins that the kernel takes the ports of outgoing connections from."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32768


def _take_block() -> None:
    """Ports of a block that no other test process of this machine has: a name in the abstract namespace is its lock."""
    low, high = (LOWEST, _ephemeral()) if _ephemeral() > LOWEST + 2000 else (61000, 65000)
    blocks = list(range(low // BLOCK + 1, high // BLOCK))
    random.shuffle(blocks)
    for n in blocks:
        s = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            s.bind(f"\0mod-demo-tests-ports-{n}")
        except OSError:
            s.close()
            continue
        _held.append(s)
        _block.extend(range(n * BLOCK, (n + 1) * BLOCK))
        return
    raise RuntimeError(f"no free ports of {HOST} between {low} and {high}: other tests hold all of them")


def free_port() -> int:
    """A port nobody listens on, never the same one twice in a process, and no other test process takes it.

    It is below the ephemeral range: a port from there may be taken by anybody's outgoing
    connection before the server that it was meant for binds it, or while that server is down.
    """
    while True:
        if not _block:
            _take_block()
        port = _block.pop()
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            try:
                s.bind(("", port))
            except OSError:
                continue
        return port


def connections(port: int) -> int:
    """Connections of that local port whose socket somebody still holds open."""
    n = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        f = line.split()
        if int(f[1].rsplit(":", 1)[1], 16) == port and f[3] != "0A" and f[9] != "0":
            n += 1
    return n


def accepts(port: int, host: str = HOST, timeout: float = 1.0) -> bool:
    """Does anybody accept a TCP connection there?"""
    try:
        with socket.create_connection((host, port), timeout=timeout):
            return True
    except OSError:
        return False
