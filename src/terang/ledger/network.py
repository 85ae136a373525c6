"""The files of a network that several houses run together, on an engine that exists: geth (Clique) or Besu (QBFT).

A plan in, file texts out, with keys that are drawn here. Nothing is started; each node has a script.
"""

import json
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, NamedTuple

import rlp
from eth_account import Account
from eth_keys.datatypes import PrivateKey

from terang.ledger.clique import ADDRESS_BYTES, VANITY_BYTES
from terang.ledger.genesis import FORKS, FUNDS_WEI, GAS_LIMIT, INITIAL_BASE_FEE, Genesis
from terang.values.errors import SettingError, UsageError

__all__ = ["ENGINES", "File", "NetworkPlan", "network_files", "qbft_extra_data", "write_network"]

ENGINES: Final = ("geth", "besu")
_BESU_LEAST: Final = 4  # QBFT goes on without a third of its validators: fewer than four tolerate no failure
_P2P_PORT, _HTTP_PORT, _AUTH_PORT = 30303, 8545, 8551
_EPOCH: Final = 30_000
# The mark by which clients know Byzantine-fault-tolerant headers: "ctical byzantine fault tolerance".
_BFT_MIX_HASH: Final = "0x" + b"ctical byzantine fault tolerance".hex()
_KEY_ROUNDS: Final = 4096  # of scrypt, as geth's own light keystore: the password lies beside the file


class File(NamedTuple):
    """A file to be written: its text, whether it is secret, and whether it can be run."""

    text: str
    is_secret: bool = False
    is_program: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class NetworkPlan:
    """What a network should be.

    `hosts` has the address of each signer's machine, `funded` the addresses [20 bytes] of the committers, `timestamp_s`
    the time of the genesis [UTC s], `period_s` the time between blocks [s], `offset` moves all ports.
    """

    engine: str
    hosts: tuple[str, ...]
    chain_id: int
    timestamp_s: int
    period_s: int
    funded: tuple[bytes, ...] = ()
    offset: int = 0

    def __post_init__(self) -> None:
        """Refuse what could not work."""
        if self.engine not in ENGINES:
            raise SettingError(f"the engine is {' or '.join(ENGINES)}, not {self.engine}")
        if not self.hosts:
            raise SettingError("a network needs at least one signer")
        if self.engine == "besu" and len(self.hosts) < _BESU_LEAST:
            raise SettingError(f"QBFT needs {_BESU_LEAST} validators or more: with fewer, one that is away stops it")
        if self.period_s < 1 or self.chain_id < 1:
            raise SettingError("the period and the chain id are at least 1")

    def port(self, number: int, first: int) -> int:
        """The port of signer `number` for a service whose usual port is `first`: its own where hosts are shared."""
        return first + self.offset + self.hosts[:number].count(self.hosts[number])


class _Node(NamedTuple):
    number: int
    signer: PrivateKey
    node: PrivateKey  # Besu knows a validator and its node by one key, geth by two
    enode: str

    @property
    def address(self) -> bytes:
        return self.signer.public_key.to_canonical_address()


def network_files(plan: NetworkPlan) -> dict[str, File]:
    """Path -> file of the whole network, with new keys."""
    nodes = [_node(plan, number) for number in range(len(plan.hosts))]
    funded = (*(node.address for node in nodes), *plan.funded)
    make = _geth_files if plan.engine == "geth" else _besu_files
    return {"README.md": File(_readme(plan, nodes)), **make(plan, nodes, funded)}


def _node(plan: NetworkPlan, number: int) -> _Node:
    signer = _new_key()
    node = _new_key() if plan.engine == "geth" else signer
    public = node.public_key.to_bytes().hex()
    host = plan.hosts[number]
    return _Node(number, signer, node, f"enode://{public}@{host}:{plan.port(number, _P2P_PORT)}?discport=0")


def _new_key() -> PrivateKey:
    return PrivateKey(secrets.token_bytes(32))


