"""The few packets of MQTT 3.1.1 (OASIS, 2014) that taking envelopes and sending receipts need."""

import struct
from typing import NamedTuple

from terang.values.errors import BrokerError

__all__ = [
    "PINGREQ",
    "Connack",
    "Parser",
    "Publish",
    "Suback",
    "connect",
    "disconnect",
    "puback",
    "publish",
    "subscribe",
]

PINGREQ = b"\xc0\x00"
_LIMIT = 1 << 21
_BEGINNING = 1 << 17  # of a larger message: more than any topic and envelope
_NOT_MQTT = "what the broker sent is not MQTT"
_TOPICS = 10_000  # of devices that spoke lately; decoding their names is a tenth of the work


class Connack(NamedTuple):
    """The broker's answer to CONNECT; 0 is welcome."""

    session_present: bool
    code: int


class Suback(NamedTuple):
    """The broker's answer to SUBSCRIBE: the granted QoS of each topic, 128 for none."""

    packet_id: int
    codes: bytes


class Publish(NamedTuple):
    """A message; `packet_id` is 0 at QoS 0, and else has to be acknowledged."""

    topic: str
    payload: bytes
    packet_id: int


def connect(*, client_id: str, username: str, password: str, keepalive_s: int, clean: bool) -> bytes:
    """CONNECT with a persistent session unless `clean`."""
    flags = (0xC0 if username else 0) | (0x02 if clean else 0)
    body = _text("MQTT") + bytes((4, flags)) + struct.pack(">H", keepalive_s) + _text(client_id)
    if username:
        body += _text(username) + _text(password)
    return _packet(0x10, body)


def subscribe(packet_id: int, topics: list[str]) -> bytes:
    """SUBSCRIBE to each topic at QoS 1."""
    return _packet(0x82, struct.pack(">H", packet_id) + b"".join(_text(topic) + b"\x01" for topic in topics))


def publish(topic: str, payload: bytes, packet_id: int = 0) -> bytes:
    """PUBLISH: at QoS 1 with a packet id, at QoS 0 without."""
    if packet_id:
        return _packet(0x32, _text(topic) + struct.pack(">H", packet_id) + payload)
    return _packet(0x30, _text(topic) + payload)


def puback(packet_id: int) -> bytes:
    """PUBACK for a message."""
    return b"\x40\x02" + packet_id.to_bytes(2, "big")


def disconnect() -> bytes:
    """DISCONNECT: a clean end."""
    return b"\xe0\x00"


class Parser:
    """Cuts a stream of bytes into packets."""

    def __init__(self) -> None:
        self._rest = b""
        self._skip = 0
        self._topics: dict[bytes, str] = {}

    def feed(self, data: bytes) -> list[Connack | Suback | Publish]:
        """The packets that are complete with `data`; BrokerError where the stream is not MQTT.

        Of a message over 2 MB only the beginning is given, or one such message would end every connection anew.
        """
        if self._skip:
            skipped = min(self._skip, len(data))
            self._skip -= skipped
            data = data[skipped:]
        buffer = self._rest + data if self._rest else data
        packets: list[Connack | Suback | Publish] = []
        at, end = 0, len(buffer)
        while end - at >= 2:
            length, body = buffer[at + 1], at + 2
            if length & 0x80:
                length, body = _long_length(buffer, at)
                if body == 0:
                    break
            given = length if length <= _LIMIT else _BEGINNING
            if body + given > end:
                break
            packet = self._read(buffer[at], buffer, body, body + given)
            if packet is not None:
                packets.append(packet)
            at = body + length
        self._skip += max(0, at - end)
        self._rest = buffer[at:]
        return packets

    def _read(self, first: int, data: bytes, at: int, end: int) -> Connack | Suback | Publish | None:
        kind = first >> 4
        if kind == 3:
            return self._read_publish(first, data, at, end)
        if kind == 2 and end - at == 2:
            return Connack(bool(data[at] & 1), data[at + 1])
        if kind == 9 and end - at > 2:
            return Suback(data[at] << 8 | data[at + 1], data[at + 2 : end])
        if kind in (2, 9) or end - at >= _BEGINNING:
            raise BrokerError(_NOT_MQTT)
        return None

    def _read_publish(self, first: int, data: bytes, at: int, end: int) -> Publish:
        qos = first & 0x06
        topic_end = at + 2 + (data[at] << 8 | data[at + 1]) if end - at > 2 else end + 1
        payload_at = topic_end + 2 if qos else topic_end
        if payload_at > end or qos == 0x06:
            raise BrokerError(_NOT_MQTT)
        raw = data[at + 2 : topic_end]
        topic = self._topics.get(raw)
        if topic is None:
            topic = raw.decode("utf-8", "replace")
            if len(self._topics) < _TOPICS:
                self._topics[raw] = topic
        packet_id = data[topic_end] << 8 | data[topic_end + 1] if qos else 0
        if qos and not packet_id:
            raise BrokerError(_NOT_MQTT)
        return Publish(topic, data[payload_at:end], packet_id)


def _long_length(buffer: bytes, at: int) -> tuple[int, int]:
    """(length, where the body begins); 0 for the second while the length itself is not complete."""
    length = shift = 0
    for i in range(at + 1, min(at + 5, len(buffer))):
        length |= (buffer[i] & 0x7F) << shift
        if not buffer[i] & 0x80:
            return length, i + 1
        shift += 7
    if len(buffer) - at >= 5:
        raise BrokerError(_NOT_MQTT)
    return 0, 0


def _text(text: str) -> bytes:
    data = text.encode()
    return struct.pack(">H", len(data)) + data


def _packet(first: int, body: bytes) -> bytes:
    length, head = len(body), bytearray((first,))
    while True:
        length, digit = length >> 7, length & 0x7F
        head.append(digit | (0x80 if length else 0))
        if not length:
            return bytes(head) + body
