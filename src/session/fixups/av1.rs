//! Adds the AV1 configuration record to the caps: muxers expect it there, and av1parse does not provide it.

use crate::formats::{av1_record, with_av1_record};
use crate::session::probe::{on_caps, probe};
use gst::prelude::*;
use std::sync::{Arc, OnceLock};

/// Adds the record to the caps that leave `parser`. By then the first frame, which contains it, has arrived.
pub fn tell_by_caps(parser: &gst::Element) {
    let (Some(sink), Some(src)) = (parser.static_pad("sink"), parser.static_pad("src")) else {
        return;
    };
    let record_known = Arc::new(OnceLock::new());
    let known = record_known.clone();
    probe(&sink, gst::PadProbeType::BUFFER, move |_, info| {
        let frame = info.buffer().and_then(|buffer| buffer.map_readable().ok());
        let Some(record) = frame.and_then(|frame| av1_record(&frame)) else {
            return gst::PadProbeReturn::Ok;
        };
        let _ = record_known.set(record);
        gst::PadProbeReturn::Remove
    });
    on_caps(&src, move |caps| with_av1_record(caps, known.get()?));
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::sync::Mutex;

    /// Temporal units without a sequence header, and with one.
    const FRAMES: [&[u8]; 2] = [
        &[0x12, 0, 0x32, 3, 1, 2, 3],
        &[
            0x12, 0, 0x0a, 11, 0, 0, 0, 4, 0x3c, 0xff, 0xbc, 0xda, 0xf9, 0, 0x40,
        ],
    ];

    #[test]
    fn the_record_is_that_of_the_first_frame_with_a_sequence_header() {
        gst::init().unwrap();
        let parser = gst::ElementFactory::make("identity").build().unwrap();
        tell_by_caps(&parser);
        let feed = gst::Pad::builder(gst::PadDirection::Src).build();
        let sent = Arc::<Mutex<Vec<bool>>>::default();
        let log = sent.clone();
        let template = gst::PadTemplate::new(
            "sink",
            gst::PadDirection::Sink,
            gst::PadPresence::Always,
            &gst::Caps::new_any(),
        );
        let sink = gst::Pad::builder_from_template(&template.unwrap())
            .chain_function(|_, _, _| Ok(gst::FlowSuccess::Ok))
            .event_function(move |_, _, event| {
                if let gst::EventView::Caps(caps) = event.view() {
                    let fields = caps.caps().structure(0);
                    let has_record = fields.is_some_and(|fields| fields.has_field("codec_data"));
                    log.lock().unwrap().push(has_record);
                }
                true
            })
            .build();
        feed.link(&parser.static_pad("sink").unwrap()).unwrap();
        parser.static_pad("src").unwrap().link(&sink).unwrap();
        sink.set_active(true).unwrap();
        parser.set_state(gst::State::Playing).unwrap();
        feed.set_active(true).unwrap();
        feed.push_event(gst::event::StreamStart::new("av1"));
        let segment = gst::FormattedSegment::<gst::ClockTime>::new();
        for (width, bytes) in (64i32..).zip(FRAMES) {
            let caps = gst::Caps::builder("video/x-av1").field("width", width);
            feed.push_event(gst::event::Caps::new(&caps.build()));
            feed.push_event(gst::event::Segment::new(&segment));
            feed.push(gst::Buffer::from_slice(bytes)).unwrap();
        }
        let caps = gst::Caps::builder("video/x-av1").field("width", 99i32);
        feed.push_event(gst::event::Caps::new(&caps.build()));
        parser.set_state(gst::State::Null).unwrap();
        assert_eq!(*sent.lock().unwrap(), [false, false, true]);
    }
}
