"""House style: what makes a figure safe to put inside a page, legible in both themes, and the same every time."""

import itertools
import re
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pytest
from matplotlib.colors import to_rgb
from matplotlib.figure import Figure

from l2rw_core.figures import COLOURS, DASHES, INK, MARKERS, PALETTE, PAPER, Drawing, figure, show, to_svg
from l2rw_core.figures.style import ink_on

ALT = "The curve rises from 0 to 1."

# Machado, Oliveira and Fernandes (2009), severity 1, on linear RGB.
DICHROMACIES = {
    "protanopia": [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
    "deuteranopia": [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.011820, 0.042940, 0.968881]],
}


def curve(end=1.0):
    fig, ax = figure()
    ax.plot([0, 1, 2], [0, 0.7, end], marker="o", label="$u_i$ & more")
    ax.scatter([0, 1], [1, 0], c="black", edgecolor="white")
    ax.bar([0.5], [0.4], hatch="/", edgecolor=PAPER)
    ax.set(xlabel="step", ylabel="accuracy")
    ax.set_title("Title")
    ax.annotate("here", (1, 0.7), (1.5, 0.3), arrowprops={"arrowstyle": "->"})
    ax.legend()
    return fig


def parsed(svg):
    return ElementTree.fromstring(svg)


def ids(svg):
    return re.findall(r'\bid="([^"]+)"', svg)


def references(svg):
    return set(re.findall(r'(?:url\(#|href="#)([^)"]+)', svg))


def linear(colour):
    rgb = np.array(to_rgb(colour))
    return np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)


def contrast(one, other):
    low, high = sorted(np.dot([0.2126, 0.7152, 0.0722], linear(c)) + 0.05 for c in (one, other))
    return high / low


def lab(rgb):
    """CIE L*a*b* of linear RGB."""
    xyz = np.array([[0.4124, 0.3576, 0.1805], [0.2126, 0.7152, 0.0722], [0.0193, 0.1192, 0.9505]]) @ rgb
    t = np.clip(xyz / [0.9505, 1.0, 1.089], 0, None)
    f = np.where(t > 0.008856, np.cbrt(t), 7.787 * t + 16 / 116)
    return np.array([116 * f[1] - 16, 500 * (f[0] - f[1]), 200 * (f[1] - f[2])])


def test_same_figure_gives_same_text():
    assert to_svg(curve(), ALT) == to_svg(curve(), ALT)


def test_drawing_a_figure_twice_gives_same_text():
    fig = curve()
    assert to_svg(fig, ALT) == to_svg(fig, ALT)


def test_text_holds_no_date_prolog_or_page_wide_style():
    svg = to_svg(curve(), ALT)
    assert svg.startswith("<svg ")
    for part in ("<?xml", "<!DOCTYPE", "metadata", "<style", "Matplotlib", "DejaVu", "http://purl"):
        assert part not in svg


def test_every_reference_has_its_id_and_no_other_id_is_left():
    svg = to_svg(curve(), ALT)
    assert references(svg) == set(ids(svg))
    assert len(ids(svg)) == len(set(ids(svg))) > 0


def test_figures_of_one_page_share_no_id():
    pages = [to_svg(curve(1.0), ALT), to_svg(curve(0.9), ALT), to_svg(curve(1.0), ALT + " Again.")]
    for one, other in itertools.combinations(pages, 2):
        assert not set(ids(one)) & set(ids(other))


def test_ink_follows_the_page():
    svg = to_svg(curve(), ALT)
    assert "currentColor" in svg
    assert not re.search(rf"#000000|#ffffff|\bblack\b|\bwhite\b|{INK}|{PAPER}", svg)
    assert parsed(svg).get("fill") == "currentColor"
    assert "--pst-color-background" in svg


def test_plain_matplotlib_figure_follows_the_page_too():
    fig = Figure()
    fig.subplots().plot([0, 1], color="k")
    svg = to_svg(fig, ALT)
    assert not re.search(r"#000000|#ffffff", svg)
    assert "stroke:currentColor" in svg


def test_grid_is_fainter_than_axes():
    assert "stroke:currentColor;stroke-opacity:0.15" in to_svg(curve(), ALT)


def test_root_scales_with_its_column_and_has_an_upper_width():
    root = parsed(to_svg(curve(), ALT))
    assert root.get("viewBox") == "0 0 417.6 259.2"
    assert root.get("width") == "100%"
    assert "height" not in root.attrib
    assert root.get("style") == "min-width:358px;max-width:501px;height:auto"


def test_alt_is_spoken_and_escaped():
    alt = 'Noise < 40% & "clean" > 0.'
    svg = to_svg(curve(), alt)
    assert "&lt; 40% &amp;" in svg
    assert parsed(svg).get("aria-label") == alt
    assert parsed(svg).get("role") == "img"


@pytest.mark.parametrize("alt", ["", "   ", "\n"])
def test_alt_is_required(alt):
    with pytest.raises(ValueError, match="alt text"):
        show(curve(), alt)


