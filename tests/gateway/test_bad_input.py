"""Bad and odd input at the front door: the corpus rows of the routes that exist.

Whatever is refused gets OpenAI's error form and costs nothing: no row, no hold, no request upstream.
"""

from __future__ import annotations

import base64
import contextlib
import json
import resource
import socket
import struct
import time

import pytest
import structlog

from farebox.gateway.http.head import Networks
from farebox.kit.errors import StoreUnavailable
from farebox.upstreams import channels
from kit import raw
from kit import shop as shops
from kit.rows import for_each

CHAT = "/v1/chat/completions"
TEXT = "/v1/completions"
EMBED = "/v1/embeddings"
MESSAGES = [{"role": "user", "content": "Hello"}]
LONG_S = 10.0  # a refusal takes far less, and what hangs takes longer; the machine may be busy


@pytest.fixture(scope="module")
def shop(stocked_instance):
    with shops.opened(stocked_instance, wrong_keys_per_min=100_000) as running:
        yield running
        assert running.findings() == []


@pytest.fixture(scope="module")
def me(shop):
    """A customer with money and a model that sees images."""
    shop.model("seer", {"input": "1", "output": "2"}, modalities=["text", "image"], image_formula="openai_tile")
    return shop.account("5")


@pytest.fixture
def untouched(shop):
    """Nothing is held, recorded or asked upstream meanwhile, and the server is alive."""
    before, asked = shop.counts(), len(shop.sandbox.requests)
    yield
    assert (shop.counts(), len(shop.sandbox.requests)) == (before, asked)
    assert raw.talk(shop, raw.get("/v1/models"), quiet_s=3, until=b"}}").status == 401


def check_error(answer, status, *, param=None, code=None, sent=b"", closed=None):
    """OpenAI's error form, our headers, no stack trace, and no more of the request than 64 characters."""
    assert answer.status in (status if isinstance(status, tuple) else (status,)), (answer.status, answer.body[:300])
    assert answer.headers["content-type"] == "application/json"
    assert answer.headers["x-request-id"].startswith("call_")
    assert answer.headers["access-control-allow-origin"] == "*"
    body = json.loads(answer.body)
    assert set(body) == {"error"} and set(body["error"]) == {"message", "type", "param", "code"}
    assert b"\n" not in answer.body and b"Traceback" not in answer.body
    error = body["error"]
    assert isinstance(error["message"], str) and 0 < len(error["message"]) < 700
    if param:  # the field, or a place in it
        assert error["param"] is not None and error["param"].partition("[")[0].partition(".")[0] == param, error
        assert error["param"] in error["message"] or "NUL" in error["message"] or param in error["message"], error
    if code is not None:
        assert error["code"] == (code or None), error
    echoed = sent.decode("latin-1")
    for at in range(0, max(0, len(echoed) - 65), 997):
        assert echoed[at : at + 65] not in error["message"]
    if closed is not None:
        assert answer.closed is closed
    return error


def with_stream(body: bytes) -> bytes:
    """The same request as a stream, if it is an object at all."""
    return body.replace(b"{", b'{"stream":true,', 1) if body.startswith(b"{") else body


def refused(shop, me, path, body, **expected):
    began = time.monotonic()
    answer = me.request("POST", path, body)
    assert time.monotonic() - began < LONG_S
    return check_error(answer, expected.pop("status", 400), sent=body, **expected)


# JSON (J01 to J25)


def valued(value: bytes) -> bytes:
    """A good request with a field that nobody knows."""
    return b'{"model":"gpt-4","messages":[{"role":"user","content":"Hi"}],"foo":' + value + b"}"


WHOLE = b'{"model":"gpt-4","messages":[{"role":"user","content":"Hello"}]}'
NOT_JSON = {
    "J01 empty": b"",
    "J02 array": b"[]",
    "J02 string": b'"x"',
    "J02 number": b"1",
    "J02 null": b"null",
    "J03 cut": WHOLE[:-2],
    "J03 trailing comma": WHOLE[:-1] + b",}",
    "J03 comment": b"/* hi */" + WHOLE,
    "J03 comment inside": WHOLE[:-1] + b"// hi\n}",
    "J03 single quotes": WHOLE.replace(b'"', b"'"),
    "J03 trailing garbage": WHOLE + b"x",
    "J03 two objects": WHOLE + WHOLE,
    "J07 arrays": b"[" * 100_000,
    "J07 objects": b'{"a":' * 100_000,
    "J07 closed": valued(b"[" * 65 + b"]" * 65),
    "J07 objects closed": valued(b'{"a":' * 70 + b"1" + b"}" * 70),
    "J07 hidden by quotes": valued(b'["\\\\",' + b"[" * 70 + b'"\\""' + b"]" * 70 + b"]"),
    "J07 strings that never end": b'{"a":"' + b'\\"' * 500_000 + b"[" * 100,
    "J09 NaN": valued(b"NaN"),
    "J09 Infinity": valued(b"Infinity"),
    "J09 -Infinity": valued(b"[-Infinity]"),
    "J16 ff": WHOLE.replace(b"Hello", b"\xff"),
    "J16 ff in a key": b'{"\xff":1,' + WHOLE[1:],
    "J16 ff in an unknown field": valued(b'"\xff"'),
    "J16 overlong": WHOLE.replace(b"Hello", b"\xc0\xaf"),
    "J16 raw surrogate": WHOLE.replace(b"Hello", b"\xed\xa0\x80"),
    "J16 cut rune": WHOLE.replace(b"Hello", b"\xe4\xbd"),
    "J17 UTF-16": WHOLE.decode().encode("utf-16"),
    "J17 UTF-16 without mark": WHOLE.decode().encode("utf-16-le"),
    "J17 UTF-32": WHOLE.decode().encode("utf-32"),
    "J17 mark": b"\xef\xbb\xbf" + WHOLE,
    "J19 NUL in a key": b'{"mo\\u0000del":1,' + WHOLE[1:],
    "J19 raw NUL": WHOLE.replace(b"Hello", b"\x00"),
    "J21 long key": b'{"' + b"k" * 1_048_576 + b'":1,' + WHOLE[1:],
    "J25 spaces": b" " * (32 * 1024 * 1024),
}
# J04: one of each kind of what the grammar of RFC 8259 does not allow, as a value.
N_VALUES = [
    b"[1 true]", b"[a\xe5]", b'["":1]', b"[1,]", b"[1,,]", b"[,1]", b'["x"', b'["x",', b"[3[4]]", b"[1:2]", b"[,]", b"[-]",
    b"[*]", b"[fals]", b"[nul]", b"[tru]", b"[True]", b"[TRUE]", b"[None]", b"[undefined]", b"[++1]", b"[+1]", b"[-01]",
    b"[-1.0.]", b"[-2.]", b"[.-1]", b"[.2e-3]", b"[0.1.2]", b"[0.3e+]", b"[0.3e]", b"[0.e1]", b"[0E+]", b"[0E]", b"[0e]",
    b"[1.0e+]", b"[1.0e-]", b"[1.0e]", b"[1 000.0]", b"[1eE2]", b"[2.e3]", b"[9.e+]", b"[Inf]", b"[NaN]", b"[-NaN]", b"[012]",
    b"[-012]", b"[0x1]", b"[0x42]", b"[1+2]", b"[-foo]", b"[- 1]", b"[1ea]", b"[1a]", b"[1.8011670033376514H-308]",
    b"[1_000]", b'{"a"b}', b"{:1}", b'{"a" 1}', b'{"a",1}', b"{'a':0}", b'{"a":0,}', b'{"a":1,,"b":2}', b'{"a":"a" 1}', b"{1:1}",
    b"{null:null}", b"{a:1}", b'{"a":1', b'{"a"', b"{", b"[", b"", b'["\\x00"]', b'["\\a"]', b'["\\\xe5"]', b'["\\u00A"]',
    b'["\\uD834\\u"]', b'["\\u"]', b'["\\uqqqq"]', b'["\\"]', b'["a\x00a"]', b'["new\nline"]', b'["\t"]', b"\"", b'"a', b"\\u0020",
    b"a", b"<null>", b"[\\u000A\"\"]", b"[\x0c]", b"\xc2\xa0[]", b"\xe2\x81\xa0", b"#1", b"[\"a\",\n4\n,1,", b"{\"a\":/*x*/1}", b"\xff", b"[\xff]",
    b"1 2", b"[1]]", b"{}}", b"truefalse", b"'x'", b"*", b"{\"x\"::\"b\"}", b"{\"a\":[}", b"[{]", b"\"\\ud800\"", b"[\"\\uDFAA\"]",
]  # fmt: skip
Y_VALUES = [
    b"[[]   ]", b'[""]', b"[]", b"[false]", b"[null, 1, \"1\", {}]", b"[null]", b"[1\n]", b" [1]", b"[1,null,null,null,2]",
    b"[123e65]", b"[0e+1]", b"[0e1]", b"[ 4]", b"[-0]", b"[-0.0]", b"[20e1]", b"[-123]", b"[1E22]", b"[1E-2]", b"[1E+2]", b"[123.456e78]",
    b"[1e-2]", b"[1e+2]", b"[123.456789]", b'{"asd":"sdf", "dfg":"fgh"}', b"{}", b'{"":0}',
    b'{"foo\\u0000bar": 42}', b'{"min": -1.0e+28, "max": 1.0e+28}', b'{"title":"\\u041f\\u043e"}', b'{\n"a": "b"\n}', b'["\\u0060\\u012a\\u12AB"]',
    b'["\\uD801\\udc37"]', b'["\\ud83d\\ude39\\ud83d\\udc8d"]', b'["\\"\\\\\\/\\b\\f\\n\\r\\t"]', b'["\\\\u0000"]', b'["\\""]', b'["a/*b*/c/*d//e"]',
    b'["\\\\a"]', b'["\\u0012"]', b'["\\uFFFF"]', b'["asd "]', b'["\xf4\x8f\xbf\xbf"]', b'["\xef\xbf\xbf"]', b'["\\u0000"]', b'["\\u002c"]',
    b'["\xcf\x80"]', b'["\xe2\x80\xa8"]', b'["\\u0022"]', b'["\x7f"]', b'" "', b"42", b"-0.1", b"null", b'"asd"', b"true", b'""', b'["a"]\n',
    b"[true]", b" [] ",
]  # fmt: skip
I_VALUES = [
    b"[123.456e-789]", b"[0.4e00669999999999999999999999999999]", b"[-1e+9999]", b"[1.5e+9999]", b"[-123123e100000]", b"[123123e100000]",
    b"[123123123123123123123123123123]", b"[-123123123123123123123123123123]", b'["\\uDADA"]', b'["\\uD888\\u1234"]', b'["\\uD800\\n"]',
    b'["\\uDd1ea"]', b'["\\ud800"]', b'["\\uD800abc"]', b'["\\uDFAA"]', b'["\xe6\x97\xa5\xd1\x88\xfa"]', b'["\xf4\xbf\xbf\xbf"]',
    b'["\xe0\xff"]', b'["\x81"]', b'["\xf8\x87\xbf\xbf\xbf"]', b"[" * 50 + b"]" * 50, b"[" * 500 + b"]" * 500, b"\xef\xbb\xbf{}",
]  # fmt: skip


