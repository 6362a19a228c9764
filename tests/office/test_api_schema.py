"""schemathesis over the management API: whatever fits or does not fit the schema gets an answer that fits it."""

from __future__ import annotations

import os

import pytest

from kit import people

pytestmark = pytest.mark.slow

# The same requests each time, and few: this is a look at every operation, not a search for hours.
EXAMPLES = 6 if os.environ.get("NIGHT") else 1
SEED = 4711


@pytest.fixture(scope="module")
def token(shop):
    """A token of an administrator."""
    from farebox.accounts.sign_in import tokens
    from farebox.kit import clock

    me = people.operator(shop, "admin")
    _row, text = shop.write(
        tokens.make, person=me.person, name="schema", role="admin", days=1, now_us=clock.now_us(), actor="test"
    )
    return text


@pytest.fixture(scope="module")
def known(shop):
    """Things that are there, so that not every id is a wrong one."""
    customer = people.customer(shop, "5")
    call = customer.customer.chat("gpt-4o-mini", "Hello")
    customer.customer.receipt(call)
    return {
        "account": customer.customer.account, "key": customer.customer.key_id, "name": "sandbox", "call": call.call,
    }  # fmt: skip


def test_the_api_keeps_its_schema(shop, token, known):
    import schemathesis
    from hypothesis import HealthCheck, Phase, given, seed, settings
    from schemathesis.checks import not_a_server_error
    from schemathesis.generation import GenerationMode
    from schemathesis.specs.openapi.checks import (
        content_type_conformance,
        response_schema_conformance,
        status_code_conformance,
    )

    from farebox.office.api.app import described

    found = described()
    assert len(found["paths"]) > 45
    checks = [
        not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance,
    ]  # fmt: skip
    schema = schemathesis.openapi.from_dict(found)
    schema.config.update(base_url=shop.url)
    headers = {"Authorization": f"Bearer {token}"}
    answers: dict[int, int] = {}
    operations = [each.ok() for each in schema.get_all_operations()]
    assert len(operations) > 50
    for operation in operations:
        for mode in GenerationMode.POSITIVE, GenerationMode.NEGATIVE:
            if mode is GenerationMode.NEGATIVE and not (list(operation.iter_parameters()) or operation.body):
                continue  # without parameters there is nothing to get wrong
            strategy = operation.as_strategy(generation_mode=mode)

            @seed(SEED)
            @settings(
                max_examples=EXAMPLES, database=None, deadline=None, phases=[Phase.generate],
                suppress_health_check=list(HealthCheck),
            )  # fmt: skip
            @given(case=strategy)
            def ask(case):
                for name in case.path_parameters:
                    if name in known and len(case.path_parameters[name] or "") % 2:
                        case.path_parameters[name] = known[name]
                response = case.call(headers=headers)
                answers[response.status_code] = answers.get(response.status_code, 0) + 1
                case.validate_response(response, checks=checks)

            ask()
    assert answers.get(200, 0) > 20 * EXAMPLES, answers
    assert answers.get(422, 0) > 20 * EXAMPLES, answers
