//! Verifies an ordinary MP4 against its fragmented form before the end: as parsed by mp4-atom, and as played by
//! FFmpeg and GStreamer.

use super::Verdict;
use super::atoms::{self, Recorded, Sample, Samples};
use mp4_atom::{Any, Moov, StszSamples, Trak};
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::process::Command;

fn check(holds: bool, what: impl FnOnce() -> String) -> Verdict<()> {
    if holds { Ok(()) } else { Err(what()) }
}

fn number(bytes: &[u8], at: usize, length: usize) -> u64 {
    let field = bytes[at..at + length].iter();
    field.fold(0, |value, byte| value << 8 | u64::from(*byte))
}

/// Name, start and end of each top-level box.
pub fn outermost(bytes: &[u8]) -> Vec<([u8; 4], usize, usize)> {
    let mut found = Vec::new();
    let mut at = 0;
    while at + 8 <= bytes.len() {
        let length = match number(bytes, at, 4) {
            1 => number(bytes, at + 8, 8),
            length => length,
        };
        let end = (at as u64).saturating_add(length.max(8));
        let end = usize::try_from(end).unwrap_or(usize::MAX);
        found.push((bytes[at + 4..at + 8].try_into().unwrap(), at, end));
        at = end;
    }
    found
}

/// Where the header of `mdat` is, and where the fragments end.
pub fn seams(bytes: &[u8]) -> Verdict<(usize, usize)> {
    let boxes = outermost(bytes);
    let names: Vec<_> = boxes
        .iter()
        .map(|b| String::from_utf8_lossy(&b.0))
        .collect();
    check(names == ["ftyp", "mdat", "moov"], || {
        format!("boxes {names:?}, not an ordinary file's")
    })?;
    let (mdat, moov) = (boxes[1].1, boxes[2].1);
    check(boxes[2].2 == bytes.len(), || "moov's end".to_string())?;
    Ok((mdat, moov - 8))
}

/// The fragmented file that an ordinary one was before its end.
pub fn fragmented(bytes: &[u8]) -> Verdict<Vec<u8>> {
    let (head, end) = seams(bytes)?;
    let mut before = bytes[..end].to_vec();
    before[head..head + 16].copy_from_slice(b"\0\0\0\x10free\0\0\0\0\0\0\0\0");
    Ok(before)
}

/// Writes the fragmented form to a file next to this one.
pub fn fragmented_beside(path: &Path) -> Verdict<PathBuf> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    let before = path.with_extension("fragmented");
    std::fs::write(&before, fragmented(&bytes)?).map_err(|e| e.to_string())?;
    Ok(before)
}

/// Judges that each fragment's `moof` and the header of its `mdat` are in one page of a fragmented file.
pub fn heads_in_pages(bytes: &[u8]) -> Verdict<()> {
    let boxes = outermost(bytes);
    for (name, begin, end) in boxes.iter().filter(|b| b.0 == *b"moof") {
        let pages = [*begin, end + 8 - 1].map(|at| at / 4096);
        check(pages[0] == pages[1], || {
            let name = String::from_utf8_lossy(name);
            format!("{name} of {} bytes at {begin} is in two pages", end - begin)
        })?;
    }
    Ok(())
}

/// Judges boxes, samples and edits of a whole file.
pub fn whole(path: &Path, recorded: &Recorded) -> Verdict<()> {
    let bytes = std::fs::read(path).map_err(|e| e.to_string())?;
    judge(&bytes, recorded)
}

/// Like [`whole`], for a file's bytes.
pub fn judge(bytes: &[u8], recorded: &Recorded) -> Verdict<()> {
    seams(bytes)?;
    let boxes = atoms::boxes(bytes)?;
    let [
        (_, Any::Ftyp(_)),
        (at, Any::Mdat(_)),
        (end, Any::Moov(moov)),
    ] = boxes.as_slice()
    else {
        return Err("mp4-atom: other boxes".to_string());
    };
    check(moov.mvex.is_none(), || "mp4-atom: mvex".to_string())?;
    atoms::described(moov, recorded)?;
    let before = fragmented(bytes)?;
    heads_in_pages(&before)?;
    let fragments = atoms::fragmented(&before, recorded)?;
    same_samples(moov, at + 16..*end, &fragments)?;
    let mut longest = 0;
    for trak in &moov.trak {
        let id = trak.tkhd.track_id;
        let ends = edits(trak, moov).map_err(|e| format!("mp4-atom: track {id}: {e}"))?;
        longest = longest.max(trak.tkhd.duration);
        let lasts = ends as f64 / f64::from(moov.mvhd.timescale) * 1e9;
        // Less than one audio sample.
        let late = (lasts - recorded.total).abs();
        check(late <= 1e9 / f64::from(recorded.rate), || {
            format!(
                "mp4-atom: track {id} is presented for {lasts} ns, expected {}",
                recorded.total
            )
        })?;
    }
    check(moov.mvhd.duration == longest, || {
        format!(
            "mp4-atom: mvhd has {}, expected {longest}",
            moov.mvhd.duration
        )
    })
}

