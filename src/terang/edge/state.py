"""What the agent says of itself: one line when something changes, and a small file that anybody may read."""

import json
import os
import secrets
import sys
import threading
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path

from terang.values.clock import Clock

__all__ = ["StateBoard", "describe_state", "read_state"]

_STALE_MS = 30_000


def _to_stderr(line: str) -> None:
    sys.stderr.write(f"terang edge: {line}\n")
    sys.stderr.flush()


class StateBoard:
    """The state of every part, by topic. A line is spoken when a part's state changes, not each time it is told."""

    def __init__(self, path: Path, clock: Clock, say: Callable[[str], None] = _to_stderr) -> None:
        self._path, self._clock, self._say = path, clock, say
        self._lock = threading.Lock()
        self._states: dict[str, str] = {}
        self._faults: set[str] = set()
        self._written_ms: int | None = None
        self._is_new = True

    def set(self, topic: str, text: str, *, is_fault: bool = False) -> bool:
        """Whether this changes what was known of the topic; then it is also said aloud."""
        with self._lock:
            if self._states.get(topic) == text:
                return False
            self._states[topic] = text
            (self._faults.add if is_fault else self._faults.discard)(topic)
            self._is_new = True
        self._say(f"{topic}: {text}")
        return True

    def note(self, line: str) -> None:
        """Say something that happened once and is no state."""
        self._say(line)

    def write(self, figures: Callable[[], Mapping[str, object]], *, every_ms: int) -> None:
        """Replace the state file when a state has changed, else at most every `every_ms`.

        A disk that is full must not stop the agent, so a file that cannot be written is left as it was.
        """
        now_ms = self._clock.monotonic_ms()
        with self._lock:
            if not self._is_new and self._written_ms is not None and now_ms - self._written_ms < every_ms:
                return
            self._is_new, self._written_ms = False, now_ms
            content = {
                "pid": os.getpid(),
                "written_ms": self._clock.now_ms(),
                "written_uptime_ms": now_ms,
                "faults": sorted(self._faults),
                "states": dict(sorted(self._states.items())),
                **figures(),
            }
        draft = self._path.with_name(f".{self._path.name}.{secrets.token_hex(4)}")
        try:
            draft.write_text(json.dumps(content, indent=1) + "\n", encoding="utf-8")
            draft.replace(self._path)
        except OSError:
            with suppress(OSError):
                draft.unlink()


def read_state(folder: Path) -> dict[str, object] | None:
    """The agent's last words in the state file of its folder; None where there are none that can be read."""
    try:
        content = json.loads((folder / "state.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return content if isinstance(content, dict) else None


def describe_state(folder: Path, *, is_running: bool, now_ms: int) -> str:
    """The state in lines for a person; `is_running` says whether somebody holds the device's key."""
    state = read_state(folder)
    if state is None:
        return "the agent is running, but has not said anything yet" if is_running else "the agent has never run here"
    lines = []
    written_ms = state.get("written_ms")
    age_ms = now_ms - written_ms if isinstance(written_ms, int) else 0
    if not is_running:
        lines.append("the agent is not running; this is what it said last:")
    elif age_ms > _STALE_MS:
        lines.append(f"the agent has said nothing for {age_ms // 1000} s; this is what it said last:")
    faults, states = state.get("faults"), state.get("states")
    if isinstance(states, dict):
        marked = faults if isinstance(faults, list) else []
        lines += [f"{'! ' if topic in marked else '  '}{topic}: {text}" for topic, text in states.items()]
    for name in ("outbox", "down"):
        figures = state.get(name)
        if isinstance(figures, dict):
            lines.append(f"  {name}: " + ", ".join(f"{key} {value}" for key, value in figures.items()))
    return "\n".join(lines)
