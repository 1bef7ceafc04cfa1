"""Clients that are slow: many of them, one thread for all."""
from __future__ import annotations

import socket
import threading
import time

TICKS = 20                 # a second; each client has one of them, so that they do not all act at once


class SlowClients:
    """count connections to 127.0.0.1:port that read, or send a body, at rate bytes a second each.

    readers     SlowClients(port, 200, "/download.php?bytes=8388608")
    uploaders   SlowClients(port, 200, "/upload.php", upload=1 << 20)

    Nothing is retried: lost counts the connections that ended, done those that had their answer whole (uploaders: that
    sent all of it).
    """

    def __init__(self, port: int, count: int, target: str, upload: int = 0, rate: int = 1024):
        self.upload, self.rate = upload, rate
        self.lost = self.done = self.bytes = 0
        self.over = threading.Event()
        self.left: list[list] = [[] for _ in range(TICKS)]       # by tick: [socket, bytes to send]
        head = f"{'POST' if upload else 'GET'} {target} HTTP/1.1\r\nHost: slow\r\nConnection: close\r\n"
        head += f"Content-Length: {upload}\r\n\r\n" if upload else "\r\n"
        for i in range(count):
            s = socket.socket()
            if not upload:
                s.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            s.settimeout(10)
            s.connect(("127.0.0.1", port))
            s.sendall(head.encode())
            s.setblocking(False)
            self.left[i % TICKS].append([s, upload])
        self.thread = threading.Thread(target=self._run, daemon=True)
        self.thread.start()

    @property
    def alive(self) -> int:
        return sum(len(x) for x in self.left)

    def _run(self) -> None:
        piece = b"x" * self.rate
        tick, due = 0, time.monotonic()
        while not self.over.wait(max(0.0, due - time.monotonic())):
            due += 1 / TICKS
            for client in list(self.left[tick % TICKS]):
                if not self._act(client, piece):
                    self.left[tick % TICKS].remove(client)
                    client[0].close()
            tick += 1

    def _act(self, client: list, piece: bytes) -> bool:
        """False: this one is over."""
        s, to_send = client
        try:
            if to_send:
                n = s.send(piece[:to_send])
                client[1] -= n
                self.bytes += n
                return True
            got = s.recv(self.rate)
        except BlockingIOError:
            return True
        except OSError:
            self.lost += 1
            return False
        self.bytes += len(got)
        if not got or self.upload:
            self.done += 1
            return False
        return True

    def stop(self) -> None:
        self.over.set()
        self.thread.join()
        for s, _ in (c for x in self.left for c in x):
            s.close()
        self.left = [[] for _ in range(TICKS)]

    def __enter__(self) -> "SlowClients":
        return self

    def __exit__(self, *exc) -> None:
        self.stop()
