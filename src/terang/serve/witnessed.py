"""Asking a witness to co-sign the newest head, now and then; the house goes on whatever it answers."""

import json
from typing import Any

import requests

from terang.ledger.merkle import consistency_proof
from terang.ledger.tiles import TiledNodes
from terang.ledger.witness import Request, VerifierKey, open_cosignature, request_text
from terang.store.log_reader import LogReader
from terang.values.errors import LedgerError, ProofError, SettingError

__all__ = ["WitnessClient"]

_TIMEOUT_S = 5
_OK, _CONFLICT = 200, 409


class WitnessClient:
    """One witness, named by the setting `witness`: its URL and its key."""

    def __init__(self, setting: str, log: LogReader) -> None:
        url, _, key = setting.strip().partition(" ")
        if not url.startswith(("http://", "https://")):
            raise SettingError("witness: a URL and a key with a space between, as `terang witness` prints them")
        try:
            self._key = VerifierKey.parse(key.strip())
        except ProofError as error:
            raise SettingError(f"witness: {error}") from error
        self._url, self._log, self._known = url.rstrip("/") + "/add-checkpoint", log, 0

    def ask(self, size: int, note: str) -> dict[str, str]:
        """What the pages may say afterwards, as a status text under `witnessed`; LedgerError, saying why, if it refused
        or could not be reached.
        """
        answer = self._post(self._known, size, note)
        if answer.status_code == _CONFLICT and answer.text.strip().isdigit():
            self._known = int(answer.text)
            if self._known > size:
                raise LedgerError(f"the witness has seen {self._known} records of this log, and it has {size}")
            answer = self._post(self._known, size, note)
        if answer.status_code != _OK:
            said = answer.text.strip()[:200]
            raise LedgerError(f"the witness {self._key.name} refused the head of {size} records: {said}")
        cosigned = open_cosignature(note, answer.text, self._key.name, self._key.public_key)
        self._known = size
        told: dict[str, Any] = {"witness": cosigned.witness, "time_ms": cosigned.time_s * 1000, "size": size}
        return {"witnessed": json.dumps({**told, "note": note + cosigned.line + "\n"})}

    def _post(self, old_size: int, size: int, note: str) -> requests.Response:
        proof = tuple(consistency_proof(TiledNodes(self._log), old_size, size))
        body = request_text(Request(old_size, proof, note)).encode()
        try:
            answer = requests.post(self._url, data=body, timeout=_TIMEOUT_S)
        except requests.RequestException as error:
            raise LedgerError(f"the witness {self._key.name} cannot be reached: {error}") from error
        answer.encoding = "utf-8"  # a signature line begins with a dash that is not in ASCII
        return answer
