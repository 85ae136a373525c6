"""The client of the core's socket."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from terang.values.command import MAX_MESSAGE_BYTES, Anchored, Ask, Done, Listen, Live, Refused, Watch
from terang.values.errors import CoreError
from terang.web.core import CoreClient, Linked, read_message, write_message

HEAD = Anchored(size=7, block_number=3, block_hash="0xab")


@asynccontextmanager
async def answering(path: Path, *answers: bytes) -> AsyncIterator[None]:
    """A socket that hears one question, says these bytes and closes."""
    ended: list[asyncio.Event] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        ended.append(asyncio.Event())
        await read_message(reader)
        for answer in answers:
            writer.write(answer)
        writer.close()
        await writer.wait_closed()
        ended[-1].set()

    server = await asyncio.start_unix_server(serve, path)
    try:
        yield
    finally:
        server.close()
        for event in ended:
            await event.wait()


def framed(body: bytes) -> bytes:
    return len(body).to_bytes(4, "big") + body


def test_a_question_is_answered(core, tmp_path):
    """Done or Refused, whatever the core says."""
    client = CoreClient(tmp_path / "core.sock")
    assert asyncio.run(client.ask("cli", Watch())) == Done()
    core.answer = Refused(reason="no")
    assert asyncio.run(client.ask("cli", Watch())) == Refused(reason="no")
    assert core.asked == [Ask(by="cli", command=Watch())] * 2


def test_many_questions_at_once_get_their_own_answers(core, tmp_path):
    """Every question has a connection of its own."""
    client = CoreClient(tmp_path / "core.sock")

    async def ask() -> list[object]:
        return await asyncio.gather(*(client.ask(f"user{n}", Watch()) for n in range(50)))

    assert asyncio.run(ask()) == [Done()] * 50
    assert sorted(ask.by for ask in core.asked) == sorted(f"user{n}" for n in range(50))


def test_no_core_is_one_clear_error(tmp_path):
    """The error says what to look at."""
    with pytest.raises(CoreError, match="is `terang serve` running"):
        asyncio.run(CoreClient(tmp_path / "nobody.sock").ask("cli", Watch()))


@pytest.mark.parametrize(
    ("answer", "words"),
    [
        (b"", "without an answer"),
        (b"\x00\x00", "in the middle of a message"),
        (framed(b"{}")[:5], "in the middle of a message"),
        (framed(b'{"type":"nonsense"}'), "not a message"),
        (framed(b"\xff\xfe"), "not a message"),
        ((MAX_MESSAGE_BYTES + 1).to_bytes(4, "big"), "at most 1048576 may"),
        (framed(b'{"type":"anchored","size":1,"block_number":1,"block_hash":""}'), "without an answer"),
    ],
)
def test_what_is_no_answer_is_one_clear_error(tmp_path, answer, words):
    """A broken core is an error of ours, never a foreign exception."""

    async def ask() -> None:
        async with answering(tmp_path / "core.sock", answer):
            await CoreClient(tmp_path / "core.sock").ask("cli", Watch())

    with pytest.raises(CoreError, match=words):
        asyncio.run(ask())


def test_a_core_that_is_silent_is_waited_for_only_so_long(tmp_path):
    """After the time it is an error that leaves open whether the command was carried out."""

    async def ask() -> None:
        held = asyncio.Event()

        async def serve(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await held.wait()
            writer.close()

        server = await asyncio.start_unix_server(serve, tmp_path / "core.sock")
        try:
            await CoreClient(tmp_path / "core.sock", answer_s=0.05).ask("cli", Watch())
        finally:
            held.set()
            server.close()

    with pytest.raises(CoreError, match="may still carry the command out"):
        asyncio.run(ask())


def test_a_message_over_the_limit_is_not_sent(tmp_path):
    """It is refused before it is on the wire."""

    async def ask() -> None:
        async with answering(tmp_path / "core.sock"):
            await CoreClient(tmp_path / "core.sock").ask("x" * MAX_MESSAGE_BYTES, Watch())

    with pytest.raises(CoreError, match="may have 1048576 bytes"):
        asyncio.run(ask())


def test_listening_survives_the_cores_end(tmp_path):
    """The core goes and comes back: the listener says down and up again, and misses nothing after that."""
    path = tmp_path / "core.sock"

    async def listen() -> list[object]:
        heard: list[object] = []
        listening = [asyncio.Event(), asyncio.Event()]
        close = asyncio.Event()
        turn = 0

        async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            nonlocal turn
            assert await read_message(reader) == Listen()
            write_message(writer, HEAD)
            write_message(writer, Done())  # an answer that nobody here asked for is passed over
            write_message(writer, Live(readings=[]))
            await writer.drain()
            listening[turn].set()
            turn += 1
            if turn == 1:
                writer.close()
            else:
                await close.wait()
                writer.close()

        async def collect(client: CoreClient) -> None:
            async for message in client.listen():
                heard.append(message)
                if len(heard) == 7:
                    return

        client = CoreClient(path, retry_s=0.01)
        task = asyncio.create_task(collect(client))
        server = await asyncio.start_unix_server(serve, path)
        await asyncio.wait_for(task, 10)
        assert client.up
        close.set()
        server.close()
        return heard

    once = [Linked(True), HEAD, Live(readings=[])]
    assert asyncio.run(listen()) == [*once, Linked(False), *once]
