"""The kits that are installed, found through their entry points, Terang's own and strangers' alike."""

from collections.abc import Mapping
from importlib.metadata import entry_points

from terang.kit import Kit
from terang.values.errors import KitError

__all__ = ["load_kits"]


def load_kits() -> Mapping[str, Kit]:
    """Every installed kit by name; KitError, naming it, if one is broken."""
    kits: dict[str, Kit] = {}
    for entry in entry_points(group="terang.kits"):
        try:
            kit = entry.load()
        except Exception as error:
            raise KitError(f"the kit {entry.name} cannot be loaded: {error}") from error
        if not isinstance(kit, Kit) or kit.name != entry.name:
            raise KitError(f"the kit {entry.name} does not offer a Kit of that name")
        if entry.name in kits:
            raise KitError(f"two kits are called {entry.name}")
        kits[entry.name] = kit
    if not kits:
        raise KitError("no kit is installed; install terang with pip so that its entry points are known")
    return kits
