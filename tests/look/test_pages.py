"""Pages through the front door: headers, languages, themes, forms from elsewhere, and the API left as it was."""

from __future__ import annotations

import re

import pytest

from kit import raw
from kit.rows import for_each
from kit.visitor import Visitor, links

PAGES = ("/", "/guide", "/rules", "/terms", "/privacy", "/prices", "/status", "/estimate")
# (security 2)
POLICY = {
    "default-src": "'none'",
    "script-src": "'self'",
    "style-src": "'self'",
    "img-src": "'self' data:",
    "connect-src": "'self'",
    "form-action": "'self'",
    "base-uri": "'none'",
    "frame-ancestors": "'none'",
}
# Fault C03: none of these may lead away from the shop.
ELSEWHERE = (
    "https://evil.example/", "//evil.example/", "/\\evil.example", "\\\\evil.example", "///evil.example",
    "/zh//evil.example/", "/zh/\\evil.example", "javascript:alert(1)", "http:evil.example", "/\t/evil.example",
    "evil.example", "/%0d%0aSet-Cookie:x=1", "", "//evil.example\\@shop/", "https:/evil.example",
)  # fmt: skip


@pytest.fixture
def visitor(shop):
    return Visitor(shop)


@pytest.mark.slow
@pytest.mark.parametrize("path", PAGES)
def test_a_page_and_its_headers(visitor, path):
    answer = visitor.get(path)
    assert answer.status == 200
    headers = answer.headers
    assert headers["content-type"] == "text/html; charset=utf-8"
    said = dict(part.strip().split(" ", 1) for part in headers["content-security-policy"].split(";"))
    assert said == POLICY
    assert headers["x-content-type-options"] == "nosniff"
    assert headers["referrer-policy"] == "no-referrer"
    assert headers["cross-origin-opener-policy"] == "same-origin"
    assert headers["cross-origin-resource-policy"] == "same-origin"
    assert headers["cache-control"] == "no-store"
    assert "camera=()" in headers["permissions-policy"]
    assert "access-control-allow-origin" not in headers
    assert {"Accept-Language", "Cookie"} <= {part.strip() for part in headers["vary"].split(",")}


@for_each("path", PAGES)
def test_a_page_holds_nothing_that_the_policy_forbids(visitor, path):
    text = visitor.get(path).body.decode()
    assert not re.search(r"<style|\sstyle=|\son[a-z]+=|javascript:|<script(?![^>]*\ssrc=)", text)
    for address in re.findall(r'(?:src|href|action)="([^"]*)"', text):
        assert address.startswith(("/", "#", "?")), address
        assert not address.startswith("//")


def test_head_is_get_without_its_body(visitor):
    seen, asked = visitor.get("/guide"), visitor.request("HEAD", "/guide")
    assert asked.status == 200
    assert asked.body == b""
    assert asked.headers["content-type"] == seen.headers["content-type"]
    assert asked.headers["content-security-policy"] == seen.headers["content-security-policy"]


def test_the_id_of_the_request_stands_on_the_page(visitor):
    answer = visitor.get("/")
    assert answer.headers["x-request-id"] in answer.body.decode()


def test_a_page_that_is_not_there(visitor):
    answer = visitor.get("/nothing/here")
    assert answer.status == 404
    assert answer.headers["content-type"].startswith("text/html")
    assert "Page not found" in answer.body.decode()
    assert answer.headers["x-request-id"] in answer.body.decode()
    assert "content-security-policy" in answer.headers


def test_a_program_that_errs_gets_the_error_of_the_api(visitor):
    answer = visitor.get("/nothing/here", Accept="application/json")
    assert answer.status == 404
    assert answer.json["error"]["code"] == "unknown_url"


def test_a_path_that_is_markup_stays_text(visitor):
    answer = visitor.get("/%22%3E%3Cscript%3Ealert(1)%3C/script%3E?a=%22%3E%3Cb%3E")
    assert answer.status == 404
    assert b"<script>alert" not in answer.body
    assert b"<b>" not in answer.body


@pytest.mark.parametrize("method", ["POST", "PUT", "DELETE", "PATCH"])
def test_pages_are_read_only(visitor, method):
    visitor.get("/")
    answer = visitor.request(method, "/rules", b"", X_CSRFToken=visitor.cookies["csrftoken"])
    assert answer.status == 405
    assert answer.headers["allow"] == "GET, HEAD"


def test_the_stylesheet_and_the_script(visitor):
    page = visitor.get("/").body.decode()
    for address, kind in (("/static/look/farebox.css", "text/css"), ("/static/look/farebox.js", "text/javascript")):
        assert address in page
        answer = visitor.get(address)
        assert answer.status == 200
        assert answer.headers["content-type"].startswith(kind)
        assert visitor.set == []


