"""From bytes to an envelope of a known device, or to the reason why not."""

import random

import pytest

from terang.testing import FakeDevice
from terang.values import envelope
from terang.values.envelope import Envelope
from terang.values.reading import Event, Lost, Readings, TimeFix
from terang.verify.envelopes import NUMBER_LIMIT, Opened, Opener, Refusal
from terang.verify.plausible import implausible
from terang.verify.signatures import check_claims

VALUES = (220_000, 1_000, 220_000, 5_000, 50_000, 1_000)
NOW = 1_763_600_000_000
NEEDED = (1, 2, 3, 4, 5, 6)


class Keyring:
    """Adopted devices."""

    def __init__(self, *devices):
        self.keys = {device.id: device.key.public for device in devices}
        self.revoked = set()

    def public_key(self, device):
        return self.keys.get(device)

    def is_revoked(self, device):
        return device in self.revoked


def open_envelope(data, keys):
    """All three steps."""
    opener = Opener(keys)
    found = opener.read(data)
    if isinstance(found, Refusal):
        return found
    return opener.admit(found, is_signed=check_claims([found[1]])[0])


@pytest.fixture
def device():
    return FakeDevice(1)


def test_an_envelope_of_a_known_device_is_opened(device):
    """All fields and the body are those that the device signed; the leaf is the hash that its next envelope names."""
    data = device.readings([VALUES, VALUES], utc_ms=NOW, meter=7, uptime_ms=99)
    found = open_envelope(data, Keyring(device))
    assert isinstance(found, Opened)
    assert (found.device, found.sequence, found.meter, found.uptime_ms, found.utc_ms) == (device.id, 0, 7, 99, NOW)
    assert found.body == Readings((0, 1000), {code: (VALUES[code - 1],) * 2 for code in NEEDED})
    assert found.leaf == device.previous
    assert found.fault is None


def test_each_trouble_has_its_word(device):
    """Too large, not canonical, broken, unknown, revoked and badly signed are told apart, with the device if known."""
    keys = Keyring(device)
    good = device.readings([VALUES], utc_ms=NOW)
    stranger = FakeDevice(2)
    forged = bytearray(good)
    forged[-1] ^= 1
    cases = {
        "too_large": good + bytes(16_384),
        "not_canonical": good[:5] + b"\x26" + good[6:],
        "broken": b"hello",
        "unknown_device": stranger.readings([VALUES], utc_ms=NOW),
        "bad_signature": bytes(forged),
    }
    for reason, data in cases.items():
        found = open_envelope(data, keys)
        assert isinstance(found, Refusal), reason
        assert found.reason == reason
        assert found.detail
    keys.revoked.add(device.id)
    found = open_envelope(good, keys)
    assert isinstance(found, Refusal)
    assert (found.reason, found.device) == ("revoked_device", device.id)


def test_a_signed_body_that_cannot_be_read_is_opened_with_its_fault(device):
    """It was signed, so it uses up its sequence; the fault says what is wrong."""
    payload = envelope.encode_payload(
        Envelope(1, device.id, device.epoch, 0, bytes(32), 1, 0, 0, NOW, 1, Readings((0,), {1: (5,)}))
    )
    for broken in (payload + b"\x00", payload[:-2], payload[:-1] + b"\xff\xff"):
        data = envelope.seal(broken, device.key.sign(envelope.signing_input(broken)))
        found = open_envelope(data, Keyring(device))
        assert isinstance(found, Opened)
        assert found.fault is not None
        assert found.fault.startswith("broken: ")
        assert found.body is None


@pytest.mark.parametrize("field", ["sequence", "meter"])
def test_numbers_that_no_store_holds_are_refused(device, field):
    """A sequence or address of 2**62 and more never reaches the store, signed or not."""
    head = {"sequence": 0, "meter": 1} | {field: NUMBER_LIMIT}
    fields = Envelope(
        4, device.id, device.epoch, head["sequence"], bytes(32), head["meter"], 0, 0, None, 0, Event("start", 0)
    )
    found = open_envelope(device.sign(fields), Keyring(device))
    assert isinstance(found, Refusal)
    assert found.reason == "broken"


def test_mutated_envelopes_are_refused_whatever_they_are(device, soak):
    """Of envelopes with changed, cut or added bytes none opens; and none raises."""
    generator, keys = random.Random(3), Keyring(device)
    good = [
        device.readings([VALUES] * 3, utc_ms=NOW),
        device.readings([VALUES], utc_ms=None),
        device.lost(5, 9),
        device.time(5, NOW),
        device.event("start"),
    ]
    for _ in range(soak(100_000, 5_000)):
        data = bytearray(generator.choice(good))
        for _ in range(generator.randrange(1, 4)):
            at = generator.randrange(len(data))
            change = generator.randrange(4)
            if change == 0:
                data[at] ^= 1 << generator.randrange(8)
            elif change == 1:
                del data[at:]
            elif change == 2:
                data.insert(at, generator.randrange(256))
            else:
                data[at : at + generator.randrange(8)] = generator.randbytes(generator.randrange(8))
            if not data:
                data = bytearray(b"\xd2")
        if bytes(data) not in good:
            assert isinstance(open_envelope(bytes(data), keys), Refusal)


