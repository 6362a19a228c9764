"""Whose doing an upstream's error is, and what the customer may read of it."""

from __future__ import annotations

import json

import pytest

from farebox.protocol import faults
from farebox.protocol.dialect import FAULT_KINDS
from kit.rows import for_each


def body(message="Something.", **over):
    return json.dumps({"error": {"message": message, "type": None, "param": None, "code": None} | over}).encode()


TOO_LONG = "This model's maximum context length is 8192 tokens. However, your messages resulted in 9000 tokens. Please reduce the length of the messages."
KINDS = [
    (400, body(), "request"), (413, body(), "request"), (422, body(), "request"),
    (400, body(TOO_LONG, code="context_length_exceeded"), "context"),
    (422, body(TOO_LONG), "context"), (413, body("prompt is too long: 5 tokens > 4 maximum"), "context"),
    (400, b'{"error":{"code":400,"message":"the request exceeds the available context size","type":"exceed_context_size_error"}}', "context"),
    (500, body(type="exceed_context_size_error"), "context"),
    (400, body("Flagged by our content management policy.", code="content_filter"), "policy"),
    (400, body(code="content_policy_violation"), "policy"), (403, body("Input flagged by moderation"), "policy"),
    (401, body(code="invalid_api_key"), "ours"), (402, body(), "ours"), (403, body(), "ours"),
    (404, body(code="model_not_found"), "ours"), (404, b"", "ours"), (405, b"", "ours"), (415, b"", "ours"),
    (400, body("API key not valid. Please pass a valid API key."), "ours"),
    (400, body("API key not valid.", details=[{"@type": "info"}, {"reason": "API_KEY_INVALID"}], status="INVALID_ARGUMENT"), "ours"),
    (400, body(code="Arrearage"), "ours"), (429, body(code="1113"), "ours"), (429, body(code=1113), "ours"), (429, body(code="1302"), "busy"),
    (400, body(code="organization_restricted"), "ours"), (429, body(type="exceeded_current_quota_error"), "ours"),
    (400, body(code="billing_hard_limit_reached"), "ours"), (400, body("Insufficient Balance"), "ours"),
    (400, body(code="model_not_found"), "ours"),
    (429, body(type="insufficient_quota", code="insufficient_quota"), "ours"),
    (429, body(code="rate_limit_exceeded"), "busy"), (429, b"", "busy"), (503, body(), "busy"), (529, b"", "busy"),
    (429, body("You exceeded your current quota"), "busy"),
    (408, body(), "timeout"),
    (500, body(), "down"), (502, b"<html>", "down"), (504, b"", "down"), (409, body(), "down"), (500, body("content policy"), "down"),
    (301, b"", "down"), (307, b"", "down"), (204, b"", "down"), (418, body(), "down"),
]  # fmt: skip


@for_each(("status", "raw", "kind"), KINDS)
def test_kinds(status, raw, kind):
    fault = faults.of_response(status, {}, raw)
    assert (fault.kind, fault.status) == (kind, status)
    assert fault.message
    assert {kind for _, _, kind in KINDS} == set(FAULT_KINDS)


@pytest.mark.parametrize(
    ("status", "raw", "mapping"),
    [
        (404, b"", True),
        (400, body(code="model_not_found"), True),
        (401, b"", False),
        (403, b"", False),
        (429, b"", False),
        (400, b"", False),
    ],
)
def test_a_wrong_mapping_is_told_from_a_refused_key(status, raw, mapping):
    assert faults.of_response(status, {}, raw).mapping is mapping


# What vendors say of our key and our money, in the field that is theirs; their references of November 2026.
VENDORS = [
    ("OpenAI", 401, {"type": "invalid_request_error", "code": "invalid_api_key"}),
    ("OpenAI", 429, {"type": "insufficient_quota", "code": "insufficient_quota"}),
    ("OpenAI", 400, {"type": "invalid_request_error", "code": "billing_hard_limit_reached"}),
    ("OpenAI", 429, {"type": "billing_not_active", "code": "billing_not_active"}),
    ("OpenAI", 401, {"type": "invalid_request_error", "code": "account_deactivated"}),
    ("Azure", 401, {"code": "401"}), ("Azure", 403, {"code": "AccessDenied"}),
    ("DeepSeek", 402, {"type": "unknown_error", "code": "invalid_request_error"}),
    ("DashScope", 400, {"code": "Arrearage", "type": "Arrearage"}), ("DashScope", 401, {"code": "invalid_api_key"}),
    ("BigModel", 429, {"code": "1113"}), ("BigModel", 429, {"code": "1112"}), ("BigModel", 401, {"code": "1002"}),
    ("Moonshot", 429, {"type": "exceeded_current_quota_error"}), ("Moonshot", 401, {"type": "incorrect_api_key_error"}),
    ("Groq", 400, {"type": "invalid_request_error", "code": "organization_restricted"}),
    ("OpenRouter", 402, {"code": 402}), ("OpenRouter", 401, {"code": 401}),
    ("Google", 400, {"code": 400, "status": "INVALID_ARGUMENT", "details": [{"reason": "API_KEY_INVALID"}]}),
    ("New API", 403, {"type": "new_api_error", "code": "insufficient_user_quota"}),
]  # fmt: skip


