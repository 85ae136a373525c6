"""What comes down from the platform: only what its pinned key signed, for this device, changes anything."""

from collections import Counter
from collections.abc import Iterable
from typing import Protocol

from terang.values.errors import CodecError, SignatureError
from terang.values.receipt import CONTEXT, EpochReceipt, Receipt, Resend, decode_down
from terang.values.signing import open_statement

__all__ = ["PlatformWord", "Settled"]


class Settled(Protocol):
    """Whoever acts on receipts: the outbox."""

    def settle(self, receipts: Iterable[EpochReceipt]) -> bool:
        """Whether the receipts are possible, and were taken."""
        ...


class PlatformWord:
    """Opens the platform's statements. `counts` says how often each answer was given, by the words of `hear`."""

    def __init__(self, platform_key: bytes, device: bytes, outbox: Settled) -> None:
        self._key, self._device, self._outbox = platform_key, device, outbox
        self.counts: Counter[str] = Counter()
        self.asked_again: list[Resend] = []

    def hear(self, data: bytes) -> str:
        """What became of a message: receipt, resend, or why it changed nothing (broken, forged, foreign, impossible).

        A Resend waits in `asked_again` for whoever sends.
        """
        answer = self._hear(data)
        self.counts[answer] += 1
        return answer

    def _hear(self, data: bytes) -> str:
        try:
            message = decode_down(open_statement(self._key, data, CONTEXT))
        except SignatureError:
            return "forged"
        except CodecError:
            return "broken"
        if not isinstance(message, (Receipt, Resend)):
            return "broken"
        if message.device != self._device:
            return "foreign"
        if isinstance(message, Resend):
            self.asked_again.append(message)
            return "resend"
        return "receipt" if self._outbox.settle(message.epochs) else "impossible"
