//! The `src` pad's output with real sinks, and with misbehaving pads.

use super::*;
use proptest::prelude::*;
use std::path::Path;
use std::sync::OnceLock;
use std::sync::mpsc;
use std::time::Instant;

const DEADLINE: Duration = Duration::from_secs(20);

/// A `src` pad as in the element.
struct Rig {
    pad: gst::Pad,
    output: Arc<OnceLock<SrcOutput>>,
    warnings: Arc<Mutex<Vec<String>>>,
}

impl Rig {
    fn new() -> Self {
        gst::init().unwrap();
        let output: Arc<OnceLock<SrcOutput>> = Arc::default();
        let warnings: Arc<Mutex<Vec<String>>> = Arc::default();
        let weak = Arc::downgrade(&output);
        let pad = gst::Pad::builder(gst::PadDirection::Src)
            .name("src")
            .activatemode_function(move |_, _, _, active| {
                let output = weak.upgrade().unwrap();
                let output = output.get().unwrap();
                if active {
                    output.activate(Some(&caps())).unwrap();
                } else {
                    output.deactivate();
                }
                Ok(())
            })
            .build();
        let log = warnings.clone();
        let new = SrcOutput::new(&pad, Box::new(move |text| log.lock().unwrap().push(text)));
        output.set(new).ok().unwrap();
        Self {
            pad,
            output,
            warnings,
        }
    }

    fn out(&self) -> &SrcOutput {
        self.output.get().unwrap()
    }

    fn up(&self) {
        self.pad.set_active(true).unwrap();
    }

    fn down(&self) {
        self.pad.set_active(false).unwrap();
    }

    fn link(&self, element: &impl IsA<gst::Element>) {
        self.pad.link(&element.static_pad("sink").unwrap()).unwrap();
    }

    fn warnings(&self) -> Vec<String> {
        self.warnings.lock().unwrap().clone()
    }

    fn backlog(&self) -> (u64, bool) {
        self.out().shared.queue().unwrap().backlog()
    }

    /// Begins a recording with two buffers. `fail` makes the second one fail.
    fn begin_and_fail(&self, fail: impl FnOnce()) {
        self.out().begin(0, &caps());
        self.out().write(0, 0, buffer(b"first"));
        assert!(self.out().drain(DEADLINE));
        fail();
        self.out().write(0, 5, buffer(b"second"));
        assert!(self.out().drain(DEADLINE));
    }

    /// Records `pieces` buffers, with a patch 3 before the end; returns the expected bytes.
    fn record(&self, pieces: usize, seed: u8) -> Vec<u8> {
        let mut model = Vec::new();
        self.out().begin(0, &caps());
        for piece in 0..pieces {
            let new = bytes(seed.wrapping_add(piece as u8), 1000);
            self.out().write(0, model.len() as u64, buffer(&new));
            model.extend(new);
        }
        self.out().write(0, 3, buffer(b"patched"));
        model[3..10].copy_from_slice(b"patched");
        self.out().end(0);
        model
    }
}

impl Drop for Rig {
    fn drop(&mut self) {
        let _ = self.pad.set_active(false);
    }
}

fn caps() -> gst::Caps {
    gst::Caps::new_empty_simple("video/webm")
}

fn bytes(seed: u8, size: usize) -> Vec<u8> {
    (0..size)
        .map(|at| seed.wrapping_mul(31) ^ (at as u8) ^ ((at >> 8) as u8))
        .collect()
}

fn buffer(bytes: &[u8]) -> gst::Buffer {
    gst::Buffer::from_slice(bytes.to_vec())
}

