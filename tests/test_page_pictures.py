"""Pictures of the how-to pages show what the code of the page gives."""

import numpy as np
import pytest

from tests.page_pictures import DRAWN, PICTURES, PLOTTED, plotted, solved_on
from tests.test_readme import words_and_numbers


@pytest.mark.parametrize("page", DRAWN)
def test_pictures_show_what_the_page_solves(page, capsys):
    """Drawn again they are the same, to a pixel: ``python -m tests.page_pictures``."""
    drawn = DRAWN[page](solved_on(page))
    kept = (PICTURES / f"{page}.svg").read_text(encoding="utf-8")
    words, numbers = words_and_numbers(kept)
    new_words, new_numbers = words_and_numbers(drawn)
    assert new_words == words
    np.testing.assert_allclose(new_numbers, numbers, atol=1.01)
    assert f"pictures/{page}.svg" in (PICTURES.parent / f"{page}.md").read_text(encoding="utf-8")


def shades(path):
    """Return a picture as shades of grey, from 0 to 1."""
    import matplotlib.pyplot as plt

    return plt.imread(path)[..., :3].mean(axis=-1)


@pytest.mark.parametrize("page", PLOTTED)
def test_plots_show_what_the_page_solves(page, tmp_path, capsys):
    """Drawn again they look the same, but for how letters are smoothed."""
    plotted(page, tmp_path)
    text = (PICTURES.parent / f"{page}.md").read_text(encoding="utf-8")
    for name in PLOTTED[page]:
        kept, drawn = (shades(folder / f"{name}.png") for folder in (PICTURES, tmp_path))
        assert drawn.shape == kept.shape
        another = np.abs(kept[::-1] - kept).mean()
        assert np.abs(drawn - kept).mean() < 0.1 * another
        assert f"pictures/{name}.png" in text