def opened_with(device, kind, body, **changes):
    """An envelope of this body as the opener gives it."""
    data = device.say(kind, body, **changes)
    found = open_envelope(data, Keyring(device))
    assert isinstance(found, Opened)
    return found


@pytest.mark.parametrize(
    ("column", "value", "word"),
    [(0, 300_001, "voltage"), (1, 100_001, "current"), (1, 300_000, "current"), (2, 26_000_001, "power"),
     (2, -26_000_001, "power"), (3, -1, "energy"), (4, 65_001, "frequency"), (5, 1_001, "power_factor")],
)  # fmt: skip
def test_a_value_out_of_range_is_implausible(device, column, value, word):
    """One value among many beyond what the meter can show: the reason names the quantity."""
    values = [VALUES] * 3
    values[1] = (*VALUES[:column], value, *VALUES[column + 1 :])
    found = open_envelope(device.readings(values, utc_ms=NOW), Keyring(device))
    assert isinstance(found, Opened)
    reason = implausible(found, found.body, NEEDED)
    assert reason is not None
    assert reason.startswith(word)


def test_the_ranges_themselves_are_plausible(device):
    """The least and the greatest values are taken, negative power too; an hour of readings, not more."""
    for values in [(0, 0, -26_000_000, 0, 0, 0), (300_000, 100_000, 26_000_000, 4_294_967_295_000, 65_000, 1_000)]:
        found = open_envelope(device.readings([values], utc_ms=NOW), Keyring(device))
        assert isinstance(found, Opened)
        assert implausible(found, found.body, NEEDED) is None
    for last, allowed in [(3_600_000, True), (3_600_001, False)]:
        found = open_envelope(device.readings([VALUES] * 2, offsets_ms=(0, last), utc_ms=NOW), Keyring(device))
        assert isinstance(found, Opened)
        assert (implausible(found, found.body, NEEDED) is None) is allowed


@pytest.mark.parametrize(
    ("utc_ms", "allowed"),
    [(0, False), (1_704_067_199_999, False), (1_704_067_200_000, True), (NOW, True), (NOW + 86_400_000, True),
     (NOW + 86_400_001, True), (4_102_444_800_000, False), (-NOW, False), (1 << 63, False)],
)  # fmt: skip
def test_a_clock_of_1970_or_2100_is_implausible(device, utc_ms, allowed):
    """Before 2024 or after 2099: set aside with the reason. A clock that is only ahead of ours may be the right one."""
    found = open_envelope(device.readings([VALUES], utc_ms=utc_ms), Keyring(device))
    assert isinstance(found, Opened)
    reason = implausible(found, found.body, NEEDED)
    assert (reason is None) is allowed
    assert allowed or (reason or "").startswith("time")


@pytest.mark.parametrize(
    ("kind", "body"),
    [
        (2, Lost(bytes(8), 0, (1 << 32) + 1, 0, 0, 0, "x")),
        (2, Lost(bytes(8), 1 << 63, (1 << 63) + 1, 0, 0, 0, "x")),
        (2, Lost(bytes(8), 0, 1, 0, 1 << 63, 0, "x")),
        (2, Lost(bytes(8), 0, 1, 0, 0, 1 << 63, "x")),
        (3, TimeFix(bytes(8), 1 << 63, NOW, 1)),
        (3, TimeFix(bytes(8), 5, 5, 1)),
    ],
)
def test_what_no_device_can_mean_is_implausible(device, kind, body):
    """Ranges, counts and uptimes beyond all use, which a store of 64 bits could not hold either."""
    found = opened_with(device, kind, body)
    assert implausible(found, body, NEEDED) is not None


def test_missing_and_unknown_quantities_are_implausible(device):
    """A quantity that the kit needs, or a code that nobody knows: named in the reason."""
    lacking = opened_with(device, 1, Readings((0,), {1: (5,), 2: (5,)}), utc_ms=NOW)
    assert "missing" in (implausible(lacking, lacking.body, NEEDED) or "")
    strange = opened_with(device, 1, Readings((0,), {99: (5,)}), utc_ms=NOW)
    assert "99" in (implausible(strange, strange.body, NEEDED) or "")
