"""The broker of the default set-up, against clients that know a name but not its password."""

import asyncio
import queue
import socket
import threading

import pytest
from paho.mqtt.client import Client as MqttClient
from paho.mqtt.enums import CallbackAPIVersion

from terang.commands import mqtt_password_hash
from terang.ingest.credentials import CORE_USER, Login, write_credentials
from terang.ingest.embedded_broker import run_broker

DEVICE, OTHER = "11" * 16, "22" * 16
TOPIC = f"terang/v1/{DEVICE}/up"
WAIT_S = 20


@pytest.fixture
def port(tmp_path):
    """A broker with the core's login and two devices'; where it listens."""
    write_credentials(tmp_path, [Login(name, mqtt_password_hash("right")) for name in (CORE_USER, DEVICE, OTHER)])
    with socket.create_server(("127.0.0.1", 0)) as found:
        free = found.getsockname()[1]
    loop, done = asyncio.new_event_loop(), threading.Event()
    tasks = []

    def serve():
        tasks.append(loop.create_task(run_broker(host="127.0.0.1", port=free, credentials=tmp_path)))
        try:
            loop.run_until_complete(asyncio.wait(tasks))
        finally:
            loop.close()
            done.set()

    threading.Thread(target=serve, daemon=True).start()
    yield free
    loop.call_soon_threadsafe(tasks[0].cancel)
    assert done.wait(WAIT_S)


class Client:
    """A client of which every message and every answer to a connection stands in a queue."""

    def __init__(self, port, name, user, password, *, clean=True, topic=None):
        self.messages: queue.Queue[bytes] = queue.Queue()
        self.answers: queue.Queue[bool] = queue.Queue()
        self.subscribed = threading.Event()
        self.client = MqttClient(
            CallbackAPIVersion.VERSION2, client_id=name, clean_session=clean, reconnect_on_failure=False
        )
        self.client.username_pw_set(user, password)
        self.topic, self.ended = topic, threading.Event()
        self.client.on_connect = self._on_connect
        self.client.on_disconnect = lambda *_: self.ended.set()
        self.client.on_message = lambda _client, _data, message: self.messages.put(bytes(message.payload))
        self.client.on_subscribe = lambda *_: self.subscribed.set()
        for _ in range(200):  # the broker may be about to start
            try:
                self.client.connect("127.0.0.1", port, keepalive=30)
                break
            except ConnectionRefusedError:
                threading.Event().wait(0.05)
        self.client.loop_start()

    def _on_connect(self, client, _data, _flags, reason, _properties):
        self.answers.put(reason.is_failure)
        if self.topic is not None and not reason.is_failure:
            client.subscribe(self.topic, qos=1)

    def refused(self):
        """Whether the broker said no."""
        return self.answers.get(timeout=WAIT_S)

    def end(self):
        """Hang up."""
        self.client.disconnect()
        assert self.ended.wait(WAIT_S)
        self.client.loop_stop()
        self.client._reset_sockets()  # what the broker has closed, paho leaves to the garbage


@pytest.mark.parametrize("clean", [True, False])
@pytest.mark.parametrize("name", ["terang-core", CORE_USER, DEVICE])
def test_a_stranger_takes_nobodys_place(port, name, clean):
    """A connection under the name of the core or a device, with no right password: refused; nothing else changes."""
    core = Client(port, "terang-core", CORE_USER, "right", clean=False, topic="terang/v1/+/up")
    device = Client(port, DEVICE, DEVICE, "right")
    assert not core.refused()
    assert not device.refused()
    assert core.subscribed.wait(WAIT_S)
    for user, password in ((name, "wrong"), ("nobody", "wrong")):
        stranger = Client(port, name, user, password, clean=clean)
        assert stranger.refused()
        stranger.end()
    other = Client(port, name, OTHER, "right", clean=clean)  # another device's login under this name
    assert not other.refused()
    device.client.publish(TOPIC, b"still here", qos=1).wait_for_publish(WAIT_S)
    assert core.messages.get(timeout=WAIT_S) == b"still here"
    for client in (core, device, other):
        client.end()
