"""Who is signed in as a customer: a person, their account, their role in it. Every view below /console/ begins here."""

from __future__ import annotations

import functools
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Concatenate, ParamSpec
from urllib.parse import quote

from allauth.core.exceptions import ReauthenticationRequired
from django.http import Http404, HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import reverse

from farebox.accounts.models import Member
from farebox.accounts.sign_in import refused

P = ParamSpec("P")
RANKS = {"member": 1, "admin": 2, "owner": 3}
CHOSEN = "account"  # the account chosen in this session, of a person who has several


@dataclass(frozen=True, slots=True)
class Principal:
    """A signed-in customer. `role` is `owner` (of the account), `admin` (of `project`) or `member` (of `project`).

    An owner has no project: he sees the whole account. A member sees what is his own. Of somebody with several places
    in the account these facts are of the one that counts most; `admin_of` are all projects whose admin he is,
    `member_as` the ids of all places where he is a member.
    """

    person: str
    email: str
    name: str
    account: str
    account_name: str
    account_state: str
    currency: str
    time_zone: str
    account_zone: str
    member: str
    role: str
    project: str | None
    admin_of: frozenset[str] = frozenset()
    member_as: frozenset[str] = frozenset()
    must_prove: bool = False  # an owner has ended what this session may do here

    @property
    def actor(self) -> str:
        """How the audit trail names this person."""
        return f"person:{self.person}"

    def at_least(self, role: str) -> bool:
        """Whether the role is this one or a greater one."""
        return RANKS[self.role] >= RANKS[role]


View = Callable[Concatenate[HttpRequest, Principal, P], HttpResponse]


def signed_in(view: View[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
    """A page of any member of an account; who is not signed in goes to the sign-in page and comes back."""
    return needs("member")(view)


def needs(role: str) -> Callable[[View[P]], Callable[Concatenate[HttpRequest, P], HttpResponse]]:
    """A page for this role or a greater one; for others it does not exist (404).

    Who was signed out of the account by an owner proves who he is first. Who has no place in any account is shown what
    he can do; a script of a page that he left open gets the 404.
    """

    def wrap(view: View[P]) -> Callable[Concatenate[HttpRequest, P], HttpResponse]:
        def checked(request: HttpRequest, /, *args: P.args, **kwargs: P.kwargs) -> HttpResponse:
            if not request.user.is_authenticated:
                return HttpResponseRedirect(f"{reverse('account_login')}?next={quote(request.get_full_path())}")
            me = find(request)
            if me is None:
                return _without_place(request)
            if me.must_prove:
                raise ReauthenticationRequired
            if not me.at_least(role):
                page = request.resolver_match.view_name if request.resolver_match else ""
                address = str(request.META.get("REMOTE_ADDR", ""))
                refused.note("access.refused", object=page, address=address, actor=me.actor)
                raise Http404
            request.principal = me  # type: ignore[attr-defined]
            return view(request, me, *args, **kwargs)

        functools.update_wrapper(checked, view)
        checked.needs = role  # type: ignore[attr-defined]
        return checked

    return wrap


def _without_place(request: HttpRequest) -> HttpResponse:
    user: Any = request.user
    if user.operator_role or request.headers.get("sec-fetch-dest") == "empty":
        raise Http404
    return HttpResponseRedirect(reverse("account_open"))


def find(request: HttpRequest) -> Principal | None:
    """The member who is signed in, or None: nobody, or somebody without a place in an account."""
    user: Any = request.user
    if not user.is_authenticated or user.operator_role:
        return None
    rows = list(
        Member.objects.filter(person=user.pk, state="active")
        .exclude(account__state="closed")
        .select_related("account")
        .order_by("created_us", "id")
    )
    if not rows:
        return None
    proved_us = proved_at(request) * 1_000_000
    shut = {row.account_id for row in rows if row.proved_from_us and row.proved_from_us >= proved_us}
    rows = [row for row in rows if row.account_id not in shut] or rows
    chosen = request.session.get(CHOSEN)
    here = [row for row in rows if row.account_id == chosen] or [
        row for row in rows if row.account_id == rows[0].account_id
    ]
    row = max(here, key=lambda each: RANKS[each.role])
    account = row.account
    return Principal(
        person=user.pk,
        email=user.email,
        name=user.name,
        account=account.id,
        account_name=account.name,
        account_state=account.state,
        currency=account.currency,
        time_zone=user.time_zone or account.time_zone,
        account_zone=account.time_zone,
        member=row.id,
        role=row.role,
        project=None if row.role == "owner" else row.project_id,
        admin_of=frozenset(each.project_id for each in here if each.role == "admin" and each.project_id),
        member_as=frozenset(each.id for each in here if each.role == "member"),
        must_prove=row.account_id in shut,
    )


def proved_at(request: HttpRequest) -> float:
    """When this session last proved who it is, in seconds; 0 for never."""
    proofs: list[dict[str, Any]] = request.session.get("account_authentication_methods", [])
    return max((float(each.get("at", 0)) for each in proofs), default=0.0)
