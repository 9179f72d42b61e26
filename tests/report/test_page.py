"""The page of a profile: whole, alone, and true to what was measured."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from edgeflow.export.sample import moving_picture
from edgeflow.ir.film import calls_of
from edgeflow.report.page import page
from edgeflow.report.pictures import colours, drawn, write
from edgeflow.runtime import open_bundle
from edgeflow.runtime.measure.profile import profile
from edgeflow.runtime.measure.realisation import WARMUP

VOID = {"meta", "img", "input", "br"}
FRAMES = [moving_picture(200, 310, time) for time in range(7)]


class Page(HTMLParser):
    """Its tags, which must match, what they refer to, and its words."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.words: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.words.append(data)


@pytest.fixture(scope="module")
def measured(tiny_bundles, tmp_path_factory):
    """A bundle with a name that is no HTML, its calls, and its profile."""
    path = tmp_path_factory.mktemp("report") / "<i>odd & named.edgeflow"
    shutil.copytree(tiny_bundles["chained"].path, path)
    bundle = open_bundle(path)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("edgeflow.runtime.device.RUNS", 3)
        report = profile(bundle, FRAMES)
    return bundle, list(calls_of(bundle.manifest.task, FRAMES))[WARMUP:], report


@pytest.fixture(scope="module")
def text(measured):
    bundle, calls, report = measured
    return page(report, bundle, "a <clip>.mp4", calls)


def data_of(text: str) -> dict:
    return json.loads(re.search(r"^const data = (.*);$", text, re.M)[1])


@pytest.mark.slow
def test_it_is_whole_and_reads_nothing_from_elsewhere(text):
    parsed = Page(text)
    assert parsed.open == []
    for tag, attributes in parsed.tags:
        for name in ("src", "href", "xlink:href", "data", "action"):
            value = attributes.get(name) or "#"
            assert value.startswith(("#", "data:")), (tag, value)
    assert not re.search(r"url\((?!#)|@import|fetch\(|XMLHttpRequest", text)
    policy = next(a["content"] for t, a in parsed.tags if a.get("http-equiv") == "Content-Security-Policy")
    assert policy.startswith("default-src 'none'")


def test_names_are_words_and_not_markup(text):
    assert "<i>odd" not in text and "&lt;i&gt;odd &amp; named.edgeflow" in text
    assert "a &lt;clip&gt;.mp4" in text


def test_the_slider_goes_through_what_frames_took(text, measured):
    _, calls, report = measured
    data = data_of(text)
    assert [frame["call"] for frame in data["frames"]] == list(range(len(calls)))
    names = [route["name"] for route in data["routes"]]
    for frame, trace in zip(data["frames"], report.calls, strict=True):
        assert frame["ms"] == pytest.approx(trace.total_ms, abs=0.01)
        assert (frame["width"], frame["height"]) == (310, 200)
        found = [(left, top, names[route]) for left, top, _, _, route, _ in frame["regions"]]
        wanted = [(r.left, r.top, " ".join(f"{n}={v}" for n, v in r.route.items())) for r in trace.regions]
        assert found == wanted
    assert max(region[5] for frame in data["frames"] for region in frame["regions"]) == 1


def test_it_says_what_was_measured(text, measured):
    _, _, report = measured
    words = " ".join(" ".join(Page(text).words).split())
    for engine in report.engines:
        assert engine.name in words
    rows = re.findall(r"<td title=", text)
    assert len(rows) == len(report.engines)
    for wanted in (report.method, report.version, report.machine["cpu"], *report.machine["instructions"]):
        assert " ".join(wanted.split()) in words
    for heading in ("Routes over time", "Frame times", "From FLOPs to time", "Engines", "Memory", "Method"):
        assert heading in words
    assert report.clip.full_latency.runs == report.clip.latency.runs == len(report.calls)


def test_the_full_static_model_stands_beside_it_and_a_page_that_loses_says_what_would_help(measured):
    bundle, calls, report = measured
    for advice in ((), ("larger <tiles>",)):
        made = page(replace(report, clip=replace(report.clip, advice=advice)), bundle, "clip.mp4", calls)
        words = " ".join(" ".join(Page(made).words).split())
        assert f"median call of the full static model: {report.clip.full}" in words
        assert ("Routing loses on this clip" in words) == bool(advice)
        assert ("larger <tiles>" in words) == bool(advice)


@pytest.mark.slow
def test_pictures_take_the_pages_colours_in_the_page_and_their_own_in_files(text, measured, tmp_path):
    _, _, report = measured
    assert "var(--ink)" in text and "#123456" not in text
    pictures = drawn(report)
    write(pictures, tmp_path / "pictures")
    files = sorted(path.name for path in (tmp_path / "pictures").iterdir())
    assert files == sorted(f"{name}.{kind}" for name in pictures for kind in ("png", "svg"))
    assert (tmp_path / "pictures" / "times.png").read_bytes().startswith(b"\x89PNG")
    assert "var(--" not in (tmp_path / "pictures" / "times.svg").read_text()


def test_more_routes_than_colours_share_the_last(measured):
    _, _, report = measured
    trace = report.calls[0]
    regions = tuple(replace(region, route={"exit": n}) for n, region in enumerate(trace.regions))
    many = replace(report, calls=(replace(trace, regions=regions),))
    palette = colours(many)
    assert len(palette) == len(trace.regions) > 8 and len(set(palette.values())) == 8
    assert "routes" in drawn(many)
