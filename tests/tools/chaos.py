"""A network that does what networks do: a proxy that delays, repeats, stops, and breaks connections.

It listens on another address of the loopback with the ports of what it stands before, so an instance that is started
with --advertise=ADDRESS is reached through it by the others, and nobody has to know.
"""
from __future__ import annotations

import itertools
import socket
import struct
import threading
import time

_hosts = itertools.count(11)


def host() -> str:
    """An address of the loopback that this process has not used yet."""
    n = next(_hosts)
    return f"127.0.{n // 250}.{n % 250 + 1}"


class Chaos:
    """Proxies for some ports of 127.0.0.1, all on `host`.

    frozen      set: nothing is passed on and nothing closed, as when the peer's host has vanished
    refusing    True: new connections are reset
    delay       seconds that each piece waits, in either direction
    repeat      True: each request of the control port is sent a second time, on a connection of its own
    rate        bytes a second towards the client, None: as fast as it goes
    cut_stream  bytes of a follow stream after which it breaks, once; None: never
    """

    def __init__(self, *ports: int):
        self.host = host()
        self.frozen, self.refusing, self.delay, self.repeat, self.rate = threading.Event(), False, 0.0, False, None
        self.cut_stream: int | None = None
        self.passed, self.cuts, self.repeated, self.streams = 0, 0, 0, 0   # bytes towards clients; what was done
        self._socks: set[socket.socket] = set()
        self._lock, self._stop = threading.Lock(), threading.Event()
        self._listeners = []
        for port in ports:
            s = socket.create_server((self.host, port))
            self._listeners.append(s)
            threading.Thread(target=self._accept, args=(s, port), daemon=True).start()

    def __enter__(self) -> "Chaos":
        return self

    def __exit__(self, *exc) -> None:
        self._stop.set()
        self.frozen.clear()
        for s in self._listeners:
            s.close()
        self.cut()

    def cut(self) -> None:
        """Resets every connection that goes through."""
        with self._lock:
            socks = list(self._socks)
        for s in socks:
            self._reset(s)

    def _reset(self, s: socket.socket) -> None:
        try:
            s.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            s.shutdown(socket.SHUT_RDWR)
        except OSError:
            pass

    def _accept(self, listener: socket.socket, port: int) -> None:
        while True:
            try:
                s, _ = listener.accept()
            except OSError:
                return
            if self.refusing:
                self._reset(s)
                s.close()
                continue
            threading.Thread(target=self._serve, args=(s, port), daemon=True).start()

    def _hold(self) -> bool:
        """Waits while frozen; False when the proxy ends."""
        while self.frozen.is_set() and not self._stop.is_set():
            time.sleep(0.01)
        return not self._stop.is_set()

    def _serve(self, client: socket.socket, port: int) -> None:
        if not self._hold():
            client.close()
            return
        try:
            up = socket.create_connection(("127.0.0.1", port), timeout=5)
        except OSError:
            self._reset(client)
            client.close()
            return
        up.settimeout(None)
        with self._lock:
            self._socks |= {client, up}
        flags = {"stream": False}
        down = threading.Thread(target=self._pump, args=(up, client, flags, False, port), daemon=True)
        down.start()
        self._pump(client, up, flags, True, port)
        down.join()
        with self._lock:
            self._socks -= {client, up}
        client.close()
        up.close()

    def _pump(self, source: socket.socket, sink: socket.socket, flags: dict, upwards: bool, port: int) -> None:
        told = 0
        try:
            while data := source.recv(262144):
                if not self._hold():
                    break
                if self.delay:
                    time.sleep(self.delay)
                if upwards and b"/v1/follow" in data:
                    flags["stream"] = True
                    self.streams += 1
                elif upwards and self.repeat and b"/v1/" in data:
                    threading.Thread(target=self._again, args=(data, port), daemon=True).start()
                if not upwards:
                    if flags["stream"] and self.cut_stream is not None and told + len(data) >= self.cut_stream:
                        sink.sendall(data[:self.cut_stream - told])
                        self.cut_stream = None
                        self.cuts += 1
                        self._reset(source)
                        self._reset(sink)
                        break
                    told += len(data)
                    self.passed += len(data)
                    if self.rate:
                        time.sleep(len(data) / self.rate)
                sink.sendall(data)
            sink.shutdown(socket.SHUT_WR)
        except OSError:
            self._reset(source)
            self._reset(sink)

    def _again(self, data: bytes, port: int) -> None:
        """The same bytes once more, later: what a network, or somebody in it, may do."""
        time.sleep(0.05)
        try:
            with socket.create_connection(("127.0.0.1", port), timeout=5) as s:
                s.sendall(data)
                s.settimeout(5)
                while s.recv(65536):
                    pass
                self.repeated += 1
        except OSError:
            pass
