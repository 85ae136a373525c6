"""What an owner does from the pages, as the core hears it."""

import pytest

from terang.values.command import AckNotice, DecideStep, Refused, RevokeDevice, Watch


@pytest.mark.parametrize(
    ("form", "counted_mwh"),
    [
        ({"choice": "count"}, 1_250_000),
        ({"choice": "ignore"}, 0),
        ({"choice": "other", "kwh": "0,75"}, 750_000),
        ({"choice": "other", "kwh": "1,25"}, 1_250_000),
    ],
)
def test_a_step_is_decided(owner, core, csrf, form, counted_mwh):
    """Count it, ignore it or another amount: the core hears the amount and who said it, and the page thanks."""
    answer = owner.post("/steps/1", data={**form, "_csrf_token": csrf(owner)})
    assert answer.status_code == 200
    assert "Keputusan Anda sudah dicatat." in answer.text
    assert "Perlu keputusan Anda" not in answer.text
    assert [(ask.by, ask.command) for ask in core.asked] == [("sari", DecideStep(step=1, counted_mwh=counted_mwh))]
    assert "dihitung dari 1,25" in owner.get("/notices").text


@pytest.mark.parametrize("kwh", ["", "1,26", "-1", "abc", "0.75", "1.000"])
def test_an_amount_that_cannot_be_is_sent_back(owner, core, csrf, kwh):
    """More than what is uncertain, or no number: the page says so beside the step, and the core hears nothing."""
    answer = owner.post("/steps/1", data={"choice": "other", "kwh": kwh, "_csrf_token": csrf(owner)})
    assert answer.status_code == 400
    assert "Tulis jumlah dari 0" in answer.text
    assert core.asked == []


def test_a_step_that_is_not_there(owner, core, csrf):
    """404, and the core hears nothing."""
    assert owner.post("/steps/99", data={"choice": "count", "_csrf_token": csrf(owner)}).status_code == 404
    assert owner.post("/steps/1", data={"choice": "everything", "_csrf_token": csrf(owner)}).status_code == 400
    assert core.asked == []


def test_a_notice_is_seen(owner, core, csrf):
    """It leaves the unread ones, from either page that shows it."""
    answer = owner.post("/notices/1/seen", data={"_csrf_token": csrf(owner)}, follow_redirects=False)
    assert answer.headers["location"] == "/notices?done=seen"
    answer = owner.post("/notices/2/seen", data={"back": "/", "_csrf_token": csrf(owner)}, follow_redirects=False)
    assert answer.headers["location"] == "/?done=seen"
    assert [ask.command for ask in core.asked] == [AckNotice(notice=1), AckNotice(notice=2)]
    assert "Tak ada kabar baru." in owner.get("/notices").text
    assert owner.post("/notices/99/seen", data={"_csrf_token": csrf(owner)}).status_code == 404


def test_a_device_is_revoked_only_on_purpose(owner, core, house, csrf):
    """Without a reason and a tick nothing happens; with both the core hears it."""
    path, token = f"/devices/{house.device}/revoke", {"_csrf_token": csrf(owner)}
    for form in ({}, {"reason": "dicuri"}, {"sure": "yes"}, {"reason": "  ", "sure": "yes"}):
        answer = owner.post(path, data={**form, **token})
        assert answer.status_code == 400
        assert "Tulis alasannya" in answer.text
    assert core.asked == []
    answer = owner.post(path, data={"reason": " dicuri \n orang ", "sure": "yes", **token}, follow_redirects=False)
    assert answer.headers["location"] == "/devices?done=revoked"
    assert [ask.command for ask in core.asked] == [RevokeDevice(device=house.device, reason="dicuri orang")]
    assert owner.post("/devices/feed/revoke", data={"reason": "x", "sure": "yes", **token}).status_code == 404


def test_what_the_core_refuses_is_told(owner, core, csrf):
    """Its reason stands on the page that asked, as text."""
    core.answer = Refused(reason="this step is decided <already>")
    answer = owner.post("/steps/1", data={"choice": "count", "_csrf_token": csrf(owner)})
    assert answer.status_code == 409
    assert "this step is decided &lt;already&gt;" in answer.text


def test_without_a_core_nothing_is_promised(owner, csrf):
    """The page says that the core did not answer, and shows itself as before."""
    answer = owner.post("/steps/1", data={"choice": "count", "_csrf_token": csrf(owner)})
    assert answer.status_code == 503
    assert "Inti Terang tidak menjawab" in answer.text
    assert "Perlu keputusan Anda" in answer.text


def test_a_proof_that_is_looked_at_hurries_the_chain(owner, tenant, core):
    """Opening a proof tells the core once, not at every look within the next seconds."""
    for _ in range(3):
        assert tenant.get("/proof/12002/3").status_code == 200
    assert owner.get("/proof/12002/3").status_code == 200
    assert [(ask.by, ask.command) for ask in core.asked] == [("budi", Watch())]


def test_only_known_words_of_success_are_shown(owner):
    """`done` in an address says nothing but what we wrote."""
    assert "dicatat." in owner.get("/?done=decided").text
    assert "You have won" not in owner.get("/?done=You have won").text
