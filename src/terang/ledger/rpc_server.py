"""The sockets of a node: HTTP on loopback, and geth's IPC framing (JSON values in a row) on a Unix socket."""

import json
import logging
import os
import socket
import socketserver
from contextlib import suppress
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from typing import Any, Final

from terang.ledger.rpc_methods import Dispatcher
from terang.values.errors import ChainError

__all__ = ["MAX_BODY_BYTES", "HttpServer", "IpcServer"]

_LOG: Final = logging.getLogger(__name__)
MAX_BODY_BYTES: Final = 1_000_000
_MAX_CONNECTIONS: Final = 32
_IDLE_S: Final = 60
_LOCAL_NAMES: Final = frozenset({"127.0.0.1", "localhost", "[::1]"})
_READ_BYTES: Final = 65_536
# The kernel's limit for the path of a Unix socket, with its closing zero (unix(7)).
_MAX_SOCKET_PATH: Final = 107


class _HttpHandler(BaseHTTPRequestHandler):
    """POST a request, get the answer. Anything else is refused, and so is a name that is not this machine's own."""

    protocol_version = "HTTP/1.1"
    timeout = _IDLE_S
    server: "HttpServer"

    def do_POST(self) -> None:
        """One request or batch."""
        # A page from elsewhere can point its own name at 127.0.0.1; then the name in Host betrays it.
        host = self.headers.get("Host", "").lower().rsplit(":", 1)
        name = host[0] if len(host) == 1 or host[1].isdigit() else ":".join(host)
        if name not in _LOCAL_NAMES:
            self._refuse(HTTPStatus.FORBIDDEN, "this node answers to 127.0.0.1 and localhost only")
            return
        if self.headers.get_content_type() != "application/json":
            self._refuse(HTTPStatus.UNSUPPORTED_MEDIA_TYPE, "send application/json")
            return
        length = self.headers.get("Content-Length", "")
        if not length.isascii() or not length.isdigit():
            self._refuse(HTTPStatus.LENGTH_REQUIRED, "send a Content-Length")
            return
        if int(length) > MAX_BODY_BYTES:
            self._refuse(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, f"a request may have {MAX_BODY_BYTES} bytes")
            return
        self._send(HTTPStatus.OK, self.server.dispatcher.answer(self.rfile.read(int(length))), "application/json")

    def do_GET(self) -> None:
        """For a person who opens the address in a browser."""
        self._refuse(HTTPStatus.METHOD_NOT_ALLOWED, "this is Ethereum JSON-RPC, read-only: POST a request")

    def _refuse(self, status: HTTPStatus, reason: str) -> None:
        # The body was not read, so the connection cannot be used for another request.
        self.close_connection = True
        self._send(status, (reason + "\n").encode(), "text/plain; charset=utf-8")

    def _send(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
        self.send_response(status)
        self.send_header("Content-Type", content_type)
        self.send_header("Content-Length", str(len(body)))
        if self.close_connection:
            self.send_header("Connection", "close")
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002  the name is the library's
        """Into the log, not onto standard error."""
        _LOG.debug(format, *args)


class _Connections(socketserver.ThreadingMixIn):
    """Serves each connection in a thread, at most 32 at once, and hangs up on all of them when the server closes."""

    daemon_threads = True
    block_on_close = False
    request_queue_size = _MAX_CONNECTIONS

    def __init__(self, *args: Any) -> None:
        self._open: set[socket.socket] = set()
        super().__init__(*args)

    def process_request(self, request: Any, client_address: Any) -> None:
        """Serve a connection, or hang up on it when too many are open."""
        if len(self._open) >= _MAX_CONNECTIONS:
            self.shutdown_request(request)  # type: ignore[attr-defined]
            return
        self._open.add(request)
        super().process_request(request, client_address)

    def process_request_thread(self, request: Any, client_address: Any) -> None:
        """Give the place back whatever happens."""
        try:
            super().process_request_thread(request, client_address)
        finally:
            self._open.discard(request)

    def hang_up(self) -> None:
        """End every open connection."""
        for connection in tuple(self._open):
            with suppress(OSError):
                connection.shutdown(socket.SHUT_RDWR)

    def handle_error(self, request: object, client_address: object) -> None:  # noqa: ARG002
        """A client that goes away in the middle is nothing to shout about."""
        _LOG.debug("a connection ended early", exc_info=True)


class HttpServer(_Connections, HTTPServer):
    """Read-only JSON-RPC on 127.0.0.1; port 0 takes any free one, `server_port` says which."""

    def __init__(self, port: int, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        try:
            super().__init__(("127.0.0.1", port), _HttpHandler)
        except OSError as error:
            raise ChainError(f"cannot listen on 127.0.0.1:{port}: {error}; choose another port") from error

    def server_close(self) -> None:
        """Stop listening and hang up."""
        super().server_close()
        self.hang_up()


class _IpcHandler(socketserver.BaseRequestHandler):
    """Reads JSON values as they come, with or without line ends between them, and answers each with a line."""

    server: "IpcServer"

    def handle(self) -> None:
        """Until the other side hangs up, or sends what is too long or not JSON."""
        buffer = b""
        while chunk := self.request.recv(_READ_BYTES):
            try:
                buffer, values = _split(buffer + chunk)
            except ValueError:
                self.request.sendall(self.server.dispatcher.answer(b"") + b"\n")
                return
            for value in values:
                answer = self.server.dispatcher.answer(value)
                if answer:
                    self.request.sendall(answer + b"\n")
            if len(buffer) > MAX_BODY_BYTES:
                return


def _split(buffer: bytes) -> tuple[bytes, list[bytes]]:
    """The whole JSON values at the start of `buffer`, and what is left of it; raises ValueError when it is not JSON."""
    values: list[bytes] = []
    text = buffer.decode("utf-8", "surrogateescape").lstrip()
    if text and text[0] not in "{[":
        raise ValueError("a request begins with a brace or a bracket")
    # Only a closing one can end a request, so a long one that is still coming costs no parsing.
    while text.rstrip().endswith(("}", "]")):
        try:
            _, end = json.JSONDecoder().raw_decode(text)
        except (ValueError, RecursionError):
            break
        values.append(text[:end].encode("utf-8", "surrogateescape"))
        text = text[end:].lstrip()
    return text.encode("utf-8", "surrogateescape"), values


class IpcServer(_Connections, socketserver.UnixStreamServer):
    """JSON-RPC with transactions on a Unix socket that only this user may open.

    Only the writer of the chain may make one: it takes the place of a socket that a killed process left behind.
    """

    def __init__(self, path: Path, dispatcher: Dispatcher) -> None:
        self.dispatcher = dispatcher
        self._path = path
        if len(os.fsencode(path.absolute())) > _MAX_SOCKET_PATH:
            raise ChainError(f"the path {path} is too long for a socket; use a shorter data directory")
        try:
            path.unlink(missing_ok=True)
            before = os.umask(0o177)
            try:
                super().__init__(str(path.absolute()), _IpcHandler)
            finally:
                os.umask(before)
        except OSError as error:
            raise ChainError(f"cannot listen on {path}: {error}") from error

    def server_close(self) -> None:
        """Stop listening, hang up and take the socket's name away."""
        super().server_close()
        self.hang_up()
        self._path.unlink(missing_ok=True)
