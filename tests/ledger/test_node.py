"""The node: sockets, what they refuse, and how the process ends."""

import http.client
import json
import signal
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from eth_keys.datatypes import PrivateKey
from eth_utils.address import to_checksum_address
from web3 import HTTPProvider, IPCProvider, Web3
from web3.middleware import ExtraDataToPOAMiddleware

from terang.ledger.chain import Activity, Receipt
from terang.ledger.chain_view import ChainView
from terang.ledger.committer import Committer
from terang.ledger.contract import AnchorCall, contract_abi, encode_register_call
from terang.ledger.node import Node, NodeSettings
from terang.ledger.rpc_chain import RpcChain
from terang.ledger.rpc_server import MAX_BODY_BYTES
from terang.values.clock import FakeClock
from terang.values.errors import ChainError, ChainUnreachable

COMMITTER = Committer(PrivateKey(b"\x02" * 32))
CHAIN_ID = 777


class RunningNode:
    """A node in a thread, whose clock gains a second whenever a block is waited for."""

    def __init__(self, directory: Path) -> None:
        self.clock = FakeClock()
        self.contract = b""
        self.site = b"\x07" * 32
        self.receipt: Receipt
        self.settings = NodeSettings(directory=directory, chain_id=CHAIN_ID, committer=COMMITTER.address, http_port=0)
        self.node = Node(self.settings, self.clock)
        assert self.node.http is not None
        self.port = self.node.http.server_port
        self.url = f"http://127.0.0.1:{self.port}"
        self.thread = threading.Thread(target=self.node.run)
        self.thread.start()

    def close(self) -> None:
        self.node.stop()
        self.thread.join()

    def post(self, body: bytes, **headers: str) -> tuple[int, bytes]:
        """Status and answer of a POST."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=10)
        try:
            connection.putrequest("POST", "/", skip_host="Host" in headers)
            fields = {"Content-Type": "application/json", "Content-Length": str(len(body))} | {
                name.replace("_", "-"): value for name, value in headers.items()
            }
            for name, value in fields.items():
                if value:
                    connection.putheader(name, value)
            connection.endheaders(body)
            answer = connection.getresponse()
            return answer.status, answer.read()
        finally:
            connection.close()

    def ask(self, method: str, *params: Any) -> Any:
        """The answer of one request over HTTP, error or result."""
        status, body = self.post(json.dumps({"jsonrpc": "2.0", "id": 1, "method": method, "params": params}).encode())
        assert status == 200
        return json.loads(body)

    def mine(self, chain: RpcChain, raw: bytes) -> Receipt:
        """The receipt, waited for."""
        tx_hash = chain.submit(raw)
        self.clock.advance(1_000)
        receipt: Receipt = until(lambda: chain.receipt(tx_hash))
        return receipt


def until(question: Callable[[], Any], seconds: float = 30) -> Any:
    """The first answer that is not nothing."""
    end = time.monotonic() + seconds
    while not (answer := question()):
        assert time.monotonic() < end, "it did not happen"
        threading.Event().wait(0.01)
    return answer


@contextmanager
def dialled(where: str | Path, timeout_s: int = 20) -> Iterator[RpcChain]:
    """A chain over RPC, hung up at the end."""
    chain = RpcChain(where, timeout_s=timeout_s)
    try:
        yield chain
    finally:
        chain.close()


@pytest.fixture(scope="module")
def running(tmp_path_factory) -> Iterator[RunningNode]:
    """A node with the contract deployed and one anchor."""
    node = RunningNode(tmp_path_factory.mktemp("node"))
    with dialled(node.settings.ipc_path) as chain:
        fields = {"chain_id": CHAIN_ID, "base_fee": chain.base_fee}
        node.contract = node.mine(chain, COMMITTER.deploy(nonce=0, **fields)).contract_address or b""
        node.mine(chain, COMMITTER.register(node.site, contract=node.contract, nonce=1, **fields))
        call = AnchorCall(site=node.site, old_size=0, new_size=3, root=b"\x09" * 32, proof=(), data=b"\xaa" * 50_000)
        node.receipt = node.mine(chain, COMMITTER.anchor(call, contract=node.contract, nonce=2, **fields))
    yield node
    node.close()


@pytest.mark.parametrize("provider", ["http", "ipc"])
def test_web3_reads_it_like_any_node(running, provider):
    """web3.py's own providers, HTTP and IPC, read blocks, receipts, events, balances, fees and calls."""
    where = HTTPProvider(running.url) if provider == "http" else IPCProvider(str(running.settings.ipc_path))
    web3 = Web3(where)
    web3.middleware_onion.inject(ExtraDataToPOAMiddleware, layer=0)
    who, address = to_checksum_address(COMMITTER.address), to_checksum_address(running.contract)
    contract = web3.eth.contract(address=address, abi=contract_abi())
    assert tuple(contract.functions.heads(running.site).call()) == (3, b"\x09" * 32)
    assert [event.args.new_size for event in contract.events.Anchored().get_logs(from_block=0)] == [3]
    receipt = web3.eth.get_transaction_receipt(running.receipt.tx_hash)
    assert contract.events.Anchored().process_receipt(receipt)[0].args.root == b"\x09" * 32
    block = web3.eth.get_block("latest", full_transactions=True)
    newest: Any = block["transactions"][0]
    assert newest["hash"] == running.receipt.tx_hash
    assert web3.eth.get_block(block["hash"])["number"] == 3
    assert web3.eth.chain_id == CHAIN_ID
    assert web3.eth.block_number == 3
    assert web3.eth.get_transaction_count(who) == 3
    assert 0 < web3.eth.get_balance(who) < 10**27
    assert len(web3.eth.get_code(address)) > 500
    assert web3.eth.get_storage_at(address, 0) == bytes(32)
    assert web3.eth.fee_history(3, "latest", [50.0])["oldestBlock"] == 1
    assert web3.eth.gas_price > web3.eth.max_priority_fee == 1
    gas = web3.eth.estimate_gas({"from": who, "to": address, "data": encode_register_call(b"\x01" * 32)})
    assert 40_000 < gas < 70_000
    assert web3.net.version == str(CHAIN_ID)
    assert web3.is_connected()
    if isinstance(where, IPCProvider):
        kept: Any = where._socket
        kept.sock.close()