fn until(what: &str, done: impl Fn() -> bool) {
    let begin = Instant::now();
    while !done() {
        assert!(begin.elapsed() < DEADLINE, "never: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// A pipeline with a filesink, directly or inside a bin.
struct Files {
    pipeline: gst::Pipeline,
    sink: gst::Element,
    entry: gst::Element,
}

impl Files {
    fn new(path: &Path, boxed: bool) -> Self {
        let sink = gst::ElementFactory::make("filesink")
            .property("location", path)
            .build()
            .unwrap();
        let pipeline = gst::Pipeline::new();
        let entry = if boxed {
            let bin = gst::Bin::new();
            bin.add(&sink).unwrap();
            let pad = gst::GhostPad::with_target(&sink.static_pad("sink").unwrap()).unwrap();
            bin.add_pad(&pad).unwrap();
            bin.upcast()
        } else {
            sink.clone()
        };
        pipeline.add(&entry).unwrap();
        Self {
            pipeline,
            sink,
            entry,
        }
    }

    /// Linked to a recorder that goes to PLAYING together with it.
    fn playing_behind(rig: &Rig, path: &Path, boxed: bool) -> Self {
        let files = Self::new(path, boxed);
        rig.link(&files.entry);
        files.pipeline.set_state(gst::State::Paused).unwrap();
        rig.up();
        files.play();
        files
    }

    /// Linked in PAUSED to a running recorder.
    fn linked_late(rig: &Rig, path: &Path) -> Self {
        let files = Self::new(path, false);
        files.pipeline.set_state(gst::State::Paused).unwrap();
        rig.link(&files.entry);
        files.play();
        files
    }

    fn play(&self) {
        self.pipeline.set_state(gst::State::Playing).unwrap();
        self.prerolled();
    }

    fn prerolled(&self) {
        let (done, ..) = self.pipeline.state(gst::ClockTime::from_seconds(20));
        assert_eq!(done, Ok(gst::StateChangeSuccess::Success), "no preroll");
    }

    fn eos(&self) {
        let bus = self.pipeline.bus().unwrap();
        let message = bus
            .timed_pop_filtered(
                gst::ClockTime::from_seconds(20),
                &[gst::MessageType::Eos, gst::MessageType::Error],
            )
            .expect("EOS");
        assert_eq!(message.type_(), gst::MessageType::Eos, "{message:?}");
    }

    /// Ends the file, and starts another one at `path`.
    fn cycle(&self, path: &Path) {
        self.sink.set_state(gst::State::Null).unwrap();
        self.sink.set_property("location", path);
        self.sink.sync_state_with_parent().unwrap();
    }
}

impl Drop for Files {
    fn drop(&mut self) {
        self.pipeline.set_state(gst::State::Null).unwrap();
    }
}

/// Events and buffers seen by a bare sink pad.
#[derive(Clone, Debug, PartialEq)]
enum Seen {
    Event(gst::EventType),
    Segment(u64),
    Buffer(u64, Vec<u8>),
}

/// A sink pad that reports its input; `flow` is the return value for each buffer.
fn bare(
    seekable: bool,
    flow: impl Fn() -> Result<gst::FlowSuccess, gst::FlowError> + Send + Sync + 'static,
) -> (gst::Pad, mpsc::Receiver<Seen>) {
    gst::init().unwrap();
    let (send, seen) = mpsc::channel();
    let send_event = send.clone();
    let pad = gst::Pad::builder(gst::PadDirection::Sink)
        .name("sink")
        .chain_function(move |_, _, buffer| {
            let bytes = buffer.map_readable().unwrap().to_vec();
            assert_eq!(buffer.offset_end(), buffer.offset() + bytes.len() as u64);
            let _ = send.send(Seen::Buffer(buffer.offset(), bytes));
            flow()
        })
        .event_function(move |_, _, event| {
            let seen = match event.view() {
                gst::EventView::Segment(segment) => {
                    let segment = segment.segment();
                    let segment = segment.downcast_ref::<gst::format::Bytes>().unwrap();
                    Seen::Segment(*segment.start().unwrap())
                }
                _ => Seen::Event(event.type_()),
            };
            let _ = send_event.send(seen);
            true
        })
        .query_function(move |_, _, query| match query.view_mut() {
            gst::QueryViewMut::Seeking(query) => {
                let start = gst::format::Bytes::from_u64(0);
                query.set(seekable, start, None::<gst::format::Bytes>);
                true
            }
            _ => false,
        })
        .build();
    pad.set_active(true).unwrap();
    (pad, seen)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, failure_persistence: None, ..Default::default() })]

    /// Downstream can reconstruct the recording from any writes, spilled or not.
    #[test]
    fn downstream_has_the_model(
        writes in prop::collection::vec((any::<u16>(), any::<bool>(), 0usize..5000), 1..150),
        max_memory in 0u64..60_000,
        seekable: bool,
    ) {
        let rig = Rig::new();
        let (sink, seen) = bare(seekable, || {
            std::thread::yield_now();
            Ok(gst::FlowSuccess::Ok)
        });
        rig.pad.link(&sink).unwrap();
        rig.up();
        rig.out().set_limits(max_memory, None);
        rig.out().begin(0, &caps());
        let mut model: Vec<u8> = Vec::new();
        for (index, (at, append, size)) in writes.into_iter().enumerate() {
            let pos = if append { model.len() } else { model.len() * usize::from(at) / 65536 };
            let new = bytes(index as u8, size);
            rig.out().write(0, pos as u64, buffer(&new));
            let len = model.len();
            model.resize(len.max(pos + size), 0);
            // Non-seekable downstream keeps its bytes.
            let from = if seekable { pos } else { len.clamp(pos, pos + size) };
            model[from..pos + size].copy_from_slice(&new[from - pos..]);
        }
        rig.out().end(0);
        let (mut got, mut at) = (Vec::new(), 0);
        for seen in all(&seen) {
            match seen {
                Seen::Segment(start) => at = start as usize,
                Seen::Buffer(offset, bytes) => {
                    prop_assert_eq!(offset, at as u64);
                    got.resize(got.len().max(at + bytes.len()), 0);
                    got[at..at + bytes.len()].copy_from_slice(&bytes);
                    at += bytes.len();
                }
                Seen::Event(_) => {}
            }
        }
        prop_assert_eq!(got, model);
        prop_assert_eq!(rig.warnings(), [""; 0]);
        prop_assert!(rig.out().drain(DEADLINE));
    }
}

