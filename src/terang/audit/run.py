"""One audit of one platform."""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from terang.audit.anchors import Log, check_anchors, check_signing_state, check_tiles
from terang.audit.derived import check_derived
from terang.audit.findings import Findings, Progress
from terang.audit.records import check_records
from terang.kit import Kit
from terang.ledger.merkle import leaf_nodes
from terang.ledger.proof import ChainReader
from terang.store.log_reader import LogReader
from terang.store.reader import StoreReader
from terang.values.errors import StoreError

__all__ = ["run_audit"]


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
    leaves, stated = check_records(store, data_of, kits, findings, progress)
    tree = Log(leaves, leaf_nodes(leaves))
    checkpoint_key = bytes.fromhex(store.setting("checkpoint_key"))
    with _noting(findings, "tile"):
        check_tiles(log, tree.nodes, findings)
    with _noting(findings, "batch"):
        check_anchors(log, chain, tree, checkpoint_key, findings, progress)
    with _noting(findings, "signing-state"):
        check_signing_state(signing_state, log, tree, findings)
    with _noting(findings, "derived tables"):
        check_derived(store, kits, stated, findings, progress)
    if verify_chain is not None:
        progress("blocks", 0, 1)
        verify_chain()
        progress("blocks", 1, 1)
    return findings


@contextmanager
def _noting(findings: Findings, table: str) -> Iterator[None]:
    """What cannot even be read, because a value of another kind was put there, is a finding too."""
    try:
        yield
    except (StoreError, TypeError, ValueError, KeyError, OverflowError, AttributeError, MemoryError) as error:
        findings.add(table, "a value", f"of another kind than the table holds: {error}")
