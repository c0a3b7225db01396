"""The URLs of the tests' project."""

from django.contrib.auth.decorators import login_not_required
from django.http import HttpRequest, HttpResponse
from django.template import Context, Template
from django.urls import include, path


@login_not_required
def page(request: HttpRequest) -> HttpResponse:
    """Show the URL of a channel, as a page with the client would."""
    template = Template('{% load pushserver %}{% channel_url "room" %}')
    return HttpResponse(template.render(Context({"request": request})))


urlpatterns = [
    path("passthrough", include("pushserver.urls")),
    path("page", page),
]
