"""What was last signed: never two roots for one size, whatever is restored, torn or interrupted."""

import hashlib
import os
import shutil

import pytest

from terang.ledger.checkpoint import open_checkpoint
from terang.ledger.merkle import EMPTY_ROOT, consistency_proof, leaf_nodes, root_hash
from terang.ledger.signing_state import Signed, SigningState
from terang.values.errors import LedgerError, LogForked, StoreError
from terang.values.signing import KeyPair

KEY = KeyPair(b"\x31" * 32)
LEAVES = [hashlib.sha256(bytes((i,))).digest() for i in range(40)]
OTHER = [*LEAVES[:5], hashlib.sha256(b"x").digest(), *LEAVES[6:]]


@pytest.fixture
def path(tmp_path):
    return tmp_path / "signing-state"


def sign(state, size, leaves=LEAVES):
    """Sign a log's beginning of this size, as the ledger does."""
    nodes = leaf_nodes(leaves)
    last = state.last.size
    proof = consistency_proof(nodes, *sorted((last, size))) if last else []
    return state.sign(size, root_hash(nodes, size), proof, 1_763_600_000_000)


def test_a_log_that_grows_is_signed_and_remembered(path):
    """Each size once and again: the note opens, and a new process knows the last one."""
    state = SigningState(path, KEY, "terang/test")
    assert state.last == Signed(0, EMPTY_ROOT)
    for size in (1, 2, 7, 8, 20, 20, 40):
        note = sign(state, size)
        assert open_checkpoint(note, KEY.public)[1:3] == (size, root_hash(leaf_nodes(LEAVES), size))
        assert (
            SigningState(path, KEY, "terang/test").last
            == state.last
            == Signed(size, root_hash(leaf_nodes(LEAVES), size))
        )


def test_no_second_root_is_signed(path):
    """Another history at the same size, at a larger and at a smaller one is refused, and nothing is changed by
    asking.
    """
    state = SigningState(path, KEY, "terang/test")
    sign(state, 20)
    before = path.read_bytes()
    for size in (6, 19, 20, 21, 40):
        with pytest.raises(LogForked):
            sign(state, size, OTHER)
        with pytest.raises(LogForked):
            state.sign(size, bytes(32), [], 0)
    assert path.read_bytes() == before
    sign(state, 21)


def test_a_smaller_size_of_the_same_history_says_nothing_new(path):
    """After a crash between signing and keeping, less may be cut: it is signed, and the last one stays the last."""
    state = SigningState(path, KEY, "terang/test")
    sign(state, 20)
    assert open_checkpoint(sign(state, 5), KEY.public).size == 5
    assert SigningState(path, KEY, "terang/test").last.size == 20
    with pytest.raises(LogForked):
        state.sign(5, root_hash(leaf_nodes(LEAVES), 5), [], 0)


def test_a_store_that_was_restored_cannot_fork_the_log(path, tmp_path):
    """The store goes back to 10 records and grows another way: the state outside it refuses every larger root."""
    state = SigningState(path, KEY, "terang/test")
    sign(state, 10)
    sign(state, 30)
    again = SigningState(path, KEY, "terang/test")
    other = [*LEAVES[:10], *[hashlib.sha256(bytes((i, i))).digest() for i in range(30)]]
    for size in (11, 29, 30, 31, 40):
        with pytest.raises(LogForked):
            sign(again, size, other)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "7",
        "7 ",
        "7 zz",
        "7 " + "00" * 31,
        "7 " + "00" * 33,
        "-1 " + "00" * 32,
        "0 " + "00" * 32,
        "x " + "00" * 32,
        "\x00" * 70,
        "7 " + "00" * 32 + " 8",
        "\udcff",
    ],
)
def test_a_torn_file_stops_the_signer(path, text):
    """What does not say a size and a root is no licence to begin at nothing: LedgerError, and the file stays."""
    path.write_bytes(text.encode("utf-8", "surrogateescape"))
    with pytest.raises(LedgerError, match="backup"):
        SigningState(path, KEY, "terang/test")
    assert path.exists()


def test_a_crash_before_the_rename_leaves_the_old_state(path, monkeypatch):
    """The state is written whole or not at all; the signature is made only after it is durable."""
    state = SigningState(path, KEY, "terang/test")
    sign(state, 10)
    synced: list[str] = []
    real_sync, real_replace = os.fsync, type(path).replace

    def sync(descriptor):
        synced.append("file" if not synced else "more")
        real_sync(descriptor)

    def replace(self, target):
        assert synced == ["file"]  # its bytes are on disk before it takes the name
        raise OSError("power is gone")

    monkeypatch.setattr(os, "fsync", sync)
    monkeypatch.setattr(type(path), "replace", replace)
    with pytest.raises(StoreError):
        sign(state, 20)
    monkeypatch.setattr(type(path), "replace", real_replace)
    assert state.last.size == 10
    assert SigningState(path, KEY, "terang/test").last.size == 10
    sign(state, 20)
    assert len(synced) == 3  # the file before, the file now, its directory


def test_a_disk_that_is_full_is_a_clear_error(tmp_path):
    """StoreError, so that the ledger waits and tries again, and nothing was signed."""
    state = SigningState(tmp_path / "gone" / "signing-state", KEY, "terang/test")
    with pytest.raises(StoreError, match="cannot be written"):
        sign(state, 3)
    (tmp_path / "gone").mkdir()
    sign(state, 3)


def test_a_copy_of_the_whole_directory_is_no_protection(path, tmp_path):
    """State and store restored together are one older whole: then only the chain knows better (the anchorer
    asks it).
    """
    state = SigningState(path, KEY, "terang/test")
    sign(state, 10)
    shutil.copy(path, tmp_path / "backup")
    sign(state, 20)
    shutil.copy(tmp_path / "backup", path)
    assert SigningState(path, KEY, "terang/test").last.size == 10
