from django.http import HttpRequest, HttpResponse


def page(request: HttpRequest, **_k: object) -> HttpResponse:
    return HttpResponse("to do", status=501)