def test_a_browser_on_another_site_gets_nothing(running):
    """A name that is not this machine's own is refused, whatever address it points to; ours are not."""
    request = b'{"jsonrpc":"2.0","id":1,"method":"eth_chainId"}'
    strange = ("evil.example", f"evil.example:{running.port}", "127.0.0.1.evil.example", "", "localhost.", "[::2]:80")
    for host in strange:
        assert running.post(request, Host=host)[0] == 403, host
    for host in ("127.0.0.1", f"127.0.0.1:{running.port}", "LOCALHOST:1", "[::1]:8545"):
        assert running.post(request, Host=host)[0] == 200, host


def test_what_is_no_request_is_refused(running):
    """Another content type, no length, too long, and GET: refused with the reason."""
    assert running.post(b"{}", Content_Type="text/plain")[0] == 415
    assert running.post(b"", Content_Length="")[0] == 411
    assert running.post(b"", Content_Length="-1")[0] == 411
    assert running.post(b"", Content_Length=str(MAX_BODY_BYTES + 1))[0] == 413
    connection = http.client.HTTPConnection("127.0.0.1", running.port, timeout=10)
    connection.request("GET", "/")
    assert connection.getresponse().status == 405
    connection.close()


@pytest.mark.parametrize(
    ("request_", "code"),
    [
        (b"", -32700),
        (b"{", -32700),
        (b"[" * 100_000, -32700),
        (b"[]", -32600),
        (b"3", -32600),
        (b'{"id":1}', -32600),
        (b'{"id":{},"method":"eth_chainId"}', -32600),
        (b'{"id":1,"method":"eth_chainId","params":{}}', -32602),
        (b'{"id":1,"method":"eth_chainId","params":[1]}', -32602),
        (b'{"id":1,"method":"eth_nothing"}', -32601),
        (b'{"id":1,"method":"eth_getBalance","params":["0x12"]}', -32602),
        (b'{"id":1,"method":"eth_getBlockByNumber","params":["latest-ish"]}', -32602),
        (b'{"id":1,"method":"eth_getBlockByNumber","params":["0x"]}', -32602),
        (b'{"id":1,"method":"eth_call","params":[[]]}', -32602),
        (b'{"id":1,"method":"eth_getLogs","params":[{"fromBlock":"0x0","toBlock":"0x0","topics":"x"}]}', -32602),
        (b'{"id":1,"method":"eth_getTransactionReceipt","params":["0xzz"]}', -32602),
    ],
)
def test_wrong_requests_get_json_rpc_s_errors(running, request_, code):
    """Each kind of mistake has its code, and the node lives on."""
    status, body = running.post(request_)
    assert status == 200
    assert json.loads(body)["error"]["code"] == code