def _geth_files(plan: NetworkPlan, nodes: Sequence[_Node], funded: Sequence[bytes]) -> dict[str, File]:
    genesis = Genesis(
        chain_id=plan.chain_id,
        timestamp_s=plan.timestamp_s,
        signers=tuple(node.address for node in nodes),
        alloc=dict.fromkeys(funded, FUNDS_WEI),
        period_s=plan.period_s,
    )
    files = {"genesis.json": File(genesis.to_json())}
    for node in nodes:
        password = secrets.token_urlsafe(24)
        keystore = Account.encrypt(node.signer.to_bytes(), password, kdf="scrypt", iterations=_KEY_ROUNDS)
        others = [other.enode for other in nodes if other is not node]
        folder = f"node{node.number + 1}"
        files |= {
            f"{folder}/keystore/signer.json": File(json.dumps(keystore), is_secret=True),
            f"{folder}/password": File(password + "\n", is_secret=True),
            f"{folder}/geth/nodekey": File(node.node.to_bytes().hex(), is_secret=True),
            f"{folder}/config.toml": File(f"[Node.P2P]\nStaticNodes = {json.dumps(others)}\n"),
            f"{folder}/start.sh": File(_geth_start(plan, node), is_program=True),
        }
    return files


def _geth_start(plan: NetworkPlan, node: _Node) -> str:
    number, address = node.number, "0x" + node.address.hex()
    flags = (
        *("--datadir .", "--config config.toml", f"--networkid {plan.chain_id}"),
        # the state of every block on disk: a node that is killed comes back with the head that it had
        *("--syncmode full", "--gcmode archive", "--nodiscover", "--nat none"),
        *(f"--port {plan.port(number, _P2P_PORT)}", f"--authrpc.port {plan.port(number, _AUTH_PORT)}"),
        *("--http", "--http.addr 127.0.0.1", f"--http.port {plan.port(number, _HTTP_PORT)}"),
        "--http.api eth,net,web3,clique",
        # an anchor pays a tip of 1 wei, and may be 100 kB
        *("--mine", f"--miner.etherbase {address}", "--miner.gasprice 1", "--txpool.pricelimit 1"),
        *(f"--miner.gaslimit {GAS_LIMIT}", f"--unlock {address}", "--password password", "--allow-insecure-unlock"),
    )
    lines = " \\\n    ".join(flags)
    return f"""#!/bin/sh
# Signer {number + 1} of {len(plan.hosts)}. Needs geth 1.13.15, the last that seals Clique.
# GETH names the program where it is not on the path.
set -eu
cd "$(dirname "$0")"
geth=${{GETH:-geth}}
[ -d geth/chaindata ] || "$geth" --datadir . init ../genesis.json
exec "$geth" \\
    {lines} "$@"
"""


def qbft_extra_data(validators: Sequence[bytes]) -> bytes:
    """The extra data of a QBFT genesis: vanity, the sorted validators, no vote, round 0, no seals (Besu's RLP)."""
    return bytes(rlp.encode([bytes(VANITY_BYTES), sorted(validators), [], b"", []]))


def _besu_files(plan: NetworkPlan, nodes: Sequence[_Node], funded: Sequence[bytes]) -> dict[str, File]:
    files = {
        "genesis.json": File(json.dumps(_besu_genesis(plan, nodes, funded), indent=2) + "\n"),
        "static-nodes.json": File(json.dumps([node.enode for node in nodes], indent=2) + "\n"),
    }
    for node in nodes:
        folder = f"node{node.number + 1}"
        files |= {
            f"{folder}/key": File("0x" + node.signer.to_bytes().hex() + "\n", is_secret=True),
            f"{folder}/config.toml": File(_besu_config(plan, node)),
            f"{folder}/start.sh": File(_besu_start(plan, node), is_program=True),
        }
    return files