def test_text_stays_text():
    words = "".join(parsed(to_svg(curve(), ALT)).itertext())
    for word in ("step", "accuracy", "Title", "here", "&\N{NO-BREAK SPACE}more"):
        assert word in words


def test_numbers_have_at_most_two_decimals_where_they_are_places():
    svg = to_svg(curve(), ALT)
    for name in ("d", "x", "y"):
        assert not re.search(rf'\s{name}="[^"]*\.\d{{3}}', svg)


def test_rounding_moves_nothing_visibly():
    fig, ax = figure()
    ax.plot(np.linspace(0, 1, 50), np.random.default_rng(0).random(50))
    places = [path.get("d") for path in parsed(to_svg(fig, ALT)).iter() if path.tag.endswith("path")]
    line = max((place for place in places if place), key=len)
    assert re.fullmatch(r"M[-\d. ]+l[-\d. ]+", line)
    drawn = np.cumsum(np.array(re.findall(r"-?(?:\d+\.?\d*|\.\d+)", line), dtype=float).reshape(-1, 2), axis=0)
    expected = ax.transData.transform(ax.lines[0].get_xydata())
    np.testing.assert_allclose(drawn, np.column_stack([expected[:, 0], 259.2 - expected[:, 1]]), atol=0.0501)


def test_points_of_many_sizes_are_circles_where_they_were_drawn():
    fig, ax = figure()
    sizes = np.array([4.0, 25.0, 100.0])
    dots = ax.scatter([0, 0.5, 1], [0, 1, 0.3], s=sizes)
    ax.scatter([0.2], [0.2], marker="s")
    circles = [e for e in parsed(to_svg(fig, ALT)).iter() if e.tag.endswith("circle")]
    expected = ax.transData.transform(dots.get_offsets())
    found = np.array([[float(c.get(name)) for name in ("cx", "cy", "r")] for c in circles])
    wanted = np.column_stack([expected[:, 0], 259.2 - expected[:, 1], np.sqrt(sizes) / 2])
    np.testing.assert_allclose(found, wanted, atol=0.0501)


def test_image_is_embedded_with_sharp_pixels_and_no_grid():
    fig, ax = figure()
    ax.imshow([[0.0, 1.0], [0.5, 0.2]], cmap="gray")
    svg = to_svg(fig, ALT)
    assert re.search(r'<image href="data:image/png;base64,[A-Za-z0-9+/=]+"', svg)
    assert "image-rendering:pixelated" in svg
    assert "stroke-opacity" not in svg


def test_opacity_of_neighbours_is_not_made_opacity_of_a_group():
    fig, ax = figure()
    ax.scatter([0, 0.01, 0.02], [0, 0, 0], alpha=0.5, s=400)
    assert not re.search(
        r"<g [^>]*opacity:", to_svg(fig, ALT).replace("stroke-opacity", "").replace("fill-opacity", "")
    )


def test_typical_figure_is_small():
    assert len(to_svg(curve(), ALT).encode()) < 20_000


def test_scatter_of_hundreds_stays_small():
    fig, ax = figure()
    ax.scatter(*np.random.default_rng(0).random((2, 300)), s=np.linspace(10, 100, 300))
    assert len(to_svg(fig, ALT).encode()) < 16_000


def test_lines_say_nothing_that_goes_without_saying():
    """A grid line has no inside and no cap; a bent line has an inside, which has to stay empty."""
    fig, ax = figure()
    ax.plot([0, 1, 2], [0, 2, 1], linestyle="--")
    svg = to_svg(fig, alt="A bent line.")
    styles = {path.get("d"): path.get("style", "") for path in ElementTree.fromstring(svg).iter() if path.get("d")}
    bent = [style for style in styles.values() if "dasharray" in style]
    grid = [style for style in styles.values() if "stroke-opacity" in style]
    assert len(bent) == 1
    assert "fill:none" in bent[0]
    assert len(grid) > 4
    assert not any("fill" in style or "linecap" in style for style in grid)
    assert "dashoffset" not in svg


def test_many_equal_marks_are_strung_on_a_line_through_their_places():
    fig, ax = figure()
    points = ax.scatter(*np.random.default_rng(0).random((2, 50)), marker="^", color="#8a6fe0", alpha=0.5)
    svg = to_svg(fig, ALT)
    assert len(svg.encode()) < 5_500
    (marker,) = (e for e in parsed(svg).iter() if e.tag.endswith("marker"))
    (line,) = (e for e in parsed(svg).iter() if f"url(#{marker.get('id')})" in e.get("style", ""))
    assert "fill:#8a6fe0;fill-opacity:0.5" in marker[0].get("style")
    drawn = np.cumsum(np.array(re.findall(r"-?(?:\d+\.?\d*|\.\d+)", line.get("d")), dtype=float).reshape(-1, 2), axis=0)
    expected = ax.transData.transform(points.get_offsets())
    np.testing.assert_allclose(drawn, np.column_stack([expected[:, 0], 259.2 - expected[:, 1]]), atol=0.1001)


