"""An explanation as a page and as a picture, looked at by a browser."""

import time

import pytest

from atgnn.errors import InputError
from atgnn.inference.explain_page import explain, explanation_page, strongest


def test_five_links_that_raise_and_three_that_lower():
    links = [(str(n), 6.0 - n) for n in range(12)]
    assert [name for name, _ in strongest(links)] == ["0", "1", "2", "3", "4", "9", "10", "11"]
    assert strongest(links[:4]) == links[:4]


def test_page_and_picture(clip, tmp_path):
    explain(clip, label="Tabla", out=tmp_path / "new" / "a.html", draws=1)
    page = (tmp_path / "new" / "a.html").read_text()
    assert "Tabla" in page
    assert 'src="http' not in page
    assert 'href="http' not in page
    explain(clip, out=tmp_path / "a.png", draws=1)
    assert (tmp_path / "a.png").stat().st_size > 20_000
    with pytest.raises(InputError, match=r"\.html or \.png"):
        explain(clip, out=tmp_path / "a.txt")
    with pytest.raises(InputError, match="expected --draws of at least 1"):
        explain(clip, out=tmp_path / "a.png", draws=0)


@pytest.mark.slow
def test_the_page_in_a_browser(browser, explanation, model, tmp_path):
    """Choose a stage, then a patch by a click: its neighbours are framed. The cursor follows the sound."""
    (tmp_path / "a.html").write_text(explanation_page(model, explanation))
    browser.get((tmp_path / "a.html").as_uri())
    third = explanation.stages[2]
    browser.find_elements("css selector", "input[name=stage]")[2].click()
    assert len(browser.find_elements("css selector", "#boxes rect")) == 2 * len(third.gathered)
    chosen = browser.execute_script("""
        const area = document.querySelector("#inside image").getBoundingClientRect();
        const place = {clientX: area.left + 0.55 * area.width, clientY: area.top + 0.7 * area.height, bubbles: true};
        document.getElementById("inside").dispatchEvent(new MouseEvent("click", place));
        document.querySelector("audio").currentTime = 1;
        return chosen;
    """)
    bins, frames = explanation.log_mel.shape
    f, t, f_end, t_end = third.patches[chosen]
    assert f <= 0.3 * bins < f_end
    assert t <= 0.55 * frames < t_end
    boxes = len(third.gathered) + 1 + len(third.neighbors[chosen])
    assert len(browser.find_elements("css selector", "#boxes rect")) == 2 * boxes
    cursor = browser.find_element("id", "cursor")
    end = time.monotonic() + 5
    while float(cursor.get_attribute("x1")) != 100 and time.monotonic() < end:
        time.sleep(0.1)
    assert float(cursor.get_attribute("x1")) == 100  # 10 ms a frame
