"""Settings of the example. What pushserver needs is at the top; the rest is any project's."""

import os
from pathlib import Path

# demo.py moves these when told to; a project of your own writes them down.
PORT = int(os.environ.get("DEMO_PORT", "8000"))
RELAY_PORT = int(os.environ.get("DEMO_RELAY_PORT", "8001"))
ROOT = Path(__file__).resolve().parents[3]
FOLDER = Path(os.environ.get("DEMO_FOLDER", ROOT / "build" / "demo"))

# ---- pushserver -------------------------------------------------------------------

INSTALLED_APPS = [
    "django.contrib.auth",
    "django.contrib.contenttypes",
    "django.contrib.sessions",
    "django.contrib.staticfiles",
    "pushserver",
    "board",
]

PUSH_SERVER = {
    "address": "127.0.0.1",
    "port": RELAY_PORT,
    # Who opens the page gets what is stored: the last five minutes, at least ten updates.
    "store": {"type": "memory", "min_messages": 10, "max_messages": 100, "message_timeout": 300},
    "locations": [
        {
            "type": "subscriber",
            "url": r"/updates/([^/]+)",
            "polling": "long",
            "create_on_get": True,
            # The pages that may subscribe. The relay has a port of its own, so to browsers
            # it is another origin; with credentials they send it the session cookie.
            "allow_origin": [f"http://127.0.0.1:{PORT}", f"http://localhost:{PORT}"],
            "allow_credentials": True,
            # Where the relay tells who came and went: the signals in presence.py. Without
            # linger it does for every poll, so presence.py hears of everybody once a minute.
            "passthrough": f"http://127.0.0.1:{PORT}/passthrough",
            "passthrough_linger": 0,
        },
        {"type": "publisher", "url": r"/send-update/([^/]+)"},
    ],
}

# Whose notices Django believes: the relay's, which runs on this machine.
INTERNAL_IPS = ["127.0.0.1"]

# By this name the relay calls Django; the others are for browsers.
ALLOWED_HOSTS = ["127.0.0.1", "localhost"]

# ---- as in any project ------------------------------------------------------------

DEBUG = True
SECRET_KEY = "for the demo on this machine alone"
ROOT_URLCONF = "board.urls"
USE_TZ = True
TIME_ZONE = "UTC"
STATIC_URL = "static/"

LOGIN_URL = "login"
LOGIN_REDIRECT_URL = "index"
LOGOUT_REDIRECT_URL = "login"

MIDDLEWARE = [
    "django.middleware.security.SecurityMiddleware",
    "django.contrib.sessions.middleware.SessionMiddleware",
    "django.middleware.common.CommonMiddleware",
    "django.middleware.csrf.CsrfViewMiddleware",
    "django.contrib.auth.middleware.AuthenticationMiddleware",
    "django.contrib.auth.middleware.LoginRequiredMiddleware",
    "django.middleware.clickjacking.XFrameOptionsMiddleware",
]

TEMPLATES = [
    {
        "BACKEND": "django.template.backends.django.DjangoTemplates",
        "APP_DIRS": True,
        "OPTIONS": {
            "context_processors": [
                "django.template.context_processors.request",
                "django.contrib.auth.context_processors.auth",
            ]
        },
    }
]

DATABASES = {
    "default": {
        "ENGINE": "django.db.backends.sqlite3",
        "NAME": FOLDER / "db.sqlite3",
        "OPTIONS": {
            # runserver's threads write at the same time. A transaction that begins as a
            # reader and then writes would not wait its turn but fail ("database is locked").
            "transaction_mode": "IMMEDIATE",
            "init_command": "PRAGMA journal_mode=WAL; PRAGMA synchronous=NORMAL",
        },
    }
}

# ---- the demo's own ---------------------------------------------------------------

# Names and passwords: demo.py makes them, the log-in page has a button for each.
DEMO_USERS = {"ann": "ann", "bob": "bob", "cleo": "cleo"}

# What the page says to type for Django's shell.
DEMO_SHELL = os.environ.get("DEMO_SHELL", "python examples/django/manage.py shell")
