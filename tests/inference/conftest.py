"""The bundled network, what it says of a recording, and a browser for the pages, where there is one."""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from atgnn import ATGNN
from atgnn.checkpoint import load_model
from atgnn.inference.explain import Explanation, explain_sound


@pytest.fixture(scope="session")
def model() -> ATGNN:
    return load_model()


@pytest.fixture(scope="session")
def clip(pytestconfig: pytest.Config) -> Path:
    return pytestconfig.rootpath / "data" / "mini" / "clips" / "loop_tabla.flac"


@pytest.fixture(scope="session")
def explanation(model: ATGNN, clip: Path) -> Explanation:
    return explain_sound(model, clip, "Tabla", draws=3)


@pytest.fixture
def browser() -> Iterator[Any]:
    """Chromium without a window."""
    chromium, driver = shutil.which("chromium"), shutil.which("chromedriver")
    if not (chromium and driver):
        pytest.skip("needs chromium and chromedriver")
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = chromium
    for argument in ("--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--window-size=1200,2300"):
        options.add_argument(argument)
    driven = webdriver.Chrome(options, webdriver.ChromeService(driver))
    yield driven
    driven.quit()
