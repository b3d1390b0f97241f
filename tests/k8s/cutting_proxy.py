"""A TCP proxy on this machine whose connections a test cuts, so that a real API server seems to break or to be away."""

import contextlib
import socket
import struct
import threading
from types import TracebackType

_CLOSE_WITH_RESET = struct.pack("ii", 1, 0)
_PIECE_BYTES = 65_536


class CuttingProxy:
    """Listens on a free port of 127.0.0.1 while it is open; bytes pass as they are, so TLS goes through."""

    def __init__(self, host: str, port: int) -> None:
        self._server = (host, port)
        self._lock = threading.Lock()
        self._sockets: set[socket.socket] = set()
        self._listener: socket.socket | None = None
        self.port = 0
        self.connections = 0
        """Accepted so far."""

    def __enter__(self) -> "CuttingProxy":
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def open(self) -> None:
        """Listen, after `close` on the same port again."""
        listener = socket.create_server(("127.0.0.1", self.port))
        self.port = listener.getsockname()[1]
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def close(self) -> None:
        """As when the server is away: who comes is refused, and whoever is there is cut off."""
        if self._listener is not None:
            with contextlib.suppress(OSError):
                self._listener.shutdown(socket.SHUT_RDWR)  # wakes the thread that accepts
            self._listener.close()
            self._listener = None
        self.cut()

    def cut(self) -> None:
        """Reset every connection in the middle of what it says."""
        with self._lock:
            sockets, self._sockets = self._sockets, set()
        for one in sockets:
            with contextlib.suppress(OSError):
                one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _CLOSE_WITH_RESET)
                one.shutdown(socket.SHUT_RDWR)
            one.close()

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return  # it was closed
            try:
                server = socket.create_connection(self._server, timeout=10)
            except OSError:
                self._turn_away(client)
                continue
            server.settimeout(None)
            with self._lock:
                self._sockets |= {client, server}
                self.connections += 1
            for source, sink in ((client, server), (server, client)):
                threading.Thread(target=self._pump, args=(source, sink), daemon=True).start()

    def _turn_away(self, client: socket.socket) -> None:
        """End the connection, not reset it: a close over bytes that nobody has read would be a reset."""
        client.settimeout(10)
        with client, contextlib.suppress(OSError):
            client.shutdown(socket.SHUT_WR)
            while client.recv(_PIECE_BYTES):
                pass

    def _pump(self, source: socket.socket, sink: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while piece := source.recv(_PIECE_BYTES):
                sink.sendall(piece)
        for one in (source, sink):
            with self._lock:
                self._sockets.discard(one)
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()