/// Verifies that the sample tables describe exactly the samples of the fragments.
fn same_samples(moov: &Moov, media: Range<u64>, fragments: &Samples) -> Verdict<()> {
    for trak in &moov.trak {
        let id = trak.tkhd.track_id;
        let samples = samples(trak).map_err(|e| format!("mp4-atom: track {id}: {e}"))?;
        let before = fragments.get(&id).map_or(&[][..], Vec::as_slice);
        let differs = samples
            .iter()
            .zip(before)
            .position(|(one, other)| one != other);
        check(differs.is_none() && samples.len() == before.len(), || {
            format!(
                "mp4-atom: track {id}: {} samples, {} in fragments, that differ from {differs:?} on",
                samples.len(),
                before.len()
            )
        })?;
        let inside = |s: &Sample| media.start <= s.place.start && s.place.end <= media.end;
        check(samples.iter().all(inside), || {
            format!("mp4-atom: track {id}: samples outside of mdat")
        })?;
    }
    Ok(())
}

/// The samples in a track's tables.
fn samples(trak: &Trak) -> Verdict<Vec<Sample>> {
    let stbl = &trak.mdia.minf.stbl;
    let sizes = match &stbl.stsz.samples {
        StszSamples::Identical { count, size } => vec![*size; *count as usize],
        StszSamples::Different { sizes } => sizes.clone(),
    };
    let entries = stbl.stts.entries.iter();
    let durations: Vec<_> = entries
        .flat_map(|e| std::iter::repeat_n(e.sample_delta, e.sample_count as usize))
        .collect();
    let shifts = stbl.ctts.iter().flat_map(|ctts| &ctts.entries);
    let shifts: Vec<_> = shifts
        .flat_map(|e| std::iter::repeat_n(e.sample_offset, e.sample_count as usize))
        .collect();
    check(
        durations.len() == sizes.len() && [0, sizes.len()].contains(&shifts.len()),
        || {
            let lengths = [sizes.len(), durations.len(), shifts.len()];
            format!("sizes, durations and shifts of {lengths:?} samples")
        },
    )?;
    let chunks: Vec<u64> = match (&stbl.stco, &stbl.co64) {
        (Some(stco), None) => stco.entries.iter().map(|at| u64::from(*at)).collect(),
        (None, Some(co64)) => co64.entries.clone(),
        _ => return Err("not one list of chunks".to_string()),
    };
    let mut list: Vec<Sample> = Vec::new();
    let mut time = 0;
    for (number, mut place) in (1..).zip(chunks) {
        let mut runs = stbl.stsc.entries.iter().rev();
        let run = runs.find(|run| run.first_chunk <= number);
        for _ in 0..run.ok_or("a chunk of no run")?.samples_per_chunk {
            let n = list.len();
            let size = u64::from(*sizes.get(n).ok_or("more samples in chunks than sizes")?);
            let syncs = stbl.stss.as_ref();
            list.push(Sample {
                place: place..place + size,
                time,
                shift: shifts.get(n).copied().unwrap_or_default(),
                sync: syncs.is_none_or(|stss| stss.entries.contains(&(n as u32 + 1))),
            });
            time += u64::from(durations[n]);
            place += size;
        }
    }
    check(list.len() == sizes.len(), || {
        "samples in no chunk".to_string()
    })?;
    Ok(list)
}

/// Verifies that a track's edits are within its media; returns its edited duration, in the movie's timescale.
fn edits(trak: &Trak, moov: &Moov) -> Verdict<u64> {
    let (scale, movie) = (
        u128::from(trak.mdia.mdhd.timescale),
        u128::from(moov.mvhd.timescale),
    );
    let media = u128::from(trak.mdia.mdhd.duration);
    let list = trak.edts.as_ref().and_then(|edts| edts.elst.as_ref());
    let total = match list {
        None => (media * movie / scale) as u64,
        Some(list) => {
            for edit in &list.entries {
                let end = edit.media_time.map_or(0, |time| {
                    u128::from(time) * movie + u128::from(edit.segment_duration) * scale
                });
                check(end <= media * movie + movie, || {
                    format!("{edit:?} of a media of {media}")
                })?;
            }
            list.entries.iter().map(|edit| edit.segment_duration).sum()
        }
    };
    check(trak.tkhd.duration == total, || {
        format!("tkhd has {}, edits {total}", trak.tkhd.duration)
    })?;
    Ok(total)
}

