"""A boarding house in memory: six rooms with real signed envelopes, and a core behind a real local socket.

Run as a program (arguments: a folder for its state, a port) it serves the house by `run_web`, as `terang serve` does,
with a core that tells a reading a second and a block every third.
"""

import asyncio
import math
import sys
import threading
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path

from terang.kits_installed import load_pages
from terang.reader import (
    BatchRow,
    Delivered,
    DeviceRow,
    Gap,
    HourRow,
    KeptHead,
    Latest,
    LedgerState,
    Loss,
    MeterRef,
    NoticeRow,
    Proof,
    ReadingRow,
    RecordDetail,
    RefusedRow,
    Room,
    Series,
    Site,
    StepRow,
    Tenancy,
    Used,
    User,
    Witnessed,
)
from terang.values import envelope, quantity
from terang.values.clock import Clock, SystemClock
from terang.values.command import (
    AckNotice,
    Anchored,
    Ask,
    Command,
    ConfirmBinding,
    DecideStep,
    Done,
    Listen,
    Live,
    LiveReading,
    Refused,
)
from terang.values.reading import CLOCK_SYNCED, Lost, Readings
from terang.values.record import ACT, ENVELOPE, leaf_hash
from terang.values.signing import KeyPair, is_signed_by, sign_statement
from terang.web.core import read_message, write_message
from terang.web.passwords import hash_password
from terang.web.process import run_web
from terang.web.settings import WebSettings

NOW_MS = 1_795_180_448_000  # Friday 20 November 2026, 20.14.08 in Jakarta
HOUR_MS, DAY_MS = 3_600_000, 86_400_000
STEP_MS = 10_000
PASSWORDS = {"sari": "melati kuning 7", "budi": "kopi tubruk 9", "wati": "hujan sore 4"}
HASHES = {name: hash_password(password) for name, password in PASSWORDS.items()}
SILENT_METER, NEVER_METER, ODD_METER = 4, 5, 6

WORDS = ("spray", "damp", "observe", "jeans", "light", "image", "vocal", "kind", "fish", "omit", "only", "oak")


