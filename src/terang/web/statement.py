"""What the signed bytes of a record say, read from those bytes alone. Pure."""

from dataclasses import dataclass

from terang.values import envelope, quantity, reading
from terang.values.errors import CodecError

__all__ = ["Statement", "read_statement"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Statement:
    """One statement. `kind` as in envelope.KIND_WORDS, or act.

    Of readings: the `index`th of `count`, its `time_ms` (None while the device did not know the time), how the device
    knew it (`clock`), and its values by quantity name. Of the rest: `words`, names with plain values.
    """

    kind: str
    sequence: int | None = None
    address: int | None = None
    index: int = 0
    count: int = 1
    time_ms: int | None = None
    clock: str = "unknown"
    values: tuple[tuple[str, int], ...] = ()
    words: tuple[tuple[str, str], ...] = ()


def read_statement(kind: str, data: bytes, index: int) -> Statement | None:
    """The statement at `index` of a record's signed bytes; None where it has no such, or the bytes are broken."""
    if kind != "envelope":
        return Statement(kind=kind) if index == 0 else None
    try:
        payload, _ = envelope.split(data)
        said = envelope.decode_payload(payload)
    except CodecError:
        return None
    clock = reading.CLOCK_WORDS[said.clock]
    if isinstance(said.body, reading.Readings):
        count = len(said.body.offsets_ms)
        if not 0 <= index < count:
            return None
        return Statement(
            kind="readings",
            sequence=said.sequence,
            address=said.meter,
            index=index,
            count=count,
            time_ms=None if said.utc_ms is None else said.utc_ms + said.body.offsets_ms[index],
            clock=clock,
            values=tuple(
                (quantity.BY_CODE[code].name, column[index])
                for code, column in sorted(said.body.columns.items())
                if code in quantity.BY_CODE
            ),
        )
    if index:
        return None
    words = tuple(
        (name, value.hex() if isinstance(value, bytes) else str(value)) for name, value in said.body._asdict().items()
    )
    return Statement(
        kind=envelope.KIND_WORDS[said.kind],
        sequence=said.sequence,
        address=said.meter,
        time_ms=said.utc_ms,
        clock=clock,
        words=words,
    )
