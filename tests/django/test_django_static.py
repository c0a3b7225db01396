"""The browser client among Django's static files."""

from pathlib import Path

import pytest
from django.contrib.staticfiles import finders
from django.contrib.staticfiles.storage import ManifestStaticFilesStorage, staticfiles_storage
from django.core.management import call_command
from django.test import override_settings

from conftest import ROOT

STATIC = ROOT / "django_pushserver" / "pushserver" / "static" / "pushserver"


@pytest.mark.parametrize("name", ["updates.js", "updates.mjs"])
def test_client_is_the_one_of_the_checkout(name: str) -> None:
    link = STATIC / name
    assert link.is_symlink()
    assert not link.readlink().is_absolute(), "a clone must not depend on where it lies"
    assert link.resolve(strict=True) == ROOT / "js" / name
    found = finders.find(f"pushserver/{name}")
    assert isinstance(found, str) and Path(found).read_bytes() == link.read_bytes()


class StrictStorage(ManifestStaticFilesStorage):
    """Rewrites imports and the addresses of source maps too, so that a dead one is an error."""

    support_js_module_import_aggregation = True


@pytest.mark.parametrize("name", ["updates.js", "updates.mjs"])
def test_client_survives_manifest_storage(name: str, tmp_path: Path) -> None:
    storages = {
        "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
        "staticfiles": {"BACKEND": f"{__name__}.StrictStorage"},
    }
    with override_settings(STORAGES=storages, STATIC_ROOT=str(tmp_path), STATIC_URL="/static/"):
        call_command("collectstatic", interactive=False, verbosity=0)
        url = staticfiles_storage.url(f"pushserver/{name}")
    stem, suffix = name.split(".")
    assert url.startswith(f"/static/pushserver/{stem}.") and url.endswith(f".{suffix}")
    assert url != f"/static/pushserver/{name}"
    served = tmp_path / url.removeprefix("/static/")
    assert served.read_bytes() == (STATIC / name).read_bytes()