/// Everything up to and including EOS.
fn all(seen: &mpsc::Receiver<Seen>) -> Vec<Seen> {
    let mut all = Vec::new();
    loop {
        let next = seen.recv_timeout(DEADLINE).expect("EOS");
        all.push(next.clone());
        if next == Seen::Event(gst::EventType::Eos) {
            return all;
        }
    }
}

#[test]
fn filesink_gets_the_patched_bytes() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let rig = Rig::new();
    let files = Files::new(&path, false);
    rig.link(&files.entry);
    files.pipeline.set_state(gst::State::Paused).unwrap();
    rig.up();
    files.prerolled();
    assert!(rig.out().seekable());
    files.play();

    let mut model = bytes(0, 50);
    rig.out().begin(0, &caps());
    rig.out().write(0, 0, buffer(&model));
    for round in 1..200usize {
        let new = bytes(round as u8, 1 + round * 37 % 500);
        // Sometimes over earlier bytes, or across the end.
        let pos = match round % 5 {
            0 => model.len() / 2,
            1 => model.len() - 1,
            _ => model.len(),
        };
        rig.out().write(0, pos as u64, buffer(&new));
        model.resize(model.len().max(pos + new.len()), 0);
        model[pos..pos + new.len()].copy_from_slice(&new);
    }
    rig.out().end(0);
    files.eos();
    drop(files);
    assert_eq!(std::fs::read(&path).unwrap(), model);
    assert_eq!(rig.warnings(), [""; 0]);
}

