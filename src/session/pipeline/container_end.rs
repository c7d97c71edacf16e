//! The part shared by all tracks of a recording: the muxer, and the output of its bytes.

use super::{FileHead, Listener, failed};
use crate::{
    formats::{self, Chapter, Ending, Patch, Plan},
    model::{Container, Error, Kind, timeline::Ns},
    session::{
        chapters,
        encoder_delay::EncoderDelays,
        fixups::TrackCount,
        io_pads::{BytesOut, bytes_pad},
        probe::{is_eos, probe},
        timing::lock,
    },
};
use gst::prelude::*;
use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

/// See the module.
#[derive(Debug)]
pub struct ContainerEnd {
    pub muxer: gst::Element,
    /// Timeslice of the blobs; 0 for none.
    pub timeslice: Ns,
    /// Contents of the file header that do not come from the tracks.
    pub head: FileHead,
    /// Patches the muxer's output.
    pub patch: Arc<Mutex<Patch>>,
    /// Offset of each track's timestamps from recorded time.
    pub delays: Arc<EncoderDelays>,
    /// Number of tracks in the muxer, where it is counted.
    pub tracks: TrackCount,
    container: Container,
    /// Receives the muxer's output.
    out: Arc<BytesOut>,
    /// The pad that the muxer's src pad is linked to.
    bytes: gst::Pad,
    /// Whether the muxer has received any media.
    begun: Arc<AtomicBool>,
}

impl ContainerEnd {
    /// Adds a muxer to `pipeline`, whose output goes to the listener.
    pub fn build(
        pipeline: &gst::Pipeline,
        plan: &Plan,
        timeslice: Ns,
        head: FileHead,
        listener: &Arc<impl Listener>,
    ) -> Result<Self, Error> {
        let muxer = formats::muxer(plan.container)?;
        let patch = Patch::new(plan.container, Vec::new(), Vec::new());
        let patch = Arc::new(Mutex::new(patch));
        let delays = Arc::new(EncoderDelays::new(plan.codecs.len()));
        let begun = Arc::<AtomicBool>::default();
        let out = BytesOut::new(listener.clone(), &muxer, &patch, &delays);
        let bytes = bytes_pad(&out, &begun, plan.container);
        pipeline.add(&muxer).map_err(|err| failed("muxer", err))?;
        // The pad has no parent in the pipeline, so the hierarchy check would fail.
        muxer
            .static_pad("src")
            .ok_or_else(|| failed("muxer", "no src pad"))?
            .link_full(&bytes, gst::PadLinkCheck::empty())
            .map_err(|err| failed("muxer", err))?;
        bytes.set_active(true).map_err(|err| failed("muxer", err))?;
        if timeslice > 0 {
            formats::set_timeslice(&muxer, plan.container, timeslice, plan.codecs.len());
        }
        Ok(ContainerEnd {
            muxer,
            timeslice,
            head,
            patch,
            delays,
            tracks: TrackCount::default(),
            container: plan.container,
            out,
            bytes,
            begun,
        })
    }

    /// The muxer's sink pad for the next track of this kind.
    pub fn mux_pad(&self, kind: Kind) -> Option<gst::Pad> {
        let template = formats::mux_pad_template(self.container, kind);
        let pad = self.muxer.static_pad(template);
        pad.or_else(|| self.muxer.request_pad_simple(template))
    }

    /// Accepts the muxer's output once media has arrived on this sink pad or another.
    pub fn begin_with(&self, mux_pad: &gst::Pad) {
        let begun = self.begun.clone();
        probe(mux_pad, gst::PadProbeType::BUFFER, move |pad, _| {
            if !pad.has_current_caps() {
                return gst::PadProbeReturn::Ok;
            }
            begun.store(true, Ordering::Release);
            gst::PadProbeReturn::Remove
        });
    }

    /// Tells the patch when this track of the muxer ends.
    pub fn watch_end(&self, mux_pad: &gst::Pad, track: usize) {
        let patch = Arc::downgrade(&self.patch);
        let events = gst::PadProbeType::EVENT_DOWNSTREAM;
        probe(mux_pad, events, move |_, info| {
            if let (true, Some(patch)) = (is_eos(info), patch.upgrade()) {
                lock(&patch).end_track(track);
            }
            gst::PadProbeReturn::Ok
        });
    }

    /// Returns a function that registers the offset of an audio track's timestamps from recorded time, in nanoseconds.
    pub fn note_delay(&self, track: usize) -> impl Fn(Ns) + Send + Sync + 'static {
        let delays = self.delays.clone();
        move |nanoseconds| delays.set(track, nanoseconds)
    }

    /// Sets what the header has to signal for each track, in the order of the muxer's pads. Call before media arrives.
    pub fn set_patch(&self, delays: Vec<formats::Delay>, video_tracks: Vec<formats::VideoTrack>) {
        let mut patch = Patch::new(self.container, delays, video_tracks);
        patch.reserve_chapters(self.head.chapters_room);
        patch.set_timeslice(self.timeslice);
        *lock(&self.patch) = patch;
    }

    /// Makes the muxer reserve space for chapters, in containers where that is up to the muxer; call in PAUSED or
    /// later, before any media arrives.
    pub fn reserve_chapters(&self) {
        let has_elements = matches!(self.container, Container::WebM | Container::Matroska);
        if has_elements && self.head.chapters_room > 0 {
            chapters::reserve_in_matroska(&self.muxer, self.head.chapters_room);
        }
    }

    /// Takes the remaining work on the output if the muxer has not reached EOS; call once.
    pub fn take_ending(&self, chapters: Vec<Chapter>, end: Ns) -> Ending {
        lock(&self.patch).take_ending(chapters, end)
    }

    /// Writes the pending fragments; returns false if that takes longer than `patience`.
    pub fn end_fragments(&self, patience: Duration) -> bool {
        self.out.end_fragments_within(patience)
    }

    /// The output of the muxer's bytes.
    pub fn out(&self) -> &Arc<BytesOut> {
        &self.out
    }

    /// Refuses further bytes.
    pub fn close(&self) {
        let _ = self.bytes.set_active(false);
    }
}
