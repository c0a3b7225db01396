"""The pages of the example, and pushserver's URL."""

from django.conf import settings
from django.contrib.auth.views import LoginView, LogoutView
from django.urls import include, path

from board import views

urlpatterns = [
    path("passthrough", include("pushserver.urls")),
    path("", views.index, name="index"),
    path("publish", views.publish, name="publish"),
    path(
        "login",
        LoginView.as_view(
            template_name="board/login.html", extra_context={"demo_users": settings.DEMO_USERS}
        ),
        name="login",
    ),
    path("logout", LogoutView.as_view(), name="logout"),
]
