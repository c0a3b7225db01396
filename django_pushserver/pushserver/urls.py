"""The URL that the relay tells of subscribers, to be included as `passthrough`.

With path('passthrough', include('pushserver.urls')) both /passthrough and /passthrough/
resolve, and nothing longer. The group around the slash keeps urls.W002 quiet, which takes
a pattern that begins with a slash for a mistake; `\\Z` because `$` would also match before
a newline at the end.
"""

from django.urls import re_path

from pushserver.views import passthrough

urlpatterns = [
    re_path(r"^(?:/)?\Z", passthrough, name="pushserver-passthrough"),
]
