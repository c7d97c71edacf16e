//! Arbitrary bytes as packets, under arbitrary caps, into every container: the process survives, the recording
//! ends, and the result is a file that every demuxer can read.

mod common;

use common::app::{App, init};
use common::settings::long;
use gst::prelude::*;
use proptest::{prelude::*, test_runner::RngSeed};
use std::path::Path;
use std::process::Command;

/// Until frames are inspected, a recording may start with a frame that upstream wrongly flags as a keyframe; if it
/// starts with an `O`, ffmpeg mistakes it for one of the headers of VP8 in Ogg.
const INTER_FRAMES_MAY_BEGIN_A_RECORDING: bool = true;

/// Encoded input, under names that upstream may use.
const STREAMS: [&str; 17] = [
    "video/x-vp8,width=64,height=48",
    "video/x-vp8,width=64,height=48,framerate=30/1",
    "video/x-vp9,width=64,height=48",
    "video/x-vp9,width=64,height=48,framerate=30/1,profile=(string)0,chroma-format=(string)4:2:0",
    "video/x-av1,stream-format=obu-stream,alignment=tu,width=64,height=48",
    "video/x-h264,stream-format=byte-stream,alignment=au",
    "video/x-h264,stream-format=avc,alignment=au,width=64,height=48,codec_data=(buffer)0142c01effe1000967",
    "video/x-h265,stream-format=byte-stream,alignment=au",
    "video/x-h265,stream-format=hvc1,alignment=au,width=64,height=48,codec_data=(buffer)01",
    "video/x-theora",
    "audio/x-opus",
    "audio/x-opus,channel-mapping-family=0,rate=48000,channels=2",
    "audio/x-vorbis",
    "audio/mpeg,mpegversion=4,stream-format=raw,rate=48000,channels=2,codec_data=(buffer)1190",
    "audio/mpeg,mpegversion=4,stream-format=adts",
    "audio/mpeg,mpegversion=1,layer=3",
    "audio/x-flac",
];

/// Fields that muxers have trusted without validation, and values that they have to reject.
const FIELDS: [&str; 27] = [
    "",
    "",
    "pixel-aspect-ratio=0/1",
    "pixel-aspect-ratio=2147483647/1",
    "framerate=0/1",
    "framerate=1/1000",
    "framerate=1073741824/1",
    "framerate=-30/1",
    "colorimetry=bt709",
    "colorimetry=1:4:999:-5",
    "chroma-format=(string)4:2:0",
    "chroma-format=(string)4:2:0,chroma-site=(int)1",
    "bit-depth-luma=(uint)8",
    "profile=(string)2",
    "codec_data=(string)text",
    "codec_data=(buffer)00",
    "streamheader=(string)text",
    "streamheader=(buffer)<>",
    "streamheader=(buffer)<4f707573>",
    "streamheader=(string)<text>",
    "width=0,height=0",
    "rate=0,channels=0",
    "rate=48000,channels=255",
    "channel-mapping-family=1,stream-count=0,coupled-count=9",
    "mastering-display-info=(string)1:2:3",
    "multiview-mode=(string)frame-by-frame",
    "interlace-mode=(string)interleaved",
];

const CONTAINERS: [&str; 8] = [
    "video/webm",
    "audio/x-matroska",
    "video/x-matroska",
    "video/mp4",
    "video/ogg",
    "audio/ogg",
    "audio/flac",
    "audio/mpeg",
];

/// How packets of some codecs start, so that not all of them are dropped immediately.
const BEGINNINGS: [&[u8]; 9] = [
    b"",
    // A keyframe of VP8, of VP9.
    &[0x10, 0, 0, 0x9d, 1, 0x2a, 64, 0, 48, 0],
    &[0x82, 0x49, 0x83, 0x42, 0, 3, 0xf0, 2, 0xf6],
    // Parameter sets of H.264, and a frame.
    &[
        0, 0, 0, 1, 0x67, 0x42, 0xc0, 0x1e, 0xd9, 1, 0x41, 0xfb, 1, 0x10,
    ],
    &[0, 0, 0, 1, 0x68, 0xce, 0x3c, 0x80, 0, 0, 0, 1, 0x65],
    // Structures of containers.
    b"OggS\0\x02",
    &[0x1a, 0x45, 0xdf, 0xa3],
    b"\0\0\0\x10moof",
    // A frame of MP3.
    &[0xff, 0xfb, 0x90, 0x64],
];

#[derive(Clone, Debug)]
struct Packet {
    beginning: usize,
    bytes: Vec<u8>,
    flags: u8,
    /// Number of the fields that are added to the caps here, if the caps change.
    caps: Option<usize>,
}