def test_static_files_have_the_headers_of_the_guard(visitor):
    assert visitor.get("/static/look/farebox.js").headers["x-content-type-options"] == "nosniff"


def test_a_form_that_is_too_large(visitor):
    answer = visitor.send("/theme", {"theme": "dark", "next": "x" * (2 * 1024 * 1024)})
    assert answer.status == 413


# languages


def test_english_unless_the_browser_wants_chinese_more(shop):
    for accepted, lang in (
        ("", "en"), ("de,fr;q=0.5", "en"), ("zh-CN,zh;q=0.9,en;q=0.8", "zh-Hans"), ("zh-TW", "zh-Hans"),
        ("en-GB,zh;q=0.5", "en"), ("de,zh;q=0.9,en;q=0.8", "zh-Hans"), ("*;;;=", "en"),
    ):  # fmt: skip
        answer = Visitor(shop).get("/", Accept_Language=accepted)
        assert f'<html lang="{lang}"' in answer.body.decode(), accepted
        assert answer.headers["content-language"] == lang


@for_each("path", PAGES)
def test_below_zh_a_page_is_chinese_and_so_is_all_that_it_leads_to(visitor, path):
    answer = visitor.get("/zh" + path, Accept_Language="en")
    assert answer.status == 200
    assert '<html lang="zh-Hans"' in answer.body.decode()
    assert "扣费规则" in answer.body.decode()
    for address in links(answer):
        if not address.startswith(("#", "?", "/static/", "/language/")):
            assert address.startswith("/zh/"), address


def test_below_zh_are_errors_too(visitor):
    answer = visitor.get("/zh/nothing")
    assert answer.status == 404
    assert "页面不存在" in answer.body.decode()
    assert visitor.get("/zh").status == 200


def test_a_language_is_remembered(visitor):
    answer = visitor.get("/language/zh-hans?next=/guide")
    assert answer.status == 302
    assert answer.headers["location"] == "/zh/guide"
    assert "HttpOnly" in visitor.set[0]
    assert "SameSite=Lax" in visitor.set[0]
    assert '<html lang="zh-Hans"' in visitor.get("/guide", Accept_Language="en").body.decode()
    assert visitor.get("/language/en?next=/zh/guide").headers["location"] == "/guide"
    assert '<html lang="en"' in visitor.get("/guide", Accept_Language="zh").body.decode()


def test_a_change_of_language_keeps_the_page_with_its_query(visitor):
    page = visitor.get("/zh/prices?q=gpt&sort=-input")
    (there,) = (address for address in links(page) if address.startswith("/language/en"))
    answer = visitor.get(there.replace("&amp;", "&"))
    assert answer.headers["location"] == "/prices?q=gpt&sort=-input"


def test_an_unknown_language_changes_nothing(visitor):
    assert visitor.get("/language/xx?next=/guide").headers["location"] == "/guide"
    assert visitor.set == []


@for_each("code", ["en", "zh-hans"])
@for_each("target", ELSEWHERE)
def test_no_redirect_leads_away(visitor, code, target):
    from urllib.parse import quote

    for answer in (
        visitor.get(f"/language/{code}?next={quote(target)}"),
        visitor.send("/theme", {"theme": "dark", "next": target}),
    ):
        there = answer.headers["location"]
        assert answer.status == 302
        assert re.fullmatch(r"/(?![/\\])[^\\\s]*", there), there
        assert not any("x=1" in each for each in visitor.set)


# themes and forms


def test_a_theme_is_remembered(visitor):
    answer = visitor.send("/theme", {"theme": "dark", "next": "/zh/guide"})
    assert answer.status == 302
    assert answer.headers["location"] == "/zh/guide"
    assert visitor.cookies["theme"] == "dark"
    assert 'data-theme="dark"' in visitor.get("/").body.decode()
    visitor.send("/theme", {"theme": "light"})
    assert 'data-theme="light"' in visitor.get("/").body.decode()


def test_a_theme_that_is_none_is_not_kept(visitor):
    visitor.send("/theme", {"theme": '"><b>'})
    assert "theme" not in visitor.cookies
    visitor.cookies["theme"] = '"><b>'
    assert b"<b>" not in visitor.get("/").body


