"""The test vectors of docs/proof-format.md, against our own checker."""

import json
from pathlib import Path

import pytest

from terang.ledger.proof import StepFailed, check_proof, parse_document

VECTORS = json.loads((Path(__file__).resolve().parent.parent / "vectors" / "proof.json").read_text(encoding="utf-8"))


@pytest.mark.parametrize("vector", VECTORS["good"], ids=lambda vector: str(vector["shows"]["position"]))
def test_good_ones_hold(vector):
    """And show what the vector says."""
    checked = check_proof(parse_document(vector["text"]))
    shows = vector["shows"]
    assert (checked.subject.position, checked.checkpoint.size) == (shows["position"], shows["size"])
    assert checked.checkpoint.root.hex() == shows["root"]
    assert checked.reading == shows["reading"]
    assert [bound.act.name for bound in checked.bindings] == shows["bindings"]
    assert checked.block_number == shows["block_number"]


@pytest.mark.parametrize("vector", VECTORS["bad"], ids=lambda vector: vector["step"])
def test_bad_ones_stop_at_their_step(vector):
    """Each at the step that the vector names."""
    with pytest.raises(StepFailed) as caught:
        check_proof(parse_document(vector["text"]))
    assert caught.value.step == vector["step"]
