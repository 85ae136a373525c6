"""The account that anchors: transactions for the anchor contract, signed."""

from typing import Any, Final

from eth_account import Account
from eth_account.signers.local import LocalAccount
from eth_account.typed_transactions.typed_transaction import TypedTransaction
from eth_keys.datatypes import PrivateKey
from eth_utils.address import to_checksum_address
from hexbytes import HexBytes

from terang.ledger.contract import AnchorCall, contract_bytecode, encode_anchor_call, encode_register_call

__all__ = ["Committer"]

# Measured: an anchor with 1,000 records' proof takes 90 k gas beside its calldata (16 gas a byte, EIP-2028).
_CALL_GAS: Final = 250_000
_BYTE_GAS: Final = 16
_DEPLOY_GAS: Final = 2_500_000


class Committer:
    """The account that anchors: signs EIP-1559 transactions, knows neither nonce nor chain by itself.

    The fee cap is ten times the base fee, so that a transaction signed now still goes through when blocks fill up for
    a while; what is paid is the base fee and a tip of 1 wei.
    """

    def __init__(self, key: PrivateKey) -> None:
        self._account: LocalAccount = Account.from_key(key.to_bytes())
        self.address = key.public_key.to_canonical_address()

    def deploy(self, *, chain_id: int, nonce: int, base_fee: int) -> bytes:
        """The signed transaction that puts the contract on a chain; its address is in the receipt."""
        code = contract_bytecode()
        return self._sign(chain_id, nonce, base_fee, _DEPLOY_GAS, None, code)

    def register(self, site: bytes, *, contract: bytes, chain_id: int, nonce: int, base_fee: int) -> bytes:
        """The signed transaction that makes this account the site's committer."""
        return self._sign(chain_id, nonce, base_fee, _CALL_GAS, contract, encode_register_call(site))

    def anchor(self, call: AnchorCall, *, contract: bytes, chain_id: int, nonce: int, base_fee: int) -> bytes:
        """The signed transaction that anchors a batch."""
        data = encode_anchor_call(call)
        return self._sign(chain_id, nonce, base_fee, _CALL_GAS + _BYTE_GAS * len(data), contract, data)

    def dearer(self, raw: bytes, base_fee: int) -> bytes | None:
        """The same transaction under the same nonce with a fee that this base fee lets through; None if `raw` goes
        through as it is. Nodes take a replacement whose fees are a tenth higher.
        """
        fields = dict(TypedTransaction.from_bytes(HexBytes(raw)).as_dict())
        if fields["maxFeePerGas"] >= base_fee + fields["maxPriorityFeePerGas"]:
            return None
        return self._sign(
            fields["chainId"], fields["nonce"], base_fee, fields["gas"], bytes(fields["to"]), bytes(fields["data"]),
            tip=2 * fields["maxPriorityFeePerGas"],
        )  # fmt: skip

    def _sign(
        self, chain_id: int, nonce: int, base_fee: int, gas: int, to: bytes | None, data: bytes, *, tip: int = 1
    ) -> bytes:
        fields: dict[str, Any] = {
            "type": 2,
            "chainId": chain_id,
            "nonce": nonce,
            "maxPriorityFeePerGas": tip,
            "maxFeePerGas": 10 * base_fee + tip,
            "gas": gas,
            "value": 0,
            "data": data,
        }
        if to is not None:
            fields["to"] = to_checksum_address(to)
        return bytes(self._account.sign_transaction(fields).raw_transaction)