def test_batches(running):
    """A batch is answered in order, its notifications are not, and one too long is refused."""
    one = {"jsonrpc": "2.0", "method": "eth_chainId"}
    _, body = running.post(json.dumps([{**one, "id": 1}, one, {**one, "id": "b", "method": "x"}]).encode())
    assert [(answer["id"], "result" in answer) for answer in json.loads(body)] == [(1, True), ("b", False)]
    assert running.post(json.dumps(one).encode()) == (200, b"")
    _, body = running.post(json.dumps([{**one, "id": 1}] * 101).encode())
    assert json.loads(body)["error"]["code"] == -32600


def test_absent_things_are_null(running):
    """Blocks and transactions that do not exist are null, as other nodes say it."""
    for method, *params in (
        ("eth_getBlockByNumber", "0xffffffffffffffffffff", False),
        ("eth_getBlockByHash", "0x" + "11" * 32, False),
        ("eth_getTransactionByHash", "0x" + "11" * 32),
        ("eth_getTransactionReceipt", "0x" + "11" * 32),
    ):
        assert running.ask(method, *params)["result"] is None


def test_clique_and_raw_blocks(running):
    """Signers, snapshot and raw blocks say what the chain holds."""
    signer = to_checksum_address(running.node.chain.genesis.signers[0])
    assert running.ask("clique_getSigners")["result"] == [signer]
    snapshot = running.ask("clique_getSnapshot")["result"]
    assert list(snapshot["signers"]) == [signer]
    assert snapshot["recents"] == {"3": signer}
    assert bytes.fromhex(running.ask("debug_getRawBlock", "0x2")["result"][2:]) == list(
        running.node.chain.export_blocks()
    )[1]


def test_logs_are_filtered(running):
    """By address, by topic with alternatives and gaps, by block hash; too long a span is refused."""
    topics = ["0x" + topic.hex() for topic in running.receipt.logs[0].topics]
    address = "0x" + running.contract.hex()

    def count(**wanted: Any) -> int:
        return len(running.ask("eth_getLogs", {"fromBlock": "earliest", **wanted})["result"])

    assert count() == 2
    assert count(address=address) == 2
    assert count(address=["0x" + "11" * 20]) == 0
    assert count(topics=[topics[0]]) == 1
    assert count(topics=[[topics[0], "0x" + "11" * 32]]) == 1
    assert count(topics=[None, topics[1]]) == 2
    assert count(topics=[topics[0], topics[1], None, None]) == 0
    assert count(blockHash="0x" + running.receipt.block_hash.hex()) == 1
    assert running.ask("eth_getLogs", {"fromBlock": "0x0", "toBlock": "0x1"})["result"] == []


def test_http_takes_no_transactions(running):
    """The address that any program on this machine reaches is read-only, and says where transactions go."""
    error = running.ask("eth_sendRawTransaction", "0x01")["error"]
    assert error["code"] == -32601
    assert "Unix socket" in error["message"]


def test_the_socket_is_private(running):
    """Only the user that runs the node may open its socket; key and lock are private too."""
    for name in ("chain.ipc", "signer.key", "chain.lock"):
        assert (running.settings.directory / name).stat().st_mode & 0o077 == 0, name


def test_ipc_frames_as_geth_does(running):
    """Requests in a row, in pieces and without line ends are each answered with one line; junk ends the connection."""
    with socket.socket(socket.AF_UNIX) as client:
        client.settimeout(10)
        client.connect(str(running.settings.ipc_path))
        lines = client.makefile("rb")
        client.sendall(b'{"id":1,"method":"eth_chainId"}{"id":2,"method":"net_version"}\n\n[{"id":3,"method":"x}')
        client.sendall(b'"},{"id":4,"method":"eth_chainId"}]')
        answers = [json.loads(lines.readline()) for _ in range(3)]
        assert [answer["id"] for answer in answers[:2]] == [1, 2]
        assert [answer["id"] for answer in answers[2]] == [3, 4]
        client.sendall(b"GET / HTTP/1.1\r\n\r\n")
        assert json.loads(lines.readline())["error"]["code"] == -32700
        assert lines.readline() == b""
        lines.close()


