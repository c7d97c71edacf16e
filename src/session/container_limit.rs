//! Containers with a size limit: the recording ends while its file is still valid.
//!
//! Excess media never reaches the muxer, so the header matches the content.

use super::probe::{leave_out, probe};
use std::sync::atomic::{AtomicU64, Ordering};

/// Lets up to `most` bytes of media pass this pad of the muxer, in whole buffers, and nothing after that. `reached`
/// is called once, when the limit is reached.
pub fn watch(pad: &gst::Pad, most: u64, reached: impl Fn() + Send + Sync + 'static) {
    let passed = AtomicU64::new(0);
    probe(pad, gst::PadProbeType::BUFFER, move |_, info| {
        let Some(size) = info.buffer().map(|buffer| buffer.size() as u64) else {
            return gst::PadProbeReturn::Ok;
        };
        // Only one thread runs this probe.
        let before = passed.load(Ordering::Relaxed);
        let after = before.saturating_add(size);
        if after <= most {
            passed.store(after, Ordering::Relaxed);
            return gst::PadProbeReturn::Ok;
        }
        passed.store(u64::MAX, Ordering::Relaxed);
        if before != u64::MAX {
            reached();
        }
        leave_out(info)
    });
}

/// The limit in force. Tests of this crate may lower it.
#[cfg(not(test))]
pub fn in_force(most: Option<u64>) -> Option<u64> {
    most
}

#[cfg(test)]
pub use lowered::{in_force, lower};

#[cfg(test)]
mod lowered {
    use super::*;

    static LOWERED: AtomicU64 = AtomicU64::new(u64::MAX);

    /// Lowers the limit of containers that have one.
    pub fn lower(most: u64) {
        LOWERED.store(most, Ordering::SeqCst);
    }

    pub fn in_force(most: Option<u64>) -> Option<u64> {
        most.map(|most| most.min(LOWERED.load(Ordering::SeqCst)))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use gst::prelude::*;
    use std::{
        sync::{Arc, Mutex},
        time::{Duration, Instant},
    };

    type Seen = Arc<Mutex<Vec<String>>>;

    /// Records audio into this file until the recording ends by itself. Returns the events. Full speed would be too fast
    /// for a limit this low: 4 GiB take seconds at least, in which the next part is prepared.
    fn record(path: &std::path::Path, buffers: i32) -> Vec<String> {
        let line = format!(
            "audiotestsrc num-buffers={buffers} samplesperbuffer=480 \
             ! audio/x-raw,format=S16LE,rate=48000,channels=2 ! identity sleep-time=1000 \
             ! mediarecorder name=rec autostart=true mime-type=audio/wav"
        );
        let pipeline = gst::parse::launch(&line).unwrap();
        let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
        let recorder = pipeline.by_name("rec").unwrap();
        recorder.set_property("location", path.to_str().unwrap());
        let seen = Seen::default();
        for name in ["on-start", "on-error", "on-data-available", "on-stop"] {
            let seen = seen.clone();
            recorder.connect(name, false, move |arguments| {
                let error = arguments
                    .get(1)
                    .and_then(|error| error.get::<glib::Error>().ok());
                let what = error.map_or(name.to_owned(), |error| format!("{name} {error}"));
                seen.lock().unwrap().push(what);
                None
            });
        }
        pipeline.set_state(gst::State::Playing).unwrap();
        let end = Instant::now() + Duration::from_secs(30);
        while !seen.lock().unwrap().contains(&"on-stop".to_owned()) {
            assert!(Instant::now() < end, "{:?}", seen.lock().unwrap());
            std::thread::sleep(Duration::from_millis(5));
        }
        pipeline.set_state(gst::State::Null).unwrap();
        seen.lock().unwrap().clone()
    }

    /// Bytes of media in the file; checks the lengths of RIFF and its chunks.
    fn media_of(path: &std::path::Path) -> u64 {
        let bytes = std::fs::read(path).unwrap();
        let number = |at: usize| u32::from_le_bytes(bytes[at..at + 4].try_into().unwrap()) as usize;
        assert_eq!((&bytes[..4], number(4)), (&b"RIFF"[..], bytes.len() - 8));
        let (mut at, mut size) = (12, 0);
        while at < bytes.len() {
            if &bytes[at..at + 4] == b"data" {
                size = number(at + 4) as u64;
            }
            at += 8 + number(at + 4);
        }
        assert_eq!(at, bytes.len());
        size
    }

    /// With a limit of 100 kB, and of 1 MB where the recording may be split.
    #[test]
    fn a_full_wav_file_is_valid_and_a_new_part_begins_if_possible() {
        const MOST: u64 = 100_000;
        crate::fault::init();
        lower(MOST);
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("full.wav");
        let seen = record(&path, -1);
        let [start, error, data, stop] = &seen[..] else {
            panic!("{seen:?}");
        };
        assert_eq!(
            [start.as_str(), data, stop],
            ["on-start", "on-data-available", "on-stop"]
        );
        assert!(
            error.starts_with("on-error") && error.contains("x-matroska"),
            "{error}"
        );
        let size = media_of(&path);
        assert!(size <= MOST && size + 4 * 480 > MOST, "{size}");

        lower(10 * MOST);
        let seen = record(&folder.path().join("part-%d.wav"), 1_300);
        lower(u64::MAX);
        let blobs = vec!["on-data-available"; 3];
        let due: Vec<_> = [vec!["on-start"], blobs, vec!["on-stop"]].concat();
        assert_eq!(seen, due);
        let sizes = [0, 1, 2].map(|n| media_of(&folder.path().join(format!("part-{n}.wav"))));
        assert_eq!(sizes.iter().sum::<u64>(), 1_300 * 480 * 4);
        assert!(sizes[0] > 9 * MOST && sizes[0] <= 10 * MOST, "{sizes:?}");
    }
}
