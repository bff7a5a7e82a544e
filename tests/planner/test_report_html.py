"""The HTML report: one file, safe whatever names a plan has, and usable in a browser."""

import base64
import hashlib
import json
import os
import re
import shutil
import subprocess
from html.parser import HTMLParser

import pytest

from cubie_planner import Alias, Buffer, Limits, Plan, Problem, plan, solve
from cubie_planner.explain import explain
from cubie_planner.report.page import fragment, html

BROWSER = next(
    filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome", "chrome"))),
    None,
)
# Where this is set, as in CI, the tests fail without a browser instead of being skipped.
NEEDED = "CUBIE_TESTS_NEED_BROWSER"
in_a_browser = pytest.mark.skipif(
    BROWSER is None and not os.environ.get(NEEDED),
    reason="needs headless Chromium: install the system's package `chromium`",
)

PLAN = plan(
    Problem(
        [
            Buffer("loop.state", 8, "f4", pin="shared"),
            Buffer("loop.step.rhs", 8, "f4", lifetime=((1, 3),)),
            Buffer("loop.step.part", 2, "f4", lifetime=((2, 3),), aliases=[Alias("loop.step.rhs")]),
            Buffer("loop.late", 6, "f4", lifetime=((0, 1), (4, 5))),
            Buffer("loop.step.cache", 2, "f8", pin="local_persistent"),
            Buffer("loop.count", 2, "i4", pin="local"),
            Buffer("loop.off", 2, "i4", enabled=False),
        ],
        Limits(4096, 8, (9, 0)),
        "shared",
    )
)
HOSTILE = """</title><script>alert("x")</script><img src=x onerror='alert(1)'> & $name"""


class Elements(HTMLParser):
    """Every element of a page, with what its start tag says."""

    def __init__(self, text: str):
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        self.found.append((tag, dict(attrs)))

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.found if name == tag]


def test_page_holds_everything_about_the_plan():
    """Map, table, totals, proofs, peak, pins and device are there, and what takes no bytes."""
    text = html(PLAN, name="kernel", explanation=explain(PLAN))
    elements = Elements(text)
    tiles = [e for e in elements.named("g") if e.get("class", "").startswith("tile")]
    rows = [e["data-name"] for e in elements.named("tr") if "data-name" in e]
    used = [p.name for p in PLAN.placements.values() if p.size_bytes]
    assert sorted(e["data-name"] for e in tiles) == sorted(used)
    assert rows == used
    assert "<code>loop.off</code>" in text
    for words in (
        *("Memory plan: kernel", "lifetimes 24 B, aliases 8 B", "64 B", "optimal"),
        *("The peak: 64 B per run", "What each pin costs", "Device: sm_90, modelled"),
        *("13 % of the limit of 4096 B", "blocks of 8", PLAN.digest, "peak 64 B"),
    ):
        assert words in text, words


def test_a_page_plans_nothing_again(monkeypatch):
    """What pins cost takes planning once more for each: only an explanation tells it."""
    told = explain(PLAN)
    monkeypatch.setattr(solve, "finish", None)
    with pytest.raises(TypeError):  # so that planning would be noticed
        explain(PLAN)
    assert "3 buffers are pinned; what that costs was not asked." in PLAN.report()
    assert "What each pin costs" in PLAN.report(explanation=told)


def test_page_asks_for_nothing():
    """No element refers to another file, and the policy forbids every request."""
    text = html(PLAN)
    elements = Elements(text)
    referring = [(tag, key) for tag, a in elements.found for key in a if key in ("src", "href")]
    assert referring == [("a", "href")]  # to the table of the same page
    assert not re.search(r"https?:|@import|url\((?!#)", text)
    policy = next(e["content"] for e in elements.named("meta") if "http-equiv" in e)
    assert policy is not None
    assert policy.startswith("default-src 'none';")
    for kind in ("style", "script"):
        (content,) = re.findall(f"<{kind}>(.*?)</{kind}>", text, re.S)
        digest = base64.b64encode(hashlib.sha256(content.encode()).digest()).decode()
        assert f"{kind}-src 'sha256-{digest}'" in policy


