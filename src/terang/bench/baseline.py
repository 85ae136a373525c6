"""What the bare components do on this machine, now: the other side of every ratio."""

import sqlite3
import time
from pathlib import Path

from nacl import bindings

__all__ = ["sqlite_rows_per_s", "verify_per_s"]

_MESSAGE_BYTES = 170
_ROUNDS = 5


def verify_per_s(seconds: float = 1.0) -> float:
    """Ed25519 signatures that one core of libsodium checks in a second; the best of five stretches."""
    public, secret = bindings.crypto_sign_keypair()
    signed = bindings.crypto_sign(bytes(_MESSAGE_BYTES), secret)
    best = 0.0
    for _ in range(_ROUNDS):
        end, count, begun = time.perf_counter() + seconds / _ROUNDS, 0, time.perf_counter()
        while time.perf_counter() < end:
            for _ in range(50):
                bindings.crypto_sign_open(signed, public)
            count += 50
        best = max(best, count / (time.perf_counter() - begun))
    return best


def sqlite_rows_per_s(directory: Path, rows: int = 500_000, batch: int = 5000) -> float:
    """Readings that bare SQLite takes in a second: WAL, FULL, unique (device, sequence), batches of 5,000."""
    path = directory / "bare.sqlite"
    db = sqlite3.connect(path, isolation_level=None)
    db.execute("PRAGMA journal_mode=WAL")
    db.execute("PRAGMA synchronous=FULL")
    db.execute(
        "CREATE TABLE reading(device INTEGER, sequence INTEGER, time INTEGER, voltage INTEGER, current INTEGER,"
        " power INTEGER, energy INTEGER, frequency INTEGER, factor INTEGER, UNIQUE(device, sequence))"
    )
    data = [(i % 100, i // 100, 1_763_600_000_000 + i, 228_400, 1550, 342_100, i, 50_000, 970) for i in range(rows)]
    begun = time.perf_counter()
    for at in range(0, rows, batch):
        db.execute("BEGIN")
        db.executemany("INSERT INTO reading VALUES(?,?,?,?,?,?,?,?,?)", data[at : at + batch])
        db.execute("COMMIT")
    taken = time.perf_counter() - begun
    db.close()
    path.unlink()
    return rows / taken
