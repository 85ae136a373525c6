"""A house in whose log stands everything that a log may hold; for tests of what reads a whole log."""

from terang.testing import FakeDevice, moment
from terang.values.command import (
    AddRoom,
    AddUser,
    ConfirmBinding,
    DecideStep,
    EndTenancy,
    PlaceMeter,
    RevokeDevice,
    StartTenancy,
)
from terang.values.envelope import FIRST_PREVIOUS, Envelope
from terang.values.reading import Event

__all__ = ["BEGIN", "HOUR", "fill"]

BEGIN = 1_763_600_400_000
HOUR = 3_600_000


def fill(platform, n, *, per=60):
    """A house with n readings in envelopes of 60 and of 1, and with everything else that a log may hold."""
    one, two, gone = FakeDevice(1), FakeDevice(2), FakeDevice(3)
    platform.adopt(one, two, gone)
    platform.order(AddUser(name="ibu", password_hash="$argon2id$x", role="owner"))
    platform.order(AddUser(name="budi", password_hash="$argon2id$x", role="tenant"))
    for name in ("Kamar 1", "Kamar 2"):
        platform.order(AddRoom(name=name))
        platform.order(PlaceMeter(device=one.id.hex(), address=1, room=name))
    platform.order(StartTenancy(room="Kamar 1", user="budi"))
    platform.order(EndTenancy(room="Kamar 1"))
    platform.order(StartTenancy(room="Kamar 2", user="budi"))
    platform.order(ConfirmBinding(device=one.id.hex(), address=1), by="budi")
    platform.clock.set_now_ms(BEGIN + 40 * 24 * HOUR + n * 1000)
    platform.order(RevokeDevice(device=gone.id.hex(), reason="stolen"))
    odd = [
        one.readings([moment(0)], utc_ms=None, uptime_ms=5_000),
        one.readings([moment(0), moment(1)], utc_ms=None, uptime_ms=10_000),
        one.time(20_000, BEGIN - 10_000),
        two.readings([moment(5)], utc_ms=None, uptime_ms=1_000),  # never dated
        two.readings([(999_999, *moment(0)[1:])], utc_ms=BEGIN),
        one.lost(4, 4, reads=7, reason="disk_full"),
        two.lost(50, 60, reads=9, reason="outbox_full"),
        one.event("bus_dead", 3),
        one.sign(Envelope(4, one.id, one.epoch, 0, FIRST_PREVIOUS, 1, 0, 0, None, 0, Event("start", 1))),
    ]
    platform.take_all(odd)
    made, at, energy, i = [], BEGIN, 0, 0
    while n > 0:
        size = min(n, per if i % 4 else 1)
        device = one if i % 2 else two
        fallen = energy // 7 if i % 50 == 49 and i < 500 else energy
        values = [moment(fallen + 60 * k, 200_000 + k) for k in range(size)]
        energy = fallen + 60 * size
        made.append(device.readings(values, utc_ms=at, meter=1 + i % 3))
        at += size * 1000 if i % 20 else HOUR
        n -= size
        i += 1
        if len(made) == 2000:
            platform.take_all(made)
            made = []
    platform.take_all(made)
    late = one.readings([moment(100)], utc_ms=BEGIN + 3_500, meter=1)
    platform.take(late)
    steps = platform.writer.rows("SELECT id, provisional_mwh FROM step ORDER BY id")
    platform.order(DecideStep(step=steps[0][0], counted_mwh=steps[0][1] // 3), by="ibu")
    platform.order(DecideStep(step=steps[1][0], counted_mwh=0))
    platform.anchor()
    platform.take(two.event("start"))
    platform.anchor()
