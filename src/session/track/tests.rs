//! Arbitrary sequences of timestamps, stalls, jumps, flushes and gaps, into a track without a pipeline.

use super::*;
use crate::{
    gate::Input,
    model::{queue, timeline::Timeline},
};
use proptest::prelude::*;

const MS: Ns = 1_000_000;
const SECOND: Ns = 1_000 * MS;
const PATIENCE: Ns = 2 * SECOND;
/// Size of a raw video frame in these tests.
const FRAME: usize = 32 * 24 * 3 / 2;

const CAPS: [(&str, &str); 4] = [
    (
        "raw video",
        "video/x-raw,format=I420,width=32,height=24,framerate=25/1",
    ),
    (
        "raw audio",
        "audio/x-raw,format=S16LE,rate=48000,channels=2,layout=interleaved",
    ),
    ("encoded video", "video/x-vp8,width=320,height=240"),
    (
        "encoded audio",
        "audio/x-opus,channel-mapping-family=0,channels=2,rate=48000",
    ),
];

/// What happens next on a track.
#[derive(Debug, Clone)]
enum Step {
    /// This many buffers arrive on time.
    Flow(u64),
    /// Shifts the timestamps of the following buffers.
    Leap(i64),
    /// Shifts the timestamp of one buffer.
    Outlier(i64),
    /// Nothing arrives for this long.
    Stall(Ns),
    /// This many buffers arrive at once.
    Burst(u64),
    Gap(Ns),
    Flush,
    Pause,
    Resume,
    /// The supervisor fills a gap.
    Fill,
}

fn step() -> impl Strategy<Value = Step> {
    let leap = -100_000i64..100_000;
    prop_oneof![
        6 => (1u64..60).prop_map(Step::Flow),
        1 => leap.clone().prop_map(|ms| Step::Leap(ms * MS as i64)),
        1 => prop::sample::select(vec![-600i64, 86_400, 60 * 86_400])
            .prop_map(|s| Step::Leap(s * SECOND as i64)),
        2 => leap.prop_map(|ms| Step::Outlier(ms * MS as i64)),
        1 => (0u64..40_000).prop_map(|ms| Step::Stall(ms * MS)),
        1 => (1u64..300).prop_map(Step::Burst),
        1 => (0u64..5_000).prop_map(|ms| Step::Gap(ms * MS)),
        1 => Just(Step::Flush),
        1 => Just(Step::Pause),
        1 => Just(Step::Resume),
        1 => Just(Step::Fill),
    ]
}

struct Stream {
    track: Track,
    encoded: bool,
    live: bool,
    length: Ns,
    size: usize,
    /// Running time, and the offset of the timestamps from it.
    now: Ns,
    off: i64,
    number: u64,
}

impl Stream {
    fn new(caps: &str, live: bool) -> Self {
        gst::init().unwrap();
        let caps: gst::Caps = caps.parse().unwrap();
        let video = caps.structure(0).unwrap().name().starts_with("video/");
        let encoded = !caps.structure(0).unwrap().name().ends_with("x-raw");
        let shared = TrackContext {
            clock: Arc::default(),
            timeline: Arc::new(SharedTimeline::new(Timeline::new(0, true))),
            backpressure: Arc::default(),
            queue_limit: PATIENCE,
            patience: PATIENCE,
            any_live: Arc::new(AtomicBool::new(live)),
            may_split: None,
        };
        let spec = TrackSpec {
            name: "track".into(),
            kind: if video { Kind::Video } else { Kind::Audio },
            live,
            latency: Duration::ZERO,
            origin: Origin::Pad,
        };
        let track = Track::new(&spec, &shared);
        track.set_caps(&caps).unwrap();
        let (length, size) = match (video, encoded) {
            (true, false) => (40 * MS, FRAME),
            (true, true) => (40 * MS, 2_000),
            (false, false) => (10 * MS, 480 * 4),
            (false, true) => (20 * MS, 200),
        };
        Stream {
            track,
            encoded,
            live,
            length,
            size,
            now: 0,
            off: 0,
            number: 0,
        }
    }