def test_style_holds_after_figure_returns_and_leaves_global_state_alone():
    before = dict(mpl.rcParams)
    fig, ax = figure(ncols=2, sharey=True)
    (line,) = ax[0].plot([0, 1], label="a")
    legend = ax[1].legend([line], ["a"])
    assert line.get_linewidth() == 2.0
    assert line.get_color() == PALETTE[0]
    assert not legend.get_frame_on()
    assert ax[0].text(0, 0, "words").get_color() == INK
    assert fig.suptitle("t").get_color() == INK
    assert dict(mpl.rcParams) == before


def test_figure_is_unknown_to_pyplot():
    from matplotlib import pyplot

    figure()
    assert not pyplot.get_fignums()


def test_every_role_has_a_marker_and_dash_of_its_own():
    assert set(COLOURS) == set(MARKERS) == set(DASHES)
    for look in (COLOURS, MARKERS, DASHES):
        assert len(set(look.values())) == len(look)


@pytest.mark.parametrize("page", ["#ffffff", "#121212"])
@pytest.mark.parametrize("role", COLOURS)
def test_colour_is_legible_in_both_themes(role, page):
    assert contrast(COLOURS[role], page) >= 3.0


@pytest.mark.parametrize("kind", DICHROMACIES)
@pytest.mark.parametrize("pair", [("l2rw", "baseline"), ("clean", "noisy"), ("minority", "majority")], ids="-".join)
def test_colours_of_a_pair_differ_for_colour_blind_readers(pair, kind):
    one, other = (lab(np.clip(DICHROMACIES[kind] @ linear(COLOURS[role]), 0, 1)) for role in pair)
    assert np.linalg.norm(one - other) > 20


def test_drawing_is_a_figure_element_with_escaped_caption():
    drawing = show(curve(), ALT, caption="a < b & c")
    assert drawing._repr_html_() == drawing.html
    assert drawing.html.startswith('<figure class="l2rw-figure"')
    assert ">a &lt; b &amp; c</figcaption></figure>" in drawing.html
    assert ALT in repr(drawing)


def test_drawing_without_caption_has_no_caption_element():
    assert "figcaption" not in Drawing("<svg/>", ALT).html


@pytest.mark.parametrize("colours", ["grey", "PuOr"])
def test_words_can_be_read_on_a_cell_of_any_colour(colours):
    def luminance(colour):
        linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in to_rgb(colour)]
        return np.dot(linear, (0.2126, 0.7152, 0.0722))

    for fill in mpl.colormaps[colours](np.linspace(0, 1, 256)):
        low, high = sorted((luminance(fill), luminance(ink_on(fill))))
        assert (high + 0.05) / (low + 0.05) > 4.5, fill


def test_words_on_a_cell_keep_their_colour_in_the_dark():
    fig, ax = figure()
    for where, fill in enumerate(("#202020", "#e0e0e0")):
        ax.text(0.1, where / 2, fill, color=ink_on(fill))
    svg = to_svg(fig, "two words")
    assert ink_on("#202020") in svg
    assert ink_on("#e0e0e0") in svg


@pytest.mark.parametrize(("name", "columns"), [("short", 3), ("with a stop by loss", 2), ("x" * 60, 1)])
def test_a_legend_has_no_more_columns_than_fit(name, columns):
    fig, ax = figure()
    for number in range(3):
        ax.plot([0, 1], [0, 1], label=f"{name} {number}")
    height = fig.get_figheight()
    legend = fig.legend(loc="outside lower center", ncols=3)
    assert legend._ncols == columns
    assert (fig.get_figheight() > height) == (columns < 3)
    assert fig.legends == [legend]
    if columns > 1:
        assert legend.get_window_extent().width < fig.bbox.width


def test_marks_of_a_legend_are_seen_however_small_those_of_the_figure():
    fig, ax = figure()
    ax.scatter([0, 1], [0, 1], s=3, label="points")
    ax.plot([0, 1], [1, 0], "o", markersize=1, label="dots")
    for legend in (ax.legend(), fig.legend(loc="outside lower center")):
        points, line = legend.legend_handles
        assert min(points.get_sizes()) >= 49
        assert line.get_markersize() >= 7


def test_marks_of_the_usual_size_are_the_same_in_a_legend():
    _, ax = figure()
    ax.plot([0, 1], [1, 0], "o", label="dots")
    (mark,) = ax.get_lines()
    (shown,) = ax.legend().legend_handles
    assert shown.get_markersize() == mark.get_markersize()


def test_thousands_have_commas_on_an_axis_too():
    fig, ax = figure()
    ax.plot([0, 20_000], [0.0, 1.0])
    drawing = show(fig, alt="A line.")
    assert ">20,000<" in drawing.svg
    assert ">0.2<" in drawing.svg