@for_each("name", NOT_JSON)
@for_each("path", [CHAT, TEXT, EMBED])
def test_what_is_no_json_object_is_refused(shop, me, untouched, path, name):
    body = NOT_JSON[name]
    if len(body) > 2_000_000 and path != CHAT:
        body = body[:2_000_000]
    refused(shop, me, path, body, param="")
    refused(shop, me, path, with_stream(body), param="")


@pytest.mark.slow
def test_every_kind_of_malformed_value_is_refused(shop, me, untouched):
    for value in N_VALUES:
        for body in (valued(value), with_stream(valued(value)), value):
            refused(shop, me, CHAT, body, param="")


@pytest.mark.slow
def test_every_kind_of_good_value_passes_in_an_unknown_field(shop, me):
    for value in Y_VALUES:
        answer = me.request("POST", CHAT, valued(value))
        assert (answer.status, answer.headers.get("x-ignored-parameters")) == (200, "foo"), (value, answer.body)
    assert "foo" not in shop.sandbox.requests[-1].body


def test_doubtful_values_are_refused_or_dropped(shop, me):
    for value in I_VALUES:
        assert me.request("POST", CHAT, valued(value)).status in {200, 400}


@for_each(
    ("field", "value"),
    [
        *[("temperature", number) for number in (b"1e999", b"-1e999", b"9" * 5000, b"9" * 1_000_000)],
        *[("max_tokens", number) for number in (b"1e999", b"9" * 5000, b"9" * 1_000_000)],
        *[("seed", number) for number in (b"1e999", b"9" * 5000, b"9" * 1_000_000, b"18446744073709551616")],
        ("n", b"9" * 5000),
        ("tools", b'[{"type":"function","function":{"name":"f","parameters":{"x":1e999}}}]'),
        ("logit_bias", b'{"1":1e999}'),
    ],
)
def test_numbers_without_end_name_their_field(shop, me, untouched, field, value):
    body = WHOLE[:-1] + b',"' + field.encode() + b'":' + value + b"}"
    refused(shop, me, CHAT, body, param=field)


def test_nul_in_content_passes_and_in_a_model_not(shop, me):
    answer = me.chat("gpt-4", "a\0b")
    assert answer.status == 200
    assert shop.sandbox.requests[-1].body["messages"][0]["content"] == "a\0b"
    refused(shop, me, CHAT, WHOLE.replace(b"gpt-4", b"gpt-4\\u0000"), param="model")


def test_other_spellings_of_a_field_are_not_that_field(shop, me):
    answer = me.request("POST", CHAT, b'{"Model":"x","MODEL":"y","N":3,"Max_Tokens":1,' + WHOLE[1:])
    assert answer.headers["x-ignored-parameters"] == "MODEL, Max_Tokens, Model, N"
    assert set(shop.sandbox.requests[-1].body) == {"model", "messages"}


def test_an_escaped_or_repeated_name_means_the_same_to_every_check(shop, me, untouched):
    refused(shop, me, CHAT, b'{"\\u006e":9,' + WHOLE[1:], param="n")
    refused(shop, me, CHAT, b'{"n":1,"\\u006e":9,' + WHOLE[1:], param="n")
    refused(shop, me, CHAT, b'{"n":1,"\\u006e":1,' + WHOLE[1:], param="n")
    refused(shop, me, CHAT, b'{"max_token\\u0073":0,' + WHOLE[1:], param="max_tokens")


# Names that come twice, and the place that the refusal says.
TWICE = {
    "model": WHOLE[:-1] + b',"model":"gpt-4"}',
    "messages": b'{"messages":[],' + WHOLE[1:],
    "messages[0].content": WHOLE.replace(b'"content":"Hello"', b'"content":"Hello","content":"Hello"'),
    "messages[0].role": WHOLE.replace(b'"role":"user"', b'"role" : "system" ,"role":"user"'),
    "foo": valued(b"1,\"foo\":1"),
    "foo.a": valued(b'{"a":1,"a":1}'),
    "foo[1].b[0].c": valued(b'[{"c":":"},{"b":[{"c":"\\"c\\":1","x":":","c":2}]}]'),
    "foo.t": valued(b'{"t":"\\u003a","u":"\\u003A:","t":1}'),
    "foo.x:": valued(b'{"x\\u003a":1,"x:":2}'),
    "foo.y": valued(b'{"a\\\\u003a":1,"y":"\\\\","y":2}'),
    "tools[0].function.parameters.q": WHOLE[:-1] + b',"tools":[{"type":"function","function":{"name":"f","parameters":{"q":{},"q":1}}}]}',
    "metadata.a": WHOLE[:-1] + b',"metadata":{"a":"x","\\u0061":"y"}}',
    "response_format.type": WHOLE[:-1] + b',"response_format":{"type":"text","ty\\u0070e":"json_object"}}',
    "logit_bias.5": WHOLE[:-1] + b',"logit_bias":{"5":1,"5":2}}',
}  # fmt: skip


def test_a_number_without_end_hides_no_name_that_comes_twice(shop, me, untouched):
    for field in (
        b'"foo":{"a":1e999}',
        b'"foo":[1e999]',
        b'"foo":{"a":"\\u003a","b":1e999}',
        b'"foo":{"a":' + b"9" * 5000 + b"}",
    ):
        refused(shop, me, CHAT, b"{" + field + b"," + TWICE["messages[0].role"][1:])
        refused(shop, me, CHAT, TWICE["messages[0].role"][:-1] + b"," + field + b"}")


@for_each("place", TWICE)
def test_a_name_that_comes_twice_is_refused_and_named(shop, me, untouched, place):
    error = refused(shop, me, CHAT, TWICE[place])
    assert error["param"] == place and place in error["message"] and "twice" in error["message"]
    for path, rest in ((TEXT, b'"prompt":"x"'), (EMBED, b'"input":"x"')):
        error = refused(shop, me, path, b'{"model":"gpt-4",' + rest + b',"user":"a","\\u0075ser":"b"}')
        assert error["param"] == "user"


def test_names_that_come_again_elsewhere_are_not_twice(shop, me):
    for value in (
        b'[{"a":1},{"a":1}]',
        b'{"a":{"a":{"a":":"}}}',
        b'{"a":"\\u003a","b":":"}',
        b'{"a\\u003a":1,"a":1}',
        b'"{\\"a\\":1,\\"a\\":2}"',
        b'{"A":1,"a":1}',
    ):
        assert me.request("POST", CHAT, valued(value)).status == 200, value


