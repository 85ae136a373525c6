"""The client of the core's local socket: asks commands, listens to what was committed. The command line uses it too.

Every message is a 4-byte big-endian length and that many bytes of JSON (`terang.values.command`). A question goes over
a connection of its own, so that its answer cannot be taken for another's; listening holds one connection open.
"""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass
from pathlib import Path

import msgspec

from terang.values.command import (
    MAX_MESSAGE_BYTES,
    Anchored,
    Answer,
    Ask,
    Command,
    Done,
    Listen,
    Live,
    Message,
    Refused,
)
from terang.values.errors import CoreError

__all__ = ["CoreClient", "Linked", "read_message", "write_message"]

_DECODER: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_ENCODER = msgspec.json.Encoder()
_HEAD_BYTES = 4


@dataclass(frozen=True, slots=True)
class Linked:
    """Whether the core can be heard, said whenever that changes."""

    up: bool


def write_message(writer: asyncio.StreamWriter, message: Message) -> None:
    """Put one message on the wire; CoreError if it is over the limit."""
    body = _ENCODER.encode(message)
    if len(body) > MAX_MESSAGE_BYTES:
        raise CoreError(f"a message to or from the core may have {MAX_MESSAGE_BYTES} bytes, this has {len(body)}")
    writer.write(len(body).to_bytes(_HEAD_BYTES, "big") + body)


async def read_message(reader: asyncio.StreamReader) -> Message | None:
    """The next message, None at a clean end; CoreError for what is not a message."""
    try:
        head = await reader.readexactly(_HEAD_BYTES)
    except asyncio.IncompleteReadError as error:
        if error.partial:
            raise CoreError("the connection to the core ended in the middle of a message") from error
        return None
    except ConnectionError as error:
        raise CoreError("the connection to the core broke off") from error
    length = int.from_bytes(head, "big")
    if length > MAX_MESSAGE_BYTES:
        raise CoreError(f"a message of {length} bytes came over the core's socket; at most {MAX_MESSAGE_BYTES} may")
    try:
        return _DECODER.decode(await reader.readexactly(length))
    except asyncio.IncompleteReadError as error:
        raise CoreError("the connection to the core ended in the middle of a message") from error
    except ConnectionError as error:
        raise CoreError("the connection to the core broke off") from error
    except msgspec.DecodeError as error:
        raise CoreError(f"the core's socket carries something that is not a message: {error}") from error


class CoreClient:
    """The core behind the socket at `path`; `up` says whether listening is connected now."""

    def __init__(self, path: Path, *, answer_s: float = 10.0, retry_s: float = 1.0) -> None:
        self.path = path
        self.up = False
        self._answer_s = answer_s
        self._retry_s = retry_s

    async def ask(self, by: str, command: Command) -> Answer:
        """The core's answer to `command`, given by the person `by`; CoreError where none comes in time."""
        try:
            async with asyncio.timeout(self._answer_s):
                return await self._ask(Ask(by=by, command=command))
        except TimeoutError as error:
            raise CoreError(
                f"the core did not answer within {self._answer_s:g} s; it may still carry the command out"
            ) from error
        except OSError as error:
            raise CoreError(f"the core does not answer at {self.path}: is `terang serve` running?") from error

    async def _ask(self, question: Ask) -> Answer:
        async with self._connection() as (reader, writer):
            write_message(writer, question)
            with suppress(ConnectionError):  # whoever hangs up may have answered before
                await writer.drain()
            while True:
                message = await read_message(reader)
                if message is None:
                    raise CoreError("the core closed the connection without an answer")
                if isinstance(message, (Done, Refused)):
                    return message

    async def listen(self) -> AsyncIterator[Live | Anchored | Linked]:
        """What the core commits and anchors, for ever: after a break it connects again and says so by `Linked`."""
        while True:
            try:
                async with self._connection() as (reader, writer):
                    write_message(writer, Listen())
                    await writer.drain()
                    self.up = True
                    yield Linked(True)
                    while (message := await read_message(reader)) is not None:
                        if isinstance(message, (Live, Anchored)):
                            yield message
            except (OSError, CoreError):
                pass  # the retry below is the answer to both
            if self.up:
                self.up = False
                yield Linked(False)
            await asyncio.sleep(self._retry_s)

    @asynccontextmanager
    async def _connection(self) -> AsyncIterator[tuple[asyncio.StreamReader, asyncio.StreamWriter]]:
        reader, writer = await asyncio.open_unix_connection(self.path)
        try:
            yield reader, writer
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()
