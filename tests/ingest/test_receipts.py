"""What devices are told, and when."""

from terang.ingest import receipts as module
from terang.ingest.receipts import EpochState, Receipts
from terang.values.receipt import CONTEXT, EpochReceipt, Receipt, Resend, decode_down
from terang.values.signing import KeyPair, open_statement

KEY = KeyPair(b"\x09" * 32)
DEVICE, OTHER = b"d" * 16, b"o" * 16
ONE, TWO = b"epoch--1", b"epoch--2"


def said(receipts, now_ms):
    """What is due, opened with the key that the device pinned."""
    return [(device, decode_down(open_statement(KEY.public, data, CONTEXT))) for device, data in receipts.due(now_ms)]


def test_what_changed_is_told_once():
    """One receipt a device with all its epochs; nothing more until something changes."""
    receipts = Receipts(KEY)
    receipts.note({(DEVICE, ONE): EpochState(5, 2, None), (DEVICE, TWO): EpochState(1, 0, None)}, 0)
    receipts.note({(OTHER, ONE): EpochState(9, 9, None)}, 0)
    assert sorted(said(receipts, 0)) == [
        (DEVICE, Receipt(DEVICE, (EpochReceipt(ONE, 5, 2), EpochReceipt(TWO, 1, 0)))),
        (OTHER, Receipt(OTHER, (EpochReceipt(ONE, 9, 9),))),
    ]
    assert said(receipts, 100_000) == []


def test_numbers_never_fall_between_two_receipts():
    """Commits told of in another order than they were made: the device hears the most of each."""
    receipts = Receipts(KEY)
    receipts.note({(DEVICE, ONE): EpochState(7, 5, None)}, 0)
    receipts.note({(DEVICE, ONE): EpochState(8, 2, None)}, 0)
    assert said(receipts, 0) == [(DEVICE, Receipt(DEVICE, (EpochReceipt(ONE, 8, 5),)))]


def test_many_epochs_are_told_in_several_receipts():
    """No receipt grows beyond what fits into a message."""
    receipts = Receipts(KEY)
    receipts.note({(DEVICE, i.to_bytes(8, "big")): EpochState(i, 0, None) for i in range(250)}, 0)
    found = said(receipts, 0)
    assert [len(message.epochs) for _, message in found] == [100, 100, 50]


def test_a_gap_is_asked_for_after_a_while_and_again():
    """Not at once, since it may be on its way; then every half minute, until it is filled."""
    receipts = Receipts(KEY)
    patience, again = module._PATIENCE_MS, module._AGAIN_MS
    receipts.note({(DEVICE, ONE): EpochState(5, 0, (5, 9000))}, 0)
    assert [type(message) for _, message in said(receipts, 0)] == [Receipt]
    assert said(receipts, patience - 1) == []
    assert said(receipts, patience) == [(DEVICE, Resend(DEVICE, ONE, 5, 1005))]
    assert said(receipts, patience + again - 1) == []
    assert len(said(receipts, patience + again)) == 1
    now = patience + again + 1
    receipts.note({(DEVICE, ONE): EpochState(7, 0, (7, 9))}, now)
    assert said(receipts, now + patience)[-1] == (DEVICE, Resend(DEVICE, ONE, 7, 9))
    receipts.note({(DEVICE, ONE): EpochState(9, 0, None)}, now + patience)
    assert [type(message) for _, message in said(receipts, now + 10 * again)] == [Receipt]
