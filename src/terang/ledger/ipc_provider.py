"""web3.py's way to a node on a Unix socket, without its fault of spinning until the time-out when the node dies."""

import json
import socket
import threading
from typing import Any, Final

from web3.providers.base import JSONBaseProvider
from web3.types import RPCEndpoint, RPCResponse

__all__ = ["UnixSocketProvider"]

_READ_BYTES: Final = 65_536


class UnixSocketProvider(JSONBaseProvider):
    """One connection to the socket at `path`, opened when needed; each request gets `timeout_s` [s].

    Raises OSError when there is no node or it hangs up. A request that met a connection of a node since restarted is
    sent once more: every request of Chain may be sent twice without harm.
    """

    def __init__(self, path: str, *, timeout_s: float) -> None:
        super().__init__()
        self._path = path
        self._timeout_s = timeout_s
        self._mutex = threading.Lock()
        self._socket: socket.socket | None = None

    def make_request(self, method: RPCEndpoint, params: Any) -> RPCResponse:
        """The node's answer to one request."""
        request = self.encode_rpc_request(method, params)
        with self._mutex:
            fresh = self._socket is None
            try:
                return self._exchange(request)
            except TimeoutError:
                raise
            except OSError:
                if fresh:
                    raise
            return self._exchange(request)

    def close(self) -> None:
        """Hang up; the next request connects again."""
        if self._socket is not None:
            self._socket.close()
            self._socket = None

    def _exchange(self, request: bytes) -> RPCResponse:
        try:
            if self._socket is None:
                self._socket = self._connect()
            self._socket.sendall(request + b"\n")
            return self._read(self._socket)
        except BaseException:
            # An answer that comes late must not be taken for the next request's.
            self.close()
            raise

    def _connect(self) -> socket.socket:
        connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        connection.settimeout(self._timeout_s)
        try:
            connection.connect(self._path)
        except BaseException:
            connection.close()
            raise
        return connection

    def _read(self, connection: socket.socket) -> RPCResponse:
        answer = bytearray()
        while True:
            chunk = connection.recv(_READ_BYTES)
            if not chunk:
                raise ConnectionResetError("the node hung up")
            answer += chunk
            # Some nodes end an answer with a line end, some do not; all end it with a brace.
            if answer.rstrip().endswith(b"}"):
                try:
                    return self.decode_rpc_response(bytes(answer))
                except json.JSONDecodeError:
                    continue