#[test]
fn order_of_events_and_bytes() {
    use gst::EventType as E;
    for seekable in [true, false] {
        let rig = Rig::new();
        let (sink, seen) = bare(seekable, || Ok(gst::FlowSuccess::Ok));
        rig.pad.link(&sink).unwrap();
        rig.up();
        let mut all_seen = Vec::new();
        while all_seen.last() != Some(&Seen::Event(E::Gap)) {
            all_seen.push(seen.recv_timeout(DEADLINE).unwrap());
        }
        rig.out().begin(0, &caps());
        rig.out().write(0, 0, buffer(b"header"));
        rig.out().write(0, 6, buffer(b"body"));
        rig.out().write(0, 1, buffer(b"EA"));
        rig.out().write(0, 10, buffer(b"more"));
        rig.out().write(0, 12, buffer(b"RE!"));
        rig.out().end(0);
        rig.out().eos();
        all_seen.extend(all(&seen));
        let data = |at, bytes: &[u8]| Seen::Buffer(at, bytes.to_vec());
        let mut expected = vec![
            Seen::Event(E::StreamStart),
            Seen::Event(E::Caps),
            Seen::Segment(0),
            Seen::Event(E::Gap),
            Seen::Event(E::StreamStart),
            Seen::Event(E::Caps),
            Seen::Segment(0),
            data(0, b"header"),
            data(6, b"body"),
        ];
        expected.extend(if seekable {
            vec![
                Seen::Segment(1),
                data(1, b"EA"),
                Seen::Segment(10),
                data(10, b"more"),
                Seen::Segment(12),
                data(12, b"RE!"),
            ]
        } else {
            vec![data(10, b"more"), data(14, b"!")]
        });
        expected.push(Seen::Event(E::Eos));
        assert_eq!(all_seen, expected, "seekable: {seekable}");
        assert!(rig.out().drain(DEADLINE));
        assert!(seen.try_recv().is_err(), "one EOS");
        assert_eq!(rig.out().seekable(), seekable);
    }
}

#[test]
fn without_caps_the_segment_waits_for_them() {
    use gst::EventType as E;
    let rig = Rig::new();
    let (sink, seen) = bare(true, || Ok(gst::FlowSuccess::Ok));
    rig.pad.link(&sink).unwrap();
    rig.pad.set_active(true).unwrap();
    rig.out().deactivate();
    rig.out().activate(None).unwrap();
    rig.record(1, 0);
    // Two activations: the output of the first may be cut short anywhere.
    let seen = all(&seen);
    let last = seen
        .iter()
        .rposition(|s| *s == Seen::Event(E::Gap))
        .unwrap();
    assert_eq!(
        seen[last - 1..last + 4],
        [
            Seen::Event(E::StreamStart),
            Seen::Event(E::Gap),
            Seen::Event(E::StreamStart),
            Seen::Event(E::Caps),
            Seen::Segment(0)
        ]
    );
}

#[test]
fn unlinked_nothing_is_kept() {
    let rig = Rig::new();
    rig.up();
    rig.record(1000, 0);
    assert_eq!(rig.backlog(), (0, false));
    assert!(rig.out().drain(DEADLINE));
    assert!(!rig.out().seekable());
    assert_eq!(rig.warnings(), [""; 0]);
}

#[test]
fn inactive_calls_do_nothing() {
    let rig = Rig::new();
    rig.record(3, 0);
    rig.out().eos();
    assert!(rig.out().drain(DEADLINE));
}

#[test]
fn a_sink_linked_late_prerolls_and_gets_the_next_recording() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let rig = Rig::new();
    rig.up();
    rig.record(3, 9);
    assert!(rig.out().drain(DEADLINE));
    let files = Files::new(&path, false);
    files.pipeline.set_state(gst::State::Paused).unwrap();
    rig.link(&files.entry);
    files.prerolled();
    files.play();
    let model = rig.record(3, 1);
    files.eos();
    drop(files);
    assert_eq!(std::fs::read(&path).unwrap(), model);
    assert_eq!(rig.warnings(), [""; 0]);
}

