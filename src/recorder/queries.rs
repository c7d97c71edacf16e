//! Queries and upstream events, handled like a sink's.

use super::{MediaRecorderPad, imp::MediaRecorder};
use crate::formats;
use gst::{prelude::*, subclass::prelude::*};

impl MediaRecorder {
    /// Handles an event sent to the element.
    pub(super) fn element_event(&self, event: gst::Event) -> bool {
        if event.type_() == gst::EventType::Eos {
            let pads = self.tracks();
            for pad in &pads {
                self.end_when_framed(pad, event.seqnum());
            }
            return !pads.is_empty();
        }
        if !event.is_upstream() {
            return self.parent_send_event(event);
        }
        if event.type_() == gst::EventType::Latency {
            self.latency_changed();
        }
        let pads = self.tracks();
        // Sent on every pad; a source shared by several pads recognises it by its seqnum.
        let mut handled = false;
        for pad in &pads {
            handled |= pad.push_event(event.clone());
        }
        handled
    }

    /// Handles a query of the element: forwarded upstream.
    pub(super) fn element_query(&self, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(latency) => self.latency(latency),
            gst::QueryViewMut::Position(_) | gst::QueryViewMut::Duration(_) => {
                self.tracks().iter().any(|pad| pad.peer_query(query))
            }
            gst::QueryViewMut::Seeking(_) => self.tracks().iter().any(|pad| pad.peer_query(query)),
            _ => self.parent_query(query),
        }
    }

    /// Live if any track is; the latency is the maximum.
    fn latency(&self, latency: &mut gst::query::Latency<gst::QueryRef>) -> bool {
        let mut live = false;
        let mut least = gst::ClockTime::ZERO;
        let mut most = gst::ClockTime::NONE;
        let mut answered = false;
        for pad in self.tracks() {
            let mut query = gst::query::Latency::new();
            if !pad.peer_query(&mut query) {
                continue;
            }
            answered = true;
            let (is_live, min, max) = query.result();
            if is_live {
                live = true;
                least = least.max(min);
                most = match (most, max) {
                    (Some(a), Some(b)) => Some(a.min(b)),
                    (a, b) => a.or(b),
                };
            }
        }
        if answered {
            // The recorder does not synchronise: it adds no latency.
            latency.set(live, least, most);
        }
        answered
    }

    pub(super) fn sink_query(&self, pad: &MediaRecorderPad, query: &mut gst::QueryRef) -> bool {
        crate::fault::place("sink query");
        match query.view_mut() {
            gst::QueryViewMut::Allocation(allocation) => {
                let info = allocation.get().0.and_then(formats::video_info);
                let Some(info) = info else {
                    return false;
                };
                // The current frame, the pending one, two queued at the encoder, and the one in the encoder.
                let size = u32::try_from(info.size()).unwrap_or(0);
                allocation.add_allocation_pool(None::<&gst::BufferPool>, size, 5, 0);
                allocation.add_allocation_meta::<gst_video::VideoMeta>(None);
                true
            }
            gst::QueryViewMut::AcceptCaps(_) => {
                let answered = gst::Pad::query_default(pad, Some(&*self.obj()), query);
                if let gst::QueryViewMut::AcceptCaps(accept) = query.view_mut()
                    && answered
                    && !accept.result()
                {
                    self.refuses(pad, accept.caps());
                }
                answered
            }
            gst::QueryViewMut::Caps(_) => {
                let answered = gst::Pad::query_default(pad, Some(&*self.obj()), query);
                if let gst::QueryViewMut::Caps(caps) = query.view_mut()
                    && let Some(result) = caps.result_owned()
                {
                    // The result would be in the filter's order.
                    caps.set_result(&formats::system_memory_first(&result));
                }
                answered
            }
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }

    /// Forwards nothing from downstream of `src` to the tracks: that stream consists of bytes.
    pub(super) fn src_event(&self, pad: &gst::Pad, event: gst::Event) -> bool {
        match event.view() {
            gst::EventView::Seek(_) => false,
            gst::EventView::Latency(_) | gst::EventView::Reconfigure(_) => true,
            _ => {
                gst::log!(super::imp::CAT, obj = pad, "Not for the tracks: {event:?}");
                false
            }
        }
    }

    pub(super) fn src_query(&self, pad: &gst::Pad, query: &mut gst::QueryRef) -> bool {
        match query.view_mut() {
            gst::QueryViewMut::Latency(latency) => {
                // The byte stream is not synchronised to the clock.
                latency.set(false, gst::ClockTime::ZERO, gst::ClockTime::NONE);
                true
            }
            gst::QueryViewMut::Seeking(seeking) => {
                let format = seeking.format();
                seeking.set(
                    false,
                    gst::GenericFormattedValue::none_for_format(format),
                    gst::GenericFormattedValue::none_for_format(format),
                );
                true
            }
            gst::QueryViewMut::Position(_) | gst::QueryViewMut::Duration(_) => false,
            _ => gst::Pad::query_default(pad, Some(&*self.obj()), query),
        }
    }
}
