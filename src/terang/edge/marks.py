"""A small file of fixed slots beside the outbox: what each meter is being asked, and how far each epoch has come.

It is written in place, 128 bytes at a time, with no fsync: a killed process loses nothing of it, a power cut may. It
answers what the outbox's own database cannot: what was under way when the process died, and, when the database is
broken, what had been in it. Its room on disk is taken when it is made, so a full disk does not stop it.
"""

import os
import struct
import zlib
from dataclasses import dataclass
from pathlib import Path

from terang.values.errors import DeviceError

__all__ = ["REASONS", "EpochMark", "Marks", "MeterMark"]

REASONS = ("", "killed", "no_answer", "refused", "implausible", "outbox_full", "disk_full", "outbox_broken", "power")
"""Why a reading can never come: the words of a lost record, by their number in a slot."""

_SLOT = 128
_EPOCHS = 32
_METERS = 256
_EPOCH = struct.Struct(">1sQ8sQQ32s")
_METER = struct.Struct(">1s8sQQQBQQQQBQQ")
_CRC = struct.Struct(">I")


@dataclass(slots=True, kw_only=True)
class EpochMark:
    """How far an epoch has come: envelopes below `next_sequence` were made, the last of them with hash `previous`."""

    serial: int
    epoch: bytes
    next_sequence: int = 0
    stored_end: int = 0
    previous: bytes = bytes(32)


@dataclass(slots=True, kw_only=True)
class MeterMark:
    """What is under way with one meter in one epoch. `nth` counts the frames asked for, from 1.

    `open` says that frame `nth` was asked for at `uptime_ms` and nothing is known of it yet. `missed_*`: reads that
    will never become readings and are not yet in a lost record. `stored_*`: what the platform is known to have.
    """

    epoch: bytes
    meter: int
    nth: int = 0
    uptime_ms: int = 0
    open: int = 0
    missed_reads: int = 0
    missed_from_ms: int = 0
    missed_to_ms: int = 0
    missed_nth: int = 0
    missed_reason: int = 0
    stored_nth: int = 0
    stored_uptime_ms: int = 0


class Marks:
    """The slots, in memory and in the file at `path`; DeviceError where the file cannot be opened or written."""

    def __init__(self, path: Path) -> None:
        try:
            self._descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            os.posix_fallocate(self._descriptor, 0, _SLOT * (_EPOCHS + _METERS))
            data = os.pread(self._descriptor, os.fstat(self._descriptor).st_size, 0)
        except OSError as error:
            raise DeviceError(f"{path} cannot be written: {error.strerror}") from error
        self.epochs: dict[int, EpochMark] = {}  # slot -> mark
        self.meters: dict[int, MeterMark] = {}
        for slot in range(len(data) // _SLOT):
            self._load(slot, data[slot * _SLOT : (slot + 1) * _SLOT])

    def _load(self, slot: int, raw: bytes) -> None:
        is_epoch = slot < _EPOCHS
        form = _EPOCH if is_epoch else _METER
        body = raw[: form.size]
        if _CRC.unpack_from(raw, form.size)[0] != zlib.crc32(body):
            return
        kind, *fields = form.unpack(body)
        if is_epoch and kind == b"E":
            self.epochs[slot] = EpochMark(**dict(zip(EpochMark.__slots__, fields, strict=True)))
        elif not is_epoch and kind == b"M":
            self.meters[slot] = MeterMark(**dict(zip(MeterMark.__slots__, fields, strict=True)))

    def _write(self, slot: int, body: bytes) -> None:
        try:
            os.pwrite(self._descriptor, body + _CRC.pack(zlib.crc32(body)), slot * _SLOT)
        except OSError as error:
            raise DeviceError(f"the outbox's marks cannot be written: {error.strerror}") from error

    def newest_epoch(self) -> EpochMark | None:
        """The epoch that was begun last."""
        return max(self.epochs.values(), key=lambda mark: mark.serial, default=None)

    def begin_epoch(self, mark: EpochMark) -> int:
        """The slot of a new epoch: a free one, or that of the oldest epoch of which nothing is outstanding."""
        slot = next((slot for slot in range(_EPOCHS) if slot not in self.epochs), None)
        if slot is None:
            slot = min(self.epochs, key=lambda at: (_is_outstanding(self.epochs[at]), self.epochs[at].serial))
        self.epochs[slot] = mark
        self.write_epoch(slot)
        return slot

    def write_epoch(self, slot: int) -> None:
        """Put the mark of this slot into the file."""
        m = self.epochs[slot]
        self._write(slot, _EPOCH.pack(b"E", m.serial, m.epoch, m.next_sequence, m.stored_end, m.previous))

    def begin_meter(self, epoch: bytes, meter: int) -> int:
        """The slot of a meter, cleared for this epoch."""
        slot = next((slot for slot, mark in self.meters.items() if mark.meter == meter), None)
        if slot is None:
            slot = next(at for at in range(_EPOCHS, _EPOCHS + len(self.meters) + 1) if at not in self.meters)
        self.meters[slot] = MeterMark(epoch=epoch, meter=meter)
        self.write_meter(slot)
        return slot

    def write_meter(self, slot: int) -> None:
        """Put the mark of this slot into the file."""
        m = self.meters[slot]
        body = _METER.pack(
            *(b"M", m.epoch, m.meter, m.nth, m.uptime_ms, m.open),
            *(m.missed_reads, m.missed_from_ms, m.missed_to_ms, m.missed_nth, m.missed_reason),
            *(m.stored_nth, m.stored_uptime_ms),
        )
        self._write(slot, body)

    def close(self) -> None:
        """Let go of the file."""
        os.close(self._descriptor)


def _is_outstanding(mark: EpochMark) -> bool:
    return mark.stored_end < mark.next_sequence