def _besu_genesis(plan: NetworkPlan, nodes: Sequence[_Node], funded: Sequence[bytes]) -> Mapping[str, Any]:
    qbft = {"epochlength": _EPOCH, "blockperiodseconds": plan.period_s, "requesttimeoutseconds": 2 * plan.period_s}
    return {
        "config": {"chainId": plan.chain_id, **dict.fromkeys(FORKS, 0), "qbft": qbft},
        "nonce": "0x0",
        "timestamp": hex(plan.timestamp_s),
        "extraData": "0x" + qbft_extra_data([node.address for node in nodes]).hex(),
        "gasLimit": hex(GAS_LIMIT),
        "difficulty": "0x1",
        "mixHash": _BFT_MIX_HASH,
        "coinbase": "0x" + "00" * ADDRESS_BYTES,
        "baseFeePerGas": hex(INITIAL_BASE_FEE),
        "alloc": {address.hex(): {"balance": hex(FUNDS_WEI)} for address in sorted(set(funded))},
    }


def _besu_config(plan: NetworkPlan, node: _Node) -> str:
    return f"""data-path="data"
genesis-file="../genesis.json"
node-private-key-file="key"
static-nodes-file="../static-nodes.json"
network-id={plan.chain_id}
discovery-enabled=false
sync-mode="FULL"
p2p-host="{plan.hosts[node.number]}"
p2p-port={plan.port(node.number, _P2P_PORT)}
rpc-http-enabled=true
rpc-http-host="127.0.0.1"
rpc-http-port={plan.port(node.number, _HTTP_PORT)}
rpc-http-api=["ETH","NET","WEB3","QBFT"]
host-allowlist=["localhost","127.0.0.1"]
min-gas-price=1
"""


def _besu_start(plan: NetworkPlan, node: _Node) -> str:
    return f"""#!/bin/sh
# Validator {node.number + 1} of {len(plan.hosts)}. BESU names the program if it is not on the path.
set -eu
cd "$(dirname "$0")"
exec "${{BESU:-besu}}" --config-file=config.toml "$@"
"""


def _readme(plan: NetworkPlan, nodes: Sequence[_Node]) -> str:
    rows = "\n".join(
        f"| node{node.number + 1} | {plan.hosts[node.number]} | 0x{node.address.hex()} |"
        f" {plan.port(node.number, _P2P_PORT)} | 127.0.0.1:{plan.port(node.number, _HTTP_PORT)} |"
        for node in nodes
    )
    away = (len(nodes) - 1) // 2 if plan.engine == "geth" else (len(nodes) - 1) // 3
    beside = "`genesis.json`" if plan.engine == "geth" else "`genesis.json` and `static-nodes.json`"
    return f"""# A proof-of-authority network of {len(nodes)}

Engine {plan.engine}, chain id {plan.chain_id}, a block every {plan.period_s} s.

| node | machine | signs as | peers | JSON-RPC |
|---|---|---|---|---|
{rows}

Give each folder `nodeN`, and nothing of the others, to the house that runs it, with {beside}
beside it. It holds the key with which that house signs blocks: whoever has it can sign in its name. Start each with
its `start.sh`. With {away} of {len(nodes)} away, blocks still come.

A platform uses the network with `chain = "http://127.0.0.1:PORT"` in its terang.toml, PORT that of its own node.
The account with which it anchors must have funds: `terang chain address` prints it, and `terang chain network --fund`
gives it some in the genesis.
"""


def write_network(out: Path, plan: NetworkPlan) -> None:
    """Write the files of a network into a directory that must not exist yet; UsageError where it does."""
    if out.exists():
        raise UsageError(f"{out} exists already, and may hold keys; choose another directory")
    for name, file in network_files(plan).items():
        _write(out / name, file)


def _write(path: Path, file: File) -> None:
    path.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
    mode = 0o700 if file.is_program else 0o600 if file.is_secret else 0o644
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode), "w") as target:
        target.write(file.text)
