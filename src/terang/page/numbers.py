"""Numbers and moments as people write them in the page's language and the site's time zone.

Between a number and its unit stands a space that does not break. None, an unknown, is drawn as a dash, never as zero.
Rounding is half away from zero, on exact decimals.
"""

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from decimal import ROUND_HALF_UP, Decimal
from zoneinfo import ZoneInfo

__all__ = ["UNKNOWN", "Numbers", "parse_kwh"]

UNKNOWN = "–"
_SPACE = "\u00a0"
_KWH = 1_000_000
_ZONE_WORDS = {"Asia/Jakarta": "WIB", "Asia/Pontianak": "WIB", "Asia/Makassar": "WITA", "Asia/Jayapura": "WIT"}
_DAYS = {
    "id": ("Senin", "Selasa", "Rabu", "Kamis", "Jumat", "Sabtu", "Minggu"),
    "en": ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday"),
}
_MONTHS = {
    "id": (
        *("Januari", "Februari", "Maret", "April", "Mei", "Juni"),
        *("Juli", "Agustus", "September", "Oktober", "November", "Desember"),
    ),
    "en": (
        *("January", "February", "March", "April", "May", "June"),
        *("July", "August", "September", "October", "November", "December"),
    ),
}
# A whole number with or without groups of three, then at most six decimals: finer than a milliwatt-hour is no energy.
_TYPED = {
    "id": r"(\d{1,7}|\d{1,3}(\.\d{3}){1,2})(,\d{1,6})?",
    "en": r"(\d{1,7}|\d{1,3}(,\d{3}){1,2})(\.\d{1,6})?",
}
_KWH_LIMIT = Decimal(4_294_967)


@dataclass(frozen=True, slots=True, kw_only=True)
class Numbers:
    """How one page writes: `language` id or en, `zone` of the site."""

    language: str
    zone: ZoneInfo

    def plain(self, value: int | Decimal | None, decimals: int = 0) -> str:
        """A number without unit: 51.840 or 51,840."""
        if value is None:
            return UNKNOWN
        rounded = Decimal(value).quantize(Decimal(1).scaleb(-decimals), ROUND_HALF_UP)
        text = f"{abs(rounded):,.{decimals}f}"
        if self.language == "id":
            text = text.translate({ord(","): ".", ord("."): ","})
        return f"−{text}" if rounded < 0 else text

    def milli(self, value: int | None, unit: str, decimals: int = 0) -> str:
        """A milli-unit value in the whole unit: 342100 mW with 1 decimal is 342,1 W."""
        return self.plain(None if value is None else Decimal(value) / 1000, decimals) + _SPACE + unit

    def kwh(self, mwh: int | None, decimals: int = 2) -> str:
        """Energy in milliwatt-hours as kWh."""
        return self.plain(None if mwh is None else Decimal(mwh) / 1_000_000, decimals) + _SPACE + "kWh"

    def energy(self, mwh: int | None) -> str:
        """Energy as kWh with three significant places: 0,021 kWh, 2,31 kWh, 41,2 kWh."""
        size = abs(mwh or 0)
        return self.kwh(mwh, 3 if size < _KWH else 2 if size < 10 * _KWH else 1)

    def permille(self, value: int | None, decimals: int = 2) -> str:
        """A ratio such as the power factor, without unit."""
        return self.plain(None if value is None else Decimal(value) / 1000, decimals)

    def percent(self, part: int, whole: int) -> str:
        """How much `part` is of `whole`, which may not be 0."""
        return self.plain(Decimal(100 * part) / whole) + _SPACE + "%"

    def size(self, size_bytes: int | None) -> str:
        """A number of bytes, in kB or MB of a thousand where that reads better."""
        if size_bytes is None:
            return UNKNOWN
        for limit, unit in ((1_000_000, "MB"), (10_000, "kB")):
            if size_bytes >= limit:
                divisor = 1_000_000 if unit == "MB" else 1_000
                return self.plain(Decimal(size_bytes) / divisor, 1) + _SPACE + unit
        return self.plain(size_bytes) + _SPACE + ("byte" if self.language == "id" else "bytes")

    def local(self, ms: int) -> datetime:
        """The moment in the site's zone."""
        return datetime.fromtimestamp(ms / 1000, UTC).astimezone(self.zone)

    def clock(self, ms: int | None, *, seconds: bool = False) -> str:
        """The time of day: 20.14 or 20:14."""
        if ms is None:
            return UNKNOWN
        form = "%H:%M:%S" if seconds else "%H:%M"
        text = self.local(ms).strftime(form)
        return text.replace(":", ".") if self.language == "id" else text

    def day(self, ms: int | None, *, weekday: bool = False) -> str:
        """The date: 26 November 2026, with its weekday if asked."""
        if ms is None:
            return UNKNOWN
        at = self.local(ms)
        text = f"{at.day} {_MONTHS[self.language][at.month - 1]} {at.year}"
        return f"{_DAYS[self.language][at.weekday()]}, {text}" if weekday else text

    def short_day(self, ms: int) -> str:
        """The date without its year: 26 Nov."""
        at = self.local(ms)
        return f"{at.day} {_MONTHS[self.language][at.month - 1][:3]}"

    def month(self, ms: int, *, year: bool = True) -> str:
        """November 2026."""
        at = self.local(ms)
        name = _MONTHS[self.language][at.month - 1]
        return f"{name} {at.year}" if year else name

    def moment(self, ms: int | None, now_ms: int, *, seconds: bool = False) -> str:
        """The time of day, with its date unless that is today."""
        if ms is None:
            return UNKNOWN
        clock = self.clock(ms, seconds=seconds)
        if self.local(ms).date() == self.local(now_ms).date():
            return clock
        at = self.local(ms)
        year = "" if at.year == self.local(now_ms).year else f" {at.year}"
        return f"{self.short_day(ms)}{year} {clock}"

    def iso(self, ms: int) -> str:
        """The moment for machines, with the site's offset and milliseconds."""
        return self.local(ms).isoformat(timespec="milliseconds")

    @property
    def zone_word(self) -> str:
        """What people call the zone: WIB, WITA, WIT, or its IANA name."""
        return _ZONE_WORDS.get(self.zone.key, self.zone.key)


def parse_kwh(text: str, language: str) -> int | None:
    """What a person typed as kWh, in mWh: `1.204,5` in Indonesian, `1,204.5` in English; None if it is no number."""
    thousands, point = (".", ",") if language == "id" else (",", ".")
    cleaned = text.strip().removesuffix("kWh").strip()
    if not re.fullmatch(_TYPED[language], cleaned, re.ASCII):
        return None
    value = Decimal(cleaned.replace(thousands, "").replace(point, "."))
    return int(value * 1_000_000) if value <= _KWH_LIMIT else None
