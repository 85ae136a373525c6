"""`terang witness`: co-sign the heads of others' logs, on a machine of one's own."""

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import click

from terang.keyring import load_seed
from terang.ledger.witness import NotSigned, Stale, VerifierKey, Witness, parse_request
from terang.values.clock import SystemClock
from terang.values.errors import LedgerError, ProofError, UsageError
from terang.values.signing import KeyPair

__all__ = ["WitnessServer", "witness"]

_BODY_MAX = 65_536


@click.command()
@click.option("--name", required=True, help="What the witness is called, such as rt05.example/witness.")
@click.option(
    "--log",
    "logs",
    multiple=True,
    required=True,
    metavar="ORIGIN=KEY",
    help="A log to watch: its origin (first line of its checkpoint) and checkpoint key in hex. Several times.",
)
@click.option(
    "--dir",
    "directory",
    type=click.Path(path_type=Path, file_okay=False),
    default=Path("witness"),
    show_default=True,
    help="Where its key and the heads stand.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Where it listens.")
@click.option("--port", type=click.IntRange(1, 65_535), default=9090, show_default=True)
def witness(name: str, logs: tuple[str, ...], directory: Path, host: str, port: int) -> None:
    """Co-sign the heads of LOGs, each only if it extends the one before (C2SP tlog-witness). Runs until Ctrl-C.

    Run it where the owner of the log has no hand. Prints the line that the platform's setting `witness` takes.
    """
    if not name.isprintable() or "+" in name or " " in name:
        raise UsageError("a witness's name has neither spaces nor +")
    directory.mkdir(parents=True, exist_ok=True, mode=0o700)
    key = KeyPair(load_seed(directory / "witness.key"))
    known = dict(_log(text) for text in logs)
    server = WitnessServer((host, port), Witness(name, key, known, directory / "heads"))
    click.echo(f'witness = "http://{host}:{port} {VerifierKey(name, key.public).text()}"')
    try:
        server.serve_forever()
    except KeyboardInterrupt:
        click.echo("ended")
    finally:
        server.server_close()


def _log(text: str) -> tuple[str, bytes]:
    origin, _, key = text.rpartition("=")
    try:
        public = bytes.fromhex(key)
    except ValueError:
        public = b""
    if not origin or len(public) != 32:  # noqa: PLR2004 an Ed25519 key
        raise UsageError(
            f"--log {text}: ORIGIN=KEY, the key in 64 hex digits; the ledger page and every proof have both"
        )
    return origin, public


class WitnessServer(ThreadingHTTPServer):
    """Serves POST /add-checkpoint; one request at a time reaches the witness."""

    def __init__(self, address: tuple[str, int], witness: Witness) -> None:
        super().__init__(address, _Handler)
        self.witness, self.lock, self.clock = witness, threading.Lock(), SystemClock()


class _Handler(BaseHTTPRequestHandler):
    server: WitnessServer
    timeout = 10

    def do_POST(self) -> None:
        length = int(self.headers.get("Content-Length") or 0)
        if self.path != "/add-checkpoint" or not 0 < length <= _BODY_MAX:
            self._answer(404 if self.path != "/add-checkpoint" else 413, "")
            return
        status, text, kind = self._cosign(self.rfile.read(length))
        self._answer(status, text, kind)

    def _cosign(self, body: bytes) -> tuple[int, str, str]:
        """The statuses that C2SP names: 404 no such log, 403 not its signature, 409 another size, 422 no extension."""
        try:
            request = parse_request(body.decode())
        except (ProofError, UnicodeError) as error:
            return 400, f"{error}\n", "text/plain"
        with self.server.lock:
            try:
                return 200, self.server.witness.cosign(request, self.server.clock.now_ms() // 1000), "text/plain"
            except KeyError:
                return 404, "this log is not watched here\n", "text/plain"
            except Stale as error:
                return 409, f"{error.size}\n", "text/x.tlog.size"
            except NotSigned as error:
                return 403, f"{error}\n", "text/plain"
            except (ProofError, LedgerError) as error:
                return 422, f"{error}\n", "text/plain"

    def _answer(self, status: int, text: str, kind: str = "text/plain") -> None:
        data = text.encode()
        self.send_response(status)
        self.send_header("Content-Type", kind)
        self.send_header("Content-Length", str(len(data)))
        self.end_headers()
        self.wfile.write(data)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002 the library's name
        """Say nothing of each request."""
