"""A TCP proxy that misbehaves on command: resets what goes through it, or holds it back."""

from __future__ import annotations

import contextlib
import socket
import struct
import threading

_CHUNK = 65536


class Proxy:
    """Passes ``host``:``port`` on to 127.0.0.1:``target``."""

    def __init__(self, port: int, target: int, host: str = "127.0.0.1") -> None:
        self._target = target
        self._pairs: set[tuple[socket.socket, socket.socket]] = set()
        self._lock = threading.Lock()
        self._flows = threading.Event()
        self._flows.set()
        self._closed = False
        self.resets = 0
        self._listener = socket.create_server((host, port))
        threading.Thread(target=self._accept, daemon=True).start()

    def reset_all(self) -> None:
        """End every connection with RST, in the middle of whatever it carries."""
        with self._lock:
            pairs, self._pairs = self._pairs, set()
        for pair in pairs:
            self.resets += 1
            for one in pair:
                with contextlib.suppress(OSError):
                    # Linger of 0 s: close sends RST, not FIN.
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
                    one.shutdown(socket.SHUT_RD)
                one.close()

    def stall(self) -> None:
        """Hold every byte back; connections stay open, new ones are accepted."""
        self._flows.clear()

    def resume(self) -> None:
        """Let bytes through again."""
        self._flows.set()

    def close(self) -> None:
        """End it."""
        self._closed = True
        self._listener.close()
        self.resume()
        self.reset_all()

    def _accept(self) -> None:
        while not self._closed:
            try:
                client, _ = self._listener.accept()
            except OSError:  # The listener was closed, or the client went before it was served.
                continue
            try:
                broker = socket.create_connection(("127.0.0.1", self._target), timeout=5)
            except OSError:  # The broker is away, and its client hears the same.
                client.close()
                continue
            self._join(client, broker)

    def _join(self, client: socket.socket, broker: socket.socket) -> None:
        broker.settimeout(None)
        pair = (client, broker)
        for one in pair:
            one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        # Known to `reset_all` only now, which may close both at any time from here on.
        with self._lock:
            self._pairs.add(pair)
        for source, sink in (pair, pair[::-1]):
            threading.Thread(target=self._pump, args=(pair, source, sink), daemon=True).start()

    def _pump(self, pair: tuple[socket.socket, socket.socket], source: socket.socket, sink: socket.socket) -> None:
        try:
            while data := source.recv(_CHUNK):
                self._flows.wait()
                sink.sendall(data)
        except OSError:
            pass
        with self._lock:
            self._pairs.discard(pair)
        for one in pair:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