def test_names_stay_text():
    """Names of any characters add no element to a page or a notebook, and are shown whole."""
    plain = plan(Problem([Buffer("plain", 8, "f4"), Buffer("other", 8, "f4")], policy="shared"))
    names = [f"{HOSTILE}.a", f"{HOSTILE}.b"]
    odd = plan(Problem([Buffer(name, 8, "f4") for name in names], policy="shared"))
    for make in (lambda p: html(p, name=HOSTILE), fragment):
        ours, theirs = Elements(make(odd)), Elements(make(plain))
        kinds = {tag for tag, _ in theirs.found} | {"option"}
        assert {tag for tag, _ in ours.found} <= kinds
        assert len(ours.named("script")) == len(theirs.named("script"))
        assert [e["data-name"] for e in ours.named("tr") if "data-name" in e] == names


def test_every_buffer_can_be_reached_and_says_what_it_is():
    """Rectangles and rows can have the focus; rectangles have a label and a tooltip."""
    text = html(PLAN)
    elements = Elements(text)
    tiles = [e for e in elements.named("g") if e.get("class", "").startswith("tile")]
    assert all(e["tabindex"] == "0" and e["aria-label"] for e in tiles)
    assert all(e["tabindex"] == "0" for e in elements.named("tr") if "data-name" in e)
    offset = PLAN.placements["loop.late"].offset
    label = f"loop.late: 24 B, shared at offset {offset}, alive at points 0-1, 4-5"
    assert label in [e["aria-label"] for e in tiles]
    controls = {e["for"] for e in elements.named("label")}
    assert controls == {e["id"] for tag in ("select", "input") for e in elements.named(tag)}


def test_what_lies_in_global_memory_is_on_the_page():
    """A card with its bytes, and a map of its own; neither where nothing is there."""
    far = Buffer("far", 10, "f8", pin="global", locations=["global"])
    page = html(plan(Problem([far])))
    assert "Global per run" in page
    assert "global: 80 B per run" in page
    assert "Global per run" not in html(PLAN)


def test_plan_without_bytes_or_device_has_a_page():
    """What is not there is said or left out."""
    text = html(plan(Problem([Buffer("a", 0, "f4")], Limits(), "local")))
    assert "there is nothing to map" in text
    assert "Device" not in text


def test_the_same_plan_gives_the_same_page(tmp_path):
    """The page depends on the plan alone, and a file holds what is returned."""
    path = tmp_path / "report.html"
    text = PLAN.report(path, name="x")
    assert path.read_text(encoding="utf-8") == text
    assert text == Plan.from_json(PLAN.to_json()).report(name="x")


def test_notebooks_show_map_and_table():
    """What a notebook shows has no script, and styles nothing outside itself."""
    text = PLAN._repr_html_()
    elements = Elements(text)
    assert not elements.named("script")
    (style,) = re.findall("<style>(.*?)</style>", text, re.S)
    rules = re.sub(r"/\*.*?\*/", "", style, flags=re.S)
    selectors = [s for group in re.findall(r"([^{}]+)\{", rules) for s in group.split(",")]
    assert all(s.strip().startswith(".cubie-plan") for s in selectors)


# ---- in a browser --------------------------------------------------------------------

DRIVER = """
if (!document.hasFocus()) {
  // The window may get the focus late; until then the browser holds these events back.
  for (const kind of [HTMLElement.prototype, SVGElement.prototype]) {
    const { focus, blur } = kind;
    kind.focus = function () {
      const before = document.activeElement;
      focus.call(this);
      before.dispatchEvent(new FocusEvent("blur"));
      this.dispatchEvent(new FocusEvent("focus"));
    };
    kind.blur = function () { blur.call(this); this.dispatchEvent(new FocusEvent("blur")); };
  }
}
const seen = {}, root = document.querySelector(".cubie-plan");
const get = (name) => root.querySelector(`.tile[data-name="${name}"]`);
const row = (name) => root.querySelector(`tr[data-name="${name}"]`);
const press = (key) => document.activeElement.dispatchEvent(
  new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const here = () => document.activeElement.dataset.name || document.activeElement.tagName;
const details = () => root.querySelector(".details").textContent;
const stops = () => [...root.querySelectorAll('.tile[tabindex="0"], tr[tabindex="0"]')]
  .map((e) => `${e.tagName} ${e.dataset.name}`);
const line = (e) => getComputedStyle(e.querySelector(".line")).strokeWidth;

seen.ground = getComputedStyle(root).backgroundColor;
seen.width = [root.scrollWidth, innerWidth];
seen.stops = stops();
seen.hint = details();
get("loop.late").focus();
seen.focused = [here(), line(get("loop.late")), row("loop.late").className, details()];
press("ArrowRight"); seen.right = here();
press("Home"); seen.home = here();
press("End"); seen.end = here();
press("Enter"); seen.entered = `${document.activeElement.tagName} ${here()}`;
press("ArrowUp"); seen.up = here();
press("Escape"); seen.escaped = here();
get("loop.count").dispatchEvent(new MouseEvent("mouseenter"));
seen.hovered = details();
get("loop.count").dispatchEvent(new MouseEvent("mouseleave"));
seen.left = details();
const part = root.querySelector("#part"), words = root.querySelector("#words");
seen.parts = [...part.options].map((o) => o.textContent);
part.value = "loop.step"; part.dispatchEvent(new Event("change"));
const shown = [...root.querySelectorAll("tr[data-name]")].filter((r) => !r.hidden);
seen.shown = shown.map((r) => r.dataset.name);
seen.dimmed = [...root.querySelectorAll(".tile.off")].map((e) => e.dataset.name).sort();
seen.count = root.querySelector("#count").textContent;
words.value = "RHS"; words.dispatchEvent(new Event("input"));
seen.both = root.querySelector("#count").textContent;
seen.stopsLeft = stops();
document.body.dataset.seen = JSON.stringify(seen);
"""


