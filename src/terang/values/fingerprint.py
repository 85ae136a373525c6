"""A device's code: it stands on the box and on the page, so that people can see that both mean the same device."""

import hashlib

__all__ = ["device_code"]

_CONTEXT = b"terang/v1/device code"


def device_code(device: bytes) -> str:
    """Twelve digits in groups of four for a device's id of 16 bytes: SHA-256(context, id) as a number, modulo 10^12.

    Whoever wanted another key with the same code would have to try some 10^12 keys.
    """
    number = int.from_bytes(hashlib.sha256(_CONTEXT + device).digest(), "big") % 10**12
    digits = str(10**12 + number)[1:]
    return digits[:4] + " " + digits[4:8] + " " + digits[8:]