#[test]
fn a_stuck_sink_blocks_nothing_else() {
    const PIECES: usize = 300;
    const PIECE: usize = 64 << 10;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let rig = Rig::new();
    let files = Files::playing_behind(&rig, &path, false);
    let sink = files.sink.static_pad("sink").unwrap();
    let block = sink
        .add_probe(
            gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
            |_, _| gst::PadProbeReturn::Ok,
        )
        .unwrap();

    rig.out().set_limits(1 << 20, Some(dir.path().into()));
    rig.out().begin(0, &caps());
    let mut model = Vec::new();
    for piece in 0..PIECES {
        let mut new = buffer(&bytes(piece as u8, PIECE));
        new.make_mut()
            .set_pts(gst::ClockTime::from_mseconds(piece as u64));
        rig.out().write(0, model.len() as u64, new);
        model.extend(bytes(piece as u8, PIECE));
        assert!(rig.backlog().0 <= 1 << 20);
    }
    rig.out().end(0);
    assert!(rig.backlog().1, "the rest is in a file");
    assert!(!rig.out().drain(Duration::from_millis(10)));
    // The file has no name.
    assert_eq!(std::fs::read_dir(dir.path()).unwrap().count(), 1);

    sink.remove_probe(block);
    files.eos();
    assert!(rig.out().drain(DEADLINE));
    drop(files);
    assert_eq!(std::fs::read(&path).unwrap(), model);
    assert_eq!(rig.warnings(), [""; 0]);
}

#[test]
fn a_backlog_that_cannot_be_kept_posts_one_warning() {
    let rig = Rig::new();
    let (enter, entered) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let left = Mutex::new(left);
    let (sink, seen) = bare(false, move || {
        let _ = enter.send(());
        let _ = left.lock().unwrap().recv();
        Ok(gst::FlowSuccess::Ok)
    });
    rig.pad.link(&sink).unwrap();
    rig.up();
    rig.out().set_limits(100, Some("/nonexistent".into()));
    rig.out().begin(0, &caps());
    rig.out().write(0, 0, buffer(b"first"));
    entered.recv_timeout(DEADLINE).unwrap();
    for piece in 0..10 {
        rig.out().write(0, 5 + piece * 1000, buffer(&[7; 1000]));
    }
    rig.out().end(0);
    drop(leave);
    all(&seen);
    let warnings = rig.warnings();
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("/nonexistent"), "{warnings:?}");
}

#[test]
fn recordings_follow_one_another_when_the_sink_is_cycled() {
    for boxed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = |n: u8| dir.path().join(n.to_string());
        let rig = Rig::new();
        let files = Files::playing_behind(&rig, &path(0), boxed);
        for n in 0..3 {
            let model = rig.record(10, n);
            files.eos();
            files.cycle(&path(n + 1));
            assert_eq!(std::fs::read(path(n)).unwrap(), model, "recording {n}");
        }
        assert_eq!(rig.warnings(), [""; 0]);
    }
}

#[test]
fn a_sink_cycled_before_the_first_recording_gets_all_events() {
    use gst::EventType as E;
    let rig = Rig::new();
    let (sink, seen) = bare(true, || Ok(gst::FlowSuccess::Ok));
    rig.pad.link(&sink).unwrap();
    rig.up();
    while seen.recv_timeout(DEADLINE).unwrap() != Seen::Event(E::Gap) {}
    sink.set_active(false).unwrap();
    sink.set_active(true).unwrap();
    rig.record(1, 0);
    let seen = all(&seen);
    assert_eq!(
        seen[..3],
        [
            Seen::Event(E::StreamStart),
            Seen::Event(E::Caps),
            Seen::Segment(0)
        ]
    );
}

