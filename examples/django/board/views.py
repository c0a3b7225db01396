"""The page, and the form on it."""

from django import forms
from django.conf import settings
from django.http import HttpRequest, HttpResponse
from django.shortcuts import render
from django.views.decorators.http import require_POST

from board.models import Presence
from board.presence import CHANNEL
from pushserver.utils import updates


class MessageForm(forms.Form):
    """What the form on the page sends."""

    text = forms.CharField(max_length=500)


def index(request: HttpRequest) -> HttpResponse:
    """Show the page. What happens from now on reaches it through the relay."""
    return render(
        request,
        "board/index.html",
        {
            "channel": CHANNEL,
            "online": Presence.usernames(),
            "publisher_url": updates.publisher_url(CHANNEL),
            "shell": settings.DEMO_SHELL,
        },
    )


@require_POST
def publish(request: HttpRequest) -> HttpResponse:
    """Publish what the form sent to everybody who has the page open."""
    form = MessageForm(request.POST)
    if not form.is_valid():
        return HttpResponse("There is no text to send.", status=400, content_type="text/plain")
    try:
        updates.send_update(
            CHANNEL,
            {
                "type": "message",
                "user": request.user.get_username(),
                "text": form.cleaned_data["text"],
            },
        )
    except updates.UpdateError as error:
        return HttpResponse(f"Not sent: {error}", status=503, content_type="text/plain")
    return HttpResponse(status=204)
