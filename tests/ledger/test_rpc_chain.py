"""A chain over JSON-RPC: the same answers as from the chain itself, and plain words for what nodes may do wrong."""

import json
import threading
from collections.abc import Callable, Iterator
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import Any

import pytest
from eth_keys.datatypes import PrivateKey
from eth_utils.crypto import keccak

from terang.ledger.chain import Activity, ChainStatus
from terang.ledger.committer import Committer
from terang.ledger.contract import encode_head_query, encode_register_call
from terang.ledger.rpc_chain import RpcChain
from terang.ledger.rpc_methods import Dispatcher
from terang.ledger.rpc_server import HttpServer, IpcServer
from terang.values.errors import ChainCorrupt, ChainError, ChainRefused, ChainUnreachable

COMMITTER = Committer(PrivateKey(b"\x02" * 32))


class FakeNode(HTTPServer):
    """Answers each method with what `answers` holds for it: a result, or an error when it is a string."""

    def __init__(self) -> None:
        self.answers: dict[str, Any] = {}
        self.raw: bytes | None = None
        super().__init__(("127.0.0.1", 0), _FakeHandler)
        self.url = f"http://127.0.0.1:{self.server_port}"


class _FakeHandler(BaseHTTPRequestHandler):
    server: FakeNode

    def do_POST(self) -> None:
        request = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        answer: dict[str, Any] = {"jsonrpc": "2.0", "id": request["id"]}
        value = self.server.answers.get(request["method"])
        if isinstance(value, Exception):
            answer["error"] = {"code": -32000, "message": str(value)}
        else:
            answer["result"] = value
        body = json.dumps(answer).encode() if self.server.raw is None else self.server.raw
        self.send_response(200)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *args: object) -> None:
        pass


def serve(server: HTTPServer | IpcServer) -> Callable[[], None]:
    """Serve in a thread; what is returned ends it."""
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
    thread.start()

    def end() -> None:
        server.shutdown()
        server.server_close()
        thread.join()

    return end


@pytest.fixture
def fake() -> Iterator[FakeNode]:
    """A node that answers what it is told to."""
    node = FakeNode()
    end = serve(node)
    yield node
    end()


@pytest.fixture
def asked(fake) -> Iterator[RpcChain]:
    """The fake node through RpcChain."""
    chain = RpcChain(fake.url, timeout_s=5)
    yield chain
    chain.close()


@pytest.fixture(params=["http", "ipc"])
def pair(request, house) -> Iterator[tuple[Any, RpcChain]]:
    """A house, and its chain over RPC."""
    view = Dispatcher(house.chain, version="test", status=house.chain.status, writer=house.chain)
    server: HttpServer | IpcServer
    if request.param == "http":
        server = HttpServer(0, view)
        chain = RpcChain(f"http://127.0.0.1:{server.server_port}")
    else:
        server = IpcServer(house.directory / "chain.ipc", view)
        chain = RpcChain(house.directory / "chain.ipc")
    end = serve(server)
    yield house, chain
    chain.close()
    end()


def test_the_same_answers_as_from_the_chain_itself(pair):
    """Every method of Chain gives over RPC exactly what it gives in the process."""
    house, chain = pair
    own = house.chain
    assert chain.chain_id == own.chain_id
    raw = house.signed(house.next_call(data=b"\x01" * 50_000))
    tx_hash = chain.submit(raw)
    assert chain.nonce(COMMITTER.address) == own.nonce(COMMITTER.address) == 3
    assert chain.receipt(tx_hash) is None
    assert chain.transaction(tx_hash) is None
    assert chain.submit(raw) == tx_hash
    house.seal()
    assert chain.submit(raw) == tx_hash
    assert chain.base_fee == own.base_fee
    assert chain.receipt(tx_hash) == own.receipt(tx_hash)
    assert chain.transaction(tx_hash) == own.transaction(tx_hash)
    for number in (0, 1, 2, 3, "latest", 4):
        assert chain.block(number) == own.block(number)
    question = encode_head_query(house.site)
    assert chain.call(house.contract, question) == own.call(house.contract, question)
    assert chain.status() == own.status() == ChainStatus(activity=Activity.SEALING)


