"""What devices are told, and when: receipts at most a few times a second, requests for what is missing after a while.

Pure but for the signature; time is an argument.
"""

from collections.abc import Mapping
from typing import NamedTuple

from terang.values.receipt import CONTEXT, EpochReceipt, Receipt, Resend, encode_down
from terang.values.signing import KeyPair, sign_statement

__all__ = ["EpochState", "Receipts"]

_PATIENCE_MS = 1_000
_AGAIN_MS = 30_000
_EPOCHS_A_RECEIPT = 100
_RESEND_LIMIT = 1_000


class EpochState(NamedTuple):
    """What is committed of one epoch; `gap` is the first range that is missing although later ones have come."""

    stored_end: int
    anchored_end: int
    gap: tuple[int, int] | None


class _Gap(NamedTuple):
    gap: tuple[int, int]
    due_ms: int


class Receipts:
    """Gathers what changed and signs it when it is due."""

    def __init__(self, key: KeyPair) -> None:
        self._key = key
        self._changed: dict[tuple[bytes, bytes], EpochState] = {}
        self._gaps: dict[tuple[bytes, bytes], _Gap] = {}

    def note(self, states: Mapping[tuple[bytes, bytes], EpochState], now_ms: int) -> None:
        """These epochs have changed, or their device asks again; by (device, epoch), `now_ms` monotonic."""
        for key, state in states.items():
            before = self._changed.get(key, state)  # commits may be told of in another order than they were made
            self._changed[key] = EpochState(
                max(before.stored_end, state.stored_end), max(before.anchored_end, state.anchored_end), state.gap
            )
            if state.gap is None:
                self._gaps.pop(key, None)
            elif (known := self._gaps.get(key)) is None or known.gap[0] != state.gap[0]:
                self._gaps[key] = _Gap(state.gap, now_ms + _PATIENCE_MS)

    def due(self, now_ms: int) -> list[tuple[bytes, bytes]]:
        """(device, signed message) to be sent now."""
        messages = self._receipts()
        for key, known in self._gaps.items():
            if known.due_ms <= now_ms:
                self._gaps[key] = _Gap(known.gap, now_ms + _AGAIN_MS)
                first, end = known.gap
                device, epoch = key
                messages.append((device, self._sign(Resend(device, epoch, first, min(end, first + _RESEND_LIMIT)))))
        return messages

    def _receipts(self) -> list[tuple[bytes, bytes]]:
        devices: dict[bytes, list[EpochReceipt]] = {}
        for (device, epoch), state in self._changed.items():
            devices.setdefault(device, []).append(EpochReceipt(epoch, state.stored_end, state.anchored_end))
        self._changed.clear()
        messages = []
        for device, epochs in devices.items():
            parts = [epochs[i : i + _EPOCHS_A_RECEIPT] for i in range(0, len(epochs), _EPOCHS_A_RECEIPT)]
            messages += [(device, self._sign(Receipt(device, tuple(part)))) for part in parts]
        return messages

    def _sign(self, message: Receipt | Resend) -> bytes:
        return sign_statement(self._key, encode_down(message), CONTEXT)
