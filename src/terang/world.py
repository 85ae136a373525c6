"""What the single writer knows by heart: devices, their epochs, their meters, and each meter's newest state.

It is read from the store at the start, and read anew when a commit failed, so it never says more than the store.
"""

from collections import deque
from dataclasses import dataclass, field

from terang.kit import State
from terang.store.writer import StoreWriter
from terang.values import cbor
from terang.verify.order import EpochOrder
from terang.verify.plausible import EARLIEST_MS, FUTURE_MS

__all__ = ["Device", "Epoch", "Meter", "World"]


@dataclass(slots=True)
class Device:
    """An adopted device: `id` of its row, `key_id` of 16 bytes."""

    id: int
    key_id: bytes
    public_key: bytes
    name: str
    revoked: bool
    recent: "deque[Epoch]" = field(default_factory=lambda: deque(maxlen=4))  # the epochs heard of last
    waits_until_ms: int | None = None  # from which moment on an undated reading of it can be believed; None: none waits

    def wait_until(self, said_ms: int | None) -> None:
        """An undated reading says that it is of this time (None: it says nothing yet)."""
        if said_ms is not None and said_ms >= EARLIEST_MS:
            from_ms = said_ms - FUTURE_MS
            self.waits_until_ms = from_ms if self.waits_until_ms is None else min(self.waits_until_ms, from_ms)


@dataclass(slots=True)
class Epoch:
    """One start of a device's process."""

    id: int
    device: Device
    epoch: bytes
    order: EpochOrder
    from_utc_ms: int | None = None
    to_utc_ms: int | None = None
    fix_uptime_ms: int | None = None
    fix_utc_ms: int | None = None
    last_sequence: int = -1
    last_leaf: bytes = b""

    def row(self) -> tuple[int | None, ...]:
        """The columns that change, with the id last."""
        return (
            self.order.stored_end,
            self.order.anchored_end,
            self.from_utc_ms,
            self.to_utc_ms,
            self.fix_uptime_ms,
            self.fix_utc_ms,
            self.id,
        )


@dataclass(slots=True)
class Meter:
    """One meter with its newest reading (`values` in the order of the six quantities) and the state of its fold."""

    id: int
    device: Device
    address: int
    kit: str
    time_ms: int = -1
    received_ms: int = 0
    position: int = 0
    values: tuple[int | None, ...] = (None,) * 6
    readings: int = 0
    confirmed_mwh: int = 0
    provisional_mwh: int = 0
    regular: bool = False
    state: State | None = None

    def row(self) -> tuple[object, ...]:
        """The row of table `latest`."""
        return (
            self.id,
            self.time_ms,
            self.received_ms,
            self.position,
            *self.values,
            self.readings,
            self.confirmed_mwh,
            self.provisional_mwh,
            int(self.regular),
            cbor.encode_column(self.state or ()),
        )


