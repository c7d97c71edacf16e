//! Header packets of encoded media, which arrive only once, and precede the first media of each part.

/// Handling of HEADER buffers.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Handling {
    /// They are frames with in-band headers.
    Media,
    /// Packets that precede the track's first one.
    Ahead,
    /// Packets that duplicate the caps or in-band headers; a FLAC header also contains the length of the whole input.
    Dropped,
}

impl Handling {
    fn of(name: &str) -> Self {
        match name {
            "audio/x-vorbis" | "video/x-theora" => Handling::Ahead,
            "audio/x-flac" | "audio/x-opus" | "audio/x-speex" => Handling::Dropped,
            _ => Handling::Media,
        }
    }
}

/// The `streamheader` of the caps.
fn stream_headers(caps: &gst::StructureRef) -> Vec<gst::Buffer> {
    let Ok(list) = caps.get::<gst::Array>("streamheader") else {
        return Vec::new();
    };
    let buffers = list.iter().filter_map(|value| value.get().ok());
    buffers.collect()
}

/// See the module.
#[derive(Debug)]
pub struct Headers {
    handling: Handling,
    /// Those to send before the next media.
    due: Vec<gst::Buffer>,
    /// Those sent, for the next part.
    sent: Vec<gst::Buffer>,
    /// They came with the caps, so they are complete.
    in_caps: bool,
}

impl Headers {
    /// Headers of a stream with these caps.
    pub fn new(caps: &gst::StructureRef) -> Self {
        let mut headers = Headers {
            handling: Handling::of(caps.name().as_str()),
            due: Vec::new(),
            sent: Vec::new(),
            in_caps: false,
        };
        headers.set_caps(caps, true);
        headers
    }

    /// Sets new caps; their headers are sent only if no media `is_first`.
    pub fn set_caps(&mut self, caps: &gst::StructureRef, is_first: bool) {
        self.handling = Handling::of(caps.name().as_str());
        let headers = stream_headers(caps);
        if self.handling == Handling::Ahead && is_first && !headers.is_empty() {
            self.due = headers;
            self.in_caps = true;
        }
    }

    /// Takes a buffer if it is a header packet, and not media. `begun`: media has been sent.
    pub fn take_packet(&mut self, buffer: &gst::Buffer, begun: bool) -> bool {
        let is_packet =
            self.handling != Handling::Media && buffer.flags().contains(gst::BufferFlags::HEADER);
        if is_packet && self.handling == Handling::Ahead && !self.in_caps && !begun {
            self.due.push(buffer.clone());
        }
        is_packet
    }

    /// Starts the next part, which needs them again.
    pub fn begin_part(&mut self) {
        let sent = std::mem::take(&mut self.sent);
        if self.due.is_empty() {
            self.due = sent;
        }
    }

    /// The headers to send before `first`, with its timestamps.
    pub fn take(&mut self, first: &gst::BufferRef) -> Vec<gst::Buffer> {
        let mut headers = std::mem::take(&mut self.due);
        self.sent.extend(headers.iter().cloned());
        for header in &mut headers {
            let header = header.make_mut();
            header.set_pts(first.pts());
            header.set_dts(first.dts());
            header.set_duration(gst::ClockTime::ZERO);
            header.set_flags(gst::BufferFlags::HEADER);
        }
        headers
    }
}
