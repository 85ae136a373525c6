"""One audit of one platform."""

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from math import inf
from pathlib import Path

from terang.audit.anchors import Keys, Log, check_anchors, check_head, check_signing_state, check_tiles, head_of
from terang.audit.derived import check_derived
from terang.audit.findings import Findings, Progress
from terang.audit.records import check_records
from terang.audit.rooms import check_rooms
from terang.kit import Kit
from terang.ledger.chain import ChainReader
from terang.ledger.contract import LogHead
from terang.ledger.merkle import leaf_nodes
from terang.store.log_reader import LogReader
from terang.store.reader import StoreReader
from terang.values.errors import StoreError

__all__ = ["run_audit"]

_LOOKS = 20
_LOOK_AGAIN_S = 0.1


def run_audit(
    *,
    store: StoreReader,
    log: LogReader,
    chain: ChainReader | None,
    verify_chain: Callable[[], int] | None,
    data_of: Callable[[int], bytes],
    kits: Mapping[str, Kit],
    signing_state: Path,
    progress: Progress,
) -> Findings:
    """Everything that differs between log, chain, signing state and the tables that pages read.

    `verify_chain` checks seals, periods, signers and execution of an embedded chain and says how many blocks it has.
    """
    findings = Findings()
    head = head_of(chain, store.setting("contract"), store.site().site_id, findings)
    signed = _stand_still(store, log, signing_state, head)
    try:
        leaves, stated = check_records(store, data_of, kits, findings, progress)
        findings.set_aside = stated.set_aside
        tree = Log(leaves, leaf_nodes(leaves))
        with _noting(findings, "tile"):
            check_tiles(log, tree.nodes, findings)
        with _noting(findings, "batch"):
            check_anchors(log, chain, tree, Keys.of(store), findings, progress)
        with _noting(findings, "chain"):
            check_head(head, log, tree, findings)
        with _noting(findings, "signing-state"):
            check_signing_state(signing_state.name, signed, log, tree, findings)
        with _noting(findings, "rooms and people"):
            check_rooms(store, stated.rooms, findings)
        with _noting(findings, "derived tables"):
            check_derived(store, kits, stated, findings, progress)
        if verify_chain is not None:
            progress("blocks", 0, 1)
            verify_chain()
            progress("blocks", 1, 1)
    finally:
        store.let_go()
        log.let_go()
    return findings


def _stand_still(store: StoreReader, log: LogReader, signing_state: Path, head: LogHead | None) -> str | None:
    """Let both readers see one moment of the store from now on, beside a platform that goes on writing; the text of the
    signing state of that moment. `head` was read from the chain before.

    A batch is signed a moment before it is kept, and stands in a block a moment before the store knows, so a state or a
    chain that is ahead is looked at again a little later.
    """
    signed: str | None = None
    for _ in range(_LOOKS):
        signed = signing_state.read_text() if signing_state.exists() else None
        moments = store.hold(), log.hold()
        is_ahead = head is not None and head.size > _size(log.anchored_size)
        if moments[0] == moments[1] and _signed_size(signed) <= _size(log.cut_size) and not is_ahead:
            break
        time.sleep(_LOOK_AGAIN_S)
    return signed


def _size(ask: Callable[[], int]) -> float:
    try:
        return ask()
    except StoreError:
        return inf  # a batch's size is no number: the audit will name it


def _signed_size(signed: str | None) -> int:
    first = (signed or "").split()[:1]
    return int(first[0]) if first and first[0].isdigit() else 0


@contextmanager
def _noting(findings: Findings, table: str) -> Iterator[None]:
    """What cannot even be read, because a value of another kind was put there, is a finding too."""
    try:
        yield
    except (StoreError, TypeError, ValueError, KeyError, OverflowError, AttributeError, MemoryError) as error:
        findings.add(table, "a value", f"of another kind than the table holds: {error}")