#[test]
fn a_sink_that_is_not_cycled_warns_and_keeps_its_file() {
    for boxed in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let (path, other) = (dir.path().join("a"), dir.path().join("b"));
        let rig = Rig::new();
        let files = Files::playing_behind(&rig, &path, boxed);
        let model = rig.record(10, 1);
        files.eos();
        rig.record(10, 2);
        assert!(rig.out().drain(DEADLINE));
        assert_eq!(std::fs::read(&path).unwrap(), model);
        let warnings = rig.warnings();
        assert_eq!(warnings.len(), 1, "{warnings:?}");
        assert!(warnings[0].contains("EOS"), "{warnings:?}");
        // After that, the next one is output.
        files.cycle(&other);
        let model = rig.record(10, 3);
        files.eos();
        drop(files);
        assert_eq!(std::fs::read(&other).unwrap(), model);
        assert_eq!(rig.warnings().len(), 1);
    }
}

#[test]
fn a_failing_sink_posts_one_warning() {
    for err in [
        gst::FlowError::Error,
        gst::FlowError::NotNegotiated,
        gst::FlowError::NotLinked,
        gst::FlowError::Flushing,
        gst::FlowError::Eos,
    ] {
        let rig = Rig::new();
        let (sink, seen) = bare(true, move || Err(err));
        rig.pad.link(&sink).unwrap();
        rig.up();
        rig.record(500, 0);
        assert!(rig.out().drain(DEADLINE));
        rig.out().eos();
        all(&seen);
        let warnings = rig.warnings();
        assert_eq!(warnings.len(), 1, "{err}: {warnings:?}");
    }
}

#[test]
fn unlinking_midway_posts_one_warning() {
    let rig = Rig::new();
    let (sink, seen) = bare(true, || Ok(gst::FlowSuccess::Ok));
    rig.pad.link(&sink).unwrap();
    rig.up();
    rig.out().begin(0, &caps());
    rig.out().write(0, 0, buffer(b"first"));
    while !matches!(seen.recv_timeout(DEADLINE).unwrap(), Seen::Buffer(..)) {}
    rig.pad.unlink(&sink).unwrap();
    rig.out().write(0, 5, buffer(b"second"));
    rig.out().write(0, 11, buffer(b"third"));
    rig.out().end(0);
    assert!(rig.out().drain(DEADLINE));
    assert_eq!(rig.warnings().len(), 1, "{:?}", rig.warnings());
}

#[test]
fn eos_without_a_recording_goes_out_once() {
    let rig = Rig::new();
    let (sink, seen) = bare(true, || Ok(gst::FlowSuccess::Ok));
    rig.pad.link(&sink).unwrap();
    rig.up();
    rig.out().eos();
    rig.out().eos();
    all(&seen);
    assert!(rig.out().drain(DEADLINE));
    assert!(seen.try_recv().is_err());
}

#[test]
fn a_sink_linked_after_eos_gets_it() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    rig.up();
    rig.out().eos();
    assert!(rig.out().drain(DEADLINE));
    let files = Files::linked_late(&rig, &dir.path().join("a"));
    files.eos();
}

#[test]
fn a_sink_linked_between_two_recordings_gets_the_second() {
    let dir = tempfile::tempdir().unwrap();
    let path = |n: u8| dir.path().join(n.to_string());
    let rig = Rig::new();
    rig.up();
    let first = Files::linked_late(&rig, &path(0));
    let one = rig.record(3, 0);
    first.eos();
    // Relinked, it is still at EOS.
    rig.pad.unlink(&rig.pad.peer().unwrap()).unwrap();
    rig.link(&first.entry);
    rig.record(1, 1);
    assert!(rig.out().drain(DEADLINE));
    assert_eq!(rig.warnings().len(), 1, "{:?}", rig.warnings());
    rig.pad.unlink(&rig.pad.peer().unwrap()).unwrap();
    let second = Files::linked_late(&rig, &path(1));
    let two = rig.record(4, 2);
    second.eos();
    drop((first, second));
    assert_eq!(rig.warnings().len(), 1, "{:?}", rig.warnings());
    assert!(std::fs::read(path(0)).unwrap() == one);
    assert!(std::fs::read(path(1)).unwrap() == two);
}

