"""The core's local socket: commands in and answers back, live values out. Its file may be opened by this user only."""

import asyncio
import contextlib
import os
from collections.abc import Awaitable, Callable
from pathlib import Path

import msgspec

from terang.values.command import MAX_MESSAGE_BYTES, Anchored, Answer, Ask, Listen, Live, Message, Refused

__all__ = ["Door"]

_QUEUE = 200
_decoder: msgspec.json.Decoder[Message] = msgspec.json.Decoder(Message)
_encoder = msgspec.json.Encoder()


class Door:
    """Serves the socket. `answer` carries out one command."""

    def __init__(self, path: Path, answer: Callable[[Ask], Awaitable[Answer]]) -> None:
        self._path = path
        self._answer = answer
        self._listeners: set[asyncio.Queue[bytes]] = set()

    async def run(self) -> None:
        """Serve until cancelled."""
        self._path.unlink(missing_ok=True)
        before = os.umask(0o177)
        try:
            server = await asyncio.start_unix_server(self._serve, str(self._path))
        finally:
            os.umask(before)
        async with server:
            await server.serve_forever()

    @property
    def heard(self) -> bool:
        """Whether anybody listens."""
        return bool(self._listeners)

    def tell(self, message: Live | Anchored) -> None:
        """Send to everybody who listens; one who does not read misses messages and nothing waits for him."""
        if not self._listeners:
            return
        data = _frame(message)
        for queue in self._listeners:
            if queue.full():
                queue.get_nowait()
            queue.put_nowait(data)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                length = int.from_bytes(await reader.readexactly(4), "big")
                if length > MAX_MESSAGE_BYTES:
                    return
                try:
                    message = _decoder.decode(await reader.readexactly(length))
                except msgspec.DecodeError as error:
                    writer.write(_frame(Refused(reason=f"the core does not understand this: {error}")))
                    await writer.drain()
                    continue
                if isinstance(message, Ask):
                    writer.write(_frame(await self._answer(message)))
                    await writer.drain()
                elif isinstance(message, Listen):
                    await self._speak(reader, writer)
                    return
        except (asyncio.IncompleteReadError, ConnectionError, asyncio.CancelledError):
            pass  # the other side is gone, or the core ends: that is how these connections end
        finally:
            writer.close()

    async def _speak(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        queue: asyncio.Queue[bytes] = asyncio.Queue(_QUEUE)
        self._listeners.add(queue)
        gone = asyncio.ensure_future(reader.read(1))
        try:
            while not gone.done():
                following = asyncio.ensure_future(queue.get())
                await asyncio.wait({following, gone}, return_when=asyncio.FIRST_COMPLETED)
                if not following.done():
                    following.cancel()
                    return
                writer.write(following.result())
                await writer.drain()
        finally:
            self._listeners.discard(queue)
            gone.cancel()
            with contextlib.suppress(asyncio.CancelledError, ConnectionError):
                await gone


def _frame(message: Message) -> bytes:
    body = _encoder.encode(message)
    return len(body).to_bytes(4, "big") + body
