"""From bytes off the wire to an envelope of a known device, or to the reason why not.

A refusal is a value, not an exception: it is counted, kept in the quarantine and shown to the owner. Only bytes whose
signature verifies may use up a sequence number; everything else could have been sent by a stranger.
"""

from typing import NamedTuple, Protocol

from terang.values import envelope as envelopes
from terang.values.errors import CodecError, NotCanonical, TooLarge
from terang.values.reading import Event, Lost, Readings, TimeFix, decode_body
from terang.values.shapes import Shapes

__all__ = ["NUMBER_LIMIT", "Body", "Claim", "Keys", "Opened", "Opener", "Refusal"]

NUMBER_LIMIT = 1 << 62
"""Sequences and addresses stay below, so that a store of signed 64-bit numbers holds them."""

Body = Readings | Lost | TimeFix | Event
"""What an envelope may say."""


class Keys(Protocol):
    """Where public keys of adopted devices are found."""

    def public_key(self, device: bytes) -> bytes | None:
        """The 32-byte key of this device (16 bytes of id); None where it is unknown."""
        ...

    def is_revoked(self, device: bytes) -> bool:
        """Whether the owner has revoked this device."""
        ...


class Refusal(NamedTuple):
    """Why bytes are no envelope of ours: `reason` is one word that is counted, `detail` a sentence."""

    reason: str
    detail: str
    device: bytes | None


class Opened(NamedTuple):
    """What an envelope says. `body_at` is where the body begins in `payload`; `leaf` its leaf hash."""

    data: bytes
    payload: bytes
    body_at: int
    leaf: bytes
    kind: int
    device: bytes
    epoch: bytes
    sequence: int
    previous: bytes
    meter: int
    attested_by: int
    uptime_ms: int
    utc_ms: int | None
    clock: int
    body: Body | None
    fault: str | None


class Claim(NamedTuple):
    """Who is said to have signed what: checked by `verify.signatures`. `is_new` says that the shape was not known."""

    public_key: bytes
    payload: bytes
    signature: bytes
    is_new: bool


class Opener:
    """Opens envelopes in two steps, so that the signatures between can be checked elsewhere, many at once.

    Pure but for the shapes it remembers; one thread at a time.
    """

    def __init__(self, keys: Keys) -> None:
        self._keys = keys
        self._shapes = Shapes()

    def read(self, data: bytes) -> tuple[Opened, Claim] | Refusal:
        """What `data` says and who is said to have signed it, or the reason why it is refused: too_large,
        not_canonical, broken, unknown_device or revoked_device.

        A body that cannot be read is no reason: if it is signed it uses up its sequence. `fault` says what is wrong.
        """
        device = None
        try:
            payload, signature = envelopes.split(data)
            decoded = self._shapes.decode(payload)
            fields, body_at = decoded[:2] if decoded else envelopes.split_payload(payload)
            device = fields[1]
            if fields[3] >= NUMBER_LIMIT or fields[5] >= NUMBER_LIMIT:
                return Refusal("broken", "a sequence or a meter's address is larger than any device counts", device)
            public_key = self._keys.public_key(device)
            if public_key is None:
                return Refusal("unknown_device", "no device with this key was adopted", device)
            if self._keys.is_revoked(device):
                return Refusal("revoked_device", "the owner has revoked this device", device)
        except TooLarge as error:
            return Refusal("too_large", str(error), device)
        except NotCanonical as error:
            return Refusal("not_canonical", str(error), device)
        except CodecError as error:
            return Refusal("broken", str(error), device)
        body, fault = (decoded.body, None) if decoded else _read_body(fields[0], payload, body_at)
        opened = Opened._make((data, payload, body_at, envelopes.envelope_hash(data), *fields, body, fault))
        return opened, Claim(public_key, payload, signature, decoded is None)

    def admit(self, found: tuple[Opened, Claim] | Refusal, *, is_signed: bool) -> Opened | Refusal:
        """The envelope, or the reason bad_signature, once the claim was checked."""
        if isinstance(found, Refusal):
            return found
        opened, claim = found
        if not is_signed:
            return Refusal("bad_signature", "the signature does not verify under the device's key", opened.device)
        if claim.is_new and opened.fault is None:
            self._shapes.learn(opened.payload)  # only what a device has signed may teach shapes
        return opened


def _read_body(kind: int, payload: bytes, body_at: int) -> tuple[Body | None, str | None]:
    try:
        body, end = decode_body(kind, payload, body_at)
    except CodecError as error:
        return None, f"broken: {error}"
    if end != len(payload):
        return None, "broken: there are bytes after the body"
    return body, None
