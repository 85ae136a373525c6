"""What the web process has to be told."""

from dataclasses import dataclass
from pathlib import Path

__all__ = ["WebSettings"]


@dataclass(frozen=True, slots=True, kw_only=True)
class WebSettings:
    """How the pages are served.

    `state_dir` keeps the session key and the list of ended sessions (created if missing, mode 0700). `https` says that
    people reach the pages over https (cookies get `Secure`, browsers are told to stay on https). `proxies` are the
    addresses of reverse proxies whose X-Forwarded-For is believed. `rpc_url` is the chain's read-only JSON-RPC, shown
    on the ledger page. `silent_s`: seconds without data after which a room says so. Every `heartbeat_s` seconds a live
    stream is checked: whether its person may still see it.
    """

    state_dir: Path
    host: str = "127.0.0.1"
    port: int = 8080
    https: bool = False
    proxies: frozenset[str] = frozenset()
    rpc_url: str | None = None
    silent_s: int = 120
    session_days: int = 30
    live_clients_max: int = 2_000
    live_clients_per_user: int = 20
    heartbeat_s: float = 15.0
