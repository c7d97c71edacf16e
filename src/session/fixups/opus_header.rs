//! Generates the Opus header if upstream provides none, as in WebRTC, from the other caps fields.

use crate::formats::stream_header as header;

/// What a decoder needs to know (RFC 7845, 5.1).
#[derive(Debug, PartialEq)]
struct Streams {
    channels: u8,
    family: u8,
    /// Number of streams, number of coupled streams, and channel mapping; `None` for family 0, which implies them.
    mapping: Option<(u8, u8, Vec<u8>)>,
}

/// Adds a header to caps without a valid one, and sets the number of channels and the rate.
/// Fails with what is missing.
pub(super) fn complete(fields: &mut gst::StructureRef) -> Result<(), &'static str> {
    let streams = match header(fields).as_deref().and_then(Streams::of_header) {
        Some(streams) => streams,
        None => {
            let streams = Streams::of_fields(fields)?;
            let headers = [streams.header(), tags()].map(gst::Buffer::from_mut_slice);
            fields.set("streamheader", gst::Array::new(headers));
            streams
        }
    };
    fields.set("channels", i32::from(streams.channels));
    fields.set("channel-mapping-family", i32::from(streams.family));
    if fields.get::<i32>("rate").unwrap_or(0) <= 0 {
        fields.set("rate", 48_000i32);
    }
    Ok(())
}

impl Streams {
    fn of_header(header: &[u8]) -> Option<Self> {
        let rest = header.strip_prefix(b"OpusHead")?;
        let [
            version,
            channels,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            _,
            family,
            table @ ..,
        ] = rest
        else {
            return None;
        };
        let mapping = match (family, table) {
            (0, _) => None,
            (_, [streams, coupled, table @ ..]) => {
                let places = table.get(..usize::from(*channels))?;
                Some((*streams, *coupled, places.to_vec()))
            }
            _ => return None,
        };
        let streams = Streams {
            channels: *channels,
            family: *family,
            mapping,
        };
        (version & 0xf0 == 0 && streams.is_valid()).then_some(streams)
    }

    fn of_fields(fields: &gst::StructureRef) -> Result<Self, &'static str> {
        let number = |name| {
            let number = fields.get::<i32>(name).ok();
            number.and_then(|number| u8::try_from(number).ok())
        };
        // Decoders can output mono streams as stereo.
        let channels = number("channels").filter(|n| *n > 0).unwrap_or(2);
        let family = number("channel-mapping-family").unwrap_or(u8::from(channels > 2));
        let mapping = || {
            let places = fields.get::<gst::Array>("channel-mapping").ok()?;
            let place = |place: &glib::SendValue| u8::try_from(place.get::<i32>().ok()?).ok();
            let places: Option<Vec<u8>> = places.iter().map(place).collect();
            Some((number("stream-count")?, number("coupled-count")?, places?))
        };
        let streams = Streams {
            channels,
            family,
            mapping: if family == 0 { None } else { mapping() },
        };
        streams.is_valid().then_some(streams).ok_or(
            "they have no stream header, and not all that would go into one (channels, channel-mapping-family, \
             stream-count, coupled-count, channel-mapping)",
        )
    }

    fn is_valid(&self) -> bool {
        let Some((streams, coupled, places)) = &self.mapping else {
            return self.family == 0 && matches!(self.channels, 1 | 2);
        };
        let decoded = u16::from(*streams) + u16::from(*coupled);
        self.channels > 0
            && places.len() == usize::from(self.channels)
            && *streams > 0
            && coupled <= streams
            && decoded <= 255
            && places
                .iter()
                .all(|place| *place == 255 || u16::from(*place) < decoded)
    }

    /// Pre-skip is 0, since the recording starts in the middle of a stream.
    fn header(&self) -> Vec<u8> {
        let mut header = b"OpusHead\x01".to_vec();
        header.push(self.channels);
        header.extend([0, 0]);
        header.extend(48_000u32.to_le_bytes());
        header.extend([0, 0, self.family]);
        if let Some((streams, coupled, places)) = &self.mapping {
            header.extend([*streams, *coupled]);
            header.extend(places);
        }
        header
    }
}

/// The comment header, without comments (RFC 7845, 5.2).
fn tags() -> Vec<u8> {
    const VENDOR: &[u8] = b"mediarecorder";
    let mut tags = b"OpusTags".to_vec();
    tags.extend((VENDOR.len() as u32).to_le_bytes());
    tags.extend(VENDOR);
    tags.extend(0u32.to_le_bytes());
    tags
}

#[cfg(test)]
mod tests {
    use super::*;

    fn completed(text: &str) -> Result<gst::Structure, &'static str> {
        gst::init().unwrap();
        let caps: gst::Caps = text.parse().unwrap();
        let mut fields = caps.structure(0).unwrap().to_owned();
        complete(&mut fields).map(|()| fields)
    }

    #[test]
    fn caps_of_webrtc_are_sufficient() {
        for (text, channels) in [
            ("audio/x-opus", 2),
            ("audio/x-opus,channels=1,channel-mapping-family=0", 1),
            ("audio/x-opus,streamheader=(buffer)<4f707573>", 2),
        ] {
            let fields = completed(text).unwrap();
            let header = header(&fields).unwrap();
            assert_eq!(header.len(), 19, "{text}");
            assert_eq!(i32::from(header[9]), channels, "{text}");
            assert_eq!(fields.get::<i32>("channels"), Ok(channels), "{text}");
            assert_eq!(fields.get::<i32>("rate"), Ok(48_000), "{text}");
        }
    }

    #[test]
    fn more_than_two_channels_need_a_mapping_table() {
        let table =
            "audio/x-opus,channels=3,channel-mapping-family=1,stream-count=2,coupled-count=1";
        let given = format!("{table},channel-mapping=(int)<0,2,1>");
        let header = header(&completed(&given).unwrap()).unwrap();
        assert_eq!(header[18..], [1, 2, 1, 0, 2, 1]);
        assert_eq!(Streams::of_header(&header).unwrap().channels, 3);
        for text in [
            "audio/x-opus,channels=6",
            table,
            &format!("{table},channel-mapping=(int)<0,2,3>"),
            &format!("{table},channel-mapping=(int)<0,2>"),
        ] {
            assert!(completed(text).is_err(), "{text}");
        }
    }
}