def test_two_nodes_on_one_chain(running):
    """A second node for the same directory ends at once with the reason and leaves the first one's socket alone."""
    with pytest.raises(ChainError, match="another process writes"):
        Node(running.settings, running.clock)
    assert reachable(running.settings.directory)


def test_a_path_too_long_for_a_socket(tmp_path):
    """The kernel's limit is told in words."""
    directory = tmp_path / ("d" * 100)
    settings = NodeSettings(directory=directory, chain_id=1, committer=bytes(20))
    with pytest.raises(ChainError, match="too long for a socket"):
        Node(settings, FakeClock())


def test_a_wrong_clock_is_told_over_rpc(tmp_path):
    """While the clock is wrong the node answers and says that it is paused; then it seals what waited."""
    node = RunningNode(tmp_path)
    with closing(node), dialled(node.settings.ipc_path) as chain, dialled(node.url) as reader:
        right_ms = node.clock.now_ms()
        node.clock.set_now_ms(0)
        raw = COMMITTER.deploy(chain_id=CHAIN_ID, nonce=0, base_fee=chain.base_fee)
        tx_hash = chain.submit(raw)
        assert chain.status().activity is Activity.PAUSED
        assert "not set" in reader.status().reason
        assert chain.receipt(tx_hash) is None
        node.clock.set_now_ms(right_ms + 5_000)
        assert until(lambda: chain.receipt(tx_hash)).succeeded
        assert chain.status().activity is Activity.SEALING
        node.close()
        for gone in (chain, reader):
            with pytest.raises(ChainUnreachable, match="is the node running"):
                gone.nonce(COMMITTER.address)
            assert gone.status().activity is Activity.PAUSED


CHILD = """
import sys, os
from pathlib import Path
from terang.ledger.node import NodeSettings, run_node
parent = int(sys.argv[2])
if parent:
    pid = os.fork()
    if pid:
        print(pid, flush=True)
        sys.stdin.read()
        os._exit(0)
    parent = os.getppid()
run_node(NodeSettings(directory=Path(sys.argv[1]), chain_id=777, committer=bytes(20), parent_pid=parent or None))
"""


def test_a_node_ends_with_its_parent(tmp_path):
    """When the process that started it is killed, the node ends by itself and lets go of the chain."""
    parent = subprocess.Popen(
        [sys.executable, "-c", CHILD, tmp_path, "1"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    assert parent.stdout is not None
    assert parent.stdin is not None
    node_pid = int(parent.stdout.readline())
    until(lambda: reachable(tmp_path))
    parent.kill()
    parent.wait()
    until(lambda: not Path(f"/proc/{node_pid}").exists())
    parent.stdout.close()
    parent.stdin.close()
    assert not (tmp_path / "chain.ipc").exists()


def test_sigterm_ends_a_node_in_order(tmp_path):
    """SIGTERM closes the chain and takes the socket away; exit code 0."""
    child = subprocess.Popen([sys.executable, "-c", CHILD, tmp_path, "0"])
    until(lambda: reachable(tmp_path))
    child.send_signal(signal.SIGTERM)
    assert child.wait(timeout=20) == 0
    assert not (tmp_path / "chain.ipc").exists()
    view = ChainView.open_read_only(tmp_path)
    assert view.head().number == 0
    view.close()


def test_a_killed_node_is_followed_by_the_next(tmp_path):
    """After kill -9 the socket's name is left over; the next node takes it, and a client goes on by itself."""
    first = subprocess.Popen([sys.executable, "-c", CHILD, tmp_path, "0"])
    until(lambda: reachable(tmp_path))
    with dialled(tmp_path / "chain.ipc") as chain:
        assert chain.chain_id == CHAIN_ID
        first.kill()
        first.wait()
        began = time.monotonic()
        with pytest.raises(ChainUnreachable, match="is the node running"):
            chain.nonce(bytes(20))
        assert time.monotonic() - began < 5
        second = subprocess.Popen([sys.executable, "-c", CHILD, tmp_path, "0"])
        try:
            until(lambda: reachable(tmp_path))
            assert chain.nonce(bytes(20)) == 0
        finally:
            second.kill()
            second.wait()


def reachable(directory: Path) -> bool:
    """Whether a node answers there."""
    try:
        with dialled(directory / "chain.ipc", timeout_s=5) as chain:
            return chain.chain_id == CHAIN_ID
    except ChainUnreachable:
        return False
