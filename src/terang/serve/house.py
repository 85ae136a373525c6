"""The processes of one house, put together; loads nothing that only they work with."""

from urllib.parse import unquote, urlsplit

from terang.commands import mqtt_password_hash
from terang.ingest.credentials import CORE_USER, Login, verify_password, write_credentials
from terang.ingest.session import BrokerAddress
from terang.keyring import Keyring, load_keyring
from terang.serve.plan import CorePlan
from terang.serve.supervisor import Child, Supervisor
from terang.settings import Settings
from terang.store.writer import StoreWriter
from terang.values.errors import SettingError

__all__ = ["platform", "prepare"]


def prepare(settings: Settings) -> Keyring:
    """Make keys, store and the broker's logins where they are missing; the secrets."""
    settings.data.mkdir(parents=True, exist_ok=True, mode=0o700)
    keyring = load_keyring(settings.keys_dir)
    writer = StoreWriter(settings.store_path)
    named = {
        "site_id": keyring.site.hex(),
        "platform_key": keyring.platform.public.hex(),
        "checkpoint_key": keyring.checkpoint.public.hex(),
    }
    try:
        _need_same_keys(writer, named, settings)
        with writer.transaction():
            writer.put_site(
                {
                    **named,
                    "name": settings.site_name,
                    "time_zone": settings.time_zone,
                    "language": settings.language,
                }
            )
            writer.execute("DELETE FROM site WHERE key='ledger_fault'")
        rows = writer.rows("SELECT key_id, mqtt_password_hash FROM device WHERE revoked_ms IS NULL")
    finally:
        writer.close()
    settings.broker_dir.mkdir(parents=True, exist_ok=True, mode=0o700)
    own = settings.broker_dir / "core.hash"
    if not own.exists() or not verify_password(keyring.broker_password, own.read_text().strip()):
        own.touch(mode=0o600)
        own.write_text(mqtt_password_hash(keyring.broker_password))
    logins = [Login(bytes(row[0]).hex(), row[1]) for row in rows]
    write_credentials(settings.broker_dir, [*logins, Login(CORE_USER, own.read_text().strip())])
    return keyring


def _need_same_keys(writer: StoreWriter, named: dict[str, str], settings: Settings) -> None:
    """A key that was lost must not be replaced in silence: all that was signed with the old one would seem forged."""
    files = {"site_id": "site.id", "platform_key": "platform.key", "checkpoint_key": "checkpoint.key"}
    for key, value in named.items():
        known = writer.rows("SELECT value FROM site WHERE key=?", (key,))
        if known and known[0][0] != value:
            raise SettingError(
                f"{settings.keys_dir / files[key]} is not the one with which this store was begun; bring it back from a"
                " backup (docs/keys.md)"
            )


def platform(settings: Settings, keyring: Keyring) -> Supervisor:
    """The processes of `terang serve`, not yet started."""
    children = []
    if settings.broker == "embedded":
        children.append(Child("broker", "terang.serve.broker:run_embedded", (settings,)))
    elif settings.broker == "mosquitto":
        children.append(Child("broker", "terang.serve.broker:run_mosquitto", (settings,)))
    plan = CorePlan(
        settings=settings,
        broker=_broker_address(settings, keyring),
        platform_seed=keyring.platform.seed,
        checkpoint_seed=keyring.checkpoint.seed,
        site=keyring.site,
    )
    children.append(Child("core", "terang.serve.core:run_core", (plan,)))
    children.append(Child("web", "terang.serve.pages_process:run_pages", (settings,)))
    return Supervisor(children)


def _broker_address(settings: Settings, keyring: Keyring) -> BrokerAddress:
    if settings.broker in ("embedded", "mosquitto"):
        return BrokerAddress(
            host="127.0.0.1" if settings.broker_host == "0.0.0.0" else settings.broker_host,  # noqa: S104
            port=settings.broker_port,
            username=CORE_USER,
            password=keyring.broker_password,
        )
    parts = urlsplit(settings.broker)
    if parts.scheme != "mqtt" or not parts.hostname:
        raise SettingError(f"broker: embedded, mosquitto or mqtt://user:password@host:port, not {settings.broker}")
    return BrokerAddress(
        host=parts.hostname,
        port=parts.port or 1883,
        username=unquote(parts.username or ""),
        password=unquote(parts.password or ""),
    )