def browse(tmp_path, text: str, *, dark: bool) -> dict:
    """Open a page, let `DRIVER` use it, and return what that saw."""
    digest = base64.b64encode(hashlib.sha256(DRIVER.encode()).digest()).decode()
    driven = text.replace("script-src ", f"script-src 'sha256-{digest}' ", 1)
    driven = driven.replace("</body>", f"<script>{DRIVER}</script></body>")
    page = tmp_path / "page.html"
    page.write_text(driven, encoding="utf-8")
    assert BROWSER is not None, f"{NEEDED} is set, and there is no Chromium"
    done = subprocess.run(
        [
            *(BROWSER, "--headless", "--no-sandbox", "--disable-gpu", "--window-size=1280,1000"),
            f"--user-data-dir={tmp_path / 'profile'}",
            f"--blink-settings=preferredColorScheme={0 if dark else 1}",
            *("--dump-dom", page.as_uri()),
        ],
        capture_output=True,
        text=True,
        timeout=120,
    )
    elements = Elements(done.stdout)
    (body,) = elements.named("body")
    assert body.get("data-seen"), f"{done.stderr}\n{done.stdout[-2000:]}"
    return json.loads(str(body["data-seen"]))


@in_a_browser
def test_page_works_by_keyboard_and_pointer(tmp_path):
    """Tab stops once per map and table; arrows, Enter, hovering and the filters do the rest."""
    seen = browse(tmp_path, html(PLAN, name=HOSTILE), dark=False)
    assert seen["ground"] == "rgb(255, 255, 255)"
    assert seen["width"][0] <= seen["width"][1]
    stops = ["g loop.state", "g loop.step.cache", "g loop.count", "TR loop.state"]
    assert seen["stops"] == stops
    name, width, row, told = seen["focused"]
    assert (name, width, row) == ("loop.late", "4px", "on")
    assert "bytes 24" in told
    assert "lifetime 0-1 4-5" in told
    assert (seen["right"], seen["home"], seen["end"]) == (
        "loop.step.part",
        "loop.state",
        "loop.step.part",
    )
    assert (seen["entered"], seen["up"]) == ("TR loop.step.part", "loop.step.rhs")
    assert seen["escaped"] == "BODY"
    assert "bytes 8" in seen["hovered"]
    assert seen["left"] == seen["hint"]
    assert seen["parts"] == ["all", "loop", "loop.step"]
    assert seen["shown"] == ["loop.step.rhs", "loop.step.part", "loop.step.cache"]
    assert seen["dimmed"] == ["loop.count", "loop.late", "loop.state"]
    assert seen["count"] == "3 of 6 buffers"
    assert seen["both"] == "1 of 6 buffers"
    assert seen["stopsLeft"] == ["g loop.step.rhs", "TR loop.step.rhs"]


@in_a_browser
def test_page_follows_the_system_into_the_dark(tmp_path):
    """Where the system prefers dark pages the ground is dark."""
    assert browse(tmp_path, html(PLAN), dark=True)["ground"] == "rgb(21, 23, 27)"
