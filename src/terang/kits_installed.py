"""The kits that are installed, found through their entry points, Terang's own and strangers' alike.

What a kit does on the platform and on the edge comes through the group `terang.kits`, what it shows through
`terang.pages`: a device in a cupboard never loads a page.
"""

from collections.abc import Iterator, Mapping
from importlib.metadata import entry_points

from terang.kit import Kit
from terang.page.cards import KitPages
from terang.values.errors import KitError

__all__ = ["load_kits", "load_pages"]


def load_kits() -> Mapping[str, Kit]:
    """Every installed kit by name; KitError, naming it, if one is broken."""
    kits = {}
    for name, kit in _loaded("terang.kits"):
        if not isinstance(kit, Kit) or kit.name != name:
            raise KitError(f"the kit {name} does not offer a Kit of that name")
        kits[name] = kit
    if not kits:
        raise KitError("no kit is installed; install terang with pip so that its entry points are known")
    return kits


def load_pages() -> tuple[KitPages, ...]:
    """What the installed kits bring to the pages, by name; KitError, naming the kit, if one is broken."""
    found = []
    for name, pages in sorted(_loaded("terang.pages")):
        if not isinstance(pages, KitPages) or pages.kit != name:
            raise KitError(f"the pages of the kit {name} are no KitPages of that name")
        found.append(pages)
    return tuple(found)


def _loaded(group: str) -> Iterator[tuple[str, object]]:
    seen = set()
    for entry in entry_points(group=group):
        if entry.name in seen:
            raise KitError(f"two kits are called {entry.name}")
        seen.add(entry.name)
        try:
            yield entry.name, entry.load()
        except Exception as error:
            raise KitError(f"the kit {entry.name} cannot be loaded: {error}") from error