/// Verifies that an ordinary file plays like the fragmented one: the same frames at the same times, and the same
/// audio, except for what its edits remove.
pub fn plays_alike(ordinary: &Path, fragmented: &Path) -> Verdict<()> {
    let streams = |path: &Path| super::file::codecs(path);
    let (ours, theirs) = (streams(ordinary)?, streams(fragmented)?);
    check(ours == theirs, || {
        format!("streams {ours:?}, were {theirs:?}")
    })?;
    for (stream, codec) in ours.iter().enumerate() {
        let (one, other) = (frames(ordinary, stream)?, frames(fragmented, stream)?);
        if one != other {
            check(!is_video(ordinary, stream)?, || {
                format!("stream {stream}: other frames, or at other times")
            })?;
            let (one, other) = (
                decoded(ordinary, stream, "s32le")?,
                decoded(fragmented, stream, "s32le")?,
            );
            sounds_alike(&one, &other).map_err(|e| format!("stream {stream} ({codec}): {e}"))?;
        }
    }
    Ok(())
}

fn is_video(path: &Path, stream: usize) -> Verdict<bool> {
    let probe = super::file::ffprobe(path)?;
    Ok(probe["streams"][stream]["codec_type"] == "video")
}

/// Time, size and checksum of each frame that ffmpeg decodes from a stream. Durations are ignored: for a
/// fragmented file, FFmpeg 7 reports the average for each frame.
fn frames(path: &Path, stream: usize) -> Verdict<Vec<String>> {
    // Columns: stream, dts, pts, duration, size, checksum.
    const DURATION: usize = 3;
    let listed = decoded(path, stream, "framemd5")?;
    let listed = String::from_utf8_lossy(&listed);
    let frames = listed.lines().map(|line| {
        let columns = line.split(',').map(str::trim).enumerate();
        let columns = columns.filter(|(number, _)| *number != DURATION || line.starts_with('#'));
        columns
            .map(|(_, column)| column)
            .collect::<Vec<_>>()
            .join(",")
    });
    Ok(frames.collect())
}

/// What ffmpeg decodes from a stream.
fn decoded(path: &Path, stream: usize, format: &str) -> Verdict<Vec<u8>> {
    let output = Command::new("timeout")
        .args(["120", "ffmpeg", "-nostdin", "-v", "error"])
        // Otherwise all timestamps are shifted if one stream starts before 0.
        .args(["-copyts", "-i"])
        .arg(path)
        .args(["-map", &format!("0:{stream}")])
        .args(super::file::AS_STAMPED)
        .args(["-f", format, "-"])
        .output()
        .map_err(|e| format!("ffmpeg does not run: {e}"))?;
    if output.status.success() && output.stderr.is_empty() {
        return Ok(output.stdout);
    }
    Err(format!(
        "{}: {}",
        path.display(),
        String::from_utf8_lossy(&output.stderr)
    ))
}

/// Verifies that these samples are contained in the others, with no more missing than encoder delay and padding.
fn sounds_alike(one: &[u8], other: &[u8]) -> Verdict<()> {
    // Stereo samples.
    const MOST: usize = 3_000 * 8;
    check(
        !one.is_empty() && one.len() <= other.len() && other.len() - one.len() < MOST,
        || format!("{} bytes decoded, were {}", one.len(), other.len()),
    )?;
    let found = (0..=other.len() - one.len())
        .step_by(4)
        .find(|at| other[*at..].starts_with(one));
    check(found.is_some(), || {
        "decoded otherwise than it was".to_string()
    })
}

/// What GStreamer decodes from a file: a checksum of each frame with its time, and the audio of each stream.
#[derive(Debug, Default, PartialEq, Eq)]
struct Played {
    frames: Vec<Vec<(u64, u64)>>,
    audio: Vec<Vec<u8>>,
}

/// Frames that players may lose at the end of fragments.
const MOST_CUT: usize = 3;

/// Like [`plays_alike`], with GStreamer's own demuxer.
pub fn plays_alike_in_gstreamer(ordinary: &Path, fragmented: &Path) -> Verdict<()> {
    let (one, other) = (played(ordinary)?, played(fragmented)?);
    // In fragments with reordered frames, qtdemux 1.22 drops the last one.
    let same = |one: &Vec<(u64, u64)>, other: &Vec<(u64, u64)>| {
        one.starts_with(other) && one.len() - other.len() <= MOST_CUT
    };
    let mut pairs = one.frames.iter().zip(&other.frames);
    let alike = one.frames.len() == other.frames.len();
    check(alike && pairs.all(|(one, other)| same(one, other)), || {
        let count = |played: &Played| played.frames.iter().map(Vec::len).collect::<Vec<_>>();
        format!(
            "GStreamer: other frames, or at other times: {:?}, were {:?}",
            count(&one),
            count(&other)
        )
    })?;
    check(one.audio.len() == other.audio.len(), || {
        format!("GStreamer: audio of {}", one.audio.len())
    })?;
    for (one, other) in one.audio.iter().zip(&other.audio) {
        sounds_alike(one, other).map_err(|e| format!("GStreamer: {e}"))?;
    }
    Ok(())
}

