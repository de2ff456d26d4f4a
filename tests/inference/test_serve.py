"""`atgnn serve`: the page in a browser, its limits, and paths that it must not take."""

import json
import time
import urllib.error
import urllib.request

import pytest
import soundfile
import torch

from atgnn.checkpoint import load_model
from atgnn.errors import InputError
from atgnn.inference.serve import build_page, listen, serve


@pytest.fixture(scope="module")
def address():
    pytest.importorskip("gradio")
    page, look = build_page(load_model(), 120)
    page.queue().launch(
        server_name="127.0.0.1", prevent_thread_lock=True, quiet=True, max_file_size="1mb", inbrowser=False, **look
    )
    yield page.local_url
    page.close()


def test_limits(tmp_path):
    soundfile.write(tmp_path / "long.wav", torch.zeros(48000).numpy(), 16000)
    with pytest.raises(InputError, match="expected at most 2 s of sound"):
        listen(load_model(), str(tmp_path / "long.wav"), None, 2)
    with pytest.raises(InputError, match="drop or record one"):
        listen(load_model(), None, None, 2)


def test_a_port_that_cannot_be():
    pytest.importorskip("gradio")
    with pytest.raises(InputError, match="expected a free --host and --port"):
        serve(port=99999999)


@pytest.mark.slow
def test_a_path_of_the_client_is_refused(address, tmp_path):
    soundfile.write(tmp_path / "mine.wav", torch.zeros(16000).numpy(), 16000)
    sound = {"path": str(tmp_path / "mine.wav"), "meta": {"_type": "gradio.FileData"}}
    body = json.dumps({"data": [sound, "Tabla"]}).encode()
    call = urllib.request.Request(f"{address}gradio_api/call/answer", body, {"Content-Type": "application/json"})
    try:
        event = json.load(urllib.request.urlopen(call))["event_id"]
        said = urllib.request.urlopen(f"{address}gradio_api/call/answer/{event}").read().decode()
    except urllib.error.HTTPError as error:
        said = f"event: error {error}"
    assert "event: error" in said
    assert "event: complete" not in said


@pytest.mark.slow
def test_a_large_upload_is_refused(address):
    body = b'--x\r\nContent-Disposition: form-data; name="files"; filename="a.wav"\r\n\r\n' + bytes(2 * 2**20)
    request = urllib.request.Request(
        f"{address}gradio_api/upload", body + b"\r\n--x--\r\n", {"Content-Type": "multipart/form-data; boundary=x"}
    )
    with pytest.raises(urllib.error.HTTPError) as refused:
        urllib.request.urlopen(request)
    assert refused.value.code == 413


@pytest.mark.slow
def test_a_recording_in_a_browser(browser, address, pytestconfig, tmp_path):
    browser.get(address)
    clip = pytestconfig.rootpath / "data" / "mini" / "clips" / "loop_tabla.flac"
    _wait(lambda: browser.find_elements("css selector", "input[type=file]"))[0].send_keys(str(clip))
    _wait(lambda: browser.find_elements("css selector", "audio, #waveform, [data-testid*=waveform]"))
    time.sleep(2)
    browser.find_element("id", "listen").click()
    _wait(lambda: browser.find_elements("css selector", "iframe[srcdoc]"))
    time.sleep(1)
    browser.save_screenshot(str(tmp_path / "page.png"))
    assert "Tabla" in browser.find_element("tag name", "body").text
    browser.switch_to.frame(browser.find_element("css selector", "iframe[srcdoc]"))
    assert "score" in browser.find_element("tag name", "h1").text


def _wait(look, seconds=40):
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        if found := look():
            return found
        time.sleep(0.2)
    raise AssertionError("not found in time")
