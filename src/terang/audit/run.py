"""One audit of one platform."""

from collections.abc import Callable, Mapping
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
    nodes = leaf_nodes(leaves)
    check_tiles(log, nodes, findings)
    checkpoint_key = bytes.fromhex(store.setting("checkpoint_key"))
    check_anchors(log, chain, Log(leaves, nodes), checkpoint_key, findings, progress)
    check_signing_state(signing_state, log, Log(leaves, nodes), findings)
    check_derived(store, kits, stated, findings, progress)
    if verify_chain is not None:
        progress("blocks", 0, 1)
        verify_chain()
        progress("blocks", 1, 1)
    return findings
