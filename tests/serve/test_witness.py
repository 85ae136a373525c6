"""A witness elsewhere: it co-signs what extends what it has seen, and nothing else; over HTTP, as others do."""

import base64
import json
import threading

import pytest
import requests

from terang.cli.witness import WitnessServer
from terang.ledger.checkpoint import Checkpoint, origin_of, sign_checkpoint
from terang.ledger.merkle import consistency_proof, root_hash
from terang.ledger.tiles import TiledNodes
from terang.ledger.witness import (
    Request,
    Stale,
    VerifierKey,
    Witness,
    open_cosignature,
    parse_request,
    request_text,
)
from terang.ledger.words import head_words
from terang.serve.pages import Pages
from terang.serve.witnessed import WitnessClient
from terang.settings import Settings, load_settings
from terang.testing import FakeDevice, MiniPlatform
from terang.values.errors import LedgerError, ProofError, SettingError
from terang.values.signing import KeyPair

NAME, KEY = "rt05.example/witness", KeyPair(b"\x21" * 32)
NOW_S = 1_763_600_000


@pytest.fixture
def house(tmp_path):
    with MiniPlatform(tmp_path / "house") as platform:
        platform.adopt(FakeDevice(1))
        yield platform


@pytest.fixture(autouse=True)
def folder(tmp_path):
    (tmp_path / "house").mkdir()


def grow(platform, count):
    """So many records more, anchored; the newest note."""
    device = platform.__dict__.setdefault("device", FakeDevice(1))
    platform.take_all(device.event("start", i) for i in range(count))
    platform.anchor()
    return platform.log.newest_batch()


def witness_of(platform, tmp_path):
    """A witness that knows this house's log."""
    return Witness(NAME, KEY, {"terang/test": platform.checkpoint_key.public}, tmp_path / "heads")


def proof(platform, old, new):
    """The consistency proof between two sizes."""
    return tuple(consistency_proof(TiledNodes(platform.log), old, new))


def test_it_signs_what_extends(house, tmp_path):
    """From nothing, then further, then the same again; a new process remembers; a signature holds for one note."""
    witness, size, line, newest = witness_of(house, tmp_path), 0, "", grow(house, 2)
    for count in (3, 300, 1):
        newest = grow(house, count)
        line = witness.cosign(Request(size, proof(house, size, newest.new_size), newest.checkpoint), NOW_S)
        found = open_cosignature(newest.checkpoint, line, NAME, KEY.public)
        assert (found.witness, found.time_s) == (NAME, NOW_S)
        size = newest.new_size
        witness = witness_of(house, tmp_path)
        assert witness.size_of("terang/test") == size
    again = witness.cosign(Request(size, (), newest.checkpoint), NOW_S + 5)
    assert open_cosignature(newest.checkpoint, again, NAME, KEY.public).time_s == NOW_S + 5
    other = newest.checkpoint.replace("\ntime ", "\ntime 1", 1)
    for note, key in ((other, KEY.public), (newest.checkpoint, KeyPair(b"\x22" * 32).public)):
        with pytest.raises(ProofError):
            open_cosignature(note, line, NAME, key)


def test_it_signs_nothing_else(house, tmp_path):
    """Another history of the same or a larger size, a smaller one, another key, an unknown log: refused, and what it
    knows stays.
    """
    witness = witness_of(house, tmp_path)
    newest = grow(house, 50)
    size = newest.new_size
    witness.cosign(Request(0, (), newest.checkpoint), NOW_S)

    def note(size, root, key=house.checkpoint_key, origin="terang/test"):
        return sign_checkpoint(key, Checkpoint(origin, size, root, 5))

    nodes = TiledNodes(house.log)
    path = proof(house, 20, size)
    for wrong, error in [
        (Request(size, (), note(size, bytes(32))), ProofError),
        (Request(size, path, note(size + 10, bytes(32))), ProofError),
        (Request(size, (), note(20, root_hash(nodes, 20))), ProofError),
        (Request(20, path, note(size, newest.root)), Stale),
        (Request(size, (), note(size, newest.root, KeyPair(b"\x09" * 32))), ProofError),
        (Request(size, (), note(size, newest.root, origin="terang/other")), KeyError),
    ]:
        with pytest.raises(error):
            witness.cosign(wrong, NOW_S)
    assert witness.size_of("terang/test") == size