impl Packet {
    fn bytes_of_frame(&self) -> Vec<u8> {
        [BEGINNINGS[self.beginning], &self.bytes].concat()
    }
}

fn packet() -> impl Strategy<Value = Packet> {
    (
        0..BEGINNINGS.len(),
        prop::collection::vec(any::<u8>(), 0..120),
        any::<u8>(),
        prop::option::weighted(0.1, 0..FIELDS.len()),
    )
        .prop_map(|(beginning, bytes, flags, caps)| Packet {
            beginning,
            bytes,
            flags,
            caps,
        })
}

fn caps(stream: &str, fields: &str) -> Option<gst::Caps> {
    let caps: gst::Caps = stream.parse().expect(stream);
    if fields.is_empty() {
        return Some(caps);
    }
    let name = caps.structure(0)?.name().to_string();
    let more: gst::Caps = format!("{name},{fields}").parse().expect(fields);
    let mut merged = caps.structure(0)?.to_owned();
    for (field, value) in more.structure(0)?.iter() {
        merged.set_value(field, value.clone());
    }
    Some(std::iter::once(merged).collect())
}

/// Writes down the case, in case of a crash.
fn note(case: &str) {
    let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("any_input.case");
    std::fs::write(path, case).expect("the case is noted");
}

fn buffer(number: u64, packet: &Packet) -> gst::Buffer {
    let mut buffer = gst::Buffer::from_mut_slice(packet.bytes_of_frame());
    let fields = buffer.get_mut().unwrap();
    let length = gst::ClockTime::from_mseconds(20);
    if packet.flags & 1 == 0 {
        fields.set_pts(number * length);
    }
    if packet.flags & 2 == 0 {
        fields.set_duration(length);
    }
    if packet.flags & 12 == 12 {
        fields.set_flags(gst::BufferFlags::DELTA_UNIT);
    }
    if packet.flags & 48 == 48 {
        fields.set_flags(gst::BufferFlags::HEADER);
    }
    if packet.flags & 64 == 64 {
        gst_audio::AudioClippingMeta::add(fields, gst::ClockTime::ZERO, length / 4);
    }
    buffer
}

/// Records the packets and returns the errors.
fn record(path: &Path, mime: &str, stream: &str, fields: &str, packets: &[Packet]) -> Vec<String> {
    let app = App::new(mime, path);
    let video = stream.starts_with("video");
    let pad = app.pad(if video { "video_%u" } else { "audio_%u" });
    let source = gst::Pad::builder(gst::PadDirection::Src).build();
    source.set_active(true).unwrap();
    source.link(&pad).unwrap();
    app.set_state(gst::State::Playing);
    source.push_event(gst::event::StreamStart::new("any"));
    if let Some(caps) = caps(stream, fields) {
        source.push_event(gst::event::Caps::new(&caps));
    }
    let segment = gst::FormattedSegment::<gst::ClockTime>::new();
    source.push_event(gst::event::Segment::new(&segment));
    if let Some(error) = app
        .recorder
        .emit_by_name::<Option<glib::Error>>("start", &[])
    {
        return vec![error.message().to_owned()];
    }
    for (number, packet) in (0u64..).zip(packets) {
        if let Some(caps) = packet.caps.and_then(|fields| caps(stream, FIELDS[fields])) {
            source.push_event(gst::event::Caps::new(&caps));
        }
        let _ = source.push(buffer(number, packet));
    }
    source.push_event(gst::event::Eos::new());
    app.wait_for("stop", 1);
    let events = app.events();
    let errors = events.iter().filter(|event| event.name == "error");
    errors
        .map(|event| {
            let error = event.fields.get::<glib::Error>("error").unwrap();
            error.message().to_owned()
        })
        .collect()
}

/// GStreamer's demuxer for a container.
fn demuxer(mime: &str) -> Option<&'static str> {
    match mime.split_once('/')?.1 {
        "webm" | "x-matroska" => Some("matroskademux"),
        "mp4" => Some("qtdemux"),
        "ogg" => Some("oggdemux"),
        _ => None,
    }
}

fn is_read_by(program: &str, arguments: &[&str], path: &Path) -> Result<(), String> {
    let output = Command::new("timeout")
        .args(["30", program])
        .args(arguments)
        .arg(path)
        .env_remove("G_DEBUG")
        .output()
        .map_err(|error| error.to_string())?;
    if output.status.success() {
        Ok(())
    } else {
        Err(format!(
            "{program}: {} {}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr),
            String::from_utf8_lossy(&output.stdout)
        ))
    }
}

