"""The device's side of MQTT: sends what is not stored until a signed receipt says so, and listens for receipts.

The broker's acknowledgement only makes room in the window; it is the platform's receipt that ends the sending.
"""

import random
import threading
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass

from paho.mqtt.client import Client, ConnectFlags, DisconnectFlags, MQTTMessage
from paho.mqtt.enums import CallbackAPIVersion, MQTTErrorCode
from paho.mqtt.properties import Properties
from paho.mqtt.reasoncodes import ReasonCode

from terang.edge.outbox import Held, Outbox
from terang.edge.platform_word import PlatformWord
from terang.edge.state import StateBoard
from terang.values.clock import Clock
from terang.values.errors import BrokerError

__all__ = ["Link", "LinkSettings", "Login", "Window"]

_CONNECT_S = 5.0
_FIRST_PATIENCE_MS = 2_000
_KEEPALIVE_S = 20
_SILENT_MS = 30_000
_BACKOFF_S = (0.25, 30.0)
_NUDGE_MS = 600_000


@dataclass(frozen=True, slots=True, kw_only=True)
class Login:
    """Where the broker is and who this device is there; `device` is the id in hex, also the MQTT client's id."""

    host: str
    port: int
    username: str
    password: str
    device: str


@dataclass(frozen=True, slots=True, kw_only=True)
class LinkSettings:
    """How much may be under way.

    `in_flight` messages may wait for the broker, `ahead` envelopes for the platform's receipt; after `resend_ms`
    without progress of the oldest all those are sent again. Right after connecting the patience is shorter and grows:
    a broker that has just started may have had nobody to pass the first ones to.
    """

    in_flight: int = 64
    ahead: int = 1024
    resend_ms: int = 30_000


class Window:
    """Which envelopes were sent and wait for their receipt: at most `limit`, the oldest first. Pure."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._sent: deque[Held] = deque()
        self.after = 0
        self._moved_ms = 0

    def room(self) -> int:
        """How many more may be sent now."""
        return self._limit - len(self._sent)

    def sent(self, item: Held, now_ms: int) -> None:
        """This envelope was handed to the broker's connection."""
        if not self._sent:
            self._moved_ms = now_ms
        self._sent.append(item._replace(data=b""))
        self.after = item.place

    def settle(self, stored_end: Callable[[int], int], now_ms: int) -> None:
        """Forget what the platform has stored by now."""
        while self._sent and self._sent[0].sequence < stored_end(self._sent[0].serial):
            self._sent.popleft()
            self._moved_ms = now_ms

    def restart(self, now_ms: int) -> None:
        """Begin again with the oldest envelope that is not stored."""
        self._sent.clear()
        self.after, self._moved_ms = 0, now_ms

    def is_stuck(self, now_ms: int, resend_ms: int) -> bool:
        """Whether the oldest sent envelope has waited this long for its receipt."""
        return bool(self._sent) and now_ms - self._moved_ms >= resend_ms


