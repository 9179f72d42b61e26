"""Run by the system's Python: frames, a flush, frames of another size; says what came out as JSON.

gst_events.py BUNDLE
"""

import json
import sys

import gi

gi.require_version("Gst", "1.0")
from gi.repository import Gst  # noqa: E402

Gst.init(None)
CAPS = "video/x-raw,format=RGB,width={},height={},framerate=25/1"
pipeline = Gst.parse_launch(
    f"appsrc name=in format=time is-live=false caps={CAPS.format(64, 48)} ! edgeflow name=e bundle={sys.argv[1]} threads=1 "
    "! appsink name=out sync=false max-buffers=100"
)
source, sink = pipeline.get_by_name("in"), pipeline.get_by_name("out")


def push(number, shade, width, height):
    buffer = Gst.Buffer.new_wrapped(bytes([shade]) * (width * height * 3))
    buffer.pts, buffer.duration = number * 40_000_000, 40_000_000
    source.emit("push-buffer", buffer)


def pull(count):
    found = []
    for _ in range(count):
        sample = sink.emit("try-pull-sample", 10 * Gst.SECOND)
        if sample is None:
            break
        buffer, caps = sample.get_buffer(), sample.get_caps().get_structure(0)
        _, data = buffer.map(Gst.MapFlags.READ)
        found.append([buffer.pts // 1000, buffer.duration // 1000, caps.get_value("width"), data.data[0]])
        buffer.unmap(data)
    return found


pipeline.set_state(Gst.State.PLAYING)
for number in range(3):
    push(number, 50 + 10 * number, 64, 48)
said = {"before": pull(4)}
element = pipeline.get_by_name("e")
pad = element.get_static_pad("sink")
pad.send_event(Gst.Event.new_flush_start())
pad.send_event(Gst.Event.new_flush_stop(True))
segment = Gst.Segment()
segment.init(Gst.Format.TIME)
pad.send_event(Gst.Event.new_segment(segment))
for number in (100, 101):
    push(number, 60 + number - 100, 64, 48)
said["after the flush"] = pull(2)
query = Gst.Query.new_latency()
element.get_static_pad("src").query(query)
said["latency"] = query.parse_latency()[1] // 1000
source.set_property("caps", Gst.Caps.from_string(CAPS.format(32, 40)))
for number in (102, 103):
    push(number, 90, 32, 40)
source.emit("end-of-stream")
said["of another size"] = pull(20)
said["ended"] = sink.get_property("eos")
pipeline.set_state(Gst.State.NULL)
print(json.dumps(said))
