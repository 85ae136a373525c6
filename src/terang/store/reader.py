"""What the pages ask of the store. Reads beside the writer, a connection for each thread; decides nothing."""

import json
import re
import sqlite3
import threading
from collections.abc import Iterator, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

from terang.reader import (
    BatchRow,
    Delivered,
    DeviceRow,
    Gap,
    HourRow,
    Latest,
    LedgerState,
    Loss,
    MeterRef,
    NoticeRow,
    ReadingRow,
    RefusedRow,
    Room,
    Series,
    Site,
    StepRow,
    Tenancy,
    Used,
    User,
)
from terang.store.connection import begin_snapshot, open_for_reading
from terang.values.clock import Clock
from terang.values.envelope import ATTESTED_BY
from terang.values.errors import StoreError
from terang.values.quantity import POWER_MW, QUANTITIES, VOLTAGE_MV
from terang.values.reading import READINGS, Readings, decode_body

__all__ = ["StoreReader"]

_NAMES = tuple(quantity.name for quantity in QUANTITIES)
_CODES = tuple(quantity.code for quantity in QUANTITIES)
_HOUR_MS = 3_600_000
_STEP_LIMIT = 500
_GAP_LIMIT = 100


class StoreReader:
    """Answers the pages. StoreError where the store cannot be read."""

    def __init__(self, path: Path, clock: Clock) -> None:
        self._path = path
        self._clock = clock
        self._local = threading.local()

    def rows(self, sql: str, values: Sequence[Any] = ()) -> list[tuple[Any, ...]]:
        """The rows of one query."""
        db = getattr(self._local, "db", None)
        if db is None:
            db = self._local.db = open_for_reading(self._path)
        try:
            found: list[tuple[Any, ...]] = db.execute(sql, values).fetchall()
        except sqlite3.Error as error:
            raise StoreError(f"the store cannot be read: {error}") from error
        return found

    def hold(self) -> tuple[object, ...]:
        """See the store as it is now from here on, in this thread, whatever is written meanwhile; which moment."""
        self.rows("SELECT 1")
        try:
            return begin_snapshot(self._local.db)
        except sqlite3.Error as error:
            raise StoreError(f"the store cannot be read: {error}") from error

    def let_go(self) -> None:
        """See what is written again, after `hold`."""
        self._local.db.rollback()

    def setting(self, key: str, otherwise: str = "") -> str:
        """One of the site's settings or statuses."""
        rows = self.rows("SELECT value FROM site WHERE key=?", (key,))
        return str(rows[0][0]) if rows else otherwise

    def site(self) -> Site:
        """The house that is served."""
        return Site(
            name=self.setting("name", "Kos Terang"),
            time_zone=self.setting("time_zone", "Asia/Jakarta"),
            language=self.setting("language", "id"),
            site_id=self.setting("site_id"),
        )

    def user_by_name(self, name: str) -> User | None:
        """The person of exactly this name."""
        rows = self.rows(
            "SELECT id, name, password_hash, role, language, session_version FROM user WHERE name=?", (name,)
        )
        if not rows:
            return None
        row = rows[0]
        return User(id=row[0], name=row[1], password_hash=row[2], role=row[3], language=row[4], session_version=row[5])

    def people(self) -> list[tuple[str, str, str]]:
        """(name, role, language) of everybody who may log in."""
        return [(row[0], row[1], row[2]) for row in self.rows("SELECT name, role, language FROM user ORDER BY id")]

    def all_values(self, meter_id: int) -> Iterator[tuple[int, ...]]:
        """The six values of every dated reading of a meter, oldest first."""
        for (raw,) in self.rows("SELECT body FROM reading WHERE meter_id=? ORDER BY first_ms, position", (meter_id,)):
            body = _body(raw)
            yield from zip(*(body.columns[code] for code in _CODES), strict=True)

    def rooms(self) -> list[Room]:
        """All rooms, in the order of their names as people count them."""
        return self._rooms("", ())

    def room(self, room_id: int) -> Room | None:
        """One room."""
        found = self._rooms(" WHERE r.id=?", (room_id,))
        return found[0] if found else None

    def rooms_of(self, user_id: int) -> list[Room]:
        """The rooms in which this person lives now."""
        return self._rooms(" WHERE t.user_id=?", (user_id,))

    def _rooms(self, where: str, values: Sequence[Any]) -> list[Room]:
        rows = self.rows(
            "SELECT r.id, r.name, t.user_id, u.name, t.from_ms FROM room r"
            " LEFT JOIN tenancy t ON t.room_id = r.id AND t.to_ms IS NULL LEFT JOIN user u ON u.id = t.user_id" + where,
            values,
        )
        meters = self._placed()
        rooms = [
            Room(
                id=row[0],
                name=row[1],
                tenancy=None if row[2] is None else Tenancy(user_id=row[2], user_name=row[3], from_ms=row[4]),
                meters=tuple(ref for ref in meters.get(row[0], ()) if ref.to_ms is None),
                past=tuple(ref for ref in meters.get(row[0], ()) if ref.to_ms is not None),
            )
            for row in rows
        ]
        return sorted(rooms, key=lambda room: _counted(room.name))

    def _placed(self) -> dict[int, list[MeterRef]]:
        """Room -> its meters, of now and before. What a meter said before it was first placed is that room's too."""
        meters: dict[int, list[MeterRef]] = {}
        for room_id, meter_id, device, address, kit, from_ms, to_ms, confirmed_ms in self.rows(
            "SELECT p.room_id, m.id, d.key_id, m.address, m.kit,"
            " CASE WHEN p.id = (SELECT min(q.id) FROM placement q WHERE q.meter_id = m.id) THEN 0 ELSE p.from_ms END,"
            " p.to_ms, (SELECT c.at_ms FROM confirmation c JOIN tenancy t ON t.id = c.tenancy_id"
            " WHERE c.meter_id = m.id AND t.room_id = p.room_id AND t.to_ms IS NULL) FROM placement p"
            " JOIN meter m ON m.id = p.meter_id JOIN device d ON d.id = m.device_id ORDER BY m.id, p.id"
        ):
            ref = MeterRef(
                id=meter_id,
                device=device.hex(),
                address=address,
                kit=kit,
                from_ms=from_ms,
                to_ms=to_ms,
                confirmed_ms=confirmed_ms,
            )
            meters.setdefault(room_id, []).append(ref)
        return meters

    def latest(self, meter_ids: tuple[int, ...]) -> dict[int, Latest]:
        """What is known last of each; a meter never heard of has no entry."""
        found = {}
        marks = ",".join("?" * len(meter_ids))
        bad = dict(
            self.rows(
                "SELECT meter_id, received_ms FROM record WHERE position IN (SELECT max(position) FROM record"
                f" WHERE state <> 0 AND meter_id IN ({marks}) GROUP BY meter_id)",
                meter_ids,
            )
        )
        for row in self.rows(
            "SELECT meter_id, time_ms, received_ms, confirmed_mwh, provisional_mwh, voltage_mv, current_ma, power_mw,"
            f" energy_mwh, frequency_millihz, power_factor_permille FROM latest WHERE meter_id IN ({marks})",
            meter_ids,
        ):
            found[row[0]] = Latest(
                time_ms=row[1] if row[1] >= 0 else None,
                received_ms=row[2],
                implausible_ms=bad.pop(row[0], None),
                total_confirmed_mwh=row[3],
                total_provisional_mwh=row[4],
                **dict(zip(_NAMES, row[5:], strict=True)),
            )
        for meter_id, received_ms in bad.items():
            found[meter_id] = Latest(time_ms=None, received_ms=None, implausible_ms=received_ms)
        return found

    def readings(self, meter_id: int, before_ms: int | None, limit: int) -> list[ReadingRow]:
        """Dated readings newest first, only those before `before_ms` if given."""
        before = 1 << 62 if before_ms is None else before_ms
        rows = self.rows(
            "SELECT g.first_ms, g.position, g.attested_by, g.body, b.block_number, b.block_hash FROM reading g"
            " LEFT JOIN batch b ON b.new_size = (SELECT min(new_size) FROM batch WHERE new_size > g.position)"
            " WHERE g.meter_id=? AND g.first_ms < ? ORDER BY g.first_ms DESC, g.position DESC LIMIT ?",
            (meter_id, before, limit),
        )
        found = []
        for first_ms, position, attested_by, raw, *block in rows:
            body = _body(raw)
            for index, offset in enumerate(body.offsets_ms):
                if first_ms + offset < before:
                    found.append(_reading_row(first_ms + offset, position, index, attested_by, body, *block))
        found.sort(key=lambda row: (row.time_ms, row.position, row.index), reverse=True)
        return found[:limit]

    def series(self, meter_id: int, from_ms: int, to_ms: int, points: int) -> Series:
        """Readings from `from_ms` up to but not including `to_ms`, thinned to about `points`."""
        times: list[int] = []
        powers: list[int | None] = []
        voltages: list[int | None] = []
        for first_ms, raw in self.rows(
            "SELECT first_ms, body FROM reading WHERE meter_id=? AND first_ms >= ? AND first_ms < ?"
            " ORDER BY first_ms, position",
            (meter_id, from_ms - _HOUR_MS, to_ms),
        ):
            body = _body(raw)
            for index, offset in enumerate(body.offsets_ms):
                if from_ms <= first_ms + offset < to_ms:
                    times.append(first_ms + offset)
                    powers.append(_cell(body, POWER_MW, index))
                    voltages.append(_cell(body, VOLTAGE_MV, index))
        kept = _thin(times, powers, from_ms, to_ms, points)
        return Series(
            times_ms=tuple(times[i] for i in kept),
            power_mw=tuple(powers[i] for i in kept),
            voltage_mv=tuple(voltages[i] for i in kept),
        )

    def hours(self, meter_id: int, from_ms: int, to_ms: int) -> list[HourRow]:
        """The hours that begin in the span, oldest first."""
        return [
            HourRow(
                hour_ms=row[0],
                confirmed_mwh=row[1],
                provisional_mwh=row[2],
                power_max_mw=row[4] if row[5] else None,
                power_mean_mw=row[3] // row[5] if row[5] else None,
                readings=row[5],
            )
            for row in self.rows(
                "SELECT hour_ms, confirmed_mwh, provisional_mwh, power_sum_mw, power_max_mw, readings FROM hour"
                " WHERE meter_id=? AND hour_ms >= ? AND hour_ms < ? ORDER BY hour_ms",
                (meter_id, from_ms, to_ms),
            )
            if row[1] or row[2] or row[5]
        ]

    def used(self, meter_ids: tuple[int, ...], from_ms: int, to_ms: int) -> dict[int, Used]:
        """Sums over the hours that begin in the span; a meter without any has no entry."""
        marks = ",".join("?" * len(meter_ids))
        rows = self.rows(
            f"SELECT meter_id, sum(confirmed_mwh), sum(provisional_mwh) FROM hour WHERE meter_id IN ({marks})"
            " AND hour_ms >= ? AND hour_ms < ? GROUP BY meter_id",
            (*meter_ids, from_ms, to_ms),
        )
        return {row[0]: Used(confirmed_mwh=row[1], provisional_mwh=row[2]) for row in rows}

    def batches(self, before: int | None, limit: int) -> list[BatchRow]:
        """Batches newest first, only ids below `before` if given."""
        return [
            BatchRow(
                id=row[0],
                old_size=row[1],
                new_size=row[2],
                root=row[3].hex(),
                size_bytes=row[4],
                tx_hash=_hex(row[5]),
                block_number=row[6],
                block_hash=_hex(row[7]),
                anchored_ms=row[8],
            )
            for row in self.rows(
                "SELECT id, old_size, new_size, root, bytes, transaction_hash, block_number, block_hash, anchored_ms"
                " FROM batch WHERE id < ? ORDER BY id DESC LIMIT ?",
                (1 << 62 if before is None else before, limit),
            )
        ]

    def ledger(self) -> LedgerState:
        """Log and chain as they stand."""
        known: dict[str, str] = json.loads(self.setting("ledger", "{}"))
        size = self.rows("SELECT coalesce(max(position), -1) + 1 FROM record")[0][0]
        newest = self.rows(
            "SELECT new_size, root, checkpoint FROM batch WHERE block_hash IS NOT NULL ORDER BY new_size DESC LIMIT 1"
        )
        anchored, root, checkpoint = newest[0] if newest else (0, b"", None)
        number = known.get("head_number")
        return LedgerState(
            size=size,
            root=root.hex(),
            anchored_size=anchored,
            checkpoint=checkpoint,
            signer=known.get("signer"),
            chain_id=int(known["chain_id"]) if "chain_id" in known else None,
            contract=self.setting("contract") or None,
            bytes_today=self._bytes_since(self._midnight_ms()),
            head_number=int(number) if number else None,
            head_hash=known.get("head_hash"),
            paused=known.get("paused") or None,
        )

    def _midnight_ms(self) -> int:
        zone = ZoneInfo(self.site().time_zone)
        now = datetime.fromtimestamp(self._clock.now_ms() / 1000, zone)
        return int(now.replace(hour=0, minute=0, second=0, microsecond=0).timestamp() * 1000)

    def _bytes_since(self, from_ms: int) -> int:
        rows = self.rows(
            "SELECT coalesce(sum(bytes), 0) FROM batch WHERE id > (SELECT max(id) FROM batch) - 90000"
            " AND anchored_ms >= ?",
            (from_ms,),
        )
        return int(rows[0][0])

    def delivered(self, from_ms: int, to_ms: int) -> list[Delivered]:
        """Each meter's readings and losses of the span, by the hours that begin in it."""
        lost = dict(
            self.rows(
                "SELECT meter_id, sum(reads) FROM lost WHERE at_ms >= ? AND at_ms < ? GROUP BY meter_id",
                (from_ms, to_ms),
            )
        )
        stored = dict(
            self.rows(
                "SELECT meter_id, sum(readings) FROM hour WHERE hour_ms >= ? AND hour_ms < ? GROUP BY meter_id",
                (from_ms, to_ms),
            )
        )
        return [
            Delivered(meter_id=meter_id, stored=stored.get(meter_id, 0), lost=lost.get(meter_id, 0))
            for meter_id in sorted(stored.keys() | lost.keys())
        ]

    def refused(self, limit: int) -> list[RefusedRow]:
        """What was refused, newest first."""
        found = [
            RefusedRow(
                at_ms=row[0],
                reason=row[1],
                detail=row[2],
                device=_hex(row[3]),
                count=row[4],
                kind="quarantined",
                position=None,
            )
            for row in self.rows(
                "SELECT max(at_ms), reason, detail, device, count(*) FROM quarantine GROUP BY reason, detail, device"
                " ORDER BY max(at_ms) DESC LIMIT ?",
                (limit,),
            )
        ]
        found += [
            RefusedRow(
                at_ms=row[0],
                reason="implausible" if row[4] == 1 else "forked",
                detail=row[1] or "another envelope with the same number",
                device=_hex(row[2]),
                count=1,
                kind="implausible",
                position=row[3],
            )
            for row in self.rows(
                "SELECT r.received_ms, r.reason, d.key_id, r.position, r.state FROM record r"
                " JOIN meter m ON m.id = r.meter_id JOIN device d ON d.id = m.device_id"
                " WHERE r.state <> 0 ORDER BY r.position DESC LIMIT ?",
                (limit,),
            )
        ]
        return sorted(found, key=lambda row: row.at_ms, reverse=True)[:limit]

    def refused_counts(self) -> dict[str, int]:
        """How many envelopes were ever refused, by reason."""
        return dict(self.rows("SELECT reason, count FROM refusal"))

    def steps(self, *, open_only: bool) -> list[StepRow]:
        """Provisional steps, newest first."""
        where = " WHERE counted_mwh IS NULL" if open_only else ""
        return [
            StepRow(
                id=row[0],
                meter_id=row[1],
                from_ms=row[2],
                to_ms=row[3],
                confirmed_mwh=0,
                provisional_mwh=row[4],
                reason=row[5],
                counted_mwh=row[6],
                decided_by=row[7],
                decided_ms=row[8],
            )
            for row in self.rows(
                "SELECT id, meter_id, from_ms, to_ms, provisional_mwh, reason, counted_mwh, decided_by, decided_ms"
                f" FROM step{where} ORDER BY to_ms DESC LIMIT {_STEP_LIMIT}"
            )
        ]

    def notices(self, *, open_only: bool) -> list[NoticeRow]:
        """Notices, newest first; at most a few hundred."""
        where = " WHERE seen_ms IS NULL" if open_only else ""
        return [
            NoticeRow(id=row[0], at_ms=row[1], topic=row[2], values=json.loads(row[3]), seen_ms=row[4])
            for row in self.rows(
                f'SELECT id, at_ms, topic, "values", seen_ms FROM notice{where} ORDER BY id DESC LIMIT {_STEP_LIMIT}'
            )
        ]

    def devices(self) -> list[DeviceRow]:
        """Every device ever adopted."""
        return [
            DeviceRow(
                id=row[1].hex(),
                name=row[2],
                public_key=row[3].hex(),
                adopted_ms=row[4],
                revoked_ms=row[5],
                last_seen_ms=row[6],
                epochs=row[7],
                gaps=self._gaps(row[0]),
                losses=self._losses(row[0]),
            )
            for row in self.rows(
                "SELECT id, key_id, name, public_key, adopted_ms, revoked_ms,"
                " (SELECT max(l.received_ms) FROM latest l JOIN meter m ON m.id = l.meter_id WHERE m.device_id = d.id),"
                " (SELECT count(*) FROM epoch e WHERE e.device_id = d.id) FROM device d ORDER BY adopted_ms, id"
            )
        ]

    def _gaps(self, device_id: int) -> tuple[Gap, ...]:
        """What of each epoch has not come although later sequences have."""
        found = []
        for epoch_id, epoch, stored_end in self.rows(
            "SELECT e.id, e.epoch, e.stored_end FROM epoch e WHERE e.device_id=? AND EXISTS"
            " (SELECT 1 FROM record r WHERE r.epoch_id = e.id AND r.sequence > e.stored_end)"
            " ORDER BY e.id DESC LIMIT ?",
            (device_id, _GAP_LIMIT),
        ):
            expected = stored_end
            for (sequence,) in self.rows(
                "SELECT sequence FROM record WHERE epoch_id=? AND sequence>=? AND variant=0"
                " ORDER BY sequence LIMIT 100000",
                (epoch_id, stored_end),
            ):
                if sequence > expected:
                    found.append(Gap(epoch=epoch.hex(), first=expected, end=sequence))
                expected = sequence + 1
        return tuple(found[:_GAP_LIMIT])

    def _losses(self, device_id: int) -> tuple[Loss, ...]:
        return tuple(
            Loss(at_ms=row[0], reason=row[1], reads=row[2])
            for row in self.rows(
                "SELECT l.at_ms, l.reason, l.reads FROM lost l JOIN meter m ON m.id = l.meter_id WHERE m.device_id=?"
                " ORDER BY l.position DESC LIMIT ?",
                (device_id, _GAP_LIMIT),
            )
        )