#[test]
fn a_sink_linked_after_a_failure_gets_the_next_recording() {
    let dir = tempfile::tempdir().unwrap();
    let path = |n: u8| dir.path().join(n.to_string());
    let rig = Rig::new();
    let first = Files::playing_behind(&rig, &path(0), false);
    rig.begin_and_fail(|| rig.pad.unlink(&rig.pad.peer().unwrap()).unwrap());
    // It prerolls at once.
    let second = Files::linked_late(&rig, &path(1));
    rig.out().write(0, 11, buffer(b"third"));
    rig.out().end(0);
    assert!(rig.out().drain(DEADLINE));
    let model = rig.record(3, 1);
    second.eos();
    drop((first, second));
    assert_eq!(std::fs::read(path(0)).unwrap(), b"first");
    assert!(std::fs::read(path(1)).unwrap() == model);
    assert_eq!(rig.warnings().len(), 1, "{:?}", rig.warnings());
}

#[test]
fn a_sink_cycled_midway_gets_the_next_recording() {
    let dir = tempfile::tempdir().unwrap();
    let path = |n: u8| dir.path().join(n.to_string());
    let rig = Rig::new();
    let files = Files::playing_behind(&rig, &path(0), false);
    // While it is down, a buffer fails; later ones are not pushed into the new file.
    rig.begin_and_fail(|| {
        files.sink.set_state(gst::State::Null).unwrap();
    });
    files.sink.set_property("location", path(1));
    files.sink.sync_state_with_parent().unwrap();
    rig.out().write(0, 11, buffer(b"third"));
    rig.out().end(0);
    files.eos();
    assert_eq!(rig.warnings().len(), 1, "{:?}", rig.warnings());
    files.cycle(&path(2));
    let model = rig.record(3, 0);
    files.eos();
    drop(files);
    assert_eq!(std::fs::read(path(0)).unwrap(), b"first");
    assert_eq!(std::fs::read(path(1)).unwrap(), b"");
    assert_eq!(std::fs::read(path(2)).unwrap(), model);
}

#[test]
fn deactivation_does_not_wait_for_a_stuck_downstream() {
    let rig = Rig::new();
    let (enter, entered) = mpsc::channel();
    let (leave, left) = mpsc::channel::<()>();
    let left = Mutex::new(left);
    let (sink, _seen) = bare(true, move || {
        let _ = enter.send(());
        let _ = left.lock().unwrap().recv();
        Ok(gst::FlowSuccess::Ok)
    });
    rig.pad.link(&sink).unwrap();
    rig.up();
    rig.record(1000, 0);
    entered.recv_timeout(DEADLINE).unwrap();
    let begin = Instant::now();
    rig.down();
    assert!(begin.elapsed() < PATIENCE * 5, "{:?}", begin.elapsed());
    assert_eq!(rig.warnings(), [""; 0]);
    // The abandoned thread exits once unblocked, and releases the pad.
    let pad = rig.pad.downgrade();
    drop(leave);
    drop(rig);
    sink.set_active(false).unwrap();
    drop(sink);
    until("the thread ends", || pad.upgrade().is_none());
}

#[test]
fn deactivation_wakes_a_blocking_probe() {
    let rig = Rig::new();
    let (sink, _seen) = bare(true, || Ok(gst::FlowSuccess::Ok));
    rig.pad.link(&sink).unwrap();
    rig.up();
    let (enter, entered) = mpsc::channel();
    rig.pad.add_probe(
        gst::PadProbeType::BLOCK | gst::PadProbeType::BUFFER | gst::PadProbeType::BUFFER_LIST,
        move |_, _| {
            let _ = enter.send(());
            gst::PadProbeReturn::Ok
        },
    );
    rig.record(1000, 0);
    entered.recv_timeout(DEADLINE).unwrap();
    let begin = Instant::now();
    rig.down();
    assert!(begin.elapsed() < PATIENCE, "{:?}", begin.elapsed());
    assert_eq!(rig.warnings(), [""; 0]);
}

