"""The end of a connection, as every client of a test sees it, whatever the protocol."""
from __future__ import annotations

import socket
import struct

from . import wait


class Stream:
    """A connection in self.sock, which the protocol's own class opens; `with` closes it."""

    sock: socket.socket

    def closed(self, timeout: float = 5.0) -> bool:
        """Does the other side close the connection, nothing more coming, within timeout?"""
        self.sock.settimeout(timeout * wait.FACTOR)
        try:
            return self.sock.recv(1) == b""
        except ConnectionResetError:
            return True
        except (TimeoutError, socket.timeout):
            return False

    def close(self, reset: bool = False) -> None:
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def __enter__(self):
        return self

    def __exit__(self, *exc) -> None:
        self.close()