@pytest.mark.parametrize(("vendor", "status", "over"), VENDORS)
def test_a_vendors_own_code_for_our_key_or_money(vendor, status, over):
    fault = faults.of_response(status, {}, body("something", **over))
    assert (fault.kind, fault.words, fault.mapping) == ("ours", False, False), vendor


SAID = ["invalid api key", "API key not valid", "Insufficient Balance", "Your credit balance is too low"]


@pytest.mark.parametrize("said", SAID)
@pytest.mark.parametrize("form", ["whole", "event"])
def test_words_alone_are_told_from_a_code(said, form):
    """Whoever names his parameter so has them repeated."""
    over = {"type": "invalid_request_error", "code": "unknown_parameter"}
    raw = body(f"Unknown parameter: '{said}'.", **over)
    fault = faults.of_response(400, {}, raw) if form == "whole" else faults.of_object(json.loads(raw)["error"])
    assert (fault.kind, fault.words, fault.mapping) == ("ours", True, False)


@pytest.mark.parametrize("status", [429, 500, 503])
def test_words_beside_a_status_that_says_enough_are_nothing(status):
    assert not faults.of_response(status, {}, body("invalid api key")).words


def test_words_parameter_and_code_pass():
    fault = faults.of_response(400, {}, body(TOO_LONG, code="context_length_exceeded", param="messages"))
    assert (fault.message, fault.code, fault.param) == (TOO_LONG, "context_length_exceeded", "messages")


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        (b'{"error":"words"}', "words"), (b'{"object":"error","message":"words","code":400}', "words"),
        (b'[{"error":{"message":"words"}}]', "words"), (b'{"detail":"words"}', "words"),
        (b'{"detail":[{"msg":"one"},{"msg":"two"}]}', "one; two"), (b"plain words\n", "plain words"),
    ],
)  # fmt: skip
def test_forms(raw, message):
    assert faults.of_response(400, {}, raw).message == message


@for_each(
    "raw",
    [
        b"",
        b"<html>secret page</html>",
        b"[]",
        b"7",
        b"null",
        b'{"error":5}',
        b'{"error":{"message":5}}',
        b"[" * 20_000,
    ],
)
def test_what_says_nothing_gets_a_sentence(raw):
    message = faults.of_response(502, {"content-type": "text/html"}, raw).message
    assert message == "The upstream answered with HTTP status 502 and no message."


def test_long_and_secret_texts():
    fault = faults.of_response(401, {}, body("Incorrect API key provided: sk-abcdefghijklmnop1234. " + "x" * 5000))
    assert len(fault.message) == 1000
    assert "sk-abcdef" not in fault.message
    assert "[redacted]" in fault.message
    fault = faults.of_response(400, {}, body(param="sk-abcdefghijklmnop1234", code="sk-abcdefghijklmnop1234"))
    assert (fault.param, fault.code) == ("[redacted]", "[redacted]")


@for_each(
    ("headers", "seconds"),
    [
        ({}, None), ({"retry-after": "7"}, 7), ({"retry-after": "0"}, 1), ({"retry-after": "600"}, 60), ({"retry-after": "1.2"}, 2),
        ({"retry-after": "9" * 40}, None), ({"retry-after": "Wed, 21 Oct 2026 07:28:00 GMT"}, None), ({"retry-after": "-5"}, None),
        ({"retry-after-ms": "1500", "retry-after": "9"}, 2), ({"retry-after-ms": "20"}, 1), ({"retry-after": "٣"}, None),
    ],
)  # fmt: skip
def test_retry_after(headers, seconds):
    assert faults.of_response(429, headers, b"").retry_after_s == seconds
    assert faults.of_response(400, headers, b"").retry_after_s is None


@for_each(
    ("error", "kind", "status"),
    [
        ({"message": "boom"}, "down", 200), ("boom", "down", 200), ([], "down", 200),
        ({"message": "x", "code": "content_filter"}, "policy", 200), ({"message": "Violates our content policy"}, "policy", 200),
        ({"message": "x", "type": "invalid_request_error"}, "request", 200), ({"message": TOO_LONG}, "context", 200),
        ({"message": "x", "code": 429}, "busy", 429), ({"message": "x", "code": 401}, "ours", 401), ({"message": "x", "code": 502}, "down", 502),
        ({"message": "x", "code": "rate_limit_exceeded"}, "busy", 200), ({"message": "x", "type": "insufficient_quota"}, "ours", 200),
        ({"message": "x", "code": 7}, "down", 200), ({"message": "x", "code": 200}, "down", 200),
    ],
)  # fmt: skip
def test_errors_inside_a_200(error, kind, status):
    fault = faults.of_object(error)
    assert (fault.kind, fault.status) == (kind, status)