#[test]
fn up_and_down_again() {
    let dir = tempfile::tempdir().unwrap();
    let rig = Rig::new();
    for n in 0..5u8 {
        let path = dir.path().join(n.to_string());
        let files = Files::playing_behind(&rig, &path, false);
        let model = rig.record(10, n);
        files.eos();
        files.pipeline.set_state(gst::State::Null).unwrap();
        rig.down();
        rig.pad.unlink(&rig.pad.peer().unwrap()).unwrap();
        assert_eq!(std::fs::read(&path).unwrap(), model);
    }
    assert_eq!(rig.warnings(), [""; 0]);
}

/// The file that two overlapping recordings produce; each step has the number of its recording.
fn overlapping(steps: &[(u64, Step)]) -> (Vec<u8>, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("a");
    let rig = Rig::new();
    let files = Files::playing_behind(&rig, &path, false);
    for (number, step) in steps {
        match step {
            Step::Begin(taken) => assert_eq!(rig.out().begin(*number, &caps()), *taken),
            Step::Write(pos, text) => rig.out().write(*number, *pos, buffer(text)),
            Step::End => rig.out().end(*number),
        }
    }
    files.eos();
    assert!(rig.out().drain(DEADLINE));
    drop(files);
    (std::fs::read(&path).unwrap(), rig.warnings())
}

/// An action of a recording.
enum Step {
    /// With the expected result.
    Begin(bool),
    Write(u64, &'static [u8]),
    End,
}

#[test]
fn starting_before_the_previous_recording_is_sent_warns_and_does_not_disturb_it() {
    let (file, warnings) = overlapping(&[
        (7, Step::Begin(true)),
        (7, Step::Write(0, b"header")),
        (8, Step::Begin(false)),
        (8, Step::Write(0, b"HEADER")),
        (7, Step::Write(6, b"body")),
        (8, Step::Write(6, b"BODY")),
        (7, Step::Write(0, b"H")),
        (7, Step::End),
        (7, Step::Write(10, b"late")),
        (8, Step::Write(10, b"MORE")),
        (8, Step::End),
    ]);
    assert_eq!(file.escape_ascii().to_string(), "Headerbody");
    assert_eq!(warnings.len(), 1, "{warnings:?}");
    assert!(warnings[0].contains("being finalised"), "{warnings:?}");
}

#[test]
fn a_cut_that_ends_nothing_is_ignored() {
    let (file, warnings) = overlapping(&[
        (8, Step::End),
        (7, Step::Begin(true)),
        (7, Step::Write(0, b"header")),
        (8, Step::End),
        (7, Step::Write(6, b"body")),
        (7, Step::End),
        (7, Step::End),
    ]);
    assert_eq!(file.escape_ascii().to_string(), "headerbody");
    assert_eq!(warnings, [""; 0]);
}

#[test]
fn a_recording_dropped_while_unlinked_makes_way_for_the_next() {
    let rig = Rig::new();
    rig.up();
    assert!(!rig.out().begin(7, &caps()));
    let (sink, seen) = bare(true, || Ok(gst::FlowSuccess::Ok));
    rig.pad.link(&sink).unwrap();
    assert!(rig.out().begin(8, &caps()));
    rig.out().write(7, 0, buffer(b"unsent"));
    rig.out().end(7);
    rig.out().write(8, 0, buffer(b"sent"));
    rig.out().end(8);
    let buffers: Vec<_> = all(&seen)
        .into_iter()
        .filter(|seen| matches!(seen, Seen::Buffer(..)))
        .collect();
    assert_eq!(buffers, [Seen::Buffer(0, b"sent".to_vec())]);
    assert_eq!(rig.warnings(), [""; 0]);
}
