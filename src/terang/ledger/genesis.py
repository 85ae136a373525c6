"""The first block of a chain: a geth-style genesis document that py-evm, EthereumJS and geth read alike."""

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

from terang.ledger.clique import ADDRESS_BYTES, SEAL_BYTES, VANITY_BYTES, CliqueRules
from terang.values.errors import ChainCorrupt, SettingError

__all__ = ["EPOCH_BLOCKS", "FORKS", "FUNDS_WEI", "GAS_LIMIT", "INITIAL_BASE_FEE", "Genesis"]

EPOCH_BLOCKS: Final = 30_000
GAS_LIMIT: Final = 120_000_000
INITIAL_BASE_FEE: Final = 1_000_000_000
FORKS: Final = (
    "homesteadBlock",
    "eip150Block",
    "eip155Block",
    "eip158Block",
    "byzantiumBlock",
    "constantinopleBlock",
    "petersburgBlock",
    "istanbulBlock",
    "berlinBlock",
    "londonBlock",
)
# Enough for fees until long after the hardware is dust, and far from 2**256 where a sum could overflow.
FUNDS_WEI: Final = 10**27


@dataclass(frozen=True, slots=True, kw_only=True)
class Genesis:
    """What the whole chain agrees on before its first transaction.

    `chain_id` 1 and up, `timestamp_s` UTC [s], `period_s` the least time between blocks [s], `epoch` in blocks,
    `gas_limit` [gas] of every block, `alloc` address -> balance [wei].
    """

    chain_id: int
    timestamp_s: int
    signers: tuple[bytes, ...]
    alloc: Mapping[bytes, int]
    period_s: int = 1
    epoch: int = EPOCH_BLOCKS
    gas_limit: int = GAS_LIMIT

    def __post_init__(self) -> None:
        """Refuse what no client could start from."""
        if self.chain_id < 1 or self.period_s < 1 or self.epoch < 1 or self.timestamp_s < 0:
            raise SettingError("chain id, period and epoch of a genesis must be at least 1")
        addresses = (*self.signers, *self.alloc)
        if not self.signers or any(len(address) != ADDRESS_BYTES for address in addresses):
            raise SettingError("a genesis needs at least one signer, and addresses of 20 bytes")
        object.__setattr__(self, "signers", tuple(sorted(set(self.signers))))

    @classmethod
    def for_site(
        cls,
        *,
        chain_id: int,
        timestamp_s: int,
        signer: bytes,
        committer: bytes,
        period_s: int = 1,
        epoch: int = EPOCH_BLOCKS,
    ) -> "Genesis":
        """A chain of one house: one signer, and funds for it and for the account that anchors."""
        return cls(
            chain_id=chain_id,
            timestamp_s=timestamp_s,
            signers=(signer,),
            alloc={signer: FUNDS_WEI, committer: FUNDS_WEI},
            period_s=period_s,
            epoch=epoch,
        )

    @property
    def rules(self) -> CliqueRules:
        """The Clique parameters."""
        return CliqueRules(period_s=self.period_s, epoch=self.epoch, signers=self.signers)

    @property
    def extra_data(self) -> bytes:
        """Vanity, the sorted signers, and an empty seal."""
        return bytes(VANITY_BYTES) + b"".join(self.signers) + bytes(SEAL_BYTES)

    def to_json(self) -> str:
        """The document `geth init` takes."""
        config: dict[str, Any] = {"chainId": self.chain_id, **dict.fromkeys(FORKS, 0)}
        config["clique"] = {"period": self.period_s, "epoch": self.epoch}
        document = {
            "config": config,
            "nonce": "0x0",
            "timestamp": hex(self.timestamp_s),
            "extraData": "0x" + self.extra_data.hex(),
            "gasLimit": hex(self.gas_limit),
            "difficulty": "0x1",
            "mixHash": "0x" + "00" * 32,
            "coinbase": "0x" + "00" * ADDRESS_BYTES,
            "number": "0x0",
            "gasUsed": "0x0",
            "parentHash": "0x" + "00" * 32,
            "baseFeePerGas": hex(INITIAL_BASE_FEE),
            "alloc": {address.hex(): {"balance": hex(self.alloc[address])} for address in sorted(self.alloc)},
        }
        return json.dumps(document, indent=2) + "\n"

    @classmethod
    def from_json(cls, text: str) -> "Genesis":
        """The genesis in such a document; raises ChainCorrupt when it is not one that `to_json` writes."""
        try:
            document = json.loads(text)
            config = document["config"]
            extra = bytes.fromhex(document["extraData"][2:])
            signers = extra[VANITY_BYTES:-SEAL_BYTES]
            genesis = cls(
                chain_id=config["chainId"],
                timestamp_s=int(document["timestamp"], 16),
                signers=tuple(signers[i : i + ADDRESS_BYTES] for i in range(0, len(signers), ADDRESS_BYTES)),
                alloc={bytes.fromhex(address): int(a["balance"], 16) for address, a in document["alloc"].items()},
                period_s=config["clique"]["period"],
                epoch=config["clique"]["epoch"],
                gas_limit=int(document["gasLimit"], 16),
            )
        except (KeyError, TypeError, ValueError, SettingError) as error:
            raise ChainCorrupt(f"not a genesis document of this product: {error!r}") from error
        if json.loads(genesis.to_json()) != document:
            raise ChainCorrupt("the genesis document asks for rules this product does not seal by")
        return genesis