@pytest.mark.parametrize(
    "text", ["", "old", "old x\n\nnote", "old -1\n\nnote", "new 5\n\nnote", "old 5\nzz!\n\nnote", "old 5\nAAAA\n\nnote"]
)
def test_what_is_no_request_is_refused(text):
    """One clear sentence, and no crash; a request of ours comes back as it was."""
    with pytest.raises(ProofError):
        parse_request(text)
    request = Request(7, (bytes(32), b"\x01" * 32), "a\n5\nb\n\n- c\n")
    assert parse_request(request_text(request)) == request


def test_a_platform_and_a_witness_over_http(house, tmp_path):
    """The client finds out what the witness knows, and has each head co-signed; a house that comes back with another
    history is refused, and says so.
    """
    origin = origin_of(house.site)
    witness = Witness(NAME, KEY, {origin: house.checkpoint_key.public}, tmp_path / "heads")
    server = WitnessServer(("127.0.0.1", 0), witness)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    url = f"http://127.0.0.1:{server.server_address[1]}"
    try:
        setting = f"{url} {VerifierKey(NAME, KEY.public).text()}"
        client = WitnessClient(setting, house.log)

        def head():
            newest = house.log.newest_batch()
            point = Checkpoint(origin, newest.new_size, newest.root, 5)
            return newest.new_size, sign_checkpoint(house.checkpoint_key, point)

        for count in (5, 80):
            grow(house, count)
            told = json.loads(client.ask(*head())["witnessed"])
            assert (told["witness"], told["size"]) == (NAME, house.log.size())
        grow(house, 3)
        late = WitnessClient(setting, house.log)  # a new process does not know how far it was
        assert json.loads(late.ask(*head())["witnessed"])["size"] == house.log.size()
        size, _ = head()
        forged = sign_checkpoint(house.checkpoint_key, Checkpoint(origin, size, bytes(32), 5))
        with pytest.raises(LedgerError, match="refused"):
            late.ask(size, forged)
        assert requests.post(f"{url}/add-checkpoint", data=b"nonsense", timeout=5).status_code == 400
        assert requests.post(f"{url}/other", data=b"x", timeout=5).status_code == 404
        unknown = sign_checkpoint(house.checkpoint_key, Checkpoint("terang/else", 1, bytes(32), 5))
        body = request_text(Request(0, (), unknown)).encode()
        assert requests.post(f"{url}/add-checkpoint", data=body, timeout=5).status_code == 404
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
    with pytest.raises(LedgerError, match="cannot be reached"):
        late.ask(*head())


@pytest.mark.parametrize("setting", ["x", "http://127.0.0.1:1", "http://127.0.0.1:1 a+b+c", "ftp://a " + "x" * 60])
def test_a_witness_that_is_named_wrongly_is_refused(house, setting):
    """The setting says what is missing."""
    with pytest.raises(SettingError, match="witness"):
        WitnessClient(setting, house.log)
    key = VerifierKey(NAME, KEY.public)
    assert VerifierKey.parse(key.text()) == key
    assert base64.b64decode(key.text().split("+", 2)[2])[1:] == KEY.public
    assert isinstance(load_settings(house.directory, {}, witness=setting), Settings)


def test_a_kept_head_is_compared(house):
    """A checkpoint, or its size and words: the same, another history, longer than the log, or nothing at all."""
    grow(house, 20)
    first = house.log.newest_batch()
    grow(house, 300)
    pages = Pages(house.log, house.chain, house.clock)
    words = " ".join(head_words(first.new_size, first.root))
    for text in (first.checkpoint, f"{first.new_size} {words}", f"{first.new_size}\n{words.upper()}\n"):
        assert pages.compare_head(text).word == "same"
    size = house.log.size()
    other = sign_checkpoint(house.checkpoint_key, Checkpoint("terang/test", 10, bytes(32), 5))
    ahead = sign_checkpoint(house.checkpoint_key, Checkpoint("terang/test", size + 1, bytes(32), 5))
    assert pages.compare_head(other).word == "other"
    assert pages.compare_head(f"{first.new_size + 1} {words}").word == "other"
    assert pages.compare_head(ahead).word == "ahead"
    for text in ("hello", "", "5", "x " + words, "12 " + "abandon " * 11):
        assert pages.compare_head(text).word == "unreadable"
    newest = house.log.newest_batch()
    assert pages.ledger().words == head_words(newest.new_size, newest.root)
    assert len(set(words.split())) > 6
