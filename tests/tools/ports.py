"""Free ports of 127.0.0.1."""
from __future__ import annotations

import os
import random
import socket
from pathlib import Path

HOST = "127.0.0.1"
LOWEST = 10000
#: Tests that run side by side take different ports: worker n of pytest-xdist those that leave n after division.
WORKERS = 16
_worker = int("".join(c for c in os.environ.get("PYTEST_XDIST_WORKER", "") if c.isdigit()) or 0) % WORKERS
_given: set[int] = set()


def _ephemeral() -> int:
    """Where the range begins that the kernel takes the ports of outgoing connections from."""
    try:
        return int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
    except (OSError, ValueError, IndexError):
        return 32768


def free_port() -> int:
    """A port nobody listens on, never the same one twice in a process.

    It is below the ephemeral range: a port from there may be taken by anybody's outgoing
    connection before the server that it was meant for binds it.
    """
    low, high = (LOWEST, _ephemeral()) if _ephemeral() > LOWEST + 2000 else (61000, 65000)
    for _ in range(2000):
        port = random.randrange(low, high) // WORKERS * WORKERS + _worker
        if port in _given or port < low:
            continue
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            try:
                s.bind((HOST, port))
            except OSError:
                continue
        _given.add(port)
        return port
    raise RuntimeError(f"no free port of 127.0.0.1 between {low} and {high}")


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