class House:
    """Kos Melati, as a Source. Time comes from `clock`; readings of every ten seconds reach six hours back."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.start_ms = clock.now_ms()
        self.key, self.lost_key = KeyPair(bytes(range(32))), KeyPair(bytes(range(1, 33)))
        self.device = envelope.device_id(self.key.public).hex()
        self.versions = dict.fromkeys(PASSWORDS, 1)
        self.anchored_below: int | None = None
        self.live_rows: dict[int, list[ReadingRow]] = {}
        self.step_rows = {
            1: StepRow(
                id=1,
                meter_id=2,
                from_ms=self.start_ms - 3 * HOUR_MS,
                to_ms=self.start_ms - 2 * HOUR_MS,
                confirmed_mwh=120_000,
                provisional_mwh=1_250_000,
                reason="fall",
                counted_mwh=None,
                decided_by=None,
                decided_ms=None,
            )
        }
        told = (
            (12 * 60_000, "device_bus_dead", {"device": "Panel lantai 1", "detail": "0"}, None),
            (2 * HOUR_MS, "meter_fall", {"provisional_mwh": "1250000", "<b>": "<script>alert(1)</script>"}, None),
            (2 * DAY_MS, "brand_new", {"why": "<script>"}, self.start_ms - DAY_MS),
        )
        self.notice_rows = {
            id_: NoticeRow(id=id_, at_ms=self.start_ms - age_ms, topic=topic, values=values, seen_ms=seen_ms)
            for id_, (age_ms, topic, values, seen_ms) in enumerate(told, start=1)
        }
        self._records: dict[int, RecordDetail] = {}
        self.confirmed: dict[int, int] = {}  # address of a meter -> when its tenant compared the code

    def site(self) -> Site:
        return Site(name="Kos Melati", time_zone="Asia/Jakarta", language="id", site_id="5a" * 16)

    def user_by_name(self, name: str) -> User | None:
        if name not in PASSWORDS:
            return None
        names = list(PASSWORDS)
        return User(
            id=names.index(name) + 1,
            name=name,
            password_hash=HASHES[name],
            role="owner" if name == "sari" else "tenant",
            language="id",
            session_version=self.versions[name],
        )

    def rooms(self) -> list[Room]:
        tenants = {3: Tenancy(user_id=2, user_name="budi", from_ms=self.start_ms - 20 * DAY_MS)}
        tenants[1] = Tenancy(user_id=3, user_name="wati", from_ms=self.start_ms - 90 * 60_000)
        return [
            Room(
                id=number,
                name=f"Kamar {number}",
                tenancy=tenants.get(number),
                meters=(
                    MeterRef(
                        id=number,
                        device=self.device,
                        address=number,
                        kit="meter",
                        confirmed_ms=self.confirmed.get(number),
                    ),
                ),
            )
            for number in range(1, 7)
        ]

    def room(self, room_id: int) -> Room | None:
        return next((room for room in self.rooms() if room.id == room_id), None)

    def rooms_of(self, user_id: int) -> list[Room]:
        return [room for room in self.rooms() if room.tenancy and room.tenancy.user_id == user_id]

    def latest(self, meter_ids: tuple[int, ...]) -> dict[int, Latest]:
        found = {}
        for meter in meter_ids:
            if meter == NEVER_METER:
                continue
            row = self.readings(meter, None, 1)[0]
            found[meter] = Latest(
                time_ms=row.time_ms,
                received_ms=row.time_ms + 40,
                implausible_ms=row.time_ms + 5_000 if meter == ODD_METER else None,
                total_confirmed_mwh=row.energy_mwh,
                total_provisional_mwh=1_250_000 if meter == 2 else 0,
                **_measured(row),
            )
        return found

    def readings(self, meter_id: int, before_ms: int | None, limit: int) -> list[ReadingRow]:
        if meter_id == NEVER_METER:
            return []
        rows = [row for row in self.live_rows.get(meter_id, []) if before_ms is None or row.time_ms < before_ms][::-1]
        newest = self.start_ms - (12 * 60_000 if meter_id == SILENT_METER else 3_000)
        newest -= newest % STEP_MS
        oldest = self.start_ms - 6 * HOUR_MS
        last = newest if before_ms is None else min(newest, (before_ms - 1) // STEP_MS * STEP_MS)
        times = range(last, oldest, -STEP_MS)[: max(0, limit - len(rows))]
        return (rows + [self._row(meter_id, ms) for ms in times])[:limit]

    def power_mw(self, meter_id: int, ms: int) -> int:
        hour = ms / HOUR_MS + 7
        base = 40_000 + 12_000 * meter_id
        evening = 260_000 * max(0.0, math.sin((hour % 24 - 14) / 10 * math.pi)) if 14 < hour % 24 < 24 else 0.0
        kettle = 450_000 if (ms // 60_000 + 7 * meter_id) % 47 < 4 else 0
        return int(base + evening + kettle + 9_000 * math.sin(ms / 70_000 + meter_id))

    def _row(self, meter_id: int, ms: int) -> ReadingRow:
        power, voltage = self.power_mw(meter_id, ms), 228_400 + int(1_800 * math.sin(ms / 900_000))
        slot = (ms - (self.start_ms - 6 * HOUR_MS)) // STEP_MS
        position, index = slot // 6 * 6 + meter_id - 1, slot % 6
        block = 18_000 + position // 6
        below = self.anchored_below if self.anchored_below is not None else 12_936
        return ReadingRow(
            position=position,
            index=index,
            time_ms=ms,
            attested_by="device",
            voltage_mv=voltage,
            current_ma=power * 1000 // voltage,
            power_mw=power,
            energy_mwh=1_204_318_000 + (ms - self.start_ms) // 1000 * 90,
            frequency_millihz=50_000,
            power_factor_permille=970,
            block_number=block if position < below else None,
            block_hash=block_hash(block) if position < below else None,
        )

    def series(self, meter_id: int, from_ms: int, to_ms: int, points: int) -> Series:
        rows = [row for row in self.readings(meter_id, to_ms, 2_000) if row.time_ms >= from_ms][::-1]
        rows = [row for row in rows if not 1_200_000 < to_ms - row.time_ms < 1_500_000]  # five minutes that never came
        return Series(
            times_ms=tuple(row.time_ms for row in rows),
            power_mw=tuple(row.power_mw for row in rows),
            voltage_mv=tuple(row.voltage_mv for row in rows),
        )

    def hours(self, meter_id: int, from_ms: int, to_ms: int) -> list[HourRow]:
        if meter_id == NEVER_METER:
            return []
        first = max(-(-from_ms // HOUR_MS) * HOUR_MS, self.start_ms // HOUR_MS * HOUR_MS - 60 * DAY_MS)
        last = min(to_ms, self.start_ms)
        return [self._hour(meter_id, ms) for ms in range(first, last, HOUR_MS) if ms // HOUR_MS % 24 != 3]

    def _hour(self, meter_id: int, ms: int) -> HourRow:
        powers = [self.power_mw(meter_id, ms + minute * 60_000) for minute in range(0, 60, 10)]
        fraction = min(1.0, (self.start_ms - ms) / HOUR_MS)
        return HourRow(
            hour_ms=ms,
            confirmed_mwh=int(sum(powers) / 6 * fraction),
            provisional_mwh=250_000
            if meter_id in (2, 3) and self.start_ms - 6 * HOUR_MS < ms <= self.start_ms - 5 * HOUR_MS
            else 0,
            power_max_mw=max(powers),
            power_mean_mw=sum(powers) // 6,
            readings=360,
        )

    def used(self, meter_ids: tuple[int, ...], from_ms: int, to_ms: int) -> dict[int, Used]:
        found = {}
        for meter in meter_ids:
            if hours := self.hours(meter, from_ms, to_ms):
                found[meter] = Used(
                    confirmed_mwh=sum(hour.confirmed_mwh for hour in hours),
                    provisional_mwh=sum(hour.provisional_mwh for hour in hours),
                )
        return found

    def record(self, position: int) -> RecordDetail | None:
        if not 0 <= position < 13_000:
            return None
        if position == 12_999:
            return self._act()
        if position not in self._records:
            self._records[position] = self._envelope(position)
        return self._records[position]

    def _envelope(self, position: int) -> RecordDetail:
        meter = position % 6 + 1
        first_ms = -(-(self.start_ms - 6 * HOUR_MS) // STEP_MS) * STEP_MS + position // 6 * 6 * STEP_MS
        rows = [self._row(meter, first_ms + step * STEP_MS) for step in range(6)]
        columns = {
            code: tuple(getattr(row, quantity.BY_CODE[code].name) for row in rows) for code in sorted(quantity.BY_CODE)
        }
        body: Readings | Lost = Readings(tuple(range(0, 6 * STEP_MS, STEP_MS)), columns)
        if position % 6 == 5 and position % 100 == 95:
            body = Lost(bytes(8), 3, 5, 1_000, 9_000, 7, "disk_full")
        kind = envelope.LOST if isinstance(body, Lost) else envelope.READINGS
        said = envelope.Envelope(
            kind=kind,
            device=bytes.fromhex(self.device),
            epoch=b"\x07" * 8,
            sequence=position // 6,
            previous=bytes(32),
            meter=meter,
            attested_by=0,
            uptime_ms=position * 1_000,
            utc_ms=first_ms,
            clock=CLOCK_SYNCED,
            body=body,
        )
        data = sign_statement(self.key, envelope.encode_payload(said))
        return RecordDetail(
            position=position,
            kind="envelope",
            leaf=leaf_hash(ENVELOPE, data).hex(),
            data=data,
            public_key=self.key.public.hex(),
            device=self.device,
            epoch="07" * 8,
            sequence=position // 6,
            meter_id=meter,
            room_id=meter,
            received_ms=first_ms + 60_000,
            from_ms=rows[0].time_ms,
            to_ms=rows[-1].time_ms,
            state="accepted",
            reason=None,
            attested_by="device",
            batch=position // 60,
            block_number=rows[0].block_number,
            block_hash=rows[0].block_hash,
        )

    def _act(self) -> RecordDetail:
        data = sign_statement(self.key, b"moved in")
        return RecordDetail(
            position=12_999,
            kind="act",
            leaf=leaf_hash(ACT, data).hex(),
            data=data,
            public_key=self.key.public.hex(),
            device=None,
            epoch=None,
            sequence=None,
            meter_id=None,
            room_id=None,
            received_ms=self.start_ms,
            from_ms=self.start_ms,
            to_ms=self.start_ms,
            state="accepted",
            reason=None,
            attested_by="platform",
            batch=None,
            block_number=None,
            block_hash=None,
        )

    def proof(self, position: int, index: int = 0, since: int | None = None) -> Proof | None:
        record = self.record(position)
        if record is None:
            return None
        payload, signature = envelope.split(record.data)
        return Proof(
            document={"format": "terang-proof-2", "position": position, "index": index, "since": since},
            signed=is_signed_by(bytes.fromhex(record.public_key), payload, signature),
            logged=True,
            anchored=record.block_number is not None,
            size=13_000,
            checkpoint=CHECKPOINT,
            block_number=record.block_number,
            block_hash=record.block_hash,
        )

    def batches(self, before: int | None, limit: int) -> list[BatchRow]:
        newest = 215 if before is None else min(before - 1, 215)
        return [
            BatchRow(
                id=batch,
                old_size=batch * 60,
                new_size=batch * 60 + 60,
                root=block_hash(batch)[2:],
                size_bytes=3_120 + batch % 7 * 40,
                tx_hash=block_hash(batch + 5_000),
                block_number=18_000 + batch * 10 if batch < 215 else None,
                block_hash=block_hash(18_000 + batch * 10) if batch < 215 else None,
                anchored_ms=self.start_ms - (216 - batch) * 60_000 if batch < 215 else None,
            )
            for batch in range(newest, max(newest - limit, -1), -1)
        ]

    def ledger(self) -> LedgerState:
        return LedgerState(
            size=13_000,
            root="9c" * 32,
            anchored_size=12_936,
            checkpoint=CHECKPOINT,
            signer="0x71C7656EC7ab88b098defB751B7401B5f6d8976F",
            chain_id=62_101,
            contract="0x5FbDB2315678afecb367f032d93F642f64180aa3",
            bytes_today=4_312_040,
            head_number=20_155,
            head_hash=block_hash(20_155),
            paused=None,
            words=WORDS,
            witnessed=Witnessed(name="rt05/witness", size=12_936, time_ms=self.start_ms - 90_000),
        )

    def compare_head(self, text: str) -> KeptHead:
        size = text.split(maxsplit=1)[0]
        return KeptHead(word="same", size=int(size)) if size.isdigit() else KeptHead(word="unreadable")

    def delivered(self, from_ms: int, to_ms: int) -> list[Delivered]:
        return [Delivered(meter_id=meter, stored=8_640, lost=7 if meter == 2 else 0) for meter in (1, 2, 3, 4, 6)]

    def refused(self, limit: int) -> list[RefusedRow]:
        rows = [
            RefusedRow(
                at_ms=self.start_ms - 60_000,
                reason="bad_signature",
                detail="<img src=x onerror=alert(1)> under this device's name",
                device=self.device,
                count=9_841,
                kind="quarantined",
                position=None,
            ),
            RefusedRow(
                at_ms=self.start_ms - 120_000,
                reason="implausible",
                detail="current_ma 300000 is over 100000",
                device=self.device,
                count=1,
                kind="implausible",
                position=600,
            ),
            RefusedRow(
                at_ms=self.start_ms - DAY_MS,
                reason="unknown_device",
                detail="nobody adopted this key",
                device=None,
                count=12,
                kind="quarantined",
                position=None,
            ),
        ]
        return rows[:limit]

    def refused_counts(self) -> dict[str, int]:
        return {"bad_signature": 9_841, "implausible": 1, "unknown_device": 12}

    def steps(self, *, open_only: bool) -> list[StepRow]:
        return [row for row in self.step_rows.values() if not (open_only and row.decided_ms)]

    def notices(self, *, open_only: bool) -> list[NoticeRow]:
        return [row for row in self.notice_rows.values() if not (open_only and row.seen_ms)]

    def devices(self) -> list[DeviceRow]:
        return [
            DeviceRow(
                id=self.device,
                name="Panel lantai 1",
                public_key=self.key.public.hex(),
                adopted_ms=self.start_ms - 60 * DAY_MS,
                revoked_ms=None,
                last_seen_ms=self.start_ms - 3_000,
                epochs=4,
                gaps=(Gap(epoch="07" * 8, first=3, end=5),),
                losses=(Loss(at_ms=self.start_ms - DAY_MS, reason="disk_full", reads=7),),
            ),
            DeviceRow(
                id=envelope.device_id(self.lost_key.public).hex(),
                name="Panel lama",
                public_key=self.lost_key.public.hex(),
                adopted_ms=self.start_ms - 300 * DAY_MS,
                revoked_ms=self.start_ms - 61 * DAY_MS,
                last_seen_ms=None,
                epochs=0,
                gaps=(),
                losses=(),
            ),
        ]


CHECKPOINT = "kos-melati.example/terang\n13000\nnJyc...=\n\n- kos-melati wXyz...=\n"


def block_hash(number: int) -> str:
    """A made-up hash that differs from its neighbours at both ends."""
    return "0x" + leaf_hash(ACT, str(number).encode()).hex()


def _measured(row: ReadingRow) -> dict[str, int | None]:
    return {name: getattr(row, name) for name in quantity.BY_NAME}


class Core:
    """A core behind a real socket: answers questions, tells listeners. `asked` is what it was asked, in order."""

    def __init__(self, house: House) -> None:
        self.house = house
        self.asked: list[Ask] = []
        self.answer: Done | Refused | None = None
        self.listening = threading.Event()
        self.loop: asyncio.AbstractEventLoop | None = None
        self._writers: set[asyncio.StreamWriter] = set()

    @asynccontextmanager
    async def serving(self, path: Path) -> AsyncIterator["Core"]:
        self.loop = asyncio.get_running_loop()
        server = await asyncio.start_unix_server(self._serve, path)
        try:
            yield self
        finally:
            server.close()
            for writer in self._writers:
                writer.close()

    async def tell(self, message: Live | Anchored) -> None:
        for writer in self._writers:
            write_message(writer, message)
            await writer.drain()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while (message := await read_message(reader)) is not None:
                if isinstance(message, Listen):
                    self._writers.add(writer)
                    self.listening.set()
                elif isinstance(message, Ask):
                    self.asked.append(message)
                    write_message(writer, self.answer or self._carry_out(message.by, message.command))
                    await writer.drain()
        finally:
            self._writers.discard(writer)
            writer.close()

    def _carry_out(self, by: str, command: Command) -> Done | Refused:
        now_ms = self.house.clock.now_ms()
        if isinstance(command, DecideStep):
            row = self.house.step_rows[command.step]
            self.house.step_rows[row.id] = replace(
                row, counted_mwh=command.counted_mwh, decided_by=by, decided_ms=now_ms
            )
        if isinstance(command, ConfirmBinding):
            self.house.confirmed[command.address] = now_ms
        if isinstance(command, AckNotice):
            seen = self.house.notice_rows[command.notice]
            self.house.notice_rows[seen.id] = replace(seen, seen_ms=now_ms)
        return Done()

    def live(self, now_ms: int) -> Live:
        """One new reading of every meter that speaks, kept in the house as well."""
        told = []
        for meter in (1, 2, 3):
            row = self.house._row(meter, now_ms)
            self.house.live_rows.setdefault(meter, []).append(row)
            told.append(LiveReading(meter=meter, time_ms=now_ms, position=row.position, **_measured(row)))
        return Live(readings=told)


async def tell(house: House, path: Path) -> None:
    """Readings every second, a block over all of them every third."""
    core = Core(house)
    async with core.serving(path):
        for second in range(10_000):
            await asyncio.sleep(1)
            live = core.live(house.clock.now_ms())
            await core.tell(live)
            if second % 3 == 2:
                size = max(reading.position for reading in live.readings) + 1
                house.anchored_below = size
                await core.tell(Anchored(size=size, block_number=18_000 + size // 6, block_hash=block_hash(size)))


def main() -> None:
    """Both in one process: the house is one object."""
    folder, port = Path(sys.argv[1]), int(sys.argv[2])
    house = House(SystemClock())
    path = folder / "core.sock"
    threading.Thread(target=lambda: asyncio.run(tell(house, path)), daemon=True).start()
    web = WebSettings(state_dir=folder / "web", port=port, rpc_url="http://127.0.0.1:8545")
    run_web(web, lambda: house, path, load_pages())


if __name__ == "__main__":
    main()