@dataclass(slots=True)
class World:
    """Everything by the keys under which envelopes name it."""

    writer: StoreWriter
    next_position: int = 0
    anchored_size: int = 0
    devices: dict[bytes, Device] = field(default_factory=dict)
    meters: dict[tuple[int, int], Meter] = field(default_factory=dict)
    epochs: dict[tuple[bytes, bytes], Epoch] = field(default_factory=dict)

    @classmethod
    def load(cls, writer: StoreWriter) -> "World":
        """Read it from the store."""
        world = cls(writer=writer, next_position=writer.next_position())
        anchored = writer.rows(
            "SELECT new_size FROM batch WHERE block_hash IS NOT NULL ORDER BY new_size DESC LIMIT 1"
        )
        world.anchored_size = anchored[0][0] if anchored else 0
        by_id = {}
        for row in writer.rows("SELECT id, key_id, public_key, name, revoked_ms FROM device"):
            device = Device(row[0], bytes(row[1]), bytes(row[2]), row[3], row[4] is not None)
            world.devices[device.key_id] = by_id[device.id] = device
        for row in writer.rows("SELECT id, device_id, address, kit FROM meter"):
            world.meters[row[1], row[2]] = Meter(row[0], by_id[row[1]], row[2], row[3])
        world._load_latest()
        for device_id, said_ms in writer.rows(
            "SELECT e.device_id, coalesce(u.utc_ms, e.fix_utc_ms + u.uptime_ms - e.fix_uptime_ms)"
            " FROM undated u JOIN epoch e ON e.id = u.epoch_id"
        ):
            by_id[device_id].wait_until(said_ms)
        # an epoch that its device has ended still waits for the word that it is anchored
        for device_id, epoch in writer.rows(
            "SELECT device_id, epoch FROM epoch WHERE anchored_end < stored_end ORDER BY id"
        ):
            world.epoch(by_id[device_id], bytes(epoch))
        return world

    def _load_latest(self) -> None:
        meters = {meter.id: meter for meter in self.meters.values()}
        for row in self.writer.rows(
            "SELECT meter_id, time_ms, received_ms, position, voltage_mv, current_ma, power_mw, energy_mwh,"
            " frequency_millihz, power_factor_permille, readings, confirmed_mwh, provisional_mwh, regular, state"
            " FROM latest"
        ):
            meter = meters[row[0]]
            meter.time_ms, meter.received_ms, meter.position = row[1:4]
            meter.values = tuple(row[4:10])
            meter.readings, meter.confirmed_mwh, meter.provisional_mwh = row[10:13]
            meter.regular = bool(row[13])
            meter.state = cbor.read_column(row[14], 0)[0] or None

    def public_key(self, device: bytes) -> bytes | None:
        """The key of this device; None where it was never adopted."""
        known = self.devices.get(device)
        return known.public_key if known else None

    def is_revoked(self, device: bytes) -> bool:
        """Whether the owner has revoked this device."""
        return self.devices[device].revoked

    def meter(self, device: Device, address: int, kit: str) -> Meter:
        """The meter at this address, made on first sight."""
        meter = self.meters.get((device.id, address))
        if meter is None:
            row_id = self.writer.execute(
                "INSERT INTO meter(device_id, address, kit) VALUES(?,?,?)", (device.id, address, kit)
            )
            meter = self.meters[device.id, address] = Meter(row_id, device, address, kit)
        return meter

    def epoch(self, device: Device, epoch: bytes) -> Epoch:
        """The epoch of a device, read from the store or made on first sight."""
        known = self.epochs.get((device.key_id, epoch))
        if known is None:
            known = self._load_epoch(device, epoch) or self._make_epoch(device, epoch)
            self.epochs[device.key_id, epoch] = known
            device.recent.append(known)
        return known

    def _make_epoch(self, device: Device, epoch: bytes) -> Epoch:
        row_id = self.writer.execute(
            "INSERT INTO epoch(device_id, epoch, stored_end, anchored_end) VALUES(?,?,0,0)", (device.id, epoch)
        )
        return Epoch(row_id, device, epoch, EpochOrder())

    def _load_epoch(self, device: Device, epoch: bytes) -> Epoch | None:
        rows = self.writer.rows(
            "SELECT id, stored_end, anchored_end, from_utc_ms, to_utc_ms, fix_uptime_ms, fix_utc_ms FROM epoch"
            " WHERE device_id=? AND epoch=?",
            (device.id, epoch),
        )
        if not rows:
            return None
        row_id, stored_end, anchored_end, *times = rows[0]
        order = EpochOrder(stored_end=stored_end, anchored_end=anchored_end)
        for sequence, position in self.writer.rows(
            "SELECT sequence, position FROM record WHERE epoch_id=? AND sequence>=? AND variant=0 ORDER BY sequence",
            (row_id, anchored_end),
        ):
            order.take(sequence, position)
        for first, end, position in self.writer.rows(
            "SELECT l.first_sequence, l.end_sequence, l.position FROM lost l JOIN record r ON r.position = l.position"
            " JOIN epoch e ON e.id = r.epoch_id WHERE e.device_id=? AND l.epoch=? AND l.end_sequence > ?"
            " ORDER BY l.position",
            (device.id, epoch, anchored_end),
        ):
            order.close(first, end, position)
        order.anchor(self.anchored_size)
        found = Epoch(row_id, device, epoch, order, *times)
        last = self.writer.rows(
            "SELECT sequence, leaf FROM record WHERE epoch_id=? AND variant=0 ORDER BY sequence DESC LIMIT 1", (row_id,)
        )
        if last:
            found.last_sequence, found.last_leaf = last[0][0], bytes(last[0][1])
        return found
