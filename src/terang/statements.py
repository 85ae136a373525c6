"""What a device says: readings, what is lost, what time it was, what happened; and what its order betrays."""

from terang.commit import Commit
from terang.kit import Notify
from terang.timeline import Dated, place
from terang.values.reading import READINGS, Event, Lost, Readings, TimeFix, decode_body
from terang.verify.envelopes import Opened
from terang.verify.plausible import is_plausible_time
from terang.world import Device, Epoch, Meter

__all__ = ["take_statement"]

# A clock that was corrected across a restart may make two honest epochs touch; more than this is two processes.
_OVERLAP_MS = 10_000
_EVENTS_TO_TELL = frozenset({"bus_dead", "disk_full", "frame_refused", "outbox_corrupt", "outbox_full"})


def take_statement(
    commit: Commit, opened: Opened, epoch: Epoch, meter: Meter, position: int, received_ms: int
) -> None:
    """Take an accepted envelope in: fold its readings at their time, close what is lost, date what waited for it."""
    commit.notify(_watch_epoch(epoch, opened, received_ms), meter, epoch.epoch.hex())
    body = opened.body
    if isinstance(body, Readings):
        _take_readings(commit, opened, body, epoch, meter, position, received_ms)
    elif isinstance(body, Lost):
        _close_lost(commit, body, meter, position, received_ms)
    elif isinstance(body, TimeFix):
        _fix_time(commit, body, commit.world.epoch(epoch.device, body.epoch), received_ms)
    elif isinstance(body, Event) and body.name in _EVENTS_TO_TELL:
        values = (("device", epoch.device.name), ("detail", str(body.detail)))
        told = Notify(f"device_{body.name}", received_ms, values)
        commit.notify([told], meter, f"{epoch.epoch.hex()}/{opened.sequence}")


def _take_readings(
    commit: Commit, opened: Opened, body: Readings, epoch: Epoch, meter: Meter, position: int, received_ms: int
) -> None:
    commit.meters[meter.id] = meter
    meter.received_ms = received_ms
    raw = opened.payload[opened.body_at :]
    said_ms = opened.utc_ms if opened.utc_ms is not None else _by_fix(epoch, opened.uptime_ms)
    if said_ms is None or not is_plausible_time(said_ms, received_ms):
        row = (epoch.id, position, meter.id, opened.uptime_ms, opened.utc_ms, opened.attested_by, raw)
        commit.group.undated.append(row)
        if opened.utc_ms is not None:
            ahead = Notify("clock_ahead", received_ms, (("device", epoch.device.name),))
            commit.notify([ahead], meter, epoch.epoch.hex())
        epoch.device.wait_until(said_ms)
        return
    dated = Dated(position, said_ms, body, raw, opened.attested_by)
    commit.notify(place(commit.writer, commit.group, commit.kits[meter.kit], meter, dated), meter)
    if epoch.device.waits_until_ms is not None and received_ms >= epoch.device.waits_until_ms:
        _date_waiting(commit, epoch.device, received_ms)


def _close_lost(commit: Commit, lost: Lost, meter: Meter, position: int, received_ms: int) -> None:
    commit.group.flush(commit.writer)
    uptimes = (lost.from_uptime_ms, lost.to_uptime_ms)
    sequences = (lost.first_sequence, lost.end_sequence)
    row = (position, meter.id, lost.epoch, *sequences, *uptimes, received_ms, lost.reads, lost.reason[:80])
    commit.writer.add_lost(row)
    epoch = commit.world.epoch(meter.device, lost.epoch)
    commit.epochs[epoch.id] = epoch
    epoch.order.close(lost.first_sequence, lost.end_sequence, position)


def _fix_time(commit: Commit, fix: TimeFix, epoch: Epoch, now_ms: int) -> None:
    """Date the readings of an epoch that waited for it, and put them at their time."""
    commit.epochs[epoch.id] = epoch
    epoch.fix_uptime_ms, epoch.fix_utc_ms = fix.uptime_ms, fix.utc_ms
    _date_waiting(commit, epoch.device, now_ms)


def _date_waiting(commit: Commit, device: Device, now_ms: int) -> None:
    """Put those readings of a device at their time that waited for a time record, or for our clock to come so far."""
    commit.group.flush(commit.writer)
    waiting = commit.writer.rows(
        "SELECT u.position, u.meter_id, u.uptime_ms, u.utc_ms, u.attested_by, u.body, u.epoch_id, e.epoch"
        " FROM undated u JOIN epoch e ON e.id = u.epoch_id WHERE e.device_id=? ORDER BY u.epoch_id, u.uptime_ms,"
        " u.position",
        (device.id,),
    )
    meters = {known.id: known for known in commit.world.meters.values()}
    device.waits_until_ms = None
    for position, meter_id, uptime_ms, utc_ms, attested_by, raw, epoch_id, epoch in waiting:
        said_ms = utc_ms if utc_ms is not None else _by_fix(commit.world.epoch(device, epoch), uptime_ms)
        if said_ms is None or not is_plausible_time(said_ms, now_ms):
            device.wait_until(said_ms)  # it stays undated, and may be dated later or by another record
            continue
        commit.writer.execute("DELETE FROM undated WHERE epoch_id=? AND position=?", (epoch_id, position))
        meter = commit.meters[meter_id] = meters[meter_id]
        dated = Dated(position, said_ms, decode_body(READINGS, raw, 0)[0], raw, attested_by)
        commit.notify(place(commit.writer, commit.group, commit.kits[meter.kit], meter, dated), meter)


def _by_fix(epoch: Epoch, uptime_ms: int) -> int | None:
    """What the time record gives for this uptime; None where there is none."""
    if epoch.fix_utc_ms is None or epoch.fix_uptime_ms is None:
        return None
    return epoch.fix_utc_ms + uptime_ms - epoch.fix_uptime_ms


def _watch_epoch(epoch: Epoch, opened: Opened, now_ms: int) -> list[Notify]:
    """Alarms that the order of a device's envelopes raises: a broken chain of hashes, two live processes of one key."""
    alarms = []
    values = (("device", epoch.device.name),)
    if epoch.last_sequence + 1 == opened.sequence and epoch.last_leaf and opened.previous != epoch.last_leaf:
        alarms.append(Notify("chain_broken", now_ms, values))
    at = opened.utc_ms
    if at is None or opened.kind != READINGS:
        return alarms
    if any(other is not epoch and _was_alive(other, at) for other in epoch.device.recent):
        alarms.append(Notify("two_epochs", now_ms, values))
    epoch.from_utc_ms = at if epoch.from_utc_ms is None else min(epoch.from_utc_ms, at)
    epoch.to_utc_ms = at if epoch.to_utc_ms is None else max(epoch.to_utc_ms, at)
    return alarms


def _was_alive(epoch: Epoch, at_ms: int) -> bool:
    """Whether this epoch has readings from well before and from well after that moment."""
    if epoch.from_utc_ms is None or epoch.to_utc_ms is None:
        return False
    return epoch.from_utc_ms + _OVERLAP_MS < at_ms < epoch.to_utc_ms - _OVERLAP_MS