class Link:
    """One thread that keeps the connection, for ever, and sends. The outbox wakes it through `wake`."""

    def __init__(
        self,
        login: Login,
        settings: LinkSettings,
        outbox: Outbox,
        word: PlatformWord,
        board: StateBoard,
        clock: Clock,
        chance: random.Random,
    ) -> None:
        self._login, self._settings = login, settings
        self._outbox, self._word, self._board = outbox, word, board
        self._clock, self._chance = clock, chance
        self._window = Window(settings.ahead)
        self._something = threading.Condition()
        self._woken = False
        self._unacknowledged: set[int] = set()
        self._acknowledged: deque[int] = deque()
        self._acknowledged_ms = 0
        self._was_useful = False
        self._nudged_ms = 0
        self._patience_ms = 0
        self._ended = ""
        self._is_connected = False
        self._again: deque[Held] = deque()
        self._heard: deque[bytes] = deque(maxlen=1024)
        self._up, self._down = f"terang/v1/{login.device}/up", f"terang/v1/{login.device}/down"

    def wake(self) -> None:
        """There is something to do: a new envelope, an acknowledgement, a message, the end."""
        with self._something:
            self._woken = True
            self._something.notify()

    def _rest(self, seconds: float) -> None:
        with self._something:
            if not self._woken:
                self._something.wait(seconds)
            self._woken = False

    def run(self, stop: threading.Event, last_word_s: float = 2.0) -> None:
        """Connect and send; after any loss connect again, with a growing, jittered pause.

        At `stop` what was sealed last is sent, for at most `last_word_s`.
        """
        attempt = 0
        while not stop.is_set():
            self._was_useful = False
            try:
                self._session(stop, last_word_s)
            except BrokerError as error:
                self._board.set("broker", str(error), is_fault=True)
            except Exception as error:  # noqa: BLE001 -- a sender that dies in silence would be the worst fault of all
                self._board.set("broker", f"sending failed: {type(error).__name__}: {error}", is_fault=True)
            attempt = 0 if self._was_useful else min(attempt + 1, 16)
            stop.wait(min(_BACKOFF_S[0] * 2**attempt, _BACKOFF_S[1]) * self._chance.uniform(0.5, 1.0))

    # -- one connection

    def _session(self, stop: threading.Event, last_word_s: float) -> None:
        client = self._client()
        self._unacknowledged.clear()
        self._acknowledged.clear()
        self._heard.clear()
        self._ended, self._is_connected = "", False
        where = f"{self._login.host}:{self._login.port}"
        try:
            client.connect(self._login.host, self._login.port, keepalive=_KEEPALIVE_S)
        except (OSError, ValueError) as error:
            raise BrokerError(f"no connection to {where}: {getattr(error, 'strerror', None) or error}") from error
        client.loop_start()
        try:
            self._wait_until_connected(stop, where)
            self._begin_again()
            while not stop.is_set():
                self._check(where)
                self._listen()
                self._send(client)
                self._rest(0.5)
            self._finish(client, last_word_s)
        finally:
            client.disconnect()
            client.loop_stop()

    def _client(self) -> Client:
        client = Client(
            CallbackAPIVersion.VERSION2,
            client_id=self._login.device,
            clean_session=True,
            reconnect_on_failure=False,
        )
        client.username_pw_set(self._login.username, self._login.password)
        client.connect_timeout = _CONNECT_S
        client.max_inflight_messages_set(self._settings.in_flight)
        client.on_connect = self._on_connect
        client.on_disconnect = self._on_disconnect
        client.on_publish = self._on_publish
        client.on_message = self._on_message
        return client

    def _wait_until_connected(self, stop: threading.Event, where: str) -> None:
        deadline_ms = self._clock.monotonic_ms() + int(_CONNECT_S * 1000)
        while not self._is_connected:
            if stop.is_set() or self._clock.monotonic_ms() > deadline_ms or self._ended:
                raise BrokerError(f"no connection to {where}: {self._ended or 'it does not answer'}")
            self._rest(0.1)
        self._board.set("broker", f"connected to {where}")
        self._acknowledged_ms = self._clock.monotonic_ms()

    def _begin_again(self) -> None:
        """Nothing that was sent before this connection counts as arrived."""
        now_ms = self._clock.monotonic_ms()
        self._window.restart(now_ms)
        self._again = deque(self._outbox.last_unanchored())
        self._nudged_ms = now_ms
        self._patience_ms = min(_FIRST_PATIENCE_MS, self._settings.resend_ms)

    def _check(self, where: str) -> None:
        if self._ended:
            raise BrokerError(f"the connection to {where} is lost: {self._ended}")
        now_ms = self._clock.monotonic_ms()
        if self._unacknowledged and now_ms - self._acknowledged_ms > _SILENT_MS:
            raise BrokerError(f"the connection to {where} is lost: nothing was acknowledged for {_SILENT_MS // 1000} s")
        self._send_again_if_stuck(now_ms)
        if now_ms - self._nudged_ms >= _NUDGE_MS:
            self._again.extend(self._outbox.last_unanchored())
            self._nudged_ms = now_ms

    def _send_again_if_stuck(self, now_ms: int) -> None:
        self._window.settle(self._outbox.stored_end, now_ms)
        if self._window.is_stuck(now_ms, self._patience_ms):
            self._board.note("no receipt for the oldest envelopes: they are sent again")
            self._window.restart(now_ms)
            self._patience_ms = min(self._patience_ms * 2, self._settings.resend_ms)

    def _listen(self) -> None:
        while self._acknowledged:
            self._unacknowledged.discard(self._acknowledged.popleft())
            self._acknowledged_ms = self._clock.monotonic_ms()
        while self._heard:
            self._was_useful = self._word.hear(self._heard.popleft()) == "receipt" or self._was_useful
        for wanted in self._word.asked_again:
            self._again.extend(
                self._outbox.resend(wanted.epoch, wanted.first_sequence, wanted.end_sequence, self._settings.ahead)
            )
        self._word.asked_again.clear()
        self._window.settle(self._outbox.stored_end, self._clock.monotonic_ms())

    def _send(self, client: Client) -> None:
        while self._again and self._has_room():
            self._publish(client, self._again.popleft())
        room = min(self._settings.in_flight - len(self._unacknowledged), self._window.room())
        if room <= 0 or self._again:
            return
        for item in self._outbox.unstored(self._window.after, room):
            self._publish(client, item)
            self._window.sent(item, self._clock.monotonic_ms())

    def _has_room(self) -> bool:
        return len(self._unacknowledged) < self._settings.in_flight

    def _publish(self, client: Client, item: Held) -> None:
        if not self._unacknowledged:
            self._acknowledged_ms = self._clock.monotonic_ms()
        info = client.publish(self._up, item.data, qos=1)
        if info.rc == MQTTErrorCode.MQTT_ERR_SUCCESS:
            self._unacknowledged.add(info.mid)
        else:
            self._end(f"a message could not be sent ({info.rc.name})")

    def _finish(self, client: Client, last_word_s: float) -> None:
        """What was sealed at the end goes out now if it can; the outbox has it in any case."""
        deadline_ms = self._clock.monotonic_ms() + int(last_word_s * 1000)
        while self._clock.monotonic_ms() < deadline_ms and not self._ended:
            self._listen()
            self._send_again_if_stuck(self._clock.monotonic_ms())
            self._send(client)
            if not self._outbox.unstored(0, 1):
                return
            self._rest(0.05)

    # -- called by paho's thread

    def _on_connect(
        self, client: Client, _data: object, _flags: ConnectFlags, code: ReasonCode, _more: Properties | None
    ) -> None:
        if code.is_failure:
            self._end(f"it refused the login of this device ({code})")
            return
        client.subscribe(self._down, qos=1)
        self._is_connected = True
        self.wake()

    def _on_disconnect(
        self, _client: Client, _data: object, _flags: DisconnectFlags, code: ReasonCode, _more: Properties | None
    ) -> None:
        self._end(str(code))

    def _on_publish(
        self, _client: Client, _data: object, mid: int, _code: ReasonCode, _more: Properties | None
    ) -> None:
        # paho holds a lock of its own here, so nothing may be waited for: the link's thread takes it from the queue
        self._acknowledged.append(mid)
        self.wake()

    def _on_message(self, _client: Client, _data: object, message: MQTTMessage) -> None:
        self._heard.append(bytes(message.payload))
        self.wake()

    def _end(self, why: str) -> None:
        self._ended = self._ended or why
        self.wake()
