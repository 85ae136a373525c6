"""The cards of a room's page: each comes from a kit, through the entry point group `terang.pages`.

A card is a template of the kit and a function that fills it from what one person may see of one room. The page asks
every card of every kit; one that has nothing to say of this room says None and is not drawn. A card can also be had
alone, at `Visit.address`, so that a page which stays open renews it in place.
"""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from urllib.parse import urlencode

from terang.page.numbers import Numbers
from terang.page.rooms import RoomView
from terang.page.texts import Texts
from terang.reader import MeterRef, Room, Source
from terang.values.errors import UsageError

__all__ = ["Card", "KitPages", "Visit"]

_DIGITS_MAX = len(str(1 << 53))  # what every store and every browser can hold has fewer


@dataclass(frozen=True, slots=True, kw_only=True)
class Visit:
    """One person at one room. The meter is the one that was chosen, None where the room has none.

    Readings may be shown from `since_ms` on, hourly sums from `hours_since_ms` on: a tenant from moving in, an owner
    always. `query` is what stands behind the ? of the page's address.
    """

    source: Source
    room: Room
    meter: MeterRef | None
    view: RoomView
    since_ms: int
    hours_since_ms: int
    now_ms: int
    query: Mapping[str, str]
    texts: Texts
    numbers: Numbers

    def number(self, name: str) -> int | None:
        """A whole number of the query; None where it is not asked for, UsageError where no store could hold it."""
        text = self.query.get(name)
        if text is None:
            return None
        if not (text.isascii() and text.isdecimal() and len(text) < _DIGITS_MAX):
            raise UsageError(f"{name} is a whole number of at most {_DIGITS_MAX - 1} digits")
        return int(text)

    def page(self, anchor: str = "", **query: object) -> str:
        """The address of the room's page, at the card `anchor`; the chosen meter stays where there are several."""
        return self._with_query(f"/rooms/{self.room.id}", query) + (f"#{anchor}" if anchor else "")

    def address(self, card: str, **query: object) -> str:
        """The address of a card alone (`meter/now`)."""
        return self._with_query(f"/rooms/{self.room.id}/{card}", query)

    def _with_query(self, path: str, query: Mapping[str, object]) -> str:
        meter = {"meter": self.meter.id} if self.meter and len(self.room.meters) + len(self.room.past) > 1 else {}
        said = {name: value for name, value in query.items() if value is not None}
        return f"{path}?{urlencode(meter | said)}" if meter or said else path


@dataclass(frozen=True, slots=True, kw_only=True)
class Card:
    """A card: its `name` in addresses, its template, its place among all cards, and whether it takes the whole width.

    `fill` makes what the template is given beside `visit`; None where there is nothing to say of this room.
    """

    name: str
    template: str
    place: int
    wide: bool = False
    fill: Callable[[Visit], Mapping[str, object] | None]


@dataclass(frozen=True, slots=True, kw_only=True)
class KitPages:
    """What a kit brings to the pages: its name, the package in which its `templates` and `texts` stand, its cards."""

    kit: str
    package: str
    cards: tuple[Card, ...]