@pytest.mark.parametrize(
    "headers",
    [
        {"Sec-Fetch-Site": "cross-site"},
        {"Sec-Fetch-Site": "same-site"},
        {"Sec-Fetch-Site": "cross-site", "Origin": "https://evil.example"},
    ],
)
def test_a_form_of_another_site_is_refused(visitor, headers):
    answer = visitor.send("/theme", {"theme": "dark"}, **headers)
    assert answer.status == 403
    assert "theme" not in visitor.cookies


def test_our_own_form_whose_origin_is_hidden(visitor):
    """Browsers say so of every form of ours, for our pages send no referrer."""
    assert visitor.send("/theme", {"theme": "dark"}, Origin="null").status == 302
    assert visitor.send("/theme", {"theme": "dark"}, Origin="null", **{"Sec-Fetch-Site": "cross-site"}).status == 403


@pytest.mark.parametrize("origin", ["https://evil.example", "null", "http://127.0.0.1:1", "http://localhost"])
def test_without_the_newer_header_the_origin_decides(visitor, origin):
    visitor.get("/")
    body = f"theme=dark&csrfmiddlewaretoken={visitor.cookies['csrftoken']}".encode()
    kind = "application/x-www-form-urlencoded"
    assert visitor.request("POST", "/theme", body, Origin=origin, Content_Type=kind).status == 403
    answer = visitor.request("POST", "/theme", body, Origin=visitor.shop.url, Content_Type=kind)
    assert answer.status == 302


@pytest.mark.parametrize("token", ["", "x" * 32, "y" * 64])
def test_a_form_without_its_token_is_refused(visitor, token):
    visitor.get("/")
    answer = visitor.send("/theme", {"theme": "dark", "csrfmiddlewaretoken": token})
    assert answer.status == 403
    assert "The form was not accepted" in answer.body.decode()
    assert "theme" not in visitor.cookies


def test_a_foreign_host_makes_no_link(visitor):
    answer = visitor.get("/guide", Host="evil.example")
    assert answer.status == 200
    assert b"evil.example" not in answer.body
    assert b"evil.example" not in visitor.get("/language/en?next=/", Host="evil.example").headers["location"].encode()


# the API beside the pages


def test_the_api_is_as_it_was(shop):
    me = shop.account("1")
    for answer in (
        me.get("/v1/models"), me.get("/v1/balance"), me.get("/models"), me.chat("gpt-4o-mini", "Hello"),
        me.request("POST", "/v1/nothing", {}), me.request("OPTIONS", "/v1/chat/completions"),
    ):  # fmt: skip
        assert "set-cookie" not in answer.headers
        assert "content-security-policy" not in answer.headers
        assert answer.headers["access-control-allow-origin"] == "*"
        assert "x-request-id" in answer.headers
        assert not answer.headers.get("content-type", "").startswith("text/html")


def test_the_api_takes_no_cookie_and_no_browser_gets_a_page_of_it(shop, visitor):
    visitor.get("/")
    answer = visitor.get("/v1/models")
    assert answer.status == 401
    assert answer.json["error"]["code"] == "invalid_api_key"
    assert visitor.set == []


def test_a_store_that_is_away_is_no_blank_page(shop, visitor, monkeypatch):
    from farebox.console.prices import pricebook
    from farebox.kit.errors import StoreUnavailable

    def away(*_args):
        raise StoreUnavailable

    monkeypatch.setattr(pricebook, "read", away)
    for prefix in ("", "/zh"):
        answer = visitor.get(prefix + "/guide")
        assert answer.status in {500, 503}
        assert answer.headers["content-type"].startswith("text/html")
        assert answer.headers["x-request-id"] in answer.body.decode()
        assert b"Traceback" not in answer.body


# What stands between the wire and a page (clients: U03, security 2)


@pytest.mark.parametrize("name", ["Sec_Fetch_Site", "sec_fetch-site", "SEC_FETCH_SITE"])
def test_a_field_with_an_underscore_never_becomes_one_with_a_hyphen(shop, visitor, name):
    visitor.get("/")
    token = visitor.cookies["csrftoken"]
    body = f"theme=dark&csrfmiddlewaretoken={token}"
    lines = [
        "POST /theme HTTP/1.1", "Host: shop.test", "Content-Type: application/x-www-form-urlencoded",
        f"Cookie: csrftoken={token}", f"Content-Length: {len(body)}",
    ]  # fmt: skip
    for forged in ([], [f"{name}: same-origin"]):
        for order in (["Sec-Fetch-Site: cross-site", *forged], [*forged, "Sec-Fetch-Site: cross-site"]):
            answer = raw.talk(shop, "\r\n".join([*lines, *order, "", body]).encode(), until=b"\r\n\r\n")
            assert answer.status == 403, order
    told = raw.talk(shop, raw.get("/", "Accept: text/html", "Accept_Language: zh-CN"), until=b"<body")
    assert b'lang="en"' in told.rest


