//! Headers of a bare MP3 file: an ID3v2.4 tag, and the Info frame with duration, seek table, and encoder delay and
//! padding (the layout of Xing and LAME).

/// A frame header of MPEG layer III (ISO/IEC 11172-3, 2.4.2.3; 13818-3).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Mp3Header {
    bytes: [u8; 4],
    /// Samples per second.
    pub rate: u32,
    /// Samples per channel and frame.
    pub samples: u32,
    /// Size of the side information, which precedes the data of an Info frame.
    side: usize,
}

impl Mp3Header {
    /// Parses a frame header; `None` if it is not layer III.
    pub fn parse(frame: &[u8]) -> Option<Self> {
        const RATES: [u32; 3] = [44_100, 48_000, 32_000];
        let bytes: [u8; 4] = *frame.first_chunk()?;
        let [sync, version, rates, mode] = bytes;
        if sync != 0xff || version & 0xe6 != 0xe2 {
            return None;
        }
        let mono = mode >> 6 == 3;
        let rate = *RATES.get(usize::from(rates >> 2 & 3))?;
        let (rate, samples, side) = match (version >> 3 & 3, mono) {
            (3, false) => (rate, 1_152, 32),
            (3, true) => (rate, 1_152, 17),
            (2, false) => (rate / 2, 576, 17),
            (2, true) => (rate / 2, 576, 9),
            (0, false) => (rate / 4, 576, 17),
            (0, true) => (rate / 4, 576, 9),
            _ => return None,
        };
        Some(Mp3Header {
            bytes,
            rate,
            samples,
            side,
        })
    }

    /// An empty frame of the same format: silence.
    pub fn silence(&self) -> Vec<u8> {
        self.frame(|_| {})
    }

    /// A frame without checksum and padding; `write` appends the data after the side information.
    fn frame(&self, write: impl FnOnce(&mut Vec<u8>)) -> Vec<u8> {
        let [sync, version, rates, mode] = self.bytes;
        // 64 kbit/s: with any sample rate, the frame is long enough, but not much longer.
        let (index, per_second) = match self.samples {
            1_152 => (5 << 4, 144 * 64_000),
            _ => (8 << 4, 72 * 64_000),
        };
        let length = per_second / self.rate.max(1);
        let mut frame = vec![sync, version | 1, index | rates & 0x0c, mode];
        frame.resize(4 + self.side, 0);
        write(&mut frame);
        frame.resize(usize::try_from(length).unwrap_or(0).max(frame.len()), 0);
        frame
    }

    /// Whether the other frame has the same bit rate.
    pub fn has_rate_of(&self, other: &Self) -> bool {
        let rate = |header: &Self| header.bytes[2] >> 4;
        rate(self) == rate(other)
    }
}

/// Contents of an Info frame.
#[derive(Debug, Clone, Copy, Default)]
pub struct Mp3Info {
    /// Number of frames, number of bytes including the Info frame, and a seek table: for each percent of the duration,
    /// the position in 256ths of those bytes. `None` if unknown.
    pub index: Option<(u32, u32, [u8; 100])>,
    /// Whether the bit rate is constant.
    pub constant: bool,
    /// Encoder delay and padding in samples, as a decoder outputs them; `None` if unknown.
    pub gaps: Option<(u32, u32)>,
}

/// Decoder delay in samples; LAME does not include it.
const DECODER: u32 = 529;

impl Mp3Info {
    /// The Info frame for a file whose first frame has this header.
    pub fn frame(&self, first: &Mp3Header) -> Vec<u8> {
        first.frame(|frame| self.write(frame))
    }

    fn write(&self, frame: &mut Vec<u8>) {
        frame.extend(if self.constant { b"Info" } else { b"Xing" });
        match &self.index {
            Some((frames, bytes, table)) => {
                // Frames, bytes, seek table.
                frame.extend(7u32.to_be_bytes());
                frame.extend(frames.to_be_bytes());
                frame.extend(bytes.to_be_bytes());
                frame.extend(table);
            }
            None => frame.extend([0; 4]),
        }
        if let Some((before, behind)) = self.gaps {
            frame.extend(b"LAME3.100");
            // Revision and method (CBR or VBR), and unused fields.
            frame.push(if self.constant { 1 } else { 4 });
            frame.extend([0; 11]);
            let field = |samples: u32| samples.min(0xfff);
            let gaps = field(before.saturating_sub(DECODER)) << 12 | field(behind + DECODER);
            frame.extend(gaps.to_be_bytes().iter().skip(1));
            frame.extend([0; 4]);
            // Size of the music, and its checksum.
            let bytes = self.index.map_or(0, |(_, bytes, _)| bytes);
            frame.extend(bytes.to_be_bytes());
            frame.extend([0; 2]);
            frame.extend(checksum(frame).to_be_bytes());
        }
    }
}

/// CRC-16 as used by LAME.
fn checksum(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ u16::from(*byte), |crc, _| {
            let shifted = crc >> 1;
            if crc & 1 == 1 {
                shifted ^ 0xa001
            } else {
                shifted
            }
        })
    })
}

/// A frame of an ID3v2.4 tag.
pub(super) fn id3_frame(name: &[u8; 4], content: &[u8]) -> Vec<u8> {
    [&name[..], &synchsafe(content.len()), &[0; 2], content].concat()
}