    /// Pushes a buffer that arrives now.
    fn push(&mut self, off: i64) {
        let running = self.now.saturating_add_signed(off);
        let mut buffer = gst::Buffer::with_size(self.size).unwrap();
        let fields = buffer.get_mut().unwrap();
        fields.set_pts(gst::ClockTime::from_nseconds(running));
        if self.encoded && !self.number.is_multiple_of(25) {
            fields.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        self.number += 1;
        let input = Input {
            buffer,
            running,
            duration: Some(self.length),
        };
        let now = self.live.then_some(self.now + self.length);
        assert_eq!(
            self.track.push(input, false, now),
            Flow::More,
            "it has ended"
        );
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Flow(buffers) => {
                for _ in 0..*buffers {
                    self.push(self.off);
                    self.now += self.length;
                }
            }
            Step::Leap(by) => self.off = self.off.saturating_add(*by),
            Step::Outlier(by) => {
                self.push(self.off.saturating_add(*by));
                self.now += self.length;
            }
            Step::Stall(length) => self.now += length,
            Step::Burst(buffers) => {
                for n in 0..*buffers {
                    let ahead = i64::try_from(n * self.length).unwrap();
                    self.push(self.off.saturating_add(ahead));
                }
            }
            Step::Gap(length) => {
                // A live gap ahead of the clock would wait for it, and there is no clock here.
                let off = if self.live { 0 } else { self.off };
                let end = self.now.saturating_add_signed(off) + length;
                if end <= self.track.arrived() + SECOND * 3_600 {
                    self.track.gap(end);
                }
                self.now += length;
            }
            Step::Flush => {
                self.track.set_flushing(true);
                self.track.begin_anew();
                self.track.lose();
                self.track.set_flushing(false);
            }
            Step::Pause => {
                self.track.timeline.write(|t| t.pause(self.cut()));
            }
            Step::Resume => {
                self.track.timeline.write(|t| t.resume(self.cut(), true));
            }
            Step::Fill if self.live => self.track.fill(self.now.saturating_sub(PATIENCE / 2)),
            Step::Fill => {}
        }
    }

    /// The running time at which a cut is made now.
    fn cut(&self) -> Ns {
        match self.live {
            // After the clock time at which the last buffer arrived.
            true => self.now + self.length,
            false => self.now.max(self.track.arrived()),
        }
    }

    /// Bytes of upstream's buffers that are held anywhere.
    fn held(&self) -> u64 {
        let inner = lock(&self.track.inner);
        inner.bytes() + (inner.stamps.waiting() * self.size) as u64
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    /// Whatever happens upstream: no track ends, none holds more than its queue may, and output is in order.
    #[test]
    fn no_upstream_sequence_ends_a_track_or_fills_memory(
        kind in prop::sample::select(CAPS.to_vec()),
        live in any::<bool>(),
        steps in prop::collection::vec(step(), 1..40),
    ) {
        let mut stream = Stream::new(kind.1, live);
        let mut filled = 0;
        for step in &steps {
            stream.take(step);
            // Nothing drains the queue, so where upstream cannot be blocked it is limited by time, plus the buffers
            // whose timestamps are undecided.
            let may_wait = (PATIENCE + queue::GRACE) * 8 / stream.length + 2_048;
            filled = stream.track.stats().filled.max(filled);
            let made_up = filled / stream.length * stream.size as u64 * 2;
            prop_assert!(
                !live || stream.held() <= may_wait * stream.size as u64 + made_up,
                "{}: {} bytes after {:?}", kind.0, stream.held(), step
            );
            prop_assert!(!stream.track.is_closed());
        }
        // All output is in timestamp order.
        let stopped = stream.cut();
        stream.track.timeline.write(|t| t.stop(stopped));
        stream.track.finish(true);
        prop_assert!(stream.track.is_closed());
        let mut inner = lock(&stream.track.inner);
                let places = inner.outlet().feed.backlog_stamps();
        prop_assert!(places.is_sorted(), "{}: {:?}", kind.0, places);
    }
}
