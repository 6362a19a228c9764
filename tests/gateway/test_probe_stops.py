"""A probe that waits for its upstream when the process stops."""

from __future__ import annotations

import dataclasses

import pytest

from kit.talk import wait_for


@pytest.mark.slow
def test_a_probe_under_way_ends_with_the_process(shop_here):
    from farebox.ledger.models import Hold

    shop = shop_here
    name = shop.model("mute", {"input": "1", "output": "1"})
    shop.offer("sandbox", name, f"{name}+silent")
    own = shop.server.ports.shop
    patient, own.limits = own.limits, dataclasses.replace(own.limits, first_byte_s=0.1)
    only = shop.account("1")
    assert {only.chat(name, "Hi").status for _ in range(5)} == {504}
    own.limits = patient
    asked = len(shop.sandbox.requests)
    shop.loop.run(shop.server.node.prober.probe())
    wait_for(lambda: len(shop.sandbox.requests) > asked)
    assert Hold.objects.filter(state="open", account="acc_house").count() == 1
    shop.stop()
    assert not Hold.objects.filter(state="open").exists()