def _body(raw: bytes) -> Readings:
    body: Readings = decode_body(READINGS, raw, 0)[0]
    return body


def _cell(body: Readings, code: int, index: int) -> int | None:
    column = body.columns.get(code)
    return None if column is None else column[index]


def _reading_row(
    time_ms: int,
    position: int,
    index: int,
    attested_by: int,
    body: Readings,
    number: int | None,
    block_hash: bytes | None,
) -> ReadingRow:
    values = {name: _cell(body, code, index) for name, code in zip(_NAMES, _CODES, strict=True)}
    return ReadingRow(
        position=position,
        index=index,
        time_ms=time_ms,
        attested_by=ATTESTED_BY[attested_by],
        block_number=number,
        block_hash=_hex(block_hash),
        **values,
    )


def _thin(times: list[int], values: list[int | None], from_ms: int, to_ms: int, points: int) -> list[int]:
    """Indexes of what to keep: in each of points / 2 stretches of time the least and the most."""
    if len(times) <= points:
        return list(range(len(times)))
    width = max(1, (to_ms - from_ms) * 2 // max(2, points))
    kept: list[int] = []
    stretch: list[int] = []
    for i, time_ms in enumerate(times):
        if stretch and (time_ms - from_ms) // width != (times[stretch[0]] - from_ms) // width:
            kept += _ends(stretch, values)
            stretch = []
        stretch.append(i)
    return kept + _ends(stretch, values)


def _ends(stretch: list[int], values: list[int | None]) -> list[int]:
    if not stretch:
        return []
    least = min(stretch, key=lambda i: values[i] if values[i] is not None else 1 << 62)  # type: ignore[arg-type,return-value]
    most = max(stretch, key=lambda i: values[i] if values[i] is not None else -(1 << 62))  # type: ignore[arg-type,return-value]
    return sorted({least, most})


def _counted(name: str) -> list[tuple[int, int | str]]:
    """The order in which people count: Kamar 2 before Kamar 10."""
    return [(0, int(part)) if part.isdigit() else (1, part.casefold()) for part in re.split(r"(\d+)", name) if part]


def _hex(value: bytes | None) -> str | None:
    return None if value is None else value.hex()
