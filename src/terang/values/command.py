"""What a person may ask of the core, what it answers, and what it tells those who listen.

These go over the local socket between the core, the pages and the command line: each message is a 4-byte big-endian
length and that many bytes of JSON. Whoever may open the socket's file is trusted to name the person who asks.
"""

import msgspec

__all__ = [
    "MAX_MESSAGE_BYTES",
    "AckNotice",
    "AddRoom",
    "AddUser",
    "AdoptDevice",
    "Anchored",
    "Answer",
    "Ask",
    "Command",
    "ConfirmBinding",
    "DecideStep",
    "Done",
    "EndTenancy",
    "Listen",
    "Live",
    "LiveReading",
    "Message",
    "NewLogin",
    "PlaceMeter",
    "Refused",
    "RevokeDevice",
    "SetPassword",
    "StartTenancy",
    "Watch",
]

MAX_MESSAGE_BYTES = 1 << 20


class AddUser(msgspec.Struct, frozen=True, tag="add_user", kw_only=True):
    """A person who may log in. `password_hash` is argon2's own text form; `role` is owner or tenant."""

    name: str
    password_hash: str
    role: str
    language: str = "id"


class SetPassword(msgspec.Struct, frozen=True, tag="set_password", kw_only=True):
    """A new password for a person; ends all their sessions."""

    name: str
    password_hash: str


class AddRoom(msgspec.Struct, frozen=True, tag="add_room", kw_only=True):
    """A room that is let."""

    name: str


class StartTenancy(msgspec.Struct, frozen=True, tag="start_tenancy", kw_only=True):
    """A tenant moves into a room, from `from_ms` UTC on (None: now)."""

    room: str
    user: str
    from_ms: int | None = None


class EndTenancy(msgspec.Struct, frozen=True, tag="end_tenancy", kw_only=True):
    """The tenant of a room moves out now."""

    room: str


class AdoptDevice(msgspec.Struct, frozen=True, tag="adopt_device", kw_only=True):
    """Take envelopes signed by this key (64 hex digits) from now on; the answer holds its MQTT login."""

    public_key: str
    name: str


class ConfirmBinding(msgspec.Struct, frozen=True, tag="confirm_binding", kw_only=True):
    """The tenant who asks has compared the code on the box: this meter (device's 32 hex digits, address there) measures
    the own room.
    """

    device: str
    address: int


class NewLogin(msgspec.Struct, frozen=True, tag="new_login", kw_only=True):
    """A new login at the broker for an adopted device (32 hex digits); the old one ends."""

    device: str


class RevokeDevice(msgspec.Struct, frozen=True, tag="revoke_device", kw_only=True):
    """Take nothing more from this device (32 hex digits): stolen, sold or broken."""

    device: str
    reason: str


class PlaceMeter(msgspec.Struct, frozen=True, tag="place_meter", kw_only=True):
    """The meter at this address of a device measures this room from now on."""

    device: str
    address: int
    room: str
    kit: str = "meter"


class DecideStep(msgspec.Struct, frozen=True, tag="decide_step", kw_only=True):
    """A person's word on a provisional step of a meter's register: `counted_mwh` of it was really used."""

    step: int
    counted_mwh: int


class AckNotice(msgspec.Struct, frozen=True, tag="ack_notice", kw_only=True):
    """A person has seen this notice."""

    notice: int


class Watch(msgspec.Struct, frozen=True, tag="watch", kw_only=True):
    """Somebody is looking at a proof: anchor every second for a minute."""


Command = (
    AddUser
    | SetPassword
    | AddRoom
    | StartTenancy
    | EndTenancy
    | AdoptDevice
    | ConfirmBinding
    | NewLogin
    | RevokeDevice
    | PlaceMeter
    | DecideStep
    | AckNotice
    | Watch
)
"""Everything that `pipeline.execute` answers."""


class Ask(msgspec.Struct, frozen=True, tag="ask", kw_only=True):
    """One command with the person who gives it (a user's name, or `cli`)."""

    by: str
    command: Command


class Listen(msgspec.Struct, frozen=True, tag="listen", kw_only=True):
    """From now on send live messages on this connection."""


class Done(msgspec.Struct, frozen=True, tag="done", kw_only=True):
    """The command was carried out and stands in the store; `value` is what the asker needs to know."""

    value: dict[str, str] = {}


class Refused(msgspec.Struct, frozen=True, tag="refused", kw_only=True):
    """The command was not carried out; `reason` says what to do. Nothing has changed."""

    reason: str


class LiveReading(msgspec.Struct, frozen=True, kw_only=True):
    """The newest reading of one meter, just committed; None where it does not measure that."""

    meter: int
    time_ms: int
    voltage_mv: int | None = None
    current_ma: int | None = None
    power_mw: int | None = None
    energy_mwh: int | None = None
    frequency_millihz: int | None = None
    power_factor_permille: int | None = None
    position: int = 0


class Live(msgspec.Struct, frozen=True, tag="live", kw_only=True):
    """Readings of one commit, newest of each meter."""

    readings: list[LiveReading]


class Anchored(msgspec.Struct, frozen=True, tag="anchored", kw_only=True):
    """Every record below `size` stands on the chain; the newest in this block."""

    size: int
    block_number: int
    block_hash: str


Answer = Done | Refused
Message = Ask | Listen | Done | Refused | Live | Anchored
"""Everything that crosses the socket."""
