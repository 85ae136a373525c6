"""The main path: what happens to every envelope, and to every command, in this order.

1 open     the bytes are an envelope in its one form
2 verify   a known key signed it, in order, and it can be true: accepted, or refused with a reason
3 decode   the kit's quantities as columns
4 fold     the kit's rules, purely: new state, steps of energy, actions
5 store    readings, state, steps, actions and the record's place in the log in ONE transaction
6 answer   acknowledge to MQTT, receipt to the device, live values to the pages (by whoever called)
"""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager

from terang.acts import Unsaid, take_act
from terang.commands import carry_out
from terang.commit import Commit, Outcome, states_of
from terang.ingest.intake import Arrived
from terang.ingest.receipts import EpochState
from terang.kit import Kit, Notify
from terang.ledger.drafts import Anchored
from terang.statements import take_statement
from terang.store.schema import ACCEPTED, FORKED, IMPLAUSIBLE
from terang.store.writer import StoreWriter
from terang.values.act import Act, open_act
from terang.values.clock import Clock
from terang.values.command import Answer, Ask, Refused
from terang.values.errors import KitError, UsageError
from terang.values.record import ENVELOPE
from terang.values.signing import KeyPair
from terang.verify.envelopes import Opened, Refusal
from terang.verify.opening import GroupOpener
from terang.verify.plausible import implausible
from terang.world import Epoch, World

__all__ = ["Incoming", "Outcome", "Pipeline"]

_HEAD_BYTES = 256
_FIRST_KIT = "meter"  # what an address is taken for until somebody places it

Incoming = Arrived
"""Bytes as they came, from where and when."""


