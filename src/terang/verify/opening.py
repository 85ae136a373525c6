"""Opening a group of messages: read, check the signatures, admit. Each step may run where it is cheapest."""

from collections.abc import Sequence

from terang.verify.envelopes import Claim, Keys, Opened, Opener, Refusal
from terang.verify.signatures import check_claims

__all__ = ["GroupOpener"]

class GroupOpener:
    """The first two steps of the path as far as they need no store, for whole groups."""

    def __init__(self, keys: Keys) -> None:
        self._opener = Opener(keys)

    def read(self, messages: Sequence[bytes]) -> list[tuple[Opened, Claim] | Refusal]:
        """What each message says and who is said to have signed it, or why it is refused."""
        return [self._opener.read(data) for data in messages]

    def admit(
        self, found: Sequence[tuple[Opened, Claim] | Refusal], verdicts: Sequence[bool] | bytes
    ) -> list[Opened | Refusal]:
        """The envelopes, once the signatures of those that were not refused are checked, in their order."""
        verdict = iter(verdicts)
        return [self._opener.admit(one, is_signed=type(one) is not Refusal and bool(next(verdict))) for one in found]

    def open(self, messages: Sequence[bytes]) -> list[Opened | Refusal]:
        """All three at once, in this thread."""
        found = self.read(messages)
        return self.admit(found, check_claims([one[1] for one in found if not isinstance(one, Refusal)]))