def test_refusals_say_why(pair):
    """A revert and a bad transaction are refused with the node's reason."""
    house, chain = pair
    with pytest.raises(ChainRefused, match="site is taken"):
        chain.call(house.contract, encode_register_call(house.site))
    with pytest.raises(ChainRefused, match="leaves a gap"):
        chain.submit(COMMITTER.deploy(chain_id=house.chain.chain_id, nonce=9, base_fee=house.chain.base_fee))
    with pytest.raises(ChainRefused, match="not a signed transaction"):
        chain.submit(b"\x7f")
    house.clock.set_now_ms(0)
    assert "not set" in chain.status().reason


@pytest.mark.parametrize("says", ["already known", "Known transaction", "AlreadyKnown, try nothing"])
def test_a_transaction_that_the_node_has_is_no_fault(fake, asked, says):
    """What geth, Besu and Nethermind say of bytes they hold already is taken for a yes."""
    fake.answers["eth_sendRawTransaction"] = ValueError(says)
    assert asked.submit(b"\x02abc") == keccak(b"\x02abc")


@pytest.mark.parametrize("says", ["nonce too low", "Unknown transaction type", "insufficient funds"])
def test_other_refusals_are_faults(fake, asked, says):
    """And nothing else is."""
    fake.answers["eth_sendRawTransaction"] = ValueError(says)
    with pytest.raises(ChainRefused, match=says):
        asked.submit(b"\x02abc")


def test_a_node_that_names_another_hash_is_not_trusted(fake, asked):
    """The hash is the transaction's own, whatever the node says."""
    fake.answers["eth_sendRawTransaction"] = "0x" + "11" * 32
    with pytest.raises(ChainCorrupt, match="do not trust"):
        asked.submit(b"\x02abc")


def test_a_node_that_is_not_ours_is_asked_whether_it_syncs(fake, asked):
    """A node without terang_status is paused while it catches up, and sealing afterwards."""
    fake.answers["terang_status"] = ValueError("method not found")
    fake.answers["eth_syncing"] = {"startingBlock": "0x0", "currentBlock": "0x1", "highestBlock": "0x9"}
    assert "catching up" in asked.status().reason
    fake.answers["eth_syncing"] = False
    assert asked.status() == ChainStatus(activity=Activity.SEALING)


@pytest.mark.parametrize("raw", [b"", b"<html>", b"[]", b"{}", b'{"jsonrpc":"2.0","id":1}', b"\xff\xfe"])
def test_nonsense_is_one_error(fake, asked, raw):
    """What is no JSON-RPC at all ends in an error of ours, whatever was asked."""
    fake.raw = raw
    for question in (
        lambda: asked.chain_id,
        lambda: asked.base_fee,
        lambda: asked.nonce(bytes(20)),
        lambda: asked.call(bytes(20), b""),
        lambda: asked.block("latest"),
        lambda: asked.receipt(bytes(32)),
        lambda: asked.transaction(bytes(32)),
    ):
        with pytest.raises(ChainError):
            question()


def test_a_node_that_is_not_there(tmp_path):
    """No socket, no port: the error names the place and asks the right question."""
    for where in (tmp_path / "chain.ipc", "http://127.0.0.1:9"):
        chain = RpcChain(where, timeout_s=2)
        with pytest.raises(ChainUnreachable, match="is the node running"):
            chain.nonce(bytes(20))
        assert chain.status().activity is Activity.PAUSED
        chain.close()


def test_a_block_of_another_engine_names_its_proposer(fake, asked):
    """Where the header is not Clique's, the signer is whom the node names."""
    zero = "0x" + "00" * 32
    fake.answers["eth_getBlockByNumber"] = {
        "number": "0x5", "hash": "0x" + "12" * 32, "parentHash": zero, "sha3Uncles": zero, "miner": "0x" + "07" * 20,
        "stateRoot": zero, "transactionsRoot": zero, "receiptsRoot": zero, "logsBloom": "0x" + "00" * 256,
        "difficulty": "0x1", "gasLimit": "0x1", "gasUsed": "0x0", "timestamp": "0x65", "extraData": "0x" + "ab" * 200,
        "mixHash": zero, "nonce": "0x" + "00" * 8, "baseFeePerGas": "0x7", "size": "0x300", "transactions": [],
        "uncles": [],
    }  # fmt: skip
    block = asked.block(5)
    assert block is not None
    assert block.signer == b"\x07" * 20
    assert block.timestamp_ms == 101_000
