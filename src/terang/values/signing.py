"""Ed25519 through libsodium: signing and checking statements, each kind under its own context."""

from nacl import bindings
from nacl.exceptions import BadSignatureError

from terang.values import envelope
from terang.values.errors import SignatureError

__all__ = ["KeyPair", "is_signed_by", "open_statement", "sign_statement"]

_KEY_SIZE = 32
_SIGNATURE_SIZE = 64


class KeyPair:
    """An Ed25519 key: the 32-byte `seed` is the secret, `public` is what others check with."""

    __slots__ = ("_secret", "public", "seed")

    def __init__(self, seed: bytes) -> None:
        self.public, self._secret = bindings.crypto_sign_seed_keypair(seed)
        self.seed = seed

    @classmethod
    def generate(cls) -> "KeyPair":
        """A new key from the operating system's randomness."""
        return cls(bindings.randombytes(32))

    def sign(self, message: bytes) -> bytes:
        """The 64-byte signature over `message`."""
        signed: bytes = bindings.crypto_sign(message, self._secret)
        return signed[:64]


def sign_statement(key: KeyPair, payload: bytes, context: bytes = envelope.SIGNING_CONTEXT) -> bytes:
    """The exact bytes of a signed statement: COSE_Sign1 over `payload` under `context`."""
    return envelope.seal(payload, key.sign(envelope.signing_input(payload, context)))


def is_signed_by(
    public_key: bytes, payload: bytes, signature: bytes, context: bytes = envelope.SIGNING_CONTEXT
) -> bool:
    """Whether `signature` over `payload` under `context` was made with this key."""
    if len(public_key) != _KEY_SIZE or len(signature) != _SIGNATURE_SIZE:
        return False  # libsodium would read beyond a shorter key
    try:
        bindings.crypto_sign_open(signature + envelope.signing_input(payload, context), public_key)
    except (BadSignatureError, ValueError):
        return False
    return True


def open_statement(public_key: bytes, data: bytes, context: bytes = envelope.SIGNING_CONTEXT) -> bytes:
    """The payload of a statement signed by `public_key`; CodecError or SignatureError where it is not one."""
    payload, signature = envelope.split(data)
    if not is_signed_by(public_key, payload, signature, context):
        raise SignatureError("the signature does not verify under the expected key")
    return payload
