"""What each writing operation of the management API may do by itself: nothing that gives access, money or keys.

A script takes away and proposes; a person with a fresh proof gives (decision on effects). An operation that is not in
the table fails here.
"""

from __future__ import annotations

import pytest

PROPOSES = "it proposes; a person approves in the office"
REFUSED = "it is refused: a person does it in the office"
TAKES = "it takes away, tightens or stops, and gives nothing"
NOTHING = "it leads nowhere and gives nothing by itself"

TABLE = {
    "define_model": PROPOSES, "list_model": TAKES, "alias_model": PROPOSES, "create_price_list": NOTHING,
    "draw_up": PROPOSES, "drop": TAKES, "add_upstream": NOTHING, "add_channel": "the channel is paused",
    "set_secret": REFUSED, "offer": PROPOSES, "set_state": TAKES, "set_address": REFUSED, "set_order": TAKES,
    "withdraw": TAKES, "test_channel": "a call of the shop's own", "open_account": "balance 0, by the list of new accounts",
    "freeze": TAKES, "unfreeze": REFUSED, "set_price_list": PROPOSES, "revoke_key": TAKES, "propose": PROPOSES,
    "decline": TAKES, "rename": NOTHING, "bar": TAKES, "unbar": REFUSED, "close": TAKES, "set_limits": PROPOSES,
    "set_allowance": PROPOSES, "set_trusted": PROPOSES,
    "decline_proposal": TAKES, "announce": "words for a time, in the trail", "end_announcement": TAKES,
    "set_settings": PROPOSES,
}  # fmt: skip


@pytest.mark.slow
def test_every_operation_that_writes_is_in_the_table(instance):
    from farebox.office.api.app import described

    found = {
        each["operationId"].rpartition("_office_")[2].rpartition("api_")[2]
        for operations in described()["paths"].values()
        for method, each in operations.items()
        if method != "get"
    }
    names = {name for name in TABLE if any(each.endswith(name) for each in found)}
    assert names == set(TABLE)
    unknown = {each for each in found if not any(each.endswith(name) for name in TABLE)}
    assert unknown == set(), "say what it gives, or why it gives nothing"