/// The number of frames that GStreamer decodes from a file.
pub fn frames_in_gstreamer(path: &Path) -> Verdict<usize> {
    Ok(played(path)?.frames.iter().map(Vec::len).sum())
}

fn played(path: &Path) -> Verdict<Played> {
    use gst::prelude::*;
    use std::hash::{DefaultHasher, Hash, Hasher};
    use std::sync::{Arc, Mutex};

    let pipeline = gst::Pipeline::new();
    let make = |factory: &str| gst::ElementFactory::make(factory).build();
    let make = |factory: &str| make(factory).map_err(|e| e.to_string());
    let (source, decoder) = (make("filesrc")?, make("decodebin")?);
    source.set_property("location", path.to_str().ok_or("path")?);
    let all = pipeline.add_many([&source, &decoder]);
    all.and_then(|()| source.link(&decoder))
        .map_err(|e| e.to_string())?;
    // avdec_h265 in 1.26 occasionally loses frames with several threads.
    let bin = decoder.downcast_ref::<gst::Bin>().ok_or("no bin")?;
    bin.connect_deep_element_added(|_, _, element| {
        if element.has_property("max-threads") {
            element.set_property_from_str("max-threads", "1");
        }
    });
    // By stream name, which is in track order.
    let streams = Arc::new(Mutex::new(Vec::new()));
    let seen = streams.clone();
    decoder.connect_pad_added(move |decoder, pad| {
        let pipeline = decoder.parent().and_downcast::<gst::Pipeline>().unwrap();
        let video = pad
            .query_caps(None)
            .structure(0)
            .is_some_and(|s| s.name().starts_with("video"));
        let queue = gst::ElementFactory::make("queue").build().unwrap();
        queue.set_property("max-size-time", 0u64);
        queue.set_property("max-size-buffers", 0u32);
        queue.set_property("max-size-bytes", 0u32);
        let sink = gst_app::AppSink::builder().sync(false).build();
        pipeline.add_many([&queue, sink.upcast_ref()]).unwrap();
        queue.link(&sink).unwrap();
        pad.link(&queue.static_pad("sink").unwrap()).unwrap();
        let name = pad.stream_id().unwrap();
        let pieces = Arc::new(Mutex::new(Vec::new()));
        seen.lock().unwrap().push((name, video, pieces.clone()));
        sink.set_callbacks(
            gst_app::AppSinkCallbacks::builder()
                .new_sample(move |sink| {
                    let sample = sink.pull_sample().map_err(|_| gst::FlowError::Eos)?;
                    let buffer = sample.buffer_owned().unwrap();
                    let segment = sample.segment().unwrap();
                    let time = segment.downcast_ref::<gst::ClockTime>().unwrap();
                    let at = time
                        .to_running_time(buffer.pts())
                        .map_or(0, |t| t.nseconds());
                    let bytes = buffer.map_readable().unwrap().to_vec();
                    pieces.lock().unwrap().push((at, bytes));
                    Ok(gst::FlowSuccess::Ok)
                })
                .build(),
        );
        for element in [sink.upcast_ref(), &queue] {
            element.sync_state_with_parent().unwrap();
        }
    });
    pipeline
        .set_state(gst::State::Playing)
        .map_err(|e| e.to_string())?;
    let kinds = [gst::MessageType::Eos, gst::MessageType::Error];
    let bus = pipeline.bus().ok_or("no bus")?;
    let message = bus.timed_pop_filtered(gst::ClockTime::from_seconds(60), &kinds);
    let _ = pipeline.set_state(gst::State::Null);
    match message.as_ref().map(|message| message.view()) {
        Some(gst::MessageView::Eos(_)) => {}
        other => return Err(format!("GStreamer: {}: {other:?}", path.display())),
    }
    let mut streams = std::mem::take(&mut *streams.lock().unwrap());
    streams.sort_by(|one, other| suffix(&one.0).cmp(suffix(&other.0)));
    let mut found = Played::default();
    for (_, video, pieces) in streams {
        let pieces = std::mem::take(&mut *pieces.lock().unwrap());
        if video {
            let hashed = pieces.into_iter().map(|(at, bytes)| {
                let mut hasher = DefaultHasher::new();
                bytes.hash(&mut hasher);
                // Whole microseconds, since timescales differ.
                ((at + 500) / 1_000, hasher.finish())
            });
            found.frames.push(hashed.collect());
        } else {
            let audio = pieces.into_iter().flat_map(|(_, bytes)| bytes);
            found.audio.push(audio.collect());
        }
    }
    Ok(found)
}

/// Distinguishes a file's streams.
fn suffix(stream: &str) -> &str {
    stream.rsplit('/').next().unwrap_or(stream)
}
