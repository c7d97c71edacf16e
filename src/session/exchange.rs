//! Exchanges a section of a running chain between two buffers. A section is what is between the pad through which a
//! track's media arrives and the pad that consumes it.

use super::pipeline::failed;
use super::probe::{leave_out, probe};
use crate::model::Error;
use gst::prelude::*;
use std::{
    sync::mpsc::{self, RecvTimeoutError},
    time::{Duration, Instant},
};

/// How often to check, while an old section drains, whether the chain is shut down.
const DRAIN_LOOK: Duration = Duration::from_millis(20);

/// The elements between two pads, in order; none if the pads are linked directly. The pads are weak references, so
/// that a section may live in a probe on one of them.
#[derive(Debug)]
pub struct Section {
    upstream: glib::WeakRef<gst::Pad>,
    downstream: glib::WeakRef<gst::Pad>,
    elements: Vec<gst::Element>,
}

/// Links two elements of a chain; a decoder is linked once it has its src pad. Link checks are skipped: the elements
/// are known to be compatible, and each check takes milliseconds.
pub fn link(from: &gst::Element, to: &gst::Pad) -> Result<(), glib::BoolError> {
    if let Some(src) = from.static_pad("src") {
        return match src.link_full(to, gst::PadLinkCheck::empty()) {
            Ok(_) => Ok(()),
            Err(err) => Err(glib::bool_error!("{err}")),
        };
    }
    let to = to.downgrade();
    from.connect_pad_added(move |_, pad| {
        if let Some(to) = to.upgrade()
            && !to.is_linked()
        {
            // A failure is posted on the bus as not-linked.
            let _ = pad.link(&to);
        }
    });
    Ok(())
}

/// Links elements in a row.
pub fn link_all(elements: &[gst::Element]) -> Result<(), glib::BoolError> {
    for (from, to) in elements.iter().zip(elements.iter().skip(1)) {
        link(from, &sink_of(to)?)?;
    }
    Ok(())
}

fn sink_of(element: &gst::Element) -> Result<gst::Pad, glib::BoolError> {
    element
        .static_pad("sink")
        .ok_or_else(|| glib::bool_error!("{} has no sink pad", element.name()))
}

impl Section {
    /// The section that is between the two pads now.
    pub fn new(upstream: &gst::Pad, downstream: &gst::Pad, elements: Vec<gst::Element>) -> Self {
        Section {
            upstream: upstream.downgrade(),
            downstream: downstream.downgrade(),
            elements,
        }
    }

    /// The pad that consumes the section's output.
    pub fn downstream(&self) -> Option<gst::Pad> {
        self.downstream.upgrade()
    }

    fn pads(&self) -> Option<(gst::Pad, gst::Pad)> {
        Some((self.upstream.upgrade()?, self.downstream.upgrade()?))
    }

    /// Replaces the elements with `elements`. The old ones are drained first, for at most `patience`.
    ///
    /// Call it while nothing passes the upstream pad: in a buffer probe on that pad, or with the pad blocked. The
    /// next buffer first sends the pad's sticky caps to the new elements.
    pub fn exchange(
        &mut self,
        elements: Vec<gst::Element>,
        patience: Duration,
    ) -> Result<(), Error> {
        let gone = || failed("exchange", "the chain is no more");
        let (upstream, downstream) = self.pads().ok_or_else(gone)?;
        // Looked up each time: the whole chain may have been removed from the pipeline meanwhile, if an element
        // hangs.
        let bin = || {
            upstream
                .parent_element()
                .and_then(|element| element.parent())
                .and_downcast::<gst::Bin>()
                .ok_or_else(|| failed("exchange", "the chain is in no pipeline"))
        };
        self.drain(&upstream, &downstream, patience);
        self.take_out(&bin()?, &upstream, &downstream);
        self.put_in(&bin()?, (&upstream, &downstream), elements)
            .map_err(|err| failed("exchange", err))
    }

    /// Drains the old elements with EOS, which is not forwarded downstream.
    fn drain(&self, upstream: &gst::Pad, downstream: &gst::Pad, patience: Duration) {
        let (Some(first), Some(last)) = (upstream.peer(), downstream.peer()) else {
            return;
        };
        if self.elements.is_empty() {
            return;
        }
        let (drained, is_drained) = mpsc::channel();
        probe(
            &last,
            gst::PadProbeType::EVENT_DOWNSTREAM,
            move |_, info| match info.event().map(|event| event.type_()) {
                Some(gst::EventType::Eos) => {
                    let _ = drained.send(());
                    leave_out(info)
                }
                _ => gst::PadProbeReturn::Ok,
            },
        );
        first.send_event(gst::event::Eos::new());
        let begun = Instant::now();
        let goes_down = || {
            [upstream, downstream]
                .iter()
                .any(|pad| pad.pad_flags().contains(gst::PadFlags::FLUSHING))
        };
        while let Err(RecvTimeoutError::Timeout) = is_drained.recv_timeout(DRAIN_LOOK) {
            if begun.elapsed() > patience || goes_down() {
                return;
            }
        }
    }

    fn take_out(&mut self, bin: &gst::Bin, upstream: &gst::Pad, downstream: &gst::Pad) {
        if let Some(first) = upstream.peer() {
            let _ = upstream.unlink(&first);
        }
        if let Some(last) = downstream.peer() {
            let _ = last.unlink(downstream);
        }
        for element in self.elements.drain(..) {
            let _ = element.set_state(gst::State::Null);
            let _ = bin.remove(&element);
        }
    }

    fn put_in(
        &mut self,
        bin: &gst::Bin,
        (upstream, downstream): (&gst::Pad, &gst::Pad),
        elements: Vec<gst::Element>,
    ) -> Result<(), glib::BoolError> {
        let first = match elements.first() {
            Some(first) => sink_of(first)?,
            None => downstream.clone(),
        };
        bin.add_many(&elements)?;
        self.elements = elements;
        link_all(&self.elements)?;
        if let Some(last) = self.elements.last() {
            link(last, downstream)?;
        }
        for element in self.elements.iter().rev() {
            element.sync_state_with_parent()?;
        }
        upstream
            .link_full(&first, gst::PadLinkCheck::empty())
            .map_err(|err| glib::bool_error!("{err}"))?;
        Ok(())
    }

    /// Drains the section, and ends the track.
    pub fn end(&self) {
        if let Some(first) = self.upstream.upgrade().and_then(|pad| pad.peer()) {
            first.send_event(gst::event::Eos::new());
        }
    }
}
