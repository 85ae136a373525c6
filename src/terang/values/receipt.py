"""What the platform says to a device: receipts and requests to send again, signed by the key that the device pinned.

Portable: runs under MicroPython too (the signature is checked by the caller, under CONTEXT).
"""

from collections import namedtuple

from terang.values import cbor
from terang.values.errors import CodecError

__all__ = ["CONTEXT", "EpochReceipt", "Receipt", "Resend", "decode_down", "encode_down"]

CONTEXT = b"terang/v1/down"

_VERSION = 1
_RECEIPT = 1
_RESEND = 2

EpochReceipt = namedtuple("EpochReceipt", ("epoch", "stored_end", "anchored_end"))
"""Of `epoch` every envelope below `stored_end` is stored, and every one below `anchored_end` stands on the chain."""

Receipt = namedtuple("Receipt", ("device", "epochs"))
"""What the device may count on: a tuple of EpochReceipt. It may delete below `anchored_end`, and nothing else."""

Resend = namedtuple("Resend", ("device", "epoch", "first_sequence", "end_sequence"))
"""A request to send these envelopes of `epoch` again: from `first_sequence` up to but not including `end_sequence`."""


def encode_down(message: object) -> bytes:
    """The payload of a Receipt or Resend, to be signed under CONTEXT."""
    if isinstance(message, Receipt):
        return cbor.encode([_VERSION, _RECEIPT, message.device, [list(epoch) for epoch in message.epochs]])
    if isinstance(message, Resend):
        return cbor.encode([_VERSION, _RESEND] + list(message))
    raise CodecError("only receipts and resend requests go down to a device")


def decode_down(payload: bytes) -> object:
    """The Receipt or Resend that the payload stands for; CodecError where it is neither."""
    value = cbor.decode(payload)
    if not isinstance(value, list) or len(value) < 4 or value[0] != _VERSION or not isinstance(value[2], bytes):
        raise CodecError("this is not a message of the platform to a device")
    if value[1] == _RECEIPT and len(value) == 4 and isinstance(value[3], list):
        return Receipt(value[2], tuple([_epoch_receipt(item) for item in value[3]]))
    if value[1] == _RESEND and len(value) == 6:
        _need_epoch(value[3])
        _need_unsigned(value[4])
        _need_unsigned(value[5])
        return Resend(value[2], value[3], value[4], value[5])
    raise CodecError("this is not a message of the platform to a device")


def _epoch_receipt(item: object) -> EpochReceipt:
    if not isinstance(item, list) or len(item) != 3:
        raise CodecError("a receipt names an epoch, what is stored and what is anchored")
    _need_epoch(item[0])
    _need_unsigned(item[1])
    _need_unsigned(item[2])
    return EpochReceipt(item[0], item[1], item[2])


def _need_epoch(value: object) -> None:
    if not isinstance(value, bytes) or len(value) != 8:
        raise CodecError("an epoch has 8 bytes")


def _need_unsigned(value: object) -> None:
    if not isinstance(value, int) or value < 0:
        raise CodecError("a sequence is an unsigned number")
