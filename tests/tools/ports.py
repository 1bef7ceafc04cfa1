"""Free ports of 127.0.0.1."""
from __future__ import annotations

import socket

HOST = "127.0.0.1"
_given: set[int] = set()


def free_port() -> int:
    """A port nobody listens on, never the same one twice in a process.

    The kernel picks it from the ephemeral range; it may be taken by somebody else
    before it is used, so servers that can bind port 0 should do that instead.
    """
    for _ in range(200):
        with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as s:
            s.bind((HOST, 0))
            port = s.getsockname()[1]
        if port not in _given:
            _given.add(port)
            return port
    raise RuntimeError("no free port on 127.0.0.1 after 200 attempts")


def accepts(port: int, host: str = HOST, timeout: float = 1.0) -> bool:
    """Does anybody accept a TCP connection there?"""
    try:
        with socket.create_connection((host, port), timeout=timeout):
            return True
    except OSError:
        return False
