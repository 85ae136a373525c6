"""Fan-out of live values."""

import asyncio
import json
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from terang.values.command import Anchored, Live, LiveReading
from terang.web.core import CoreClient, Linked
from terang.web.live import LiveHub, TooManyClients


def make_hub(*, clients_max: int = 10, per_user: int = 5, heartbeat_s: float = 60.0, path: str = "/nowhere") -> LiveHub:
    core = CoreClient(Path(path), retry_s=0.01)
    return LiveHub(core, clients_max=clients_max, per_user=per_user, heartbeat_s=heartbeat_s)


def reading(meter: int, power_mw: int = 1_000) -> LiveReading:
    return LiveReading(meter=meter, time_ms=1, power_mw=power_mw)


async def yes() -> bool:
    return True


async def events(stream: AsyncIterator[bytes], count: int) -> list[tuple[str, dict]]:
    """The next events, without retry lines and heartbeats."""
    found = []
    async for chunk in stream:
        if chunk.startswith(b"event: "):
            name, data = chunk.decode().strip().split("\n")
            found.append((name.removeprefix("event: "), json.loads(data.removeprefix("data: "))))
            if len(found) == count:
                return found
    return found


def test_two_pages_hear_what_they_may(core, tmp_path):
    """Over the real socket: the owner's page hears every meter, the tenant's its own only, both every block."""

    async def run() -> tuple[list, list]:
        hub = make_hub(path=str(tmp_path / "core.sock"))
        task = asyncio.create_task(hub.run())
        await asyncio.to_thread(core.listening.wait, 10)
        streams = [
            hub.stream(hub.subscribe("sari", None), yes),
            hub.stream(hub.subscribe("budi", frozenset({3})), yes),
        ]
        loop = core.loop
        for message in (
            Live(readings=[reading(1), reading(3, 342_000)]),
            Live(readings=[reading(1), reading(2)]),
            Anchored(size=9, block_number=4, block_hash="0xab"),
        ):
            await asyncio.wrap_future(asyncio.run_coroutine_threadsafe(core.tell(message), loop))
        heard = await asyncio.wait_for(asyncio.gather(events(streams[0], 4), events(streams[1], 3)), 10)
        task.cancel()
        return heard[0], heard[1]

    owner, tenant = asyncio.run(run())
    assert [name for name, _ in owner] == ["core", "live", "live", "anchored"]
    assert [len(data["readings"]) for name, data in owner if name == "live"] == [2, 2]
    assert [name for name, _ in tenant] == ["core", "live", "anchored"]
    assert tenant[1][1]["readings"] == [json.loads(_json(reading(3, 342_000)))]
    assert tenant[2][1]["block_number"] == 4


def _json(one: LiveReading) -> str:
    return json.dumps({name: getattr(one, name) for name in one.__struct_fields__})


def test_a_page_that_does_not_keep_up_is_dropped():
    """It ends, the others go on, and nothing piles up."""

    async def run() -> None:
        hub = make_hub()
        slow, fast = hub.subscribe("a", None), hub.subscribe("b", None)
        heard = 0
        for _ in range(1_000):
            hub.publish(Live(readings=[reading(1)]))
            while not fast.queue.empty():
                fast.queue.get_nowait()
                heard += 1
        assert slow.dropped
        assert slow.queue.qsize() == 1
        assert not fast.dropped
        assert heard == 1_001
        assert len(hub) == 1
        assert [chunk async for chunk in hub.stream(slow, yes)] == [b"retry: 2000\n\n"]

    asyncio.run(run())


def test_pages_are_limited_in_all_and_for_each_person():
    """One person cannot take all the room, and there is a limit to it."""

    async def run() -> None:
        hub = make_hub(clients_max=3, per_user=2)
        first = hub.subscribe("a", None)
        hub.subscribe("a", None)
        with pytest.raises(TooManyClients):
            hub.subscribe("a", None)
        hub.subscribe("b", None)
        with pytest.raises(TooManyClients):
            hub.subscribe("c", None)
        hub.close(first)
        hub.subscribe("c", None)

    asyncio.run(run())


def test_a_stream_ends_when_the_person_may_no_longer_look():
    """At the next heartbeat after the password changed or the tenancy ended the page is told to go."""

    async def run() -> None:
        hub = make_hub(heartbeat_s=0.01)
        allowed = True

        async def still() -> bool:
            return allowed

        stream = hub.stream(hub.subscribe("budi", frozenset({3})), still)
        seen = [await anext(stream), await anext(stream), await anext(stream)]
        assert seen[0] == b"retry: 2000\n\n"
        assert seen[1].startswith(b"event: core")
        assert seen[2] == b": still here\n\n"
        allowed = False
        rest = [chunk async for chunk in stream]
        assert rest[-1] == b"event: end\ndata: {}\n\n"
        assert len(hub) == 0

    asyncio.run(run())


def test_the_check_comes_however_much_there_is_to_tell():
    """A busy stream is no way around the heartbeat's question."""

    async def run() -> None:
        hub = make_hub(heartbeat_s=0.05)

        async def never() -> bool:
            return False

        subscription = hub.subscribe("budi", frozenset({3}))

        async def flood() -> None:
            while True:
                hub.publish(Live(readings=[reading(3)]))
                await asyncio.sleep(0)

        task = asyncio.create_task(flood())
        async with asyncio.timeout(10):
            chunks = [chunk async for chunk in hub.stream(subscription, never)]
        task.cancel()
        assert chunks[-1].startswith(b"event: end")

    asyncio.run(run())


def test_all_streams_end_with_the_process():
    """Stopping the hub ends what is open, so that the process can."""

    async def run() -> None:
        hub = make_hub()
        stream = hub.stream(hub.subscribe("a", None), yes)
        await anext(stream)
        hub.end()
        async with asyncio.timeout(10):
            rest = [chunk async for chunk in stream]
        assert len(rest) == 1

    asyncio.run(run())


def test_a_page_is_told_whether_the_core_is_heard():
    """At once on opening, and on every change."""

    async def run() -> None:
        hub = make_hub()
        stream = hub.stream(hub.subscribe("a", frozenset()), yes)
        hub.publish(Linked(True))
        hub.publish(Live(readings=[reading(1)]))
        hub.publish(Linked(False))
        assert await events(stream, 3) == [("core", {"up": False}), ("core", {"up": True}), ("core", {"up": False})]

    asyncio.run(run())