def test_an_underscore_gives_no_key_and_no_token(shop):
    from office.script import Script

    key, token = shop.account("1").key, Script(shop, "admin").token
    for path, field in (
        ("/v1/models", f"x_api_key: {key}"), ("/v1/models", f"authorization_: Bearer {key}"),
        ("/office/api/me", f"AUTHORIZATION_: Bearer {token}"), ("/office/api/me", f"_authorization: Bearer {token}"),
    ):  # fmt: skip
        assert raw.talk(shop, raw.get(path, field), until=b"\r\n\r\n").status == 401, field


# An encoded letter, figure, point or slash, also where it is the page's own prefix, a language's or the API's.
DISGUISED = (
    "/%6fffice/", "/office%2f", "/%6Fffice/sign-in", "/offic%65/sign-in", "/zh/%6fffice/sign-in", "/%7ah/office/sign-in",
    "/console%2Fsettings", "/c%6fnsole/", "/account/sign%2din", "/%61ccount/sign-in", "/%70rices", "/prices%2Fgpt-4",
    "/static/look/%66arebox.css", "/%73tatic/look/farebox.css", "/static/look%2ffarebox.css", "/static/%2e%2e/static/look/farebox.css",
    "/office/%61pi/me", "/%76%31/models", "/v%31/models", "/v1/%6dodels", "/v1%2fmodels", "/office/api/m%65",
    "http://shop.test/%6fffice/sign-in",
)  # fmt: skip


@for_each("path", DISGUISED)
def test_a_route_in_disguise_is_not_there(shop, path):
    for accept in ("text/html", "application/json"):
        answer = raw.talk(shop, raw.get(path, f"Accept: {accept}", "Connection: close"))
        assert answer.status == 404, (accept, answer.data[:200])


def test_signs_that_must_be_encoded_still_are(shop, admin_token):
    shop.model("maker/b:2", {"input": "1", "output": "1"})
    assert raw.talk(shop, raw.get("/prices/maker/b%3A2", "Accept: text/html", "Connection: close")).status == 200
    for slash in ("/", "%2F", "%2f"):
        path = f"/office/api/models/maker{slash}b%3A2"
        answer = raw.talk(shop, raw.get(path, f"Authorization: Bearer {admin_token}", "Connection: close"))
        assert answer.status in {200, 405}, answer.data


@pytest.fixture
def admin_token(shop):
    from office.script import Script

    return Script(shop, "admin").token


def test_every_answer_behind_tls_says_so_for_a_year(shop, monkeypatch):
    """Pages, errors, static files, both APIs, and what is refused before anybody looks at it; over plain http, nothing."""
    asked = [
        raw.get("/", "Accept: text/html"), raw.get("/nothing", "Accept: text/html"), raw.get("/console/"),
        raw.get("/static/look/farebox.css"), raw.get("/static/none.css", "Accept: text/html"), raw.get("/office/api/me"),
        raw.get("/v1/models"), raw.get("/v1/models", key=shop.account("1").key), raw.get("/v1/none"),
        raw.post("/theme", b"theme=dark", "Sec-Fetch-Site: cross-site"), b"OPTIONS /v1/models HTTP/1.1\r\nHost: a\r\n\r\n",
        b"GET / HTTP/1.1\r\n\r\n", b"NONSENSE\r\n\r\n", raw.get("/" + "a" * 9000),
    ]  # fmt: skip
    for request in asked:
        assert "strict-transport-security" not in raw.talk(shop, request, until=b"\r\n\r\n").headers
    monkeypatch.setattr(shop.options, "public_url", "https://shop.example")
    for request in asked:
        answer = raw.talk(shop, request, until=b"\r\n\r\n")
        assert answer.status, request
        assert answer.data.lower().count(b"\r\nstrict-transport-security: max-age=31536000\r\n") == 1, request


def test_what_was_chosen_is_kept_over_tls_alone(shop, visitor):
    from kit.people import customer

    me = customer(shop)
    visitor.get("/language/zh-hans?next=/")
    told = visitor.set
    visitor.send("/theme", {"theme": "dark"})
    told = [*told, *visitor.set]
    me.fill("/console/settings", "/console/settings/person", name="A", language="en", time_zone="UTC")
    told += me.set
    kept = [text for text in told if text.startswith(("lang=", "theme="))]
    assert len(kept) == 3
    for text in kept:
        assert {"Secure", "HttpOnly", "SameSite=Lax"} <= {part.strip() for part in text.split(";")}
