"""What is dangerous is asked once more: the question stands on the button, and without a script the form works."""

from __future__ import annotations

import re

import pytest

from kit import people


def asked(page, label):
    """The question of the button with this label, and the word for no."""
    found = re.findall(r'<button ([^>]*data-ask="([^"]+)" data-keep="([^"]+)"[^>]*)>([^<]+)</button>', page.html)
    [(question, keep)] = [(question, keep) for _, question, keep, said in found if said == label]
    return question, keep


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "label", "question"),
    [
        ("/office/customers/{account}", "Freeze", "Freeze {name}?"),
        ("/office/customers/{account}", "Ban", "Ban {name} for"),
        ("/office/upstreams/{channel}", "Pause channel", "Pause sandbox?"),
        ("/office/upstreams/{channel}/models?model=gpt-4", "Remove model", "Remove gpt-4 from sandbox?"),
        ("/office/models/show/gpt-4", "Take off sale", "Take gpt-4 off sale?"),
    ],
)
def test_the_question_names_the_thing(shop, operator, path, label, question):
    from farebox.accounts.models import Account
    from farebox.upstreams.models import Channel

    account = shop.account("0").account
    channel = Channel.objects.get(name="sandbox").id
    name = Account.objects.get(id=account).name
    found, keep = asked(operator().page(path.format(account=account, channel=channel)), label)
    assert found.startswith(question.format(name=name))
    assert keep == "Cancel"


@pytest.mark.slow
def test_tokens_and_invitations(shop, operator):
    admin = operator()
    made = admin.through("/office/tokens/new", name="nightly", role="admin", addresses="127.0.0.1", days="1")
    assert made.status == 200, made.text
    assert asked(admin.page("/office/tokens"), "Revoke token")[0].startswith("Revoke the token nightly?")
    owner = people.customer(shop, language="zh")
    guest = f"guest-{owner.person.lower()}@example.com"
    assert owner.fill("/zh/console/team/invite", people=guest, project="", role="owner", days="14").status < 400
    question, keep = asked(owner.page("/zh/console/team"), "撤回")
    assert guest in question
    assert "失效" in question
    assert keep == "取消"


def test_without_a_script_the_form_does_it_at_once(shop, operator):
    admin, account = operator(), shop.account("0").account
    here = f"/office/customers/{account}"
    assert "Account frozen" in admin.follow(admin.fill(here, f"{here}/move", do="freeze")).text


def test_script_and_style_know_their_part(visitor):
    script = visitor.get("/static/look/farebox.js").body.decode()
    for word in ("dataset.ask", "dataset.keep", "showModal", "aria-busy", "requestSubmit"):
        assert word in script
    style = visitor.get("/static/look/farebox.css").body.decode()
    assert ".busy::after" in style
    # The summary of the menu is hidden where the list shows without it, and nowhere else.
    hidden = [line for line in style.splitlines() if re.search(r"\.side summary \{ display: none", line)]
    assert len(hidden) == 1
    assert hidden[0].strip().startswith("@supports selector(::details-content)")
