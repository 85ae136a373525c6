"""What the codec makes of a case; runs under CPython and MicroPython, which must agree.

A case is ("encode", value as `shown` shows it) or (what, hex) with what one of value, payload, statement, down.
"""

import binascii

from terang.values import cbor, envelope, quantity, reading, receipt


def answer(case):
    """Something JSON can carry; raises what the codec raises."""
    what, given = case
    if what == "encode":
        return _hex(cbor.encode(meant(given)))
    data = binascii.unhexlify(given)
    if what == "value":
        value = cbor.decode(data)
        return [shown(value), _hex(cbor.encode(value))]
    if what == "payload":
        said = envelope.decode_payload(data)
        codes = sorted(said.body.columns) if isinstance(said.body, reading.Readings) else []
        known = [quantity.BY_CODE[code].name for code in codes if code in quantity.BY_CODE]
        return [shown(said), known, _hex(envelope.encode_payload(said))]
    if what == "statement":
        payload, signature = envelope.split(data)
        hashed = envelope.envelope_hash(data)
        again = envelope.seal(payload, signature)
        signed = envelope.signing_input(payload)
        return [_hex(part) for part in (payload, signature, hashed, again, signed, envelope.device_id(signature))]
    if what == "down":
        message = receipt.decode_down(data)
        return [shown(message), _hex(receipt.encode_down(message))]
    raise ValueError("no such case: " + what)


def _hex(data):
    return binascii.hexlify(data).decode()


def shown(value):
    """A value in JSON's types, so that two interpreters show it alike; a dict comes in the order of its keys."""
    if value is None or isinstance(value, (int, str)):
        return value
    if isinstance(value, bytes):
        return {"bytes": _hex(value)}
    if isinstance(value, dict):
        return {"map": [[shown(key), shown(value[key])] for key in sorted(value)]}
    if isinstance(value, tuple):
        return {"tuple": [shown(item) for item in value], "type": type(value).__name__}
    return [shown(item) for item in value]


def meant(value):
    """The value that `shown` shows so."""
    if isinstance(value, list):
        return [meant(item) for item in value]
    if not isinstance(value, dict):
        return value
    if "bytes" in value:
        return binascii.unhexlify(value["bytes"])
    if "map" in value:
        return {meant(key): meant(item) for key, item in value["map"]}
    return tuple([meant(item) for item in value["tuple"]])
