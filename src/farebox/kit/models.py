"""Tables that know no business word: versions of cached things, epochs, the audit trail, settings, proposals."""

from __future__ import annotations

from django.db import models


class Version(models.Model):
    """A number that grows with each change of a cached thing (`keys`, `shelf`, `board`); nodes poll it."""

    name = models.CharField(primary_key=True, max_length=32)
    n = models.BigIntegerField(default=0)


class Epoch(models.Model):
    """One life of one server process; its heartbeat is its lease (promises 1.5).

    `seen_us` is the newest time that it wrote down: no later life's clock begins before it. `oldest_us` is when the
    oldest of the requests under way began, as of its last heartbeat. `cleared_us` says since when nothing is left to do
    for a dead epoch: its refunds of R25 are done, and no hold of it is open. `wall_us` is what its machine's clock said
    last, `sure_us` the last time that was sure, `counter_us` that machine's counter then, since the start named `boot`;
    `clock` is how it judges the time now, as JSON (timing.py).
    """

    id = models.CharField(primary_key=True, max_length=40)
    node = models.CharField(max_length=100)
    started_us = models.BigIntegerField()
    beats = models.BigIntegerField(default=0)
    ended_us = models.BigIntegerField(null=True)
    ended_why = models.CharField(max_length=32, default="")
    seen_us = models.BigIntegerField(default=0)
    oldest_us = models.BigIntegerField(default=0)
    cleared_us = models.BigIntegerField(null=True)
    wall_us = models.BigIntegerField(default=0, db_default=0)
    sure_us = models.BigIntegerField(default=0, db_default=0)
    counter_us = models.BigIntegerField(default=0, db_default=0)
    boot = models.CharField(max_length=36, default="", db_default="")
    clock = models.TextField(default="", db_default="")
    keys = models.TextField(default="")  # which keys its key files hold, as JSON (kit/keyfiles.py)


class Cache(models.Model):
    """What Django's cache keeps (kit/cache.py): counters of attempts, above all. In no backup."""

    cache_key = models.CharField(primary_key=True, max_length=255)
    value = models.TextField()
    expires = models.DateTimeField(db_index=True)


class AuditEvent(models.Model):
    """Who did what to which object, with opaque values before and after (JSON texts)."""

    id = models.CharField(primary_key=True, max_length=40)
    at_us = models.BigIntegerField(db_index=True)
    actor = models.CharField(max_length=200)
    verb = models.CharField(max_length=60)
    object = models.CharField(max_length=200)
    before = models.TextField(default="")
    after = models.TextField(default="")

    class Meta:
        indexes = [models.Index(fields=["object", "id"], name="kit_audit_object")]


class AuditSeal(models.Model):
    """The n-th event of the trail in the order in which it was sealed, from 1; `hash` commits to it and all before."""

    n = models.BigIntegerField(primary_key=True)
    event = models.CharField(max_length=40, unique=True)
    hash = models.CharField(max_length=64)


class Setting(models.Model):
    """One shop setting or fact of the installation, as a JSON text."""

    name = models.CharField(primary_key=True, max_length=64)
    value = models.TextField()


class Proposal(models.Model):
    """A change that somebody proposed and a person decides: what it is of, before and after as JSON texts.

    `two_people` says that another person than `requester` approves it, unless `single_person`. What nobody has decided
    in 72 hours has lapsed by its age; what was changed meanwhile is `dropped` when somebody looks at it again.
    """

    id = models.CharField(primary_key=True, max_length=40)
    kind = models.CharField(max_length=32)
    object = models.CharField(max_length=200)
    before = models.TextField()
    after = models.TextField()
    why = models.CharField(max_length=300, default="")
    two_people = models.BooleanField()
    single_person = models.BooleanField(default=False)
    state = models.CharField(max_length=10, default="proposed")
    requester = models.CharField(max_length=200)
    proposed_us = models.BigIntegerField()
    decider = models.CharField(max_length=200, default="")
    decided_us = models.BigIntegerField(null=True)
    note = models.CharField(max_length=300, default="")

    class Meta:
        indexes = [models.Index(fields=["state", "id"], name="kit_proposal_state")]
        constraints = [
            models.CheckConstraint(
                condition=models.Q(state__in=["proposed", "approved", "declined", "withdrawn", "dropped"]),
                name="kit_proposal_known",
            ),
            models.CheckConstraint(
                condition=~models.Q(state="approved")
                | models.Q(two_people=False)
                | models.Q(single_person=True)
                | ~models.Q(decider=models.F("requester")),
                name="kit_proposal_two_people",
            ),
        ]


class Outbox(models.Model):
    """One message on its way out; `payload` is sealed (it may hold a code), and emptied when it has left or died.

    `kind`: `mail` or `webhook`. `state`: `waiting`, `sent`, `dead` (given up after `outbox.TRIES`). Whoever takes it
    moves `due_us` on first: that is their lease.
    """

    id = models.CharField(primary_key=True, max_length=40)
    kind = models.CharField(max_length=8)
    payload = models.TextField()
    state = models.CharField(max_length=8, default="waiting")
    tries = models.IntegerField(default=0)
    due_us = models.BigIntegerField()
    fault = models.CharField(max_length=200, default="")
    created_us = models.BigIntegerField()

    class Meta:
        indexes = [models.Index(fields=["state", "due_us"], name="kit_outbox_due")]
        constraints = [
            models.CheckConstraint(condition=models.Q(kind__in=["mail", "webhook"]), name="kit_outbox_kind"),
            models.CheckConstraint(condition=models.Q(state__in=["waiting", "sent", "dead"]), name="kit_outbox_state"),
        ]
