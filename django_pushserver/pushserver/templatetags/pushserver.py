"""{% load pushserver %}"""

from typing import Any

from django import template

from pushserver.utils import updates

register = template.Library()


@register.simple_tag(takes_context=True)
def channel_url(context: template.Context | dict[str, Any], channel_id: str) -> str:
    """Return the URL at which browsers subscribe to a channel.

    Nothing in it is changed by HTML escaping, so it may stand in an attribute, and in a
    script within {% filter escapejs %}.
    """
    return updates.subscriber_url(channel_id, request=context.get("request"))