PLACES = {
    "messages[0].content": [WHOLE.replace(b"Hello", b"\xff"), WHOLE.replace(b"Hello", b"a\\ud800"), WHOLE.replace(b"Hello", b"\\udc00b"),
                            WHOLE.replace(b"Hello", b"a\x00"), WHOLE.replace(b'"Hello"', b"[]"), WHOLE.replace(b'"Hello"', b"5"), WHOLE.replace(b'"Hello"', b"null")],
    "messages[0].role": [WHOLE.replace(b'"user"', b'"root"'), WHOLE.replace(b'"user"', b"\xc0\xaf")],
    "messages[0]": [WHOLE.replace(b'"role":"user",', b"")],
    "messages[1].content[1].image_url.url": [json.dumps({"model": "gpt-4", "messages": [*MESSAGES, {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image_url", "image_url": {"url": "ftp://a"}}]}]}).encode()],
    "foo.a[2]": [valued(b'{"a":[0,{},' + b"[" * 80 + b"]" * 80 + b"]}"), valued(b'{"a":[0,1,"\\ud800"]}'), valued(b'{"a":[0,1,nul]}')],
    "mo\\x00del": [b'{"mo\\u0000del":1,' + WHOLE[1:]],
    "k" * 32: [b'{"' + b"k" * 5000 + b'":1,' + WHOLE[1:]],
}  # fmt: skip


@pytest.mark.parametrize("place", PLACES)
def test_a_refusal_names_the_place(shop, me, untouched, place):
    for body in PLACES[place]:
        error = refused(shop, me, CHAT, body)
        assert (error["param"] or "").startswith(place) and error["param"] in error["message"], (body[-90:], error)


def test_numbers_have_ranges(shop, me, untouched):
    for path, name in ((EMBED, "input"), (TEXT, "prompt")):
        for number in (2**31, 2**32, 2**63, 2**64, -1, 1.5):
            for value in ([number], [[1], [number]]):
                refused(shop, me, path, json.dumps({"model": "gpt-4", name: value}).encode(), param=name)
    for bias in ("x", "-1", "1.0", "1e3", "\uff11", "", " 1", "2147483648", "9" * 400):
        refused(
            shop,
            me,
            CHAT,
            json.dumps({"model": "gpt-4", "messages": MESSAGES, "logit_bias": {bias: 1}}).encode(),
            param="logit_bias",
        )
        refused(
            shop,
            me,
            TEXT,
            json.dumps({"model": "gpt-4", "prompt": "x", "logit_bias": {bias: 1}}).encode(),
            param="logit_bias",
        )


PRIVATE = [
    "http://127.0.0.1/a", "https://[::1]/", "http://[::ffff:127.0.0.1]/", "http://169.254.169.254/latest/meta-data", "http://10.1.2.3/",
    "http://192.168.0.1:8080/x.png", "http://172.16.5.5/", "http://100.100.100.200/", "http://2130706433/", "http://0x7f.1/", "http://0177.0.0.1/",
    "http://0/", "http://127.1/", "http://localhost/", "https://LOCALHOST./x", "http://a.localhost/", "http://metadata.google.internal/",
    "http://user@127.0.0.1/", "http://\uff11\uff12\uff17.0.0.1/", "http://127\u30020\u30020\u30021/", "http://127%2e0.0.1/", "http://[fd00:ec2::254]/",
    "http://[fe80::1%25eth0]/", "http://[64:ff9b::7f00:1]/", "http://0.0.0.0/", "http://255.255.255.255/", "http://[::]/",
]  # fmt: skip
TWO_HOSTS = [
    "http://127.0.0.1\\@8.8.8.8/",
    "http://8.8.8.8\\@127.0.0.1/",
    "http://127.0.0.1 /",
    "http://12\t7.0.0.1/",
    "http://a\nb/",
]


def test_private_addresses_of_images_are_refused(shop, me, untouched):
    """They go to channels of our own network alone; nobody looks a name up."""
    shop.model("far-seer", {"input": "1", "output": "2"}, modalities=["text", "image"], image_formula="openai_tile")
    shop.write(channels.withdraw, channel="sandbox", model="far-seer", actor="test")
    shop.add_channel("far", "https://api.example.com/v1", ["far-seer"], local=False)
    for url in [*PRIVATE, *TWO_HOSTS]:
        body = json.dumps({"model": "far-seer", "messages": picture(url)}).encode()
        error = refused(shop, me, CHAT, body, param="messages")
        assert error["param"] == "messages[0].content[0].image_url.url", url
    for url in TWO_HOSTS:
        refused(shop, me, CHAT, json.dumps({"model": "seer", "messages": picture(url)}).encode(), param="messages")


def test_a_channel_of_our_own_network_gets_them_and_public_ones_pass(shop, me):
    for url in (
        "http://10.0.0.9/a.png",
        "https://example.com/a.png",
        "https://8.8.8.8/",
        "https://[2606:4700::1111]/",
        "https://10.example.com/",
    ):
        assert me.request("POST", CHAT, {"model": "seer", "messages": picture(url)}).status == 200, url


@pytest.mark.slow
def test_a_million_messages_are_too_many(shop, me, untouched):
    for one in (b"{}", b'{"role":"user","content":"x"}'):
        body = b'{"model":"gpt-4","messages":[' + b",".join([one] * (1_000_000 if one == b"{}" else 4097)) + b"]}"
        refused(shop, me, CHAT, body, param="messages")


# Bodies that are too large or too slow


def test_a_declared_body_over_the_limit_is_refused_before_it_is_read(shop, me, untouched):
    head = raw.post(CHAT, b"", key=me.key).replace(b"Content-Length: 0", b"Content-Length: 34603008")
    answer = raw.talk(shop, head, b"x" * 100_000)
    check_error(answer, 413, code="request_too_large", closed=True)
    assert answer.headers["connection"] == "close"


def test_a_large_body_in_full_gets_its_answer(shop, me, untouched):
    """A client that sends all of it before it reads is not reset before it could read the refusal."""
    answer = raw.talk(shop, raw.post(CHAT, b"x" * 34_603_008, key=me.key))
    check_error(answer, 413, closed=True)


def test_an_endless_chunked_body_ends_at_the_limit(shop, me, untouched):
    before_kib = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    chunk = b"100000\r\n" + b"x" * 1_048_576 + b"\r\n"
    pieces = [chunked(me.key), *[chunk] * 100, b"0\r\n\r\n"]
    check_error(raw.talk(shop, *pieces), 413, closed=True)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before_kib < 160 * 1024  # the test's own bytes too


def test_a_body_that_is_mostly_frames_is_refused(shop, me, untouched):
    for frame in (b"1;" + b"e" * 150_000, b"0\r\nX-A: " + b"t" * 150_000, b"0\r\n" + b"X-A: b\r\n" * 20_000):
        answer = raw.talk(shop, chunked(me.key), 0.05, frame)
        check_error(answer, 400, closed=True)


def test_extensions_of_chunks_add_up(shop, me, untouched):
    piece = b"1;" + b"e" * 5000 + b"\r\n{\r\n"
    answer = raw.talk(shop, chunked(me.key), 0.05, *[item for _ in range(30) for item in (piece, 0.005)])
    check_error(answer, 400, closed=True)


def test_small_chunks_are_no_frames(shop, me):
    body = b"".join(b"%x\r\n%c\r\n" % (1, byte) for byte in valued(b'"' + b"x" * 40_000 + b'"')) + b"0\r\n\r\n"
    assert raw.talk(shop, chunked(me.key), 0.02, body, until=b'"usage"').status == 200


@pytest.mark.parametrize("query", ["limit=5&limit=6", "after=a&limit=1&after=a", "limit=5&%6cimit=5"])
def test_a_field_that_comes_twice_in_a_query_is_refused(shop, me, untouched, query):
    error = check_error(me.get(f"/v1/calls?{query}"), 400)
    assert error["param"] in query and "repeated" in error["message"]


def test_a_body_shorter_than_it_says_makes_no_call(shop, me, untouched):
    head = raw.post(CHAT, WHOLE, key=me.key)
    with contextlib.closing(raw.connect(shop)) as line:
        line.sendall(head[:-10])
        time.sleep(0.1)
    time.sleep(0.2)


def chunked(key: str) -> bytes:
    head = raw.post(CHAT, b"", key=key)
    return head.replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")


# Parameters (A01 to A29)

PNG = base64.b64encode(
    b"\x89PNG\r\n\x1a\n\0\0\0\rIHDR" + struct.pack(">II", 50_000, 50_000) + b"\x08\x02\0\0\0" + b"\0" * 100_000
)


def content(*parts):
    return [{"role": "user", "content": list(parts)}]


def picture(url):
    return content({"type": "image_url", "image_url": {"url": url}})


def tool(name):
    return {"type": "function", "function": {"name": name, "parameters": {}}}


def schema(**root):
    return {"type": "json_schema", "json_schema": {"name": "s", "schema": root}}


LOOP = {"$ref": "#/$defs/a", "$defs": {"a": {"$ref": "#/$defs/b"}, "b": {"$ref": "#/$defs/a"}}}
BAD_CHAT = [
    *[("max_tokens", value) for value in (-1, 0, 1.5, "10", True, [], 1e308, {})],
    *[("max_completion_tokens", value) for value in (-1, 0, 1.5, "10", False)],
    *[("n", value) for value in (0, -1, 1000, 9, "2", 1.0, True)],
    *[("temperature", value) for value in (99, "hot", -1, True)],
    *[("top_p", value) for value in (1.1, -0.1, "x")],
    *[("presence_penalty", value) for value in (3, -3, [])],
    *[("frequency_penalty", value) for value in (3, "1")],
    *[("stream", value) for value in ("true", 1, [], 0)],
    *[("stream_options", value) for value in ({"include_usage": True}, "x", [], 1)],
    *[("stop", value) for value in (["x"] * 1000, ["x"] * 5, "x" * 1_048_576, "你" * 2000, 1, [1], [None])],
    ("logit_bias", {str(number): 1 for number in range(100_000)}),
    *[("logit_bias", value) for value in ({"1": 101}, {"1": "x"}, [], "x")],
    *[("top_logprobs", value) for value in (1000, 21, -1, "2", 2.0)],
    ("logprobs", 5), ("seed", 1.5), ("seed", "1"), ("parallel_tool_calls", "no"),
    *[("user", value) for value in ("x" * 1_048_576, 5, {})],
    *[("metadata", value) for value in ({"a": "x" * 1_048_576}, {"a": 5}, "x", {str(n): "x" for n in range(17)})],
    ("tools", [tool("f")] * 10_000), ("tools", [tool("a b")]), ("tools", [tool("x" * 1024)]), ("tools", [tool("")]),
    ("tools", [5]), ("tools", "x"), ("tools", [{"type": "function"}]), ("tools", [{"type": "function", "function": 1}]),
    ("tools", [{"type": []}]), ("tools", [{}]), ("tools", [{"type": {}}]), ("tools", [{"type": "function", "function": {"name": []}}]),
    ("tool_choice", {"type": "function", "function": {"name": "absent"}}), ("tool_choice", "sometimes"),
    ("tool_choice", {"type": []}), ("tool_choice", {"type": {"a": 1}}), ("tool_choice", {}), ("tool_choice", 5),
    ("tool_choice", {"type": "function", "function": []}), ("tool_choice", {"type": "function", "function": {"name": []}}),
    ("tool_choice", {"type": "web_search"}), ("tool_choice", "required"),
    ("functions", [{"name": "a b"}]), ("functions", [{}]), ("functions", 5), ("functions", [{"name": []}]),
    ("response_format", {"type": "xml"}), ("response_format", {"type": []}), ("response_format", {}), ("response_format", "json"),
    ("response_format", {"type": "json_schema"}), ("response_format", {"type": "json_schema", "json_schema": []}),
    ("response_format", schema(type="object", properties={f"p{n}": {} for n in range(10_000)})),
    ("response_format", schema(**LOOP)), ("response_format", schema(type="object", properties={"x": {"$ref": "#/properties/x"}})),
    *[("response_format", schema(type="array", items={}, **ranges)) for ranges in (
        {"minItems": 3, "maxItems": 2}, {"maxItems": 10_001}, {"minItems": 2_000_000_000},
    )],
    *[("response_format", schema(type="string", **ranges)) for ranges in (
        {"minLength": 3, "maxLength": 2}, {"maxLength": 10**9}, {"pattern": "^a{1,2000000}$"}, {"pattern": "(a{3,2})"},
    )],
    ("tools", [{"type": "function", "function": {"name": "f", "parameters": {"a": [{"minItems": 3, "maxItems": 2}]}}}]),
    ("reasoning_effort", 5), ("reasoning_effort", "x" * 100),
    *[("messages", value) for value in ([], None, "x", [None], [[]], 5, {}, [5])],
    *[("messages", [{"content": "x", **role}]) for role in ({}, {"role": "root"}, {"role": 1}, {"role": None}, {"role": "r" * 5000})],
    *[("messages", [{"role": "user", "content": value}]) for value in (5, {}, None, [], [5], ["x"], True)],
    ("messages", [{"role": "user"}]), ("messages", [{"role": "assistant"}]), ("messages", [{"role": "assistant", "content": None}]),
    ("messages", [{"role": "tool", "content": "x"}]),
    ("messages", [{"role": "assistant", "content": None, "tool_calls": 5}]),
    ("messages", [{"role": "assistant", "content": None, "tool_calls": [5]}]),
    ("messages", [{"role": "assistant", "content": None, "function_call": "x"}]),
    ("messages", content({"type": "hologram"})), ("messages", content({})), ("messages", content({"type": "text"})),
    ("messages", content({"type": "text", "text": 5})), ("messages", content({"type": "input_audio", "input_audio": {"data": "", "format": "wav"}})),
    ("messages", content({"type": "image_url"})), ("messages", content({"type": "image_url", "image_url": "https://x.test/a.png"})),
    ("messages", content({"type": "image_url", "image_url": {"url": "https://x.test/a.png", "detail": "huge"}})),
    *[("messages", picture(url)) for url in (
        "file:///etc/passwd", "gopher://x", "ftp://x/a.png", "data:image/png,abc", "data:text/html;base64,aGk=", "data:image/png;base64,%%%",
        "data:", "javascript:alert(1)", "", "//x/a.png", "http://", "https:///a.png", "http://[::1", "x" * 10_000,
        "data:image/png;base64," + PNG.decode(),
    )],
]  # fmt: skip
UNPRICED = [
    ("service_tier", "priority"), ("service_tier", "flex"), ("web_search_options", {}), ("modalities", ["audio"]), ("modalities", ["text", "audio"]),
    ("audio", {"voice": "alloy", "format": "wav"}), ("prediction", {"type": "content", "content": "x"}), ("store", True), ("background", True),
    ("tools", [{"type": "web_search"}]), ("tools", [{"type": "code_interpreter"}]), ("tools", [tool("f"), {"type": "file_search"}]),
]  # fmt: skip


def sized(value) -> str:
    return json.dumps(value)[:40]


@for_each(("field", "value"), BAD_CHAT)
def test_bad_chat_parameters_name_themselves(shop, me, untouched, field, value):
    body = {"model": "seer", "messages": MESSAGES, field: value}
    refused(shop, me, CHAT, json.dumps(body).encode(), param=field)
    if field not in {"stream", "stream_options"}:
        refused(shop, me, CHAT, json.dumps(body | {"stream": True}).encode(), param=field)


@for_each(("field", "value"), UNPRICED)
def test_options_without_a_price_are_refused(shop, me, untouched, field, value):
    for stream in (False, True):
        body = {"model": "gpt-4", "messages": MESSAGES, "stream": stream, field: value}
        refused(shop, me, CHAT, json.dumps(body).encode(), param=field, code="unsupported_parameter")


BAD_TEXT = [
    *[("max_tokens", value) for value in (-1, 0, 1.5, "10", True)], *[("n", value) for value in (0, 9, "2", 1.0)],
    *[("best_of", value) for value in (20, 0, "2", 9)], ("best_of", 1), ("temperature", 3), ("stream", 1), ("stream_options", {}),
    ("stop", ["x"] * 5), ("logprobs", 6), ("logprobs", True), ("echo", "yes"), ("suffix", 5), ("user", 5),
    *[("prompt", value) for value in (None, 5, {}, [], [[]], [None], [1, "x"], [-1], [[1], []], [1.5], [[[1]]], ["x"] * 129, [2**40])],
]  # fmt: skip


@for_each(("field", "value"), BAD_TEXT)
def test_bad_completion_parameters_name_themselves(shop, me, untouched, field, value):
    body = {"model": "gpt-3.5-turbo-instruct", "prompt": "Hi", field: value}
    if (field, value) == ("best_of", 1):
        body["n"] = 2
    refused(shop, me, TEXT, json.dumps(body).encode(), param=field)
    if field not in {"stream", "stream_options"}:
        refused(shop, me, TEXT, json.dumps(body | {"stream": True}).encode(), param=field)


BAD_EMBED = [
    *[("dimensions", value) for value in (-1, 0, 10**9, "5", 1.0)], *[("encoding_format", value) for value in ("x", 5, ["float"])], ("user", {}),
    *[("input", value) for value in ("", None, 5, {}, [], [""], [[]], [None], [1, "x"], [-1], ["x"] * 2049, [[1], []], [True])],
]  # fmt: skip


@for_each(("field", "value"), BAD_EMBED)
def test_bad_embedding_parameters_name_themselves(shop, me, untouched, field, value):
    body = {"model": "text-embedding-3-small", "input": "Hi", field: value}
    refused(shop, me, EMBED, json.dumps(body).encode(), param=field)


def test_absent_parameters_are_named(shop, me, untouched):
    for path, name in ((CHAT, "messages"), (TEXT, "prompt"), (EMBED, "input")):
        refused(shop, me, path, b'{"model":"gpt-4"}', param=name)
        refused(shop, me, path, json.dumps({name: "x" if path != CHAT else MESSAGES}).encode(), param="model")


def test_two_limits_must_agree(shop, me):
    assert me.chat("gpt-4", max_tokens=5, max_completion_tokens=5).status == 200
    assert shop.sandbox.requests[-1].body["max_tokens"] == 5
    body = {"model": "gpt-4", "messages": MESSAGES, "max_tokens": 5, "max_completion_tokens": 6}
    refused(shop, me, CHAT, json.dumps(body).encode(), param="max_tokens")


@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize("limit", [2**63, 10**9])
def test_a_huge_limit_is_lowered_and_said(shop, me, limit, stream):
    answer = me.chat("gpt-4", max_tokens=limit, stream=stream)
    assert answer.status == 200
    lowered = int(answer.headers["x-farebox-max-tokens"])
    assert 16 <= lowered <= 8192
    assert shop.sandbox.requests[-1].body["max_tokens"] == lowered


def test_absent_means_absent(shop, me):
    nothing = dict.fromkeys(
        ("max_tokens", "n", "stop", "tools", "user", "temperature", "stream", "stream_options", "functions")
    )
    answer = me.request(
        "POST",
        CHAT,
        {
            "model": "gpt-4",
            "messages": MESSAGES,
            **nothing,
            "service_tier": None,
            "store": False,
            "modalities": ["text"],
        },
    )
    assert answer.status == 200
    assert set(shop.sandbox.requests[-1].body) == {"model", "messages"}


def test_usage_not_wanted_is_asked_upstream_all_the_same(shop, me):
    answer = me.chat("gpt-4", stream=True, stream_options={"include_usage": False})
    assert answer.status == 200 and not any(isinstance(event, dict) and event.get("usage") for event in answer.events)
    assert shop.sandbox.requests[-1].body["stream_options"] == {"include_usage": True}
    assert me.receipt(answer)["usage_source"] == "reported"


def test_metadata_is_not_sent_on(shop, me):
    assert me.chat("gpt-4", metadata={"a": "b"}).status == 200
    assert "metadata" not in shop.sandbox.requests[-1].body


def test_a_recursive_schema_is_no_loop(shop, me):
    tree = schema(type="object", properties={"children": {"type": "array", "items": {"$ref": "#"}}})
    assert me.chat("gpt-4", response_format=tree).status == 200


def chain(length, *, steps=0):
    """A schema whose definitions refer to each other one after the other."""
    deep = "/x" * steps
    defs = {f"a{n}": {"$ref": f"#/$defs/a{n + 1}{deep}"} for n in range(length)}
    return schema(**{"$defs": {**defs, f"a{length}": {"type": "string"}}})


def test_a_chain_of_references_is_followed_once():
    """Twice as long takes about twice as long: the loop that serves everybody works on it."""
    from farebox.protocol import schema as schemas

    took = {}
    for length in (1000, 4000):
        form, best = chain(length), 60.0
        for _ in range(3):
            since = time.process_time()
            schemas.check(form)
            best = min(best, time.process_time() - since)
        took[length] = best
    assert took[4000] < 0.25
    assert took[4000] < 10 * took[1000]


def test_references_are_bounded(shop, me):
    for form, what in ((chain(5001), "more than 5000 references"), (chain(3, steps=64), "more than 64 steps")):
        answer = me.chat("gpt-4", response_format=form)
        check_error(answer, 400, param="response_format")
        assert what in answer.json["error"]["message"]
    assert me.chat("gpt-4", response_format=chain(100)).status == 200


@pytest.mark.parametrize("host", ["127.0.0.1", "[::1]", "169.254.169.254", "10.0.0.1", "2130706433", "localhost."])
def test_addresses_of_images_are_never_fetched_by_us(shop, me, host):
    with contextlib.closing(socket.create_server(("127.0.0.1", 0))) as trap:
        port = trap.getsockname()[1]
        answer = me.request("POST", CHAT, {"model": "seer", "messages": picture(f"http://{host}:{port}/a.png")})
        assert answer.status == 200
        trap.settimeout(0.05)
        with pytest.raises(TimeoutError):
            trap.accept()


def test_an_input_over_the_context_is_refused(shop, me, untouched):
    for stream in (False, True):
        body = {"model": "gpt-4", "messages": [{"role": "user", "content": "word " * 9000}], "stream": stream}
        error = refused(shop, me, CHAT, json.dumps(body).encode(), code="context_length_exceeded")
        assert "reduce the length" in error["message"] and "context_length_exceeded" in error["message"]
    body = {"model": "text-embedding-3-small", "input": [7] * 10_000}
    refused(shop, me, EMBED, json.dumps(body).encode(), code="context_length_exceeded")


# Models (M01 to M08)


@for_each("path", [CHAT, TEXT, EMBED])
@for_each("model", [None, "", 5, [], {}, True])
def test_a_model_that_is_no_name(shop, me, untouched, path, model):
    body = {"messages": MESSAGES, "prompt": "x", "input": "x", "model": model}
    refused(shop, me, path, json.dumps(body).encode(), param="model")


@for_each("path", [CHAT, TEXT, EMBED])
@for_each(
    "model",
    ["nothing", "n" * 10_240, "GPT-4", "gpt-4 ", " gpt-4", "gpt-4\n", "<script>alert(1)</script>", "{{7*7}}", "${jndi:ldap://x}", "' or 1=1--", "你好", "../gpt-4"],
)  # fmt: skip
def test_an_unknown_model(shop, me, untouched, path, model):
    for stream in (False, True):
        body = {"messages": MESSAGES, "prompt": "x", "input": "x", "model": model, "stream": stream}
        error = refused(shop, me, path, json.dumps(body).encode(), status=404, param="model", code="model_not_found")
        assert f"The model `{model[:64]}" in error["message"] and "does not exist" in error["message"]


def test_a_model_not_for_this_key_is_as_unknown(shop, me, untouched):
    other = shop.account("0", models=("gpt-4",))
    said = []
    for who, model in ((other, "gpt-4-32k"), (me, "gpt-5-32k"), (other, "text-embedding-3-small")):
        answer = who.chat(model)
        said.append(check_error(answer, 404, code="model_not_found")["message"].replace(model, "X"))
    assert len(set(said)) == 1
    assert other.get("/v1/models/gpt-4-32k").status == 404
    assert [row["id"] for row in other.get("/v1/models").json["data"]] == ["gpt-4"]


# Keys (K01 to K13)


def keyed(shop, method, path, *lines):
    body = WHOLE if method == "POST" else b""
    head = [
        f"{method} {path} HTTP/1.1",
        "Host: shop.test",
        "Content-Type: application/json",
        *lines,
        f"Content-Length: {len(body)}",
    ]
    return raw.talk(shop, "\r\n".join([*head, "", ""]).encode("latin-1") + body, until=b"}}", quiet_s=3)


def wrong_keys(key):
    flip = "A" if key[20] != "A" else "B"
    place = next(n for n in range(30, len(key) - 1) if key[n] != key[n + 1])
    swapped = key[:place] + key[place + 1] + key[place] + key[place + 2 :]
    from farebox.accounts.keys import key_format

    return {
        "K01 none": [], "K01 no word": ["Authorization: "], "K01 Bearer": ["Authorization: Bearer"], "K01 Bearer ": ["Authorization: Bearer "],
        "K02 Basic": [f"Authorization: Basic {key}"], "K02 Token": [f"Authorization: Token {key}"], "K02 bare": [f"Authorization: {key}"],
        "K05 changed": [f"Authorization: Bearer {key[:20]}{flip}{key[21:]}"], "K05 cut": [f"Authorization: Bearer {key[:-1]}"],
        "K05 doubled": [f"Authorization: Bearer {key}{key}"], "K05 swapped": [f"Authorization: Bearer {swapped}"],
        "K05 lower": [f"Authorization: Bearer {key.lower()}"], "K05 two": [f"Authorization: Bearer {key} {key}"],
        "K06 unknown": [f"Authorization: Bearer {key_format.mint('ABCD' if 'ABCD' not in key else 'ABCE')}"],
        "K08 long": [f"Authorization: Bearer {'k' * 20_000}"], "K08 bytes": ["Authorization: Bearer sk-\xff\xe9\xa0"],
        "K09 x-api-key": [f"x-api-key: {key}"], "K09 api-key": [f"api-key: {key}"], "K12 cookie": [f"Cookie: __Host-s={key}"],
        "proxy": [f"Proxy-Authorization: Bearer {key}"],
    }  # fmt: skip


def test_what_is_no_key_is_401(shop, me, untouched):
    for name, lines in wrong_keys(me.key).items():
        for method, path in (("POST", CHAT), ("GET", "/v1/balance"), ("GET", "/v1/calls"), ("GET", "/v1/models/gpt-4")):
            error = check_error(
                keyed(shop, method, path, *lines), 401, code="invalid_api_key", sent="".join(lines).encode("latin-1")
            )
            assert "Incorrect API key provided" in error["message"], name
    for path in (f"{CHAT}?api_key={me.key}", f"{CHAT}?key={me.key}"):
        check_error(keyed(shop, "POST", path), 401, code="invalid_api_key")
    body = json.dumps({"model": "gpt-4", "messages": MESSAGES, "api_key": me.key, "key": me.key}).encode()
    check_error(raw.talk(shop, raw.post(CHAT, body), until=b"}}"), 401)


def test_a_key_that_is_too_long_or_holds_nul(shop, me, untouched):
    check_error(keyed(shop, "GET", "/v1/models", f"Authorization: Bearer {'k' * 100_000}"), (401, 431))
    check_error(keyed(shop, "GET", "/v1/models", f"Authorization: Bearer {me.key}\0"), 400)
    check_error(keyed(shop, "GET", "/v1/models", f"Authorization: Bearer {me.key}", "Authorization: Bearer x"), 400)


@pytest.mark.parametrize("scheme", ["bearer ", "BEARER  ", "Bearer\t", "Bearer   "])
def test_the_word_bearer_may_be_spelled_freely(shop, me, scheme):
    assert keyed(shop, "GET", "/v1/models", f"Authorization: {scheme}{me.key}  ", "Connection: close").status == 200


def test_keys_of_another_installation_are_told_so(shop, me, untouched):
    from farebox.accounts.keys import key_format

    site = next(site for site in ("AAAA", "BBBB") if site not in me.key[:12])
    error = check_error(keyed(shop, "GET", "/v1/models", f"Authorization: Bearer {key_format.mint(site)}"), 401)
    assert "another installation" in error["message"]


@pytest.mark.slow
def test_keys_that_ended_and_accounts_that_are_barred(shop, untouched):
    from farebox.accounts import accounts
    from farebox.accounts.keys import keys
    from farebox.kit import clock

    now_us = clock.now_us()
    late = shop.account("0", expires_us=now_us + 700_000)
    away = shop.account("0", addresses=("203.0.113.7",))
    gone, frozen, barred = shop.account("0"), shop.account("0"), shop.account("0")
    assert {who.get("/v1/balance").status for who in (gone, frozen, barred, late)} == {200}
    shop.write(keys.revoke, gone.key_id, actor="test", now_us=now_us)
    shop.write(accounts.freeze, frozen.account, actor="test")
    shop.write(accounts.bar, barred.account, actor="test")
    time.sleep(1)  # no look of ours is asked for: the server finds out by itself
    for who, status, code, phrase in (
        (gone, 401, "invalid_api_key", "API key has been deactivated"),
        (late, 401, "invalid_api_key", "deactivated (expired)"),
        (away, 403, "ip_not_allowed", "Your address 127.0.0.1"),
        (frozen, 403, "account_deactivated", "account is not active"),
        (barred, 403, "account_deactivated", "account is not active"),
    ):
        for answer in (
            who.chat("gpt-4"),
            who.chat("gpt-4", stream=True),
            who.get("/v1/balance"),
            who.get("/v1/models"),
        ):
            assert phrase in check_error(answer, status, code=code)["message"]


def test_an_address_that_guesses_keys_is_slowed_down_alone(shop, me, untouched):
    from farebox.accounts.keys.ring import Throttle

    ring = shop.server.ports.shop.ring
    before, ring._throttle = ring._throttle, Throttle(per_min=5)
    try:
        answers = [keyed(shop, "GET", "/v1/models", f"Authorization: Bearer sk-{number:048d}") for number in range(8)]
        assert [answer.status for answer in answers] == [401] * 5 + [429] * 3
        check_error(answers[-1], 429, code="rate_limit_exceeded")
        assert int(answers[-1].headers["retry-after"]) > 0
        assert me.get("/v1/models").status == 200  # a good key from there goes on
    finally:
        ring._throttle = before


# Raw HTTP (H02 to H27)

HOST = "Host: shop.test"


def request(line, *lines, body=b""):
    return "\r\n".join([line, *lines, "", ""]).encode("latin-1") + body


BAD_HTTP = {
    "H02 xchunked": (request(f"POST {CHAT} HTTP/1.1", HOST, "Transfer-Encoding: xchunked"), (400, 501)),
    "H02 chunked, identity": (request(f"POST {CHAT} HTTP/1.1", HOST, "Transfer-Encoding: chunked, identity"), (400, 501)),
    "H02 gzip, chunked": (request(f"POST {CHAT} HTTP/1.1", HOST, "Transfer-Encoding: gzip, chunked", body=b"0\r\n\r\n"), (400, 501)),
    "H02 space": (request(f"POST {CHAT} HTTP/1.1", HOST, "Transfer-Encoding : chunked"), 400),
    "H02 vertical tab": (request(f"POST {CHAT} HTTP/1.1", HOST, "Transfer-Encoding:\x0bchunked"), 400),
    "H02 twice": (request(f"POST {CHAT} HTTP/1.1", HOST, *["Transfer-Encoding: chunked"] * 2, body=b"0\r\n\r\n"), 400),
    "H02 with a length": (request(f"POST {CHAT} HTTP/1.1", HOST, "Transfer-Encoding: chunked", "Content-Length: 3", body=b"0\r\n\r\n"), 400),
    "H02 length first": (request(f"POST {CHAT} HTTP/1.1", HOST, "Content-Length: 3", "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "H02 HTTP/1.0": (request(f"POST {CHAT} HTTP/1.0", HOST, "Transfer-Encoding: chunked", body=b"0\r\n\r\n"), 400),
    "two lengths": (request(f"POST {CHAT} HTTP/1.1", HOST, "Content-Length: 3", "Content-Length: 4", body=b"abc"), 400),
    "length +3": (request(f"POST {CHAT} HTTP/1.1", HOST, "Content-Length: +3", body=b"abc"), 400),
    "length -3": (request(f"POST {CHAT} HTTP/1.1", HOST, "Content-Length: -3", body=b"abc"), 400),
    "length of 40 digits": (request(f"POST {CHAT} HTTP/1.1", HOST, "Content-Length: " + "9" * 40), 400),
    "H05 folded": (request("GET /v1/models HTTP/1.1", HOST, "X-A: b", " c"), 400),
    "H05 NUL": (request("GET /v1/models HTTP/1.1", HOST, "X-A: b\0c"), 400),
    "H05 CR": (request("GET /v1/models HTTP/1.1", HOST, "X-A: b\rc"), 400),
    "H05 no colon": (request("GET /v1/models HTTP/1.1", HOST, "XA"), 400),
    "H05 no name": (request("GET /v1/models HTTP/1.1", HOST, ": v"), 400),
    "H05 odd name": (request("GET /v1/models HTTP/1.1", HOST, "X(A): v"), 400),
    "H05 LF only": (b"GET /v1/models HTTP/1.1\nHost: shop.test\n\n", 400),
    "H06 64 KiB field": (request("GET /v1/models HTTP/1.1", HOST, "X-A: " + "a" * 65_536), 431),
    "H06 40 KiB name": (request("GET /v1/models HTTP/1.1", HOST, "X" * 40_000 + ": a"), 431),
    "H06 1,000 fields": (request("GET /v1/models HTTP/1.1", HOST, *[f"X-{n}: a" for n in range(1000)]), 431),
    "H06 never ends": (b"GET /v1/models HTTP/1.1\r\nX-A: " + b"a" * 100_000, 431),
    "H07 100 KB": (request("GET /v1/" + "a" * 100_000 + " HTTP/1.1", HOST), 414),
    "H07 query": (request("GET /v1/models?" + "a" * 100_000 + " HTTP/1.1", HOST), 414),
    "H08 HTTP/0.9": (b"GET /v1/models\r\n\r\n", (400, 505)),
    "H08 HTTP/9.9": (request("GET /v1/models HTTP/9.9", HOST), (400, 505)),
    "H08 HTTP/2.0": (request("GET /v1/models HTTP/2.0", HOST), (400, 505)),
    "H08 TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x99" * 500, 400),
    "H08 h2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0", (400, 505)),
    "H09 no Host": (request("GET /v1/models HTTP/1.1"), 400),
    "H09 two Hosts": (request("GET /v1/models HTTP/1.1", HOST, "Host: b"), 400),
    "H09 same Host twice": (request("GET /v1/models HTTP/1.1", HOST, HOST), 400),
    **{f"H09 Host {bad!r}": (request("GET /v1/models HTTP/1.1", f"Host: {bad}"), 400) for bad in ("a b", "a/b", "a@b", "a:b", "a:999999", "<x>", "a,b", "[::1", "\xe9")},
    "H09 other host": (request("GET http://evil.test/v1/models HTTP/1.1", HOST), 400),
    "H11 Expect": (request(f"POST {CHAT} HTTP/1.1", HOST, "Expect: x", "Content-Length: 2", body=b"{}"), 417),
    "H20 get": (request("get /v1/models HTTP/1.1", HOST), 400),
    "H20 FOO": (request("FOO /v1/models HTTP/1.1", HOST), 400),
    "H20 CONNECT": (request("CONNECT shop.test:443 HTTP/1.1", HOST), (400, 405)),
    "H27 WebSocket": (request("GET /v1/models HTTP/1.1", HOST, "Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13"), (400, 426)),
    "H27 h2c": (request(f"POST {CHAT} HTTP/1.1", HOST, "Connection: Upgrade", "Upgrade: h2c", "Content-Length: 3", body=b"abc"), (400, 426)),
    "target with a space": (request("GET /v1/mod els HTTP/1.1", HOST), 400),
    "target without a slash": (request("GET v1/models HTTP/1.1", HOST), 400),
    "target in bytes": (request("GET /\xff\xfe HTTP/1.1", HOST), 400),
}  # fmt: skip


@for_each("name", BAD_HTTP)
@for_each("pieces", ["whole", "split"])
def test_what_is_no_request_is_refused_and_closed(shop, untouched, name, pieces):
    data, status = BAD_HTTP[name]
    cut = [data] if pieces == "whole" else [data[: len(data) // 3], 0.02, data[len(data) // 3 : -3], 0.02, data[-3:]]
    smuggled = b"GET /v1/models HTTP/1.1\r\nHost: shop.test\r\n\r\n"
    answer = raw.talk(shop, *cut, smuggled if pieces == "whole" and not name.startswith("H06 never") else b"")
    check_error(answer, status, closed=True, sent=data)
    assert answer.data.count(b"HTTP/1.1 ") == 1  # nothing after it was taken for a request
    assert answer.headers["connection"] == "close"


@pytest.mark.parametrize(
    "body",
    [b"0x1\r\na\r\n", b"f" * 20 + b"\r\na", b"1\na\n0\n\n", b"1\r\nabc\r\n0\r\n\r\n", b"-1\r\n", b"\r\n", b"g\r\n"],
)
def test_malformed_chunks_are_refused_and_closed(shop, me, untouched, body):
    for pieces in ([chunked(me.key) + body], [chunked(me.key), 0.05, body]):
        answer = raw.talk(shop, *pieces)
        check_error(answer, 400, closed=True)
        assert answer.data.count(b"HTTP/1.1 ") == 1


@for_each("cuts", [[], [-1], [-60, -20], "each"])
@for_each(
    "trailer",
    ["Authorization: Bearer {}", "authorization: bearer {}", "X-Api-Key: {}", "X-A: b\r\nAuthorization: Bearer {}"],
)
def test_a_trailer_never_authenticates(shop, me, untouched, trailer, cuts):
    body = b"%x\r\n%b\r\n0\r\n%b\r\n\r\n" % (len(WHOLE), WHOLE, trailer.format(me.key).encode())
    data = request(
        f"POST {CHAT} HTTP/1.1", HOST, "Content-Type: application/json", "Transfer-Encoding: chunked", body=body
    )
    if cuts == "each":
        pieces = [piece for at in range(0, len(data), 7) for piece in (data[at : at + 7], 0.0005)]
    else:
        edges = [0, *[len(data) + cut for cut in cuts], len(data)]
        pieces = [piece for at, until in zip(edges, edges[1:], strict=False) for piece in (data[at:until], 0.03)]
    answer = raw.talk(shop, *pieces, quiet_s=3, until=b"}}")
    check_error(answer, 401, code="invalid_api_key")


def test_a_trailer_changes_nothing_of_a_good_request(shop, me):
    body = b"%x\r\n%b\r\n0\r\nAuthorization: Bearer sk-other\r\nX-B: 1\r\n\r\n" % (len(WHOLE), WHOLE)
    answer = raw.talk(shop, chunked(me.key) + body + raw.get("/v1/models", "Connection: close", key=me.key))
    assert (answer.status, answer.next.status) == (200, 200)


def test_a_length_in_a_trailer_smuggles_nothing(shop, me, untouched):
    body = b"2\r\n{}\r\n0\r\nContent-Length: 50\r\n\r\n" + raw.get("/v1/models", key=me.key)
    answer = raw.talk(shop, chunked(me.key) + body)
    check_error(answer, 400, closed=True)
    assert answer.data.count(b"HTTP/1.1 ") == 1


def test_a_hundred_requests_at_once_are_answered_in_order(shop, me):
    paths = ["/v1/models/gpt-4" if number % 3 else f"/v1/models/none-{number}" for number in range(100)]
    data = b"".join(raw.get(path, key=me.key) for path in paths[:-1]) + raw.get(
        paths[-1], "Connection: close", key=me.key
    )
    answer = raw.talk(shop, data)
    assert answer.closed
    for path in paths:
        assert answer.status == (404 if "none" in path else 200)
        assert (f"`{path[11:]}`" in answer.json["error"]["message"]) if "none" in path else answer.json["id"] == "gpt-4"
        answer = answer.next if path is not paths[-1] else answer


def test_calls_sent_at_once_are_answered_in_order(shop, me):
    bodies = [
        json.dumps({"model": "gpt-4", "messages": [{"role": "user", "content": f"No {n}"}], "stream": n == 1}).encode()
        for n in range(4)
    ]
    data = b"".join(raw.post(CHAT, body, key=me.key) for body in bodies) + raw.get("/v1/nothing", "Connection: close")
    got = raw.talk(shop, data).data.decode()
    places = [got.index(f"No {n}") if n != 1 else got.index("[DONE]") for n in range(4)] + [
        got.index("Unknown request URL")
    ]
    assert places == sorted(places) and got.count("HTTP/1.1 ") == 5


def test_a_bad_request_after_a_good_one_is_refused_in_its_turn(shop, me):
    answer = raw.talk(shop, raw.get("/v1/models/gpt-4", key=me.key) + b"no request\r\n\r\n")
    assert answer.status == 200
    check_error(answer.next, 400, closed=True)


def test_more_requests_at_once_than_can_wait_are_cut(shop, me):
    answer = raw.talk(shop, raw.get("/v1/models/gpt-4", key=me.key) * 1000)
    assert answer.closed and answer.status == 200
    assert 2 <= answer.data.count(b"HTTP/1.1 200") <= 1000


@for_each("kind", [
    "text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", "", "application/json; charset=gbk",
    "application/json; charset=utf-16", "application/jsonp", "json", "text/json",
])  # fmt: skip
def test_other_media_types_are_refused(shop, me, untouched, kind):
    for path in (CHAT, TEXT, EMBED):
        answer = me.request("POST", path, WHOLE, headers={"Content-Type": kind})
        check_error(answer, 415, code="unsupported_media_type")
    answer = me.request("POST", CHAT, WHOLE, headers={"Content-Encoding": "gzip"})
    check_error(answer, 415)


@pytest.mark.parametrize(
    "kind",
    ["application/json", "Application/JSON", "application/json; charset=UTF-8", 'application/json;charset="utf8"; x=y'],
)
def test_json_by_other_spellings_passes(shop, me, kind):
    assert me.request("POST", CHAT, WHOLE, headers={"Content-Type": kind}).status == 200


def test_wrong_methods_name_the_right_ones(shop, me, untouched):
    for path, good in ((CHAT, "POST"), (TEXT, "POST"), (EMBED, "POST"), ("/v1/models", "GET"), ("/v1/models/gpt-4", "GET"), ("/v1/calls", "GET"), ("/dashboard/billing/usage", "GET")):  # fmt: skip
        for method in {"GET", "POST", "PUT", "PATCH", "DELETE", "TRACE", "PROPFIND"} - {good}:
            answer = me.request(method, path, b"{}" if method in {"POST", "PUT", "PATCH"} else None)
            check_error(answer, 405, code="method_not_allowed")
            assert good in answer.headers["allow"]


def test_head_is_a_get_without_its_body(shop, me):
    head = raw.get("/v1/models/gpt-4", key=me.key).replace(b"GET", b"HEAD", 1)
    answer = raw.talk(shop, head + raw.get("/v1/models/gpt-4", "Connection: close", key=me.key))
    assert answer.data.count(b"HTTP/1.1 200 OK") == 2
    assert answer.rest.startswith(b"HTTP/1.1 200") and answer.rest.endswith(b"}")


@pytest.mark.parametrize("size", [10, 60_000, 200_000])
def test_a_body_where_none_is_read(shop, me, untouched, size):
    body = raw.post("/v1/models/gpt-4", b"x" * size, key=me.key, method="GET")
    again = raw.get("/v1/models/gpt-4", "Connection: close", key=me.key)
    answer = raw.talk(shop, body, 0.1, again)
    assert answer.status == 200 and answer.closed
    assert answer.data.count(b"HTTP/1.1 200") == (2 if size < 65_536 else 1)


def test_a_refusal_before_the_body_keeps_a_short_one_for_the_connection(shop, untouched):
    """Clients send head and body apart: the answer to the head must not cut off the body."""
    data = raw.post(CHAT, WHOLE)
    answer = raw.talk(
        shop, data[: -len(WHOLE)], 0.1, data[-len(WHOLE) :], 0.05, raw.get("/v1/none", "Connection: close")
    )
    check_error(answer, 401)
    check_error(answer.next, 404, closed=True)


def test_hops_of_strangers_do_not_count(shop):
    shut = shop.account("1", addresses=("203.0.113.7",))
    check_error(
        shut.request("GET", "/v1/balance", headers={"X-Forwarded-For": "203.0.113.7"}), 403, code="ip_not_allowed"
    )
    check_error(
        shut.request("GET", "/v1/balance", headers={"X-Real-IP": "203.0.113.7", "Forwarded": "for=203.0.113.7"}), 403
    )


@contextlib.contextmanager
def proxies(shop, field):
    """The shop trusts proxies of these networks, and the field in which they name their client."""
    reception = shop.server.reception
    before = reception.trusted, reception.forwarded, reception._told_of_hop
    reception.trusted = Networks("127.0.0.0/8, 10.0.0.1, 2001:db8:ffff::/48")
    reception.forwarded, reception._told_of_hop = field, False
    try:
        yield
    finally:
        reception.trusted, reception.forwarded, reception._told_of_hop = before


# A chain, and the customer's address; empty: the proxy's own counts. The proxies are 10.0.0.1 and 2001:db8:ffff::/48.
V4, V6 = "203.0.113.7", "2001:db8::7"
CHAINS = {
    "x-forwarded-for": [
        (V4, V4), (f"198.51.100.1, {V4}", V4), (f"{V4}, 198.51.100.1", "198.51.100.1"), (f"{V4}, 10.0.0.1", V4),
        (f"{V4}, 10.0.0.1, 127.3.2.1", V4), (f"{V4}, 2001:db8:ffff::7", V4), (f"{V4}, 10.0.0.2", "10.0.0.2"),
        (f"{V4}, ::ffff:10.0.0.1", V4), ("", ""), ("nonsense", ""), (f"{V4}, <x>", ""), (", ,", ""), ("10.0.0.1", "10.0.0.1"),
        (f"{V4}:51234", V4), (f"{V4}:51234, 10.0.0.1:9", V4), (f"{V4}:_a-b", V4), (f'"{V4}:80"', V4), (f"::ffff:{V4}", V4),
        (f"[::ffff:{V4}]:443", V4), (V6, V6), (f"[{V6}]", V6), (f"[{V6}]:443", V6), (f"{V6}%eth0", V6), (f"[{V6}%25eth0]:1", V6),
        ("2001:DB8:0:0::7", V6), (f"{V4},{V4} ,  {V6}", V6), (f"{V4}, unknown", ""), ("_hidden", ""), (f"{V4}, _SEVKISEK", ""),
        (f"{V4}:", ""), (f"{V4}:123456", ""), (f"[{V6}", ""), (f"{V6}]", ""), ("203.0.113.007", ""), ("0xcb.0.113.7", ""), (f"for={V4}", ""),
    ],
    "forwarded": [
        (f"for={V4}", V4), (f"For={V4};proto=https;by=203.0.113.43", V4), (f'for="{V4}:4711"', V4), (f'for="[{V6}]:4711"', V6),
        (f'for="[{V6}]"', V6), (f"by=10.0.0.1; for={V4} ;host=a", V4), (f"for=198.51.100.1, for={V4}", V4),
        (f"for={V4}, for=10.0.0.1", V4), (f'for={V4},for="[2001:db8:ffff::1]:80"', V4), (f"for={V4}:80", V4),
        ("for=unknown", ""), ("for=_gazonk", ""), ('for="_gazonk:80"', ""), ("proto=https", ""), (f"for={V4}, by=10.0.0.1", ""),
        (f"for={V4};for=198.51.100.1", ""), (V4, ""), ("", ""), (f'for={V4};host="a,b;for=1.1.1.1"', V4),
        (f'for=198.51.100.1;x="a, for={V4}', V4), (f'for=198.51.100.1;x=", for="[{V6}]"', V6), (f'for="a\\", for={V4}', V4),
    ],
    "x-real-ip": [(V4, V4), (f"{V4}:5", V4), (f"[{V6}]:5", V6), ("unknown", ""), (f"198.51.100.1, {V4}", V4)],
}  # fmt: skip


@pytest.mark.slow
@pytest.mark.parametrize("field", CHAINS)
def test_the_hop_before_our_proxies_is_the_customer(shop, field):
    kept = {address: shop.account("1", addresses=(address,)) for address in (V4, V6, "127.0.0.1")}
    others = {"x-forwarded-for", "forwarded", "x-real-ip"} - {field}
    with proxies(shop, field):
        for chain, client in CHAINS[field]:
            lines = dict.fromkeys(others, "198.51.100.66") | {field: chain}  # what a client writes there is nothing
            for address, who in kept.items():
                status = who.request("GET", "/v1/balance", headers=lines).status
                assert status == (200 if address == (client or "127.0.0.1") else 403), (chain, address)


def test_hops_in_several_lines_are_one_list(shop):
    mine = shop.account("1", addresses=(V4,))
    with proxies(shop, "x-forwarded-for"):
        for lines in ([f"X-Forwarded-For: {V4}", "X-Forwarded-For: 10.0.0.1"], ["X-Forwarded-For: 9.9.9.9", f"x-forwarded-for: {V4}:1"]):  # fmt: skip
            assert raw.talk(shop, raw.get("/v1/balance", "Connection: close", *lines, key=mine.key)).status == 200
        lines = [f"X-Forwarded-For: {V4}", "X-Forwarded-For: 9.9.9.9"]
        check_error(raw.talk(shop, raw.get("/v1/balance", *lines, "Connection: close", key=mine.key)), 403)


def test_a_hop_that_cannot_be_read_is_logged_once(shop, me):
    with proxies(shop, "x-forwarded-for"), structlog.testing.capture_logs() as said:
        for lines in (
            {"X-Forwarded-For": f"{V4}:80"},
            {},
            {"X-Forwarded-For": "_" + "x" * 5000},
            {"Forwarded": f"for={V4}"},
        ):
            assert me.request("GET", "/v1/balance", headers=lines).status == 200
    (line,) = [line for line in said if line["event"] == "door.odd_hop"]
    assert line["hop"] == "_" + "x" * 63 and line["field"] == "x-forwarded-for"


@for_each("name", ["Authorization", "x-api-key", "x-goog-api-key", "Content-Type", "Content-Length", "Host", "Idempotency-Key", "Content-Encoding", "Expect"])  # fmt: skip
def test_what_means_one_thing_must_not_come_twice(shop, me, untouched, name):
    value = {"Authorization": f"Bearer {me.key}", "Content-Type": "application/json", "Content-Length": "64", "Host": "shop.test",
             "Content-Encoding": "identity", "Expect": "100-continue"}.get(name, "a")  # fmt: skip
    head = raw.post(
        CHAT, WHOLE, *[f"{name}: {value}", f"{name.upper()}: {value}"], key="" if name == "Authorization" else me.key
    )
    error = check_error(raw.talk(shop, head), 400, closed=True)
    assert name.lower() in error["message"].lower()


@for_each("lines", [
    {"Accept": "text/xml"}, {"Accept": "application/json"}, {"Accept": "application/json, text/event-stream"}, {"Accept": "nonsense"},
    {"Accept-Encoding": "identity;q=0"}, {"Accept-Encoding": "gzip, deflate, br, zstd"}, {"Range": "bytes=0-1"}, {"If-None-Match": "*"},
    {"If-Modified-Since": "Mon, 01 Jan 2035 00:00:00 GMT"}, {"Accept-Charset": "gbk"}, {"Upgrade": "websocket"}, {"TE": "trailers"},
])  # fmt: skip
def test_wishes_that_change_nothing(shop, me, lines):
    for stream in (False, True):
        answer = me.chat("gpt-4", stream=stream, headers=lines)
        assert answer.status == 200 and "content-encoding" not in answer.headers
        assert "Hello" in answer.text


def test_options_needs_no_key(shop, untouched):
    for path in (CHAT, TEXT, EMBED, "/v1/models", "/v1/nothing", "*", "/dashboard/billing/usage"):
        for lines in (
            [],
            ["Authorization: Bearer nonsense"],
            ["Origin: https://x.test", "Access-Control-Request-Method: POST"],
        ):
            answer = raw.talk(shop, request(f"OPTIONS {path} HTTP/1.1", HOST, "Connection: close", *lines))
            assert answer.status == 204 and answer.rest == b"" and "content-length" not in answer.headers


# Paths (U01 to U07)


@for_each("path", [
    "/v1", "/v1/", "/v1/none", "/V1/Models", "/v1/Models", "/v1/%2e%2e/office", "/v1/..%2foffice", "/v1/..%5coffice", "/v1/%252e%252e/office",
    "/v1/models;x=1", "/v1/models%00", "/v1/models/%00", "/v1/models/%ff", "/v1/models/%c0%af", "/v1/models/a%0d%0ab", "/v1/calls/%zz", "/.env",
    "/.git/config", "/docs", "/openapi.json", "/metrics", "/v1/../office", "/office", "//v1/models", "/v1//models",
    "/v1/v1/v1/models", "/v1/chat", "/v1/chat/completions/x", "/v1/models/" + "m" * 300, "/admin", "/robots.txt", "/v1/chat%2fcompletions",
    "/v1/responses", "/v1/messages", "/v1/%6dodels",
])  # fmt: skip
def test_unknown_paths_are_404(shop, me, untouched, path):
    error = check_error(me.get(path), 404, sent=path.encode())
    assert error["code"] in {"unknown_url", "call_not_found"}
    check_error(raw.talk(shop, raw.get(path), until=b"}}"), 401 if error["code"] == "call_not_found" else 404)


@for_each(
    "ident",
    [
        "-1",
        str(2**64),
        "1%20or%201=1",
        "00000000-0000-0000-0000-00000000000G",
        "call_",
        "call_" + "x" * 25,
        "CALL_" + "0" * 25,
        "'",
        "%27%3b--",
        "call_%25",
    ],
)
def test_ids_that_are_none(shop, me, untouched, ident):
    check_error(me.get(f"/v1/calls/{ident}"), 404)
    check_error(me.get(f"/v1/models/{ident}"), 404)
    check_error(
        me.get(f"/v1/calls?after={ident}"), (400, 200) if ident.startswith("call_x") else 400
    ) if not ident.startswith("call_x") else None


@for_each("query", ["limit=0", "limit=101", "limit=-1", "limit=1e3", "limit=%00", "limit=9999999999999999999999", "limit=0000000100000", "limit=", "limit=x", "after=x", "after=%ff", "&" * 100 + "a=b", "&".join(f"a{n}=1" for n in range(60))])  # fmt: skip
def test_bad_queries_of_the_list_of_calls(shop, me, untouched, query):
    answer = me.get(f"/v1/calls?{query}")
    if query == "limit=":
        assert answer.status == 200
    else:
        check_error(answer, 400)


@for_each("day", ["x", "2026-13-01", "2026-02-30", "9" * 30, "-1e9", "2026-W01-1", "%ff", "20261124x", "1" * 5000])
def test_bad_days_of_the_bill(shop, me, untouched, day):
    answer = me.get(f"/dashboard/billing/usage?start_date={day}")
    check_error(answer, 400, sent=day.encode())


# The database away


class Away:
    """A store that can't be reached."""

    async def read(self, *args, **kwargs):
        raise StoreUnavailable

    async def write(self, *args, **kwargs):
        raise StoreUnavailable


@pytest.mark.slow
def test_with_the_database_away_nobody_is_told_a_401(shop, me):
    stranger = shop.account("1")
    me.get("/v1/models")  # known to the ring
    before, asked, ports = shop.counts(), len(shop.sandbox.requests), shop.server.ports
    store, ports.store = ports.store, Away()
    try:
        # What needs no look-up is answered as ever; first, since a second later a key that is known is looked up again.
        assert me.get("/v1/models").status == 200
        check_error(me.request("POST", CHAT, b"{"), 400)
        check_error(me.chat("none"), 404)
        for who in (stranger, me):
            for answer in (
                who.chat("gpt-4"), who.chat("gpt-4", stream=True), who.get("/v1/balance"), who.get("/v1/calls"), who.get("/v1/calls/call_" + "0" * 25),
                who.get("/dashboard/billing/subscription"), who.get("/v1/dashboard/billing/usage"),
                who.request("POST", TEXT, {"model": "gpt-3.5-turbo-instruct", "prompt": "x", "stream": True}),
                who.request("POST", EMBED, {"model": "text-embedding-3-small", "input": "x"}),
            ):  # fmt: skip
                check_error(answer, 503, code="store_unavailable")
                assert 1 <= int(answer.headers["retry-after"]) <= 5
        check_error(stranger.get("/v1/models"), 503)
        check_error(raw.talk(shop, raw.get("/v1/models"), until=b"}}"), 401)
        check_error(stranger.get("/v1/nothing"), 404)
    finally:
        ports.store = store
    assert (shop.counts(), len(shop.sandbox.requests)) == (before, asked)
    assert stranger.get("/v1/balance").status == 200
