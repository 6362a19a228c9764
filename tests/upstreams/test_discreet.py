"""An upstream's words for a customer: without its name, and otherwise as they came."""

from __future__ import annotations

import pytest

from farebox.protocol.dialect import Fault
from farebox.upstreams import discreet


def told(message: str, *, host: str = "api.acme-models.com", mapped: str = "acme/big-7", asked: str = "big", code=None):
    found = Fault("request", message, 400, code=code, param="messages")
    said = discreet.fault(found, host=host, mapped=mapped, asked=asked)
    assert (said.kind, said.status, said.param) == (found.kind, found.status, found.param)
    return said


@pytest.mark.parametrize(
    ("message", "shown"),
    [
        ("The model acme/big-7 has no tools", "The model big has no tools"),
        ("Acme-Models refuses; see https://docs.acme-models.com/x", "the upstream refuses; see the upstream"),
        ("Provider OpenRouter: Together AI said no", "Provider the upstream: the upstream said no"),
        ("Azure OpenAI content policy", "the upstream content policy"),
        ("No (request id: 2026113015abcdef)", "No"),
        ("Organization org-abc123XYZ of ops@shop.example", "Organization  of"),
        ("account 123456789 has no vision", "has no vision"),
    ],
)
def test_whom_we_buy_from_is_taken_out(message, shown):
    assert told(message).message == shown


@pytest.mark.parametrize(
    "message",
    [
        "context_length_exceeded: This model's maximum context length is 8192 tokens. Please reduce the length.",
        "Invalid value for 'tools[0].function.name': must match ^[a-zA-Z0-9_-]+$",
        "tool_call_id call_abc123 is unknown; call id call_abc123",
        "Can't read https://cdn.customer.example/cat.png",
        "DeepSeek models replicate the user message; fireworks together",
        "I'm the m of m",
    ],
)
def test_the_rest_stands(message):
    assert told(message, mapped="m").message == message


def test_what_the_customer_calls_a_model_stands():
    assert told("azure-gpt is not groq", asked="azure-gpt", mapped="x-1").message == "azure-gpt is not the upstream"
    assert told("up-1 is none", asked="groq/llama", mapped="up-1").message == "groq/llama is none"
    assert told("host 10.0.0.7 says no", host="10.0.0.7").message == "host 10.0.0.7 says no"


def test_codes():
    assert told("x", code="context_length_exceeded").code == "context_length_exceeded"
    assert told("x", code="azure_policy").code is None
    assert told("x", code="a b").code is None
