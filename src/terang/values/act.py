"""What the platform itself states in the log: who adopted which key, which meter measured which room, what a person
decided. Signed with the platform's key; numbers of people and rooms, never their names.
"""

from typing import NamedTuple

from terang.values import cbor
from terang.values.errors import CodecError
from terang.values.signing import KeyPair, open_statement, sign_statement

__all__ = ["CONTEXT", "Act", "open_act", "sign_act"]

CONTEXT = b"terang/v1/act"
_VERSION = 1
_FORM = [int, str, int, int, list]


class Act(NamedTuple):
    """`name` of what was done, UTC, the number of the person (0: the command line), and its `values`."""

    name: str
    at_ms: int
    person: int
    values: tuple[int | str | bytes, ...]


def sign_act(key: KeyPair, act: Act) -> bytes:
    """The exact bytes of an act, as they stand in the log."""
    payload = cbor.encode([_VERSION, act.name, act.at_ms, act.person, list(act.values)])
    return sign_statement(key, payload, CONTEXT)


def open_act(public_key: bytes, data: bytes) -> Act:
    """The act that these bytes state; CodecError or SignatureError where they are none of this platform."""
    value = cbor.decode(open_statement(public_key, data, CONTEXT))
    if not isinstance(value, list) or [type(item) for item in value] != _FORM or value[0] != _VERSION:
        raise CodecError("this is not an act of the platform")
    return Act(value[1], value[2], value[3], tuple(value[4]))