/// Size of the ID3v2 tag at the start of `bytes`, including its header.
pub(super) fn id3_length(bytes: &[u8]) -> Option<usize> {
    let size = bytes.get(6..10).filter(|_| bytes.starts_with(b"ID3"))?;
    let size = size
        .iter()
        .fold(0, |size, byte| size << 7 | usize::from(byte & 0x7f));
    Some(size + 10)
}

/// An ID3v2.4 tag with text frames and `padding` bytes; empty if there would be neither.
pub fn id3(tags: &gst::TagListRef, padding: usize) -> Vec<u8> {
    const TEXTS: [(&[u8; 4], &str); 12] = [
        (b"TIT2", "title"),
        (b"TPE1", "artist"),
        (b"TALB", "album"),
        (b"TPE2", "album-artist"),
        (b"TCOM", "composer"),
        (b"TCON", "genre"),
        (b"TRCK", "track-number"),
        (b"TDRC", "datetime"),
        (b"TDRC", "date"),
        (b"TCOP", "copyright"),
        (b"TPUB", "organization"),
        (b"COMM", "comment"),
    ];
    let mut frames = Vec::new();
    let mut written: Vec<&[u8; 4]> = Vec::new();
    for (name, tag) in TEXTS {
        let Some(value) = tags
            .index_generic(tag, 0)
            .filter(|_| !written.contains(&name))
        else {
            continue;
        };
        let text = match value.get::<gst::DateTime>() {
            Ok(date) => date.to_iso8601_string().ok().map(|text| text.to_string()),
            Err(_) => match value.get::<glib::Date>() {
                Ok(date) => date_text(&date),
                Err(_) => value
                    .get::<String>()
                    .ok()
                    .or_else(|| value.get::<u32>().ok().map(|number| number.to_string())),
            },
        };
        let Some(text) = text else {
            continue;
        };
        // UTF-8; a comment has a language and a description before its text.
        let before: &[u8] = if name == b"COMM" {
            b"\x03und\0"
        } else {
            b"\x03"
        };
        let content = [before, text.as_bytes()].concat();
        frames.extend(id3_frame(name, &content));
        written.push(name);
    }
    frames.resize(frames.len() + padding, 0);
    if frames.is_empty() {
        return frames;
    }
    [b"ID3\x04\0\0".as_slice(), &synchsafe(frames.len()), &frames].concat()
}

/// A date in ID3 format (ISO 8601).
fn date_text(date: &glib::Date) -> Option<String> {
    let month = match date.month() {
        glib::DateMonth::BadMonth => return None,
        month => glib::translate::IntoGlib::into_glib(month),
    };
    Some(format!("{:04}-{month:02}-{:02}", date.year(), date.day()))
}

/// A size in four bytes of seven bits.
fn synchsafe(size: usize) -> [u8; 4] {
    [21, 14, 7, 0].map(|shift| (size >> shift & 0x7f) as u8)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_length_of_their_headers() {
        for (header, rate, length) in [
            ([0xff, 0xfb, 0x90, 0x64], 44_100, 208),
            ([0xff, 0xfa, 0xb4, 0xc0], 48_000, 192),
            ([0xff, 0xf3, 0x88, 0x00], 16_000, 288),
            ([0xff, 0xe3, 0x88, 0xc0], 8_000, 576),
        ] {
            let header = Mp3Header::parse(&header).unwrap();
            assert_eq!(header.rate, rate);
            let info = Mp3Info {
                index: Some((10, 4_000, [0; 100])),
                constant: true,
                gaps: Some((1_105, 47)),
            };
            let frame = info.frame(&header);
            assert_eq!(frame.len(), length, "{rate}");
            let again = Mp3Header::parse(&frame).unwrap();
            assert_eq!((again.rate, again.samples), (header.rate, header.samples));
            let at = frame.windows(4).position(|four| four == b"LAME").unwrap();
            assert_eq!(frame[at + 21..at + 24], [0x24, 0x02, 0x40], "576 and 576");
        }
        for broken in [
            &[][..],
            &[0xff, 0xfb, 0x90],
            &[0xff, 0xfd, 0x90, 0],
            &[0xff, 0xfb, 0x9c, 0],
        ] {
            assert_eq!(Mp3Header::parse(broken), None);
        }
    }

    #[test]
    fn tags_are_text_frames() {
        gst::init().unwrap();
        let mut tags = gst::TagList::new();
        assert!(id3(&tags, 0).is_empty());
        let list = tags.make_mut();
        list.add::<gst::tags::Title>(&"Lied", gst::TagMergeMode::Append);
        list.add::<gst::tags::TrackNumber>(&7, gst::TagMergeMode::Append);
        let expected = b"ID3\x04\0\0\0\0\0\x1bTIT2\0\0\0\x05\0\0\x03LiedTRCK\0\0\0\x02\0\0\x037";
        assert_eq!(id3(&tags, 0), expected);
        let padded = id3(&tags, 128);
        assert_eq!(&padded[..10], b"ID3\x04\0\0\0\0\x01\x1b");
        assert_eq!(&padded[10..], [&expected[10..], &[0; 128]].concat());
        assert_eq!(id3_length(&padded), Some(expected.len() + 128));
        assert_eq!(synchsafe(300), [0, 0, 2, 44]);
    }
}
