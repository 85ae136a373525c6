"""The broker in the default set-up: amqtt, with a login for each device and an ACL that keeps each to its own topics.

It keeps nothing on disk. It need not: a device keeps every envelope until a receipt says that it is anchored.
"""

import asyncio
import logging
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from amqtt.broker import Broker
from amqtt.contexts import Action, BaseContext, BrokerConfig, ListenerConfig
from amqtt.errors import AMQTTError
from amqtt.errors import BrokerError as LibraryBrokerError
from amqtt.mqtt.connack import NOT_AUTHORIZED, ConnackPacket
from amqtt.mqtt.protocol.broker_handler import BrokerProtocolHandler
from amqtt.plugins.base import BaseAuthPlugin, BaseTopicPlugin
from amqtt.session import Session

from terang.ingest.credentials import PasswordFile, may
from terang.values.errors import BrokerError

__all__ = ["DeviceLogins", "DeviceTopics", "run_broker"]

_MODULE = "terang.ingest.embedded_broker"


class DeviceLogins(BaseAuthPlugin):  # type: ignore[misc]  # amqtt has no types
    """Lets in who is in the password file."""

    @dataclass
    class Config:
        """Where the password file is."""

        password_file: str = ""

    def __init__(self, context: BaseContext) -> None:
        super().__init__(context)
        self._passwords = PasswordFile(Path(self._get_config_option("password_file", "")))

    async def authenticate(self, *, session: Session) -> bool | None:
        """amqtt: whether this session may connect."""
        return self._passwords.accepts(session.username, session.password)


class DeviceTopics(BaseTopicPlugin):  # type: ignore[misc]  # amqtt has no types
    """Keeps every user to the topics of its own."""

    async def topic_filtering(
        self, *, session: Session | None = None, topic: str | None = None, action: Action | None = None
    ) -> bool | None:
        """amqtt: whether this session may do this with the topic."""
        if session is None or session.username is None or topic is None:
            return False
        return may(session.username, topic, publish=action == Action.PUBLISH)


class _Broker(Broker):  # type: ignore[misc]  # amqtt has no types
    """amqtt's broker, with one session for each login, whatever the client calls itself.

    amqtt finds the session by the client's id and gives it away before it looks at the password, so that one packet of
    a stranger would end the core's subscription. Here nobody has a session before the password was right, and the id is
    the user's name.
    """

    def __init__(self, config: BrokerConfig, passwords: PasswordFile) -> None:
        super().__init__(config)
        self._passwords = passwords

    async def _initialize_client_session(
        self, reader: Any, writer: Any, _remote_address: str, _remote_port: int
    ) -> tuple[BrokerProtocolHandler, Session]:
        handler, session = await BrokerProtocolHandler.init_from_connect(reader, writer, self.plugins_manager)
        if not self._passwords.accepts(session.username, session.password):
            await ConnackPacket.build(0, NOT_AUTHORIZED).to_stream(writer)
            await writer.close()
            raise AMQTTError("not the password of this user")
        session.client_id = session.username
        known = self._sessions.get(session.client_id, (None,))[0]
        session.parent = 0
        if known is not None and session.clean_session:
            await self._cleanup_session(session.client_id)
        elif known is not None:
            known.keep_alive, known.parent = session.keep_alive, 1
            known.username, known.password = session.username, session.password
            session = known
        return handler, session


async def run_broker(*, host: str, port: int, credentials: Path) -> None:
    """Serve until cancelled; BrokerError where the port is taken."""
    library = logging.getLogger("amqtt")
    library.setLevel(logging.CRITICAL)  # what goes wrong at the start is raised, and need not be logged as well
    config = BrokerConfig(
        listeners={"default": ListenerConfig(bind=f"{host}:{port}")},
        plugins={
            f"{_MODULE}.DeviceLogins": {"password_file": str(credentials / "passwd")},
            f"{_MODULE}.DeviceTopics": {},
        },
    )
    broker = _Broker(config, PasswordFile(credentials / "passwd"))
    try:
        await broker.start()
    except (AMQTTError, LibraryBrokerError, OSError) as error:
        raise BrokerError(f"the broker cannot listen on {host}:{port}: {error}; choose another port") from error
    try:
        await asyncio.Event().wait()
    finally:
        await broker.shutdown()
