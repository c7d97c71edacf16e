//! Verifies a file as a whole, as players see it.

use super::Verdict;
use std::path::Path;
use std::process::Command;

/// ffprobe's output for format and streams.
pub fn ffprobe(file: &Path) -> Verdict<serde_json::Value> {
    let output = Command::new("timeout")
        .args(["60", "ffprobe", "-v", "error", "-of", "json"])
        .args(["-show_format", "-show_streams"])
        .arg(file)
        .output()
        .map_err(|e| format!("ffprobe does not run: {e}"))?;
    if !output.status.success() {
        return Err(String::from_utf8_lossy(&output.stderr).into_owned());
    }
    serde_json::from_slice(&output.stdout).map_err(|e| e.to_string())
}

/// Duration in nanoseconds, as stated by the container.
pub fn duration(file: &Path) -> Verdict<f64> {
    let probe = ffprobe(file)?;
    probe["format"]["duration"]
        .as_str()
        .and_then(|d| d.parse::<f64>().ok())
        .map(|d| d * 1e9)
        .ok_or_else(|| format!("no duration: {probe}"))
}

/// Start time of each stream, in nanoseconds, as players see it.
pub fn starts(file: &Path) -> Verdict<Vec<f64>> {
    let probe = ffprobe(file)?;
    let streams = probe["streams"].as_array().ok_or("no streams")?;
    let start = |stream: &serde_json::Value| stream["start_time"].as_str()?.parse::<f64>().ok();
    let starts = streams.iter().map(|stream| Some(start(stream)? * 1e9));
    let starts = starts.collect::<Option<Vec<_>>>();
    starts.ok_or_else(|| format!("no start: {probe}"))
}

/// Codecs of all streams, in file order.
pub fn codecs(file: &Path) -> Verdict<Vec<String>> {
    let probe = ffprobe(file)?;
    let streams = probe["streams"].as_array().ok_or("no streams")?;
    Ok(streams
        .iter()
        .map(|s| s["codec_name"].as_str().unwrap_or("?").to_string())
        .collect())
}

/// Makes ffmpeg keep the frames' timestamps: by default it produces a constant rate, and warns about its own
/// rounding where a cut puts two frames close together. The time base is finer than any container's; the input's
/// own is `-1` before FFmpeg 6.1 and `demux` since.
pub const AS_STAMPED: [&str; 4] = [
    "-fps_mode",
    "passthrough",
    "-enc_time_base:v",
    "1:1000000000",
];

/// Verifies that ffmpeg decodes the whole file without errors or warnings.
pub fn decodes_without_errors(file: &Path) -> Verdict<()> {
    decodes_but_for(file, |_| false)
}

/// The same for a file whose writer was killed: its last block may be truncated.
pub fn decodes_until_truncation(file: &Path) -> Verdict<()> {
    decodes_but_for(file, |line| line.contains("File ended prematurely"))
}

fn decodes_but_for(file: &Path, is_expected: impl Fn(&str) -> bool) -> Verdict<()> {
    let output = Command::new("timeout")
        .args(["120", "ffmpeg", "-nostdin", "-v", "error", "-i"])
        .arg(file)
        .args(AS_STAMPED)
        .args(["-f", "null", "-"])
        .output()
        .map_err(|e| format!("ffmpeg does not run: {e}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    let mut complaints = said.lines().filter(|line| !line.trim().is_empty());
    if output.status.success() && complaints.all(is_expected) {
        Ok(())
    } else {
        Err(format!("{}: {} {said}", file.display(), output.status))
    }
}

const SEGMENT: u32 = 0x1853_8067;
const SEEK_HEAD: u32 = 0x114d_9b74;
const CUES: u32 = 0x1c53_bb6b;
const SEEK: u32 = 0x4dbb;
const SEEK_ID: u32 = 0x53ab;
const SEEK_POSITION: u32 = 0x53ac;

/// One EBML element: ID, offset of its content, and the content up to its end (or the file's, if the size is
/// unknown).
struct Element<'a> {
    id: u32,
    at: usize,
    content: &'a [u8],
}

/// The elements in `content`, which starts at offset `base` of the file.
fn elements(content: &[u8], base: usize) -> Vec<Element<'_>> {
    let mut elements = Vec::new();
    let mut at = 0;
    while let Some((id, id_length)) = content.get(at).and_then(|first| {
        let length = first.leading_zeros() as usize + 1;
        let bytes = content.get(at..at + length)?;
        (length <= 4).then(|| (bytes.iter().fold(0, |v, b| v << 8 | u32::from(*b)), length))
    }) {
        let Some(first) = content.get(at + id_length) else {
            break;
        };
        let length = first.leading_zeros() as usize + 1;
        let Some(bytes) = content.get(at + id_length..at + id_length + length) else {
            break;
        };
        let raw = bytes.iter().fold(0u64, |v, b| v << 8 | u64::from(*b));
        let mask = (1u64 << (7 * length)) - 1;
        let start = at + id_length + length;
        let rest = &content[start..];
        let size = if raw & mask == mask {
            rest.len()
        } else {
            rest.len().min((raw & mask) as usize)
        };
        elements.push(Element {
            id,
            at: base + at,
            content: &rest[..size],
        });
        at = start + size;
    }
    elements
}

/// Verifies that a WebM or Matroska file has an index that its SeekHead refers to. Returns the number of its
/// entries.
pub fn has_seek_index(file: &Path) -> Verdict<usize> {
    let bytes = std::fs::read(file).map_err(|e| e.to_string())?;
    let segment = elements(&bytes, 0)
        .into_iter()
        .find(|e| e.id == SEGMENT)
        .ok_or("no Segment")?;
    let origin = segment.content.as_ptr() as usize - bytes.as_ptr() as usize;
    let inside = elements(segment.content, origin);
    let head = inside
        .iter()
        .find(|e| e.id == SEEK_HEAD)
        .ok_or("no SeekHead")?;
    let cues = inside.iter().find(|e| e.id == CUES).ok_or("no Cues")?;
    let value = |content: &[u8]| content.iter().fold(0u64, |v, b| v << 8 | u64::from(*b));
    let pointed = elements(head.content, 0)
        .iter()
        .filter(|e| e.id == SEEK)
        .any(|seek| {
            let fields = elements(seek.content, 0);
            let field = |id| fields.iter().find(|f| f.id == id).map(|f| value(f.content));
            field(SEEK_ID) == Some(u64::from(CUES))
                && field(SEEK_POSITION) == Some((cues.at - origin) as u64)
        });
    if !pointed {
        return Err("the SeekHead does not point to the Cues".to_string());
    }
    match elements(cues.content, 0).len() {
        0 => Err("the Cues are empty".to_string()),
        entries => Ok(entries),
    }
}

/// The major version of FFmpeg.
pub fn ffmpeg_version() -> u32 {
    let output = Command::new("ffmpeg").arg("-version").output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let version = text.split_whitespace().nth(2).expect("a version");
    let major = version.split('.').next().expect("a major version");
    major.parse().expect("a release of FFmpeg")
}