class Pipeline:
    """The single writer's logic. Not for several threads at once."""

    def __init__(self, *, writer: StoreWriter, kits: Mapping[str, Kit], key: KeyPair, clock: Clock) -> None:
        self.writer = writer
        self.world = World.load(writer)
        self._is_known = True
        self.key = key
        self.clock = clock
        self.opening = GroupOpener(self)
        self._kits = kits
        for kit in {meter.kit for meter in self.world.meters.values()} - kits.keys():
            raise KitError(f"meters of this store need the kit {kit}, which is not installed; install it again")

    def public_key(self, device: bytes) -> bytes | None:
        """The key of this device, for the opener: the world may be read anew at any time."""
        return self.world.public_key(device)

    def is_revoked(self, device: bytes) -> bool:
        """Whether the owner has revoked this device."""
        return self.world.is_revoked(device)

    def accept(self, incoming: Sequence[Incoming], opened: Sequence[Opened | Refusal] | None = None) -> Outcome:
        """Take a group of messages in one commit. After StoreError nothing of the group stands, and nothing is lost:
        whoever sent it will send it again. `opened` is what `open` made of the group, if it was done before.
        """
        found = opened or self.opening.open([message.data for message in incoming])
        commit = self._begin()
        with self._committing():
            for message, envelope in zip(incoming, found, strict=True):
                self._accept_one(commit, message, envelope)
            commit.flush()
        return commit.outcome()

    def execute(self, ask: Ask) -> Answer:
        """Carry out one command in one commit, through the same steps 4 and 5, and answer it."""
        group = self._begin().group
        try:
            with self._committing():
                answer = carry_out(ask, self.world, group, self.key, self.clock.now_ms(), self._kits)
                group.flush(self.writer)
        except UsageError as error:
            return Refused(reason=str(error))
        return answer

    def replay(self, data: bytes, unsaid: Callable[[Act], Unsaid]) -> None:
        """Take an act that stood in the log already, as a chain gives it back; `unsaid` is what it left out."""
        act = open_act(self.key.public, data)
        group = self._begin().group
        with self._committing():
            take_act(self.world, group, data, act, unsaid(act))
            group.flush(self.writer)

    def anchor(self, anchored: Anchored) -> dict[tuple[bytes, bytes], EpochState]:
        """Write back where a batch stands on the chain; the epochs of which more is anchored now."""
        world = self._begin().world
        with self._committing():
            self.writer.save_anchored(anchored)
            world.anchored_size = max(world.anchored_size, anchored.new_size)
            risen = [epoch for epoch in world.epochs.values() if epoch.order.anchor(anchored.new_size)]
            self.writer.put_epochs([epoch.row() for epoch in risen])
        return states_of(risen)

    def unanchor(self, size: int) -> None:
        """The chain has gone another way: batches that end beyond `size` are to be sent again. What receipts have said
        of them stands; no device is asked for what it has deleted, because the store still has it.
        """
        self._begin()
        with self._committing():
            self.writer.forget_anchored(size)

    def _begin(self) -> Commit:
        """A new commit, on a world that was read anew if it may differ from the store."""
        if not self._is_known:
            self.world = World.load(self.writer)
            self._is_known = True
        return Commit(self.writer, self.world, self._kits)

    @contextmanager
    def _committing(self) -> Iterator[None]:
        """One transaction; if it fails, memory may say more than the store and is read anew before the next."""
        self._is_known = False
        with self.writer.transaction():
            yield
        self._is_known = True

    def _accept_one(self, commit: Commit, message: Incoming, opened: Opened | Refusal) -> None:
        # 1 open, 2 verify: the signature is checked; now the order, and what the owner has decided meanwhile
        if isinstance(opened, Refusal):
            _quarantine(commit, message, opened)
            return
        device = self.world.devices.get(opened.device)
        if device is None:  # its adoption was undone after the envelope was opened
            stranger = Refusal("unknown_device", "no device with this key was adopted", opened.device)
            _quarantine(commit, message, stranger)
            return
        if device.revoked:
            _quarantine(commit, message, Refusal("revoked_device", "the owner has revoked this device", opened.device))
            return
        epoch = self.world.epoch(device, opened.epoch)
        commit.epochs[epoch.id] = epoch
        variant = 0
        if not epoch.order.is_new(opened.sequence):
            seen = _variant(commit, epoch, opened)
            if seen is None:
                commit.duplicate += 1
                return
            variant = seen
        meter = self.world.meter(device, opened.meter, _FIRST_KIT)
        # 3 decode: the columns were read with the envelope; they must be those of the kit, and possible
        reason = opened.fault or implausible(opened, opened.body, self._kits[meter.kit].quantities)
        # 5 store: the record takes its place in the log whatever it says
        position = commit.take_position()
        state = FORKED if variant else IMPLAUSIBLE if reason else ACCEPTED
        place = (epoch.id, opened.sequence, variant, meter.id, state, reason)
        commit.group.records.append((position, ENVELOPE, opened.leaf, message.received_ms, *place))
        commit.group.held.append((position, message.data))
        if variant:
            commit.refused += 1
            commit.group.count("forked")
            forked = Notify("forked", message.received_ms, (("device", device.name),))
            commit.notify([forked], meter, epoch.epoch.hex())
            return
        epoch.order.take(opened.sequence, position)
        if reason:
            commit.refused += 1
            commit.group.count("implausible")
        else:
            # 4 fold
            take_statement(commit, opened, epoch, meter, position, message.received_ms)
        if opened.sequence > epoch.last_sequence:
            epoch.last_sequence, epoch.last_leaf = opened.sequence, opened.leaf


def _variant(commit: Commit, epoch: Epoch, opened: Opened) -> int | None:
    """None for bytes that are stored already; else the variant under which these are to be kept."""
    commit.group.flush(commit.writer)
    known = commit.writer.find_identity(epoch.id, opened.sequence)
    if any(bytes(leaf) == opened.leaf for leaf, _ in known) or len(known) > 1:
        return None
    return len(known)


def _quarantine(commit: Commit, message: Incoming, refusal: Refusal) -> None:
    commit.refused += 1
    said = (refusal.reason, refusal.detail, refusal.device)
    head = message.data[:_HEAD_BYTES]
    commit.group.refuse((message.received_ms, message.topic, *said, len(message.data), head))
