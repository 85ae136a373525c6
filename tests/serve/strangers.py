"""Somebody who can publish and means no good: what such a person sends, and with which reason it must be refused."""

import random
import threading
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple, Self

from paho.mqtt.client import Client, MQTTMessage, MQTTMessageInfo
from paho.mqtt.enums import CallbackAPIVersion
from tests.serve.house import until

from terang.testing import FakeDevice

__all__ = ["Forgery", "Stranger", "forgeries", "reasons"]

VALUES = (220_000, 500, 110_000, 7_000, 50_000, 1000)
_SIGNATURE_BYTES = 64
_MEGABYTE = 1 << 20


class Forgery(NamedTuple):
    """Bytes, and the reason with which they are refused; '' for a replay, which changes nothing and is no refusal."""

    reason: str
    data: bytes


class Stranger:
    """One connection to a broker, with a login or without; remembers what it hears."""

    def __init__(self, port: int, username: str = "", password: str = "", *, listen: Sequence[str] = ()) -> None:
        self.heard: list[tuple[str, bytes]] = []
        self.refused = ""
        self._listen = [(topic, 1) for topic in listen]
        self._ready = threading.Event()
        self._client = Client(CallbackAPIVersion.VERSION2, client_id=f"stranger-{random.SystemRandom().random()}")
        if username:
            self._client.username_pw_set(username, password)
        self._client.max_inflight_messages_set(200)
        self._client.on_connect = self._on_connect
        self._client.on_message = self._on_message
        self._client.on_subscribe = lambda *_: self._ready.set()
        self._client.connect("127.0.0.1", port)

    def __enter__(self) -> Self:
        self._client.loop_start()
        until("the broker to answer the stranger", lambda: self._ready.is_set() or self.refused)
        return self

    def __exit__(self, *_: object) -> None:
        self._client.disconnect()
        self._client.loop_stop()

    def _on_connect(self, client: Client, _data: object, _flags: object, code: object, _more: object) -> None:
        if getattr(code, "is_failure", False):
            self.refused = str(code)
        elif self._listen:
            client.subscribe(self._listen)
        else:
            self._ready.set()

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self.heard.append((message.topic, bytes(message.payload)))

    def publish(self, topic: str, payloads: Sequence[bytes]) -> None:
        """Publish all of them, and wait until the broker has acknowledged each."""
        sent: list[MQTTMessageInfo] = [self._client.publish(topic, payload, qos=1) for payload in payloads]
        until(f"{len(sent)} acknowledgements", lambda: all(info.is_published() for info in sent), 300)

    def shout(self, topic: str, payloads: Sequence[bytes]) -> None:
        """Send all of them off, and wait for no answer: a broker may hang up on who does what it does not allow."""
        for payload in payloads:
            self._client.publish(topic, payload, qos=0)
        until("all to be on their way", lambda: not self._client.want_write())


def forgeries(n: int, chance: random.Random, victim: bytes, true: Sequence[bytes]) -> list[Forgery]:
    """n things to publish in the name of the device with this id, of which `true` are envelopes; one of 1 MB."""
    makers = [_tampered, _signed_by_another, _gapped, _unknown_device, _noise, _other_header, _too_large, _replay]
    found = [makers[i % len(makers)](chance, victim, true) for i in range(n - 1)]
    return [Forgery("too_large", chance.randbytes(_MEGABYTE)), *found]


def reasons(forged: Sequence[Forgery]) -> Counter[str]:
    """How often each reason must be counted."""
    return Counter(item.reason for item in forged if item.reason)


def _tampered(chance: random.Random, _victim: bytes, true: Sequence[bytes]) -> Forgery:
    """A true envelope of which one bit of the signature, or of the last value before it, was turned."""
    data = bytearray(chance.choice(true))
    data[-chance.randrange(1, _SIGNATURE_BYTES)] ^= 1 << chance.randrange(8)
    return Forgery("bad_signature", bytes(data))


def _signed_by_another(chance: random.Random, victim: bytes, _true: Sequence[bytes]) -> Forgery:
    """A well-made envelope of the victim that another key has signed: at the places that come next."""
    return Forgery("bad_signature", _as(victim, chance, sequence=chance.randrange(50)))


def _gapped(chance: random.Random, victim: bytes, _true: Sequence[bytes]) -> Forgery:
    """The same far ahead: taken for true it would make the platform wait for what will never come."""
    return Forgery("bad_signature", _as(victim, chance, sequence=chance.randrange(1_000, 1 << 40)))


def _as(victim: bytes, chance: random.Random, *, sequence: int) -> bytes:
    device = FakeDevice(chance.getrandbits(200))
    device.id, device.sequence = victim, sequence
    device.epoch = chance.randbytes(8)
    return device.readings([VALUES], utc_ms=1_800_000_000_000)


def _unknown_device(chance: random.Random, _victim: bytes, _true: Sequence[bytes]) -> Forgery:
    """A rightly signed envelope of a device that nobody has adopted."""
    return Forgery("unknown_device", FakeDevice(chance.getrandbits(200)).readings([VALUES], utc_ms=1_800_000_000_000))


def _noise(chance: random.Random, _victim: bytes, _true: Sequence[bytes]) -> Forgery:
    return Forgery("broken", b"\x00" + chance.randbytes(chance.randrange(400)))


def _other_header(chance: random.Random, _victim: bytes, true: Sequence[bytes]) -> Forgery:
    """A true envelope with another algorithm in its header."""
    data = bytearray(chance.choice(true))
    data[5] ^= 1
    return Forgery("not_canonical", bytes(data))


def _too_large(chance: random.Random, _victim: bytes, true: Sequence[bytes]) -> Forgery:
    return Forgery("too_large", chance.choice(true) + bytes(chance.randrange(16_384, 20_000)))


def _replay(chance: random.Random, _victim: bytes, true: Sequence[bytes]) -> Forgery:
    return Forgery("", chance.choice(true))
