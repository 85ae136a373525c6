"""What a device says besides readings: what is lost, what time it was, what happened; and what its order betrays."""

from collections.abc import Iterator, Mapping

from terang.kit import Kit, Notify
from terang.store.group import Group
from terang.store.writer import StoreWriter
from terang.timeline import Dated, place
from terang.values.reading import READINGS, Event, Lost, TimeFix, decode_body
from terang.verify.envelopes import Opened
from terang.verify.plausible import is_plausible_time
from terang.world import Epoch, Meter, World

__all__ = ["date", "note_event", "note_lost", "note_time", "watch_epoch"]

# A clock that was corrected across a restart may make two honest epochs touch; more than this is two processes.
_OVERLAP_MS = 10_000
_EVENTS_TO_TELL = frozenset({"bus_dead", "disk_full", "frame_refused", "outbox_corrupt", "outbox_full"})


def date(epoch: Epoch, opened: Opened, now_ms: int) -> int | None:
    """The UTC [ms] of an envelope's first reading: its own, or by its epoch's time record; None while undated."""
    if opened.utc_ms is not None:
        return opened.utc_ms
    return _by_fix(epoch, opened.uptime_ms, now_ms)


def _by_fix(epoch: Epoch, uptime_ms: int, now_ms: int) -> int | None:
    """What the time record gives for this uptime; None where there is none, or where it cannot have been then."""
    if epoch.fix_utc_ms is None or epoch.fix_uptime_ms is None:
        return None
    utc_ms = epoch.fix_utc_ms + uptime_ms - epoch.fix_uptime_ms
    return utc_ms if is_plausible_time(utc_ms, now_ms) else None


def watch_epoch(epoch: Epoch, opened: Opened, now_ms: int) -> list[Notify]:
    """Alarms that the order of a device's envelopes raises: a broken chain of hashes, two live processes of one key."""
    alarms = []
    values = (("device", epoch.device.name),)
    if epoch.last_sequence + 1 == opened.sequence and epoch.last_leaf and opened.previous != epoch.last_leaf:
        alarms.append(Notify("chain_broken", now_ms, values))
    at = opened.utc_ms
    if at is None or opened.kind != READINGS:
        return alarms
    for other in epoch.device.recent:
        if (
            other is not epoch
            and other.from_utc_ms is not None
            and other.to_utc_ms is not None
            and other.from_utc_ms + _OVERLAP_MS < at < other.to_utc_ms - _OVERLAP_MS
        ):
            alarms.append(Notify("two_epochs", now_ms, values))
    epoch.from_utc_ms = at if epoch.from_utc_ms is None else min(epoch.from_utc_ms, at)
    epoch.to_utc_ms = at if epoch.to_utc_ms is None else max(epoch.to_utc_ms, at)
    return alarms


def note_lost(
    writer: StoreWriter,
    group: Group,
    world: World,
    meter: Meter,
    lost: Lost,
    position: int,
    received_ms: int,
) -> Epoch:
    """Close the range that a device declares lost; the epoch whose order it touched."""
    group.flush(writer)
    writer.add_lost(
        (position, meter.id, lost.epoch, lost.first_sequence, lost.end_sequence)
        + (lost.from_uptime_ms, lost.to_uptime_ms, received_ms, lost.reads, lost.reason[:80])
    )
    epoch = world.epoch(meter.device, lost.epoch)
    epoch.order.close(lost.first_sequence, lost.end_sequence, position)
    return epoch


def note_time(
    writer: StoreWriter,
    group: Group,
    kits: Mapping[str, Kit],
    world: World,
    epoch: Epoch,
    fix: TimeFix,
    now_ms: int,
) -> Iterator[tuple[Meter, list[Notify]]]:
    """Date the readings of an epoch that waited for it, and put them at their time; the meters that it touched."""
    epoch.fix_uptime_ms, epoch.fix_utc_ms = fix.uptime_ms, fix.utc_ms
    group.flush(writer)
    waiting = writer.rows(
        "SELECT position, meter_id, uptime_ms, attested_by, body FROM undated WHERE epoch_id=? ORDER BY uptime_ms, position",
        (epoch.id,),
    )
    meters = {known.id: known for known in world.meters.values()}
    for position, meter_id, uptime_ms, attested_by, raw in waiting:
        first_ms = _by_fix(epoch, uptime_ms, now_ms)
        if first_ms is None:
            continue  # it stays undated, and may be dated by another record
        writer.execute("DELETE FROM undated WHERE epoch_id=? AND position=?", (epoch.id, position))
        touched = meters[meter_id]
        body, _ = decode_body(READINGS, raw, 0)
        dated = Dated(position, first_ms, body, raw, attested_by)
        yield touched, place(writer, group, kits[touched.kit], touched, dated)


def note_event(event: Event, at_ms: int, device_name: str) -> list[Notify]:
    """What of an event a person should know."""
    if event.name not in _EVENTS_TO_TELL:
        return []
    return [Notify(f"device_{event.name}", at_ms, (("device", device_name), ("detail", str(event.detail))))]
