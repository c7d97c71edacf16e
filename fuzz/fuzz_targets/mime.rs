//! Any text as a MIME type: it is read or refused, and what was read says itself again.
#![no_main]

use gstmediarecorder::{formats, model::MimeType};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let _ = gst::init();
    if let Ok(read) = MimeType::parse(text) {
        let again = MimeType::parse(&text.to_ascii_lowercase()).map(|m| m.container);
        assert_eq!(again.ok(), Some(read.container), "case matters in {text:?}");
    } else {
        assert!(!formats::is_type_supported(text) || text.is_empty());
    }
});
