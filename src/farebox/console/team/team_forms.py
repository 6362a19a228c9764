"""What people fill in about a team: projects, caps, ends of keys, roles, invitations."""

from __future__ import annotations

from datetime import date
from typing import Any

from django import forms
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from farebox.accounts import days
from farebox.accounts.models import Project
from farebox.accounts.team import invitations
from farebox.console.limit_forms import CapForm
from farebox.kit import clock
from farebox.look.whole import WholeField

from . import pasted

ROLES = {
    "member": gettext_lazy("Member"),
    "admin": gettext_lazy("Admin of a project"),
    "owner": gettext_lazy("Owner"),
}
_LIST_CHARS_MAX = 50_000
_SHOWN_FAULTS = 10


class NewProject(CapForm):
    """A project with its name, and a cap if one is wanted."""

    name = forms.CharField(label=gettext_lazy("Name"), max_length=100)
    field_order = ("name", "cap_day", "cap_month", "cap_ever")

    def __init__(self, *args: Any, account: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.account = account

    def clean_name(self) -> str:
        """A name that no other project of the account has."""
        name: str = self.cleaned_data["name"]
        if "/" in name or not name.isprintable():
            raise forms.ValidationError(_("A name can't contain slashes or control characters."))
        if Project.objects.filter(account=self.account, name=name).exists():
            raise forms.ValidationError(_("A project with this name already exists."))
        return name


class KeysEnd(forms.Form):
    """The last day of all keys of a project; empty for none."""

    day = forms.DateField(
        label=gettext_lazy("Last valid day"),
        required=False,
        widget=forms.DateInput(attrs={"type": "date"}, format="%Y-%m-%d"),
    )

    def __init__(self, *args: Any, zone: str, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.zone = zone

    def clean_day(self) -> int | None:
        """The end of that day in the account's time zone, in microseconds."""
        day: date | None = self.cleaned_data["day"]
        if day is None:
            return None
        try:
            ends_us = days.end_us(day, self.zone)
        except OverflowError:
            raise forms.ValidationError(_("Choose today or a later day.")) from None
        if ends_us <= clock.now_us():
            raise forms.ValidationError(_("Choose today or a later day."))
        return ends_us


class Role(forms.Form):
    """Another role; a project for whoever is not an owner."""

    role = forms.ChoiceField(label=gettext_lazy("Role"), choices=list(ROLES.items()))
    project = forms.ChoiceField(
        label=gettext_lazy("Project"),
        required=False,
        help_text=gettext_lazy("This also revokes the member's keys in other projects."),
    )

    def __init__(self, *args: Any, projects: list[Project], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choose(self.fields["project"], projects)


class Invite(CapForm):
    """Whom to invite, to what."""

    people = forms.CharField(
        label=gettext_lazy("E-mail addresses"),
        help_text=gettext_lazy(
            "One per line, or separated by commas. Names may be included, as copied from a spreadsheet or mail program."
        ),
        max_length=_LIST_CHARS_MAX,
        widget=forms.Textarea(attrs={"rows": 8, "spellcheck": "false", "autocomplete": "off"}),
    )
    project = forms.ChoiceField(label=gettext_lazy("Project"), required=False)
    role = forms.ChoiceField(label=gettext_lazy("Role"), choices=list(ROLES.items()), initial="member")
    with_key = forms.BooleanField(label=gettext_lazy("Create a key for each member"), required=False, initial=True)
    days = WholeField(
        label=gettext_lazy("Valid for (days)"),
        min_value=1,
        max_value=invitations.DAYS_MAX,
        initial=invitations.DAYS_DEFAULT,
    )
    field_order = ("people", "project", "role", "cap_day", "cap_month", "cap_ever", "with_key", "days")

    def __init__(self, *args: Any, projects: list[Project], owner: bool, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        choose(self.fields["project"], projects)
        if not owner:
            role = self.fields["role"]
            assert isinstance(role, forms.ChoiceField)  # noqa: S101 - for the type
            role.choices = [("member", ROLES["member"])]

    def clean_people(self) -> list[invitations.Guest]:
        """The people of the list; every line that can't be read is named."""
        guests, faults = pasted.read(self.cleaned_data["people"])
        said = [
            _("Line %(n)d: %(part)s is not an e-mail address.") % {"n": fault.line, "part": fault.part[:80]}
            for fault in faults[:_SHOWN_FAULTS]
        ]
        if more := len(faults) - len(said):
            said.append(ngettext("And %(n)d more.", "And %(n)d more.", more) % {"n": more})
        if not said and not guests:
            said.append(_("Enter at least one e-mail address."))
        if len(guests) > invitations.AT_ONCE_MAX:
            said.append(_("You can invite up to %(n)d people at a time.") % {"n": invitations.AT_ONCE_MAX})
        if said:
            raise forms.ValidationError([*said, _("No invitations were sent.")])
        return guests

    def clean(self) -> dict[str, Any]:
        """An admin or a member has a project, an owner none."""
        found = super().clean() or {}
        if found.get("role") == "owner":
            found["project"] = ""
        elif "role" in found and not found.get("project") and "project" not in self.errors:
            self.add_error("project", _("Choose a project."))
        return found

    def terms(self) -> invitations.InvitationTerms:
        """What the domain's verb takes."""
        given = self.cleaned_data
        with_key = given["with_key"] and bool(given["project"])
        return invitations.InvitationTerms(
            role=given["role"],
            project=given["project"] or None,
            with_key=with_key,
            days=given["days"],
            caps=self.limits(),
        )


class Join(forms.Form):
    """Who comes by an invitation for the first time."""

    name = forms.CharField(
        label=pgettext_lazy("person", "Name"), max_length=100, widget=forms.TextInput(attrs={"autocomplete": "name"})
    )
    password = forms.CharField(
        label=gettext_lazy("Password"),
        strip=False,
        min_length=8,
        max_length=256,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
    )


def choose(field: forms.Field, projects: list[Project]) -> None:
    """Let one of these projects be chosen, or none."""
    assert isinstance(field, forms.ChoiceField)  # noqa: S101 - for the type
    field.widget.attrs["translate"] = "no"
    field.choices = [("", "–"), *((row.id, row.name) for row in projects if row.state == "active")]
