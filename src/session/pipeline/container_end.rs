//! The end that all tracks of a recording share: the muxer, and what its bytes go through.

use super::{FileHead, Listener, failed};
use crate::{
    formats::{self, Chapter, Ending, Patch, Plan},
    model::{Container, Error, Kind, timeline::Ns},
    session::{
        chapters,
        encoder_delay::Heard,
        fixups::TrackCount,
        fragment_alignment,
        io_pads::{BytesOut, bytes_pad},
        probe::probe,
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
    /// Of the blobs; 0 for none.
    pub timeslice: Ns,
    /// What the head is told.
    pub head: FileHead,
    /// What the muxer's bytes are put right by.
    pub patch: Arc<Mutex<Patch>>,
    /// How late each track's stamps are.
    pub delays: Arc<Heard>,
    /// How many tracks the muxer has, where that is counted.
    pub tracks: TrackCount,
    container: Container,
    /// Where the muxer's bytes go.
    out: Arc<BytesOut>,
    /// Where the muxer's bytes come out.
    bytes: gst::Pad,
    /// Whether any media has come to the muxer.
    begun: Arc<AtomicBool>,
}

impl ContainerEnd {
    /// A muxer in `pipeline`, whose bytes go to the listener.
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
        let delays = Arc::new(Heard::new(plan.codecs.len()));
        let begun = Arc::<AtomicBool>::default();
        let out = BytesOut::new(listener.clone(), &patch, &delays);
        let bytes = bytes_pad(&out, &begun, plan.container);
        pipeline.add(&muxer).map_err(|err| failed("muxer", err))?;
        // Not in the pipeline, which is all that the checks would find.
        muxer
            .static_pad("src")
            .ok_or_else(|| failed("muxer", "no src pad"))?
            .link_full(&bytes, gst::PadLinkCheck::empty())
            .map_err(|err| failed("muxer", err))?;
        bytes.set_active(true).map_err(|err| failed("muxer", err))?;
        if timeslice > 0 {
            formats::set_timeslice(&muxer, plan.container, timeslice);
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

    /// The muxer's pad for the next track, which is of this kind.
    pub fn mux_pad(&self, kind: Kind) -> Option<gst::Pad> {
        let template = formats::mux_pad_template(self.container, kind);
        let pad = self.muxer.static_pad(template);
        pad.or_else(|| self.muxer.request_pad_simple(template))
    }

    /// Has the bytes taken from when media has come to the muxer, on this pad of it or another.
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

    /// Has clusters begin with timeslices on the pad of the track that leads. `is_late` where its stamps are later here
    /// than recorded time, `has_others` where there are more tracks.
    pub fn align_clusters(&self, mux_pad: &gst::Pad, is_late: bool, has_others: bool) {
        let has_clusters = matches!(self.container, Container::WebM | Container::Matroska);
        if self.timeslice == 0 || !has_clusters {
            return;
        }
        let delays = self.delays.clone();
        fragment_alignment::mark(mux_pad, self.timeslice, has_others, move || {
            if is_late { delays.least() } else { 0 }
        });
    }

    /// Takes note of how much later than recorded time the stamps of a track of audio are, in nanoseconds.
    pub fn note_delay(&self, track: usize) -> impl Fn(Ns) + Send + Sync + 'static {
        let delays = self.delays.clone();
        move |nanoseconds| delays.set(track, nanoseconds)
    }

    /// What the header is told of the tracks, in the order of the muxer's pads; before any media comes.
    pub fn set_patch(&self, delays: Vec<formats::Delay>, pictures: Vec<formats::VideoTrack>) {
        let mut patch = Patch::new(self.container, delays, pictures);
        patch.reserve_chapters(self.head.chapters_room);
        patch.set_timeslice(self.timeslice);
        *lock(&self.patch) = patch;
    }

    /// Has the muxer set space aside for chapters, where it is the muxer that has to; in PAUSED at the least, before any
    /// media comes.
    pub fn reserve_chapters(&self) {
        let has_elements = matches!(self.container, Container::WebM | Container::Matroska);
        if has_elements && self.head.chapters_room > 0 {
            chapters::reserve_in_matroska(&self.muxer, self.head.chapters_room);
        }
    }

    /// What is left to be done with the bytes where the muxer has not come to its end: once.
    pub fn take_ending(&self, chapters: Vec<Chapter>, end: Ns) -> Ending {
        lock(&self.patch).take_ending(chapters, end)
    }

    /// Has what there is of the fragments written, unless that takes longer than `patience`: then FALSE.
    pub fn end_fragments(&self, patience: Duration) -> bool {
        self.out.end_fragments_within(patience)
    }

    /// No more bytes are taken.
    pub fn close(&self) {
        let _ = self.bytes.set_active(false);
    }
}
