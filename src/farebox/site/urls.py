"""Every address of a page; the API's are the front door's own (gateway.app)."""

from __future__ import annotations

from django.urls import include, path

from . import urls_customers
from .urls_customers import handler400, handler403, handler404, handler500

urlpatterns = [*urls_customers.urlpatterns, path("office/", include("farebox.office.urls"))]

__all__ = ["handler400", "handler403", "handler404", "handler500", "urlpatterns"]
