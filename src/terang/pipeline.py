"""The main path: what happens to every envelope, and to every command, in this order.

    1 open     the bytes are an envelope in its one form
    2 verify   a known key signed it, in order, and it can be true: accepted, or refused with a reason
    3 decode   the kit's quantities as columns
    4 fold     the kit's rules, purely: new state, steps of energy, actions
    5 store    readings, state, steps, actions and the record's place in the log in ONE transaction
    6 answer   acknowledge to MQTT, receipt to the device, live values to the pages (by whoever called)
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from terang.commands import carry_out
from terang.ingest.intake import Arrived
from terang.ingest.receipts import EpochState
from terang.kit import Kit, Notify
from terang.ledger.drafts import Anchored
from terang.statements import date, note_event, note_lost, note_time, watch_epoch
from terang.store.group import Group
from terang.store.schema import ACCEPTED, FORKED, IMPLAUSIBLE
from terang.store.writer import StoreWriter
from terang.timeline import Dated, place
from terang.values import reading
from terang.values.clock import Clock
from terang.values.command import Answer, Ask, LiveReading, Refused
from terang.values.errors import KitError, UsageError
from terang.values.quantity import QUANTITIES
from terang.values.record import ENVELOPE
from terang.values.signing import KeyPair
from terang.verify.envelopes import Claim, Opened, Opener, Refusal
from terang.verify.plausible import implausible
from terang.verify.signatures import check_claims
from terang.world import Epoch, Meter, World

__all__ = ["Incoming", "Outcome", "Pipeline", "states_of"]

_HEAD_BYTES = 256
_NAMES = tuple(quantity.name for quantity in QUANTITIES)
_FIRST_KIT = "meter"  # what an address is taken for until somebody places it


Incoming = Arrived
"""Bytes as they came, from where and when."""


class Outcome(NamedTuple):
    """What one commit did: what to receipt, what to show, how many were `accepted`, `duplicate` and `refused`."""

    epochs: dict[tuple[bytes, bytes], EpochState]
    live: list[LiveReading]
    accepted: int
    duplicate: int
    refused: int


class Pipeline:
    """The single writer's logic. Not for several threads at once."""

    def __init__(self, *, writer: StoreWriter, kits: Mapping[str, Kit], key: KeyPair, clock: Clock) -> None:
        self.writer = writer
        self.world = World.load(writer)
        self._is_known = True
        self.key = key
        self.clock = clock
        self._kits = kits
        self._group = Group()
        self._meters: dict[int, Meter] = {}
        self._epochs: dict[int, Epoch] = {}
        self._duplicate = 0
        self._opener = Opener(self)
        for kit in {meter.kit for meter in self.world.meters.values()} - kits.keys():
            raise KitError(f"meters of this store need the kit {kit}, which is not installed; install it again")

    def public_key(self, device: bytes) -> bytes | None:
        """The key of this device, for the opener: the world may be read anew at any time."""
        return self.world.public_key(device)

    def is_revoked(self, device: bytes) -> bool:
        """Whether the owner has revoked this device."""
        return self.world.is_revoked(device)

    def read(self, incoming: Sequence[Incoming]) -> list[tuple[Opened, Claim] | Refusal]:
        """Step 1, and of step 2 what needs neither store nor signature: may run while the group before is committed."""
        return [self._opener.read(message.data) for message in incoming]

    def admit(self, found: Sequence[tuple[Opened, Claim] | Refusal], verdicts: Sequence[bool]) -> list[Opened | Refusal]:
        """The group, once the signatures of those that were not refused are checked, in their order."""
        verdict = iter(verdicts)
        return [self._opener.admit(one, is_signed=type(one) is not Refusal and next(verdict)) for one in found]

    def open(self, incoming: Sequence[Incoming]) -> list[Opened | Refusal]:
        """`read`, the signatures, and `admit` at once."""
        found = self.read(incoming)
        return self.admit(found, check_claims([one[1] for one in found if not isinstance(one, Refusal)]))

    def accept(self, incoming: Sequence[Incoming], opened: Sequence[Opened | Refusal] | None = None) -> Outcome:
        """Take a group of messages in one commit. After StoreError nothing of the group stands, and nothing is lost:
        whoever sent it will send it again. `opened` is what `open` made of the group, if it was done before."""
        self._know()
        before = self.world.next_position
        self._duplicate = 0
        try:
            with self.writer.transaction():
                refused = 0
                for message, found in zip(incoming, opened or self.open(incoming), strict=True):
                    refused += self._accept_one(message, found)
                self._flush()
        except BaseException:
            self._forget()
            raise
        epochs = states_of(self._epochs.values())
        live = [_live(meter) for meter in self._meters.values() if meter.time_ms >= 0]
        self._epochs.clear()
        self._meters.clear()
        return Outcome(epochs, live, self.world.next_position - before, self._duplicate, refused)

    def execute(self, ask: Ask) -> Answer:
        """Carry out one command in one commit, through the same steps 4 and 5, and answer it."""
        self._know()
        try:
            with self.writer.transaction():
                answer = carry_out(ask, self.world, self._group, self.key, self.clock.now_ms(), self._kits)
                self._group.flush(self.writer)
        except UsageError as error:
            self._forget()
            return Refused(reason=str(error))
        except BaseException:
            self._forget()
            raise
        return answer

    def anchor(self, anchored: Anchored) -> dict[tuple[bytes, bytes], EpochState]:
        """Write back where a batch stands on the chain; the epochs of which more is anchored now."""
        self._know()
        risen = []
        try:
            with self.writer.transaction():
                self.writer.save_anchored(anchored)
                self.world.anchored_size = max(self.world.anchored_size, anchored.new_size)
                risen = [epoch for epoch in self.world.epochs.values() if epoch.order.anchor(anchored.new_size)]
                self.writer.put_epochs([epoch.row() for epoch in risen])
        except BaseException:
            self._forget()
            raise
        return states_of(risen)

    def _accept_one(self, message: Incoming, opened: Opened | Refusal) -> int:
        """1 if the message was refused, else 0."""
        # 1 open, 2 verify: the signature is checked; now the order, and what the owner has decided meanwhile
        if isinstance(opened, Opened) and self.world.is_revoked(opened.device):
            opened = Refusal("revoked_device", "the owner has revoked this device", opened.device)
        if isinstance(opened, Refusal):
            self._quarantine(message, opened)
            return 1
        device = self.world.devices[opened.device]
        epoch = self.world.epoch(device, opened.epoch)
        self._epochs[epoch.id] = epoch
        variant = 0
        if not epoch.order.is_new(opened.sequence):
            seen = self._seen(epoch, opened)
            if seen is None:
                return 0
            variant = seen
        meter = self.world.meter(device, opened.meter, _FIRST_KIT)
        # 3 decode
        kit = self._kits[meter.kit]
        body = opened.body
        reason = opened.fault or implausible(opened, body, kit.quantities, message.received_ms)
        # 5 store: the record takes its place in the log whatever it says
        position = self.world.next_position
        self.world.next_position = position + 1
        state = FORKED if variant else IMPLAUSIBLE if reason else ACCEPTED
        self._group.records.append(
            (position, ENVELOPE, opened.leaf, message.received_ms, epoch.id, opened.sequence, variant)
            + (meter.id, state, reason)
        )
        self._group.held.append((position, message.data))
        if variant:
            forked = Notify("forked", message.received_ms, (("device", device.name),))
            self._group.notify(forked, meter.id, epoch.epoch.hex())
            return 1
        epoch.order.take(opened.sequence, position)
        if reason:
            self._group.count("implausible")
        else:
            # 4 fold
            self._fold(message, opened, body, epoch, meter, position)
        if opened.sequence > epoch.last_sequence:
            epoch.last_sequence, epoch.last_leaf = opened.sequence, opened.leaf
        return 1 if reason else 0

    def _fold(
        self, message: Incoming, opened: Opened, body: object, epoch: Epoch, meter: Meter, position: int
    ) -> None:
        self._notify_all(watch_epoch(epoch, opened, message.received_ms), meter, epoch.epoch.hex())
        if isinstance(body, reading.Readings):
            self._meters[meter.id] = meter
            meter.received_ms = message.received_ms
            raw, first_ms = opened.payload[opened.body_at :], date(epoch, opened, message.received_ms)
            if first_ms is None:
                row = (epoch.id, position, meter.id, opened.uptime_ms, opened.attested_by, raw)
                self._group.undated.append(row)
                return
            dated = Dated(position, first_ms, body, raw, opened.attested_by)
            self._notify_all(place(self.writer, self._group, self._kits[meter.kit], meter, dated), meter)
        elif isinstance(body, reading.Lost):
            closed = note_lost(self.writer, self._group, self.world, meter, body, position, message.received_ms)
            self._epochs[closed.id] = closed
        elif isinstance(body, reading.TimeFix):
            fixed = self.world.epoch(epoch.device, body.epoch)
            self._epochs[fixed.id] = fixed
            for touched, actions in note_time(
                self.writer, self._group, self._kits, self.world, fixed, body, message.received_ms
            ):
                self._meters[touched.id] = touched
                self._notify_all(actions, touched)
        elif isinstance(body, reading.Event):
            told = note_event(body, message.received_ms, epoch.device.name)
            self._notify_all(told, meter, f"{epoch.epoch.hex()}/{opened.sequence}")

    def _seen(self, epoch: Epoch, opened: Opened) -> int | None:
        """None for bytes that are stored already; else the variant under which these are to be kept."""
        self._group.flush(self.writer)
        known = self.writer.find_identity(epoch.id, opened.sequence)
        if any(bytes(leaf) == opened.leaf for leaf, _ in known) or len(known) > 1:
            self._duplicate += 1
            return None
        return len(known)

    def _quarantine(self, message: Incoming, refusal: Refusal) -> None:
        head = message.data[:_HEAD_BYTES]
        self._group.refuse(
            (message.received_ms, message.topic, refusal.reason, refusal.detail, refusal.device, len(message.data), head)
        )

    def _notify_all(self, actions: Sequence[Notify], meter: Meter, cause: str = "") -> None:
        for action in actions:
            self._group.notify(action, meter.id, cause or f"{meter.id}/{action.at_ms}")

    def _flush(self) -> None:
        self._group.flush(self.writer)
        if self._meters:
            self.writer.put_latest([meter.row() for meter in self._meters.values()])
        if self._epochs:
            self.writer.put_epochs([epoch.row() for epoch in self._epochs.values()])

    def _forget(self) -> None:
        """The commit failed: know again what the store says, and nothing else."""
        self._group = Group()
        self._meters.clear()
        self._epochs.clear()
        self._is_known = False
        self._know()

    def _know(self) -> None:
        """Read the world anew if it may differ from the store; a store that cannot be read is asked again next time."""
        if not self._is_known:
            self.world = World.load(self.writer)
            self._is_known = True


def states_of(epochs: Iterable[Epoch]) -> dict[tuple[bytes, bytes], EpochState]:
    """What a receipt may say of these epochs; only right after a commit, when memory and store agree."""
    return {
        (epoch.device.key_id, epoch.epoch): EpochState(
            epoch.order.stored_end, epoch.order.anchored_end, epoch.order.first_gap()
        )
        for epoch in epochs
    }


def _live(meter: Meter) -> LiveReading:
    values = dict(zip(_NAMES, meter.values, strict=True))
    return LiveReading(meter=meter.id, time_ms=meter.time_ms, position=meter.position, **values)
