"""Seals as fast as it can and says on standard output which transactions a durable block holds; made to be killed.

Its clock is made up: every turn is a second, beginning after the head's.
"""

import sys
from pathlib import Path

from eth_keys.datatypes import PrivateKey

from terang.ledger.committer import Committer
from terang.ledger.embedded import EmbeddedChain
from terang.values.clock import FakeClock


def main(directory: Path) -> None:
    """Until killed."""
    clock = FakeClock(1_763_700_000_000)
    chain = EmbeddedChain.open(directory, clock=clock, signer_key=PrivateKey(b"\x01" * 32), kept_heads=8)
    clock.set_now_ms(max(clock.now_ms(), chain.head().timestamp_s * 1000))
    committer = Committer(PrivateKey(b"\x02" * 32))
    while True:
        hashes = []
        for _ in range(3):
            nonce = chain.nonce(committer.address)
            raw = committer.register(
                nonce.to_bytes(32, "big"), contract=b"\x05" * 20, chain_id=chain.chain_id, nonce=nonce,
                base_fee=chain.base_fee,
            )
            hashes.append(chain.submit(raw))
        clock.advance(1_000)
        block = chain.seal()
        chain.tidy(40)
        if block is not None and all(chain.receipt(tx_hash) for tx_hash in hashes):
            print(block.number, block.hash.hex(), *(tx_hash.hex() for tx_hash in hashes), flush=True)


if __name__ == "__main__":
    main(Path(sys.argv[1]))
