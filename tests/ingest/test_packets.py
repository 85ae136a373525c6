"""MQTT packets: however the bytes are cut, and whatever is not MQTT."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from terang.ingest import packets
from terang.ingest.packets import Connack, Parser, Publish, Suback
from terang.values.errors import BrokerError

topics = st.text(min_size=1, max_size=30)
messages = st.builds(Publish, topics, st.binary(max_size=400), st.integers(0, 65_535))
anything = st.one_of(
    messages,
    st.builds(Connack, st.booleans(), st.integers(0, 5)),
    st.builds(Suback, st.integers(1, 9), st.binary(min_size=1, max_size=3)),
)


def wire(packet):
    """The bytes of what a broker sends."""
    if isinstance(packet, Publish):
        return packets.publish(*packet)
    if isinstance(packet, Connack):
        return bytes((0x20, 2, packet.session_present, packet.code))
    body = packet.packet_id.to_bytes(2, "big") + packet.codes
    return bytes((0x90, len(body))) + body


@given(sent=st.lists(anything, max_size=8), cuts=st.lists(st.integers(1, 500), min_size=1, max_size=20))
def test_packets_come_out_however_the_stream_is_cut(sent, cuts):
    """All at once, byte by byte or in any pieces: the same packets."""
    stream = b"".join(map(wire, sent)) + b"\xd0\x00"
    for sizes in (cuts, [1], [len(stream)]):
        parser, found, at, turn = Parser(), [], 0, 0
        while at < len(stream):
            size = sizes[turn % len(sizes)]
            found += parser.feed(stream[at : at + size])
            at, turn = at + size, turn + 1
        assert found == sent


def test_garbage_is_refused_or_ignored_never_a_crash(soak):
    """Random bytes, and changed bytes in good packets: BrokerError or packets, and no other exception."""
    generator = random.Random(9)
    good = b"".join(
        map(
            wire,
            [Connack(False, 0), Publish("terang/v1/a/up", b"x" * 200, 7), Suback(1, b"\x01"), Publish("t", b"", 0)],
        )
    )
    refused = 0
    for _ in range(soak(200_000, 5_000)):
        data = bytearray(generator.randbytes(generator.randrange(1, 60)) if generator.random() < 0.3 else good)
        for _ in range(generator.randrange(4)):
            data[generator.randrange(len(data))] = generator.randrange(256)
        parser = Parser()
        try:
            for packet in parser.feed(bytes(data)):
                assert isinstance(packet, (Publish, Connack, Suback))
        except BrokerError:
            refused += 1
    assert refused > 100


@pytest.mark.parametrize(
    "data",
    [
        b"\x20\x00", b"\x20\x01\x00", b"\x90\x02\x00\x01", b"\x30\x00", b"\x30\x02\x00\x05", b"\x30\x03\x00\x05a",
        b"\x32\x03\x00\x01a", b"\x32\x05\x00\x01a\x00\x00", b"\x36\x05\x00\x01a\x00\x01", b"\x30\xff\xff\xff\xff\x01",
    ],
)  # fmt: skip
def test_packets_that_lie_about_themselves_are_refused(data):
    """Too short for what they say, QoS 3, a message to be acknowledged without a number, an endless length; whatever
    follows, nothing is read from it.
    """
    with pytest.raises(BrokerError):
        Parser().feed(data + wire(Publish("topic/of/another", b"payload", 9)))


@pytest.mark.parametrize("size", [(1 << 21) + 1, 5_000_000, 250_000_000])
def test_an_enormous_message_is_given_by_its_beginning(size):
    """So that it can be acknowledged as too large; what follows comes out whole, and the memory stays small."""
    body = b"\x00\x05topic" + (77).to_bytes(2, "big")
    head, length = bytearray(b"\x32"), size
    while True:
        length, digit = length >> 7, length & 0x7F
        head.append(digit | (0x80 if length else 0))
        if not length:
            break
    parser, found = Parser(), []
    found += parser.feed(bytes(head) + body)
    left, block = size - len(body), b"x" * 1_000_000
    while left:
        found += parser.feed(block[:left])
        assert len(parser._rest) < 1_200_000
        left -= min(left, len(block))
    after = Publish("next", b"whole", 3)
    found += parser.feed(wire(after))
    large, last = found
    assert isinstance(large, Publish)
    assert (large.topic, large.packet_id) == ("topic", 77)
    assert 100_000 < len(large.payload) < 200_000
    assert last == after


def test_what_the_platform_says():
    """CONNECT with a persistent session and a login, SUBSCRIBE at QoS 1, PUBACK, DISCONNECT: the bytes of the
    standard.
    """
    said = packets.connect(client_id="c", username="u", password="p", keepalive_s=30, clean=False)
    assert said == b"\x10\x13\x00\x04MQTT\x04\xc0\x00\x1e\x00\x01c\x00\x01u\x00\x01p"
    assert packets.subscribe(1, ["a/b"]) == b"\x82\x08\x00\x01\x00\x03a/b\x01"
    assert packets.puback(258) == b"\x40\x02\x01\x02"
    assert packets.disconnect() == b"\xe0\x00"
    assert packets.publish("t", b"x" * 200)[:3] == b"\x30\xcb\x01"
