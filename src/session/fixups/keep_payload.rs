//! Keeps the payload of copied frames unmodified.
//!
//! Since 1.26, h264parse inserts the parameter sets from the caps before the first keyframe even if it
//! does not convert. Here the parser is only meant to complete the caps.

use crate::session::{probe::probe, timing::lock};
use gst::prelude::*;
use std::sync::{Arc, Mutex};

/// Restores the original payload of frames that leave `parser`, as long as its input and output formats are the same.
pub fn keep(parser: &gst::Element) {
    let (Some(sink), Some(src)) = (parser.static_pad("sink"), parser.static_pad("src")) else {
        return;
    };
    // The parser pushes a complete frame from within the chain function that received it.
    let newest = Arc::<Mutex<Option<gst::Buffer>>>::default();
    let came = newest.clone();
    probe(&sink, gst::PadProbeType::BUFFER, move |_, info| {
        *lock(&came) = info.buffer().cloned();
        gst::PadProbeReturn::Ok
    });
    let input = sink.downgrade();
    probe(&src, gst::PadProbeType::BUFFER, move |src, info| {
        let came = lock(&newest).take();
        if let (Some(came), Some(sink), Some(buffer)) = (came, input.upgrade(), info.buffer_mut())
            && came.size() != buffer.size()
            && came.pts() == buffer.pts()
            && is_same_form(&sink, src)
        {
            let fields = buffer.make_mut();
            fields.remove_all_memory();
            for memory in came.iter_memories_owned() {
                fields.append_memory(memory);
            }
        }
        gst::PadProbeReturn::Ok
    });
}

/// Whether the parser converts nothing and the parameter sets in the caps are unchanged; new ones may belong in band.
fn is_same_form(sink: &gst::Pad, src: &gst::Pad) -> bool {
    let (Some(input), Some(output)) = (sink.current_caps(), src.current_caps()) else {
        return false;
    };
    let (Some(input), Some(output)) = (input.structure(0), output.structure(0)) else {
        return false;
    };
    let same = |name| {
        let field = |structure: &gst::StructureRef| structure.get::<String>(name).ok();
        field(input).is_some() && field(input) == field(output)
    };
    same("stream-format") && same("alignment") && have_same_sets(input, output)
}

/// Whether two caps have the same parameter sets.
fn have_same_sets(one: &gst::StructureRef, other: &gst::StructureRef) -> bool {
    let header = |structure: &gst::StructureRef| {
        let header = structure.get::<gst::Buffer>("codec_data").ok()?;
        let bytes = header.map_readable().ok()?;
        Some(bytes.to_vec())
    };
    let (Some(one), Some(other)) = (header(one), header(other)) else {
        return false;
    };
    // The fields after the parameter sets are optional (ISO/IEC 14496-15, section 5.3.3.1).
    one.starts_with(&other) || other.starts_with(&one)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn caps(header: &[u8]) -> gst::Structure {
        gst::Structure::builder("video/x-h264")
            .field("codec_data", gst::Buffer::from_slice(header.to_vec()))
            .build()
    }

    #[test]
    fn parameter_sets_are_compared_without_trailing_bytes() {
        gst::init().unwrap();
        let same = |one: &[u8], other: &[u8]| have_same_sets(&caps(one), &caps(other));
        assert!(same(&[1, 100, 0, 13], &[1, 100, 0, 13, 0xfd]));
        assert!(same(&[1, 100, 0, 13, 0xfd], &[1, 100, 0, 13]));
        assert!(!same(&[1, 100, 0, 13], &[1, 100, 0, 14]));
        let none = gst::Structure::new_empty("video/x-h264");
        assert!(!have_same_sets(&none, &none));
    }
}
