"""What simulated meters have said: the oracle that tells whether a reading was lost.

One record of fixed size is appended for every answer to a read of values, before the answer goes out, so that it is
there however the process ends.
"""

import os
import struct
from pathlib import Path
from typing import NamedTuple

__all__ = ["SOUND", "Served", "ServedFile", "served"]

_RECORD = struct.Struct(">HBBQQIIIQII")

SOUND = 0
"""`fault` of a right answer; any other number marks one that a fault was put into."""


class Served(NamedTuple):
    """One answer: `number` counts the answers of this meter from 0; `values` are six, in the units of the kit."""

    bus: int
    address: int
    fault: int
    number: int
    time_ms: int
    values: tuple[int, ...]


class ServedFile:
    """The append-only list of one simulator; goes on where an earlier one stopped."""

    def __init__(self, path: Path) -> None:
        self.last: dict[tuple[int, int], Served] = {}
        whole = 0
        if path.exists():
            for item in served(path):
                self.last[item.bus, item.address] = item
            whole = path.stat().st_size // _RECORD.size * _RECORD.size
        self._file = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
        os.ftruncate(self._file, whole)  # a record that a dying machine cut in two

    def add(self, bus: int, address: int, fault: int, time_ms: int, values: tuple[int, ...]) -> Served:
        """Write one answer down; it is in the operating system's hands when this returns."""
        before = self.last.get((bus, address))
        item = Served(bus, address, fault, before.number + 1 if before else 0, time_ms, values)
        os.write(self._file, _RECORD.pack(bus, address, fault, item.number, time_ms, *values))
        self.last[bus, address] = item
        return item

    def close(self) -> None:
        """No more answers."""
        os.close(self._file)


def served(path: Path) -> list[Served]:
    """Every answer in the file, oldest first; a record cut short at the end is left out."""
    data = path.read_bytes()
    whole = len(data) // _RECORD.size * _RECORD.size
    return [
        Served(bus, address, fault, number, time_ms, tuple(values))
        for bus, address, fault, number, time_ms, *values in _RECORD.iter_unpack(data[:whole])
    ]
