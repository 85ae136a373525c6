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
        self._buffer = bytearray()

    def feed(self, data: bytes) -> list[Connack | Suback | Publish]:
        """The packets that are complete with `data`; BrokerError where the stream is not MQTT."""
        buffer = self._buffer
        buffer += data
        packets: list[Connack | Suback | Publish] = []
        at, end = 0, len(buffer)
        while end - at >= 2:
            length, body = buffer[at + 1], at + 2
            if length & 0x80:
                length, body = _long_length(buffer, at)
                if body == 0:
                    break
            if body + length > end:
                break
            first = buffer[at]
            kind = first >> 4
            if kind == 3:
                packets.append(_read_publish(first, bytes(buffer[body : body + length])))
            elif kind == 2:
                packets.append(Connack(bool(buffer[body] & 1), buffer[body + 1]))
            elif kind == 9:
                packets.append(Suback(buffer[body] << 8 | buffer[body + 1], bytes(buffer[body + 2 : body + length])))
            at = body + length
        del buffer[:at]
        return packets


def _long_length(buffer: bytearray, at: int) -> tuple[int, int]:
    """(length, where the body begins); 0 for the second while the length itself is not complete."""
    length = shift = 0
    for i in range(at + 1, min(at + 5, len(buffer))):
        length |= (buffer[i] & 0x7F) << shift
        if not buffer[i] & 0x80:
            if length > _LIMIT:
                raise BrokerError("the broker sent a packet over 2 MB")
            return length, i + 1
        shift += 7
    if len(buffer) - at >= 5:
        raise BrokerError("what the broker sent is not MQTT")
    return 0, 0


def _read_publish(first: int, body: bytes) -> Publish:
    end = 2 + (body[0] << 8 | body[1])
    topic = body[2:end].decode("utf-8", "replace")
    if first & 0x06:
        return Publish(topic, body[end + 2 :], body[end] << 8 | body[end + 1])
    return Publish(topic, body[end:], 0)


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