/// Whether GStreamer's demuxer reaches the end of the file.
fn is_demuxed(path: &Path, demuxer: &str) -> Result<(), String> {
    let line = format!("filesrc name=file ! {demuxer} name=demux");
    let pipeline = gst::parse::launch(&line).map_err(|error| error.to_string())?;
    let pipeline = pipeline.downcast::<gst::Pipeline>().unwrap();
    let element = |name| pipeline.by_name(name).unwrap();
    element("file").set_property("location", path.to_str().unwrap());
    let weak = pipeline.downgrade();
    element("demux").connect_pad_added(move |_, pad| {
        let Some(pipeline) = weak.upgrade() else {
            return;
        };
        let sink = gst::ElementFactory::make("fakesink");
        let sink = sink.property("sync", false).property("async", false);
        let sink = sink.build().unwrap();
        pipeline.add(&sink).unwrap();
        sink.sync_state_with_parent().unwrap();
        pad.link(&sink.static_pad("sink").unwrap()).unwrap();
    });
    let bus = pipeline.bus().unwrap();
    let _ = pipeline.set_state(gst::State::Playing);
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let end = bus.timed_pop_filtered(gst::ClockTime::from_seconds(20), &kinds);
    let _ = pipeline.set_state(gst::State::Null);
    match end.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => Ok(()),
        Some(gst::MessageView::Error(error)) => {
            Err(format!("{demuxer}: {} {:?}", error.error(), error.debug()))
        }
        _ => Err(format!("{demuxer} does not reach EOS")),
    }
}

fn judge(path: &Path, mime: &str) -> Result<(), String> {
    // An empty recording is an empty file.
    if std::fs::metadata(path).map_or(0, |file| file.len()) == 0 {
        return Ok(());
    }
    is_read_by("ffprobe", &["-v", "error", "-show_packets"], path)?;
    if mime.contains("webm") || mime.contains("matroska") {
        is_read_by("mkvinfo", &["--ui-language", "en_US", "-a"], path)?;
    }
    demuxer(mime).map_or(Ok(()), |demuxer| is_demuxed(path, demuxer))
}

/// Whether an error names the track, and what the recorder could not do with it.
fn is_honest(error: &str) -> bool {
    !error.contains("not-negotiated") && !error.contains("Internal data stream error")
}

fn case(mime: &str, stream: &str, fields: &str, packets: &[Packet]) -> Result<(), TestCaseError> {
    init();
    note(&format!("{mime} {stream} {fields} {packets:?}"));
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("any");
    let errors = record(&path, mime, stream, fields, packets);
    let dishonest = errors.iter().find(|error| !is_honest(error));
    prop_assert!(dishonest.is_none(), "{dishonest:?}");
    let inter = stream.starts_with("video/x-vp8")
        && mime == "video/ogg"
        && packets
            .iter()
            .any(|packet| packet.bytes_of_frame().starts_with(b"O"));
    if inter && INTER_FRAMES_MAY_BEGIN_A_RECORDING {
        return Ok(());
    }
    judge(&path, mime).map_err(|error| TestCaseError::fail(format!("{error}; errors: {errors:?}")))
}

fn cases() -> ProptestConfig {
    ProptestConfig {
        cases: if long() { 1_000 } else { 40 },
        // The same cases in every run of the suite; --long searches for new ones.
        rng_seed: if long() {
            RngSeed::Random
        } else {
            RngSeed::Fixed(0)
        },
        failure_persistence: None,
        max_shrink_iters: 60,
        ..Default::default()
    }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn arbitrary_packets_make_a_readable_file(
        mime in prop::sample::select(&CONTAINERS[..]),
        stream in prop::sample::select(&STREAMS[..]),
        fields in prop::sample::select(&FIELDS[..]),
        packets in prop::collection::vec(packet(), 1..30),
    ) {
        case(mime, stream, fields, &packets)?;
    }
}

/// Media continues to arrive after caps from which no header can be made.
#[test]
fn refused_caps_end_the_recording_and_nothing_else() {
    let packet = |byte: u8| Packet {
        beginning: 0,
        bytes: vec![byte; 40],
        flags: 0,
        caps: None,
    };
    let packets: Vec<_> = (0..5).map(packet).collect();
    let (stream, fields) = ("audio/x-opus", "rate=48000,channels=255");
    for mime in ["video/webm", "audio/x-matroska", "video/mp4", "audio/ogg"] {
        case(mime, stream, fields, &packets).unwrap();
    }
}
