//! An encoder for video with alpha, made of two encoders without alpha support: one for colour, and one that encodes
//! the alpha channel as luma.
//!
//! ```text
//!              ┌─ colour_out ─▶ encoder ─▶ colour_in ─┐
//! A420 ─ sink ─┤                                      ├─ src ─ packets as `formats::join_alpha` makes them
//!              └─ alpha_out ──▶ encoder ─▶ alpha_in ──┘
//! ```
//!
//! To the rest of a session it is a single encoder. Colour is encoded first. If its encoder makes a keyframe by
//! itself, one is requested from the alpha encoder, too.
//!
//! Lock order: no lock is held while anything is pushed.

use super::{key_units, timing::lock};
use crate::formats;
use glib::subclass::prelude::*;
use gst::{prelude::*, subclass::prelude::*};
use gst_video::{VideoFormat, VideoFrameExt, VideoFrameRef, VideoInfo};
use once_cell::sync::{Lazy, OnceCell};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex},
};

/// A field of the caps of joined packets; it is TRUE.
pub const JOINED: &str = "joined-alpha";

/// The alpha encoder gets one in this many bits.
const ALPHA_SHARE: u32 = 4;

glib::wrapper! {
    /// See the module documentation.
    pub struct AlphaEncoder(ObjectSubclass<imp::AlphaEncoder>)
        @extends gst::Bin, gst::Element, gst::Object, @implements gst::ChildProxy;
}

impl AlphaEncoder {
    /// Creates it, named `name`, from two encoders of the same kind that have no parent yet.
    pub fn new(
        name: &str,
        colour: &gst::Element,
        alpha: &gst::Element,
    ) -> Result<Self, glib::BoolError> {
        let this: Self = glib::Object::builder().property("name", name).build();
        let imp = this.imp();
        this.add_many([colour, alpha])?;
        for (encoder, way) in [(colour, &imp.colour), (alpha, &imp.alpha)] {
            let no_pad = || glib::bool_error!("{} has no such pad", encoder.name());
            let sink = encoder.static_pad("sink").ok_or_else(no_pad)?;
            let src = encoder.static_pad("src").ok_or_else(no_pad)?;
            let unchecked = gst::PadLinkCheck::empty();
            let link_error = |err| glib::bool_error!("{err}");
            way.out.link_full(&sink, unchecked).map_err(link_error)?;
            src.link_full(&way.back, unchecked).map_err(link_error)?;
        }
        let _ = imp.encoders.set([colour.clone(), alpha.clone()]);
        Ok(this)
    }

    /// Its colour encoder.
    pub fn colour(&self) -> Option<&gst::Element> {
        self.imp().encoders.get()?.first()
    }
}

/// Whether packets with these caps are joined ones.
pub fn are_joined(caps: &gst::CapsRef) -> bool {
    let joined = caps.structure(0).and_then(|s| s.get::<bool>(JOINED).ok());
    joined.unwrap_or_default()
}

/// Splits a frame into two of the encoders' format: colour, and the alpha channel as luma.
fn split(frame: &gst::Buffer, from: &VideoInfo, to: &VideoInfo) -> Option<[gst::Buffer; 2]> {
    let source = VideoFrameRef::from_buffer_ref_readable(frame, from).ok()?;
    let rows = |plane: u32| {
        let stride = usize::try_from(*source.plane_stride().get(plane as usize)?).ok()?;
        let width = usize::try_from(source.comp_width(plane)).ok()?;
        let rows = source.plane_data(plane).ok()?.chunks(stride.max(1));
        let height = usize::try_from(source.comp_height(plane)).ok()?;
        Some((rows.take(height), width))
    };
    let make = |luma: u32| {
        let mut buffer = gst::Buffer::with_size(to.size()).ok()?;
        let fields = buffer.get_mut()?;
        let what = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
        frame.copy_into(fields, what, ..).ok()?;
        let mut target = VideoFrameRef::from_buffer_ref_writable(fields, to).ok()?;
        for plane in 0..3 {
            let stride = usize::try_from(*target.plane_stride().get(plane as usize)?).ok()?;
            let all = target.plane_data_mut(plane).ok()?;
            if luma == ALPHA && plane > 0 {
                all.fill(NEUTRAL);
                continue;
            }
            let (rows, width) = rows(if plane == 0 { luma } else { plane })?;
            for (to, from) in all.chunks_mut(stride.max(1)).zip(rows) {
                to.get_mut(..width)?.copy_from_slice(from.get(..width)?);
            }
        }
        drop(target);
        Some(buffer)
    };
    Some([make(0)?, make(ALPHA)?])
}

/// The component of the alpha channel.
const ALPHA: u32 = 3;
/// Neutral chroma.
const NEUTRAL: u8 = 128;

mod imp {
    use super::*;

    /// The pads that lead to an encoder and back.
    #[derive(Debug)]
    pub struct Way {
        pub out: gst::Pad,
        pub back: gst::Pad,
    }

    /// Which of the two.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    enum Plane {
        Colour,
        Alpha,
    }

    #[derive(Debug, Default)]
    struct State {
        /// The input format, and the format that the encoders get.
        formats: Option<(VideoInfo, VideoInfo)>,
        colours: VecDeque<gst::Buffer>,
        alphas: VecDeque<gst::Buffer>,
        /// The colour encoder has made a keyframe that the alpha encoder has yet to make.
        owes_key: bool,
        has_begun: bool,
        /// A keyframe has been requested for the next frame.
        asked: bool,
        ended: (bool, bool),
    }

    type Owner = Arc<OnceCell<glib::WeakRef<super::AlphaEncoder>>>;

    #[derive(Debug)]
    pub struct AlphaEncoder {
        sink: gst::Pad,
        src: gst::Pad,
        pub colour: Way,
        pub alpha: Way,
        pub encoders: OnceCell<[gst::Element; 2]>,
        owner: Owner,
        state: Mutex<State>,
        bits_per_second: Mutex<u32>,
    }

    #[glib::object_subclass]
    impl ObjectSubclass for AlphaEncoder {
        const NAME: &'static str = "GstMediaRecorderAlphaEncoder";
        type Type = super::AlphaEncoder;
        type ParentType = gst::Bin;

        fn with_class(_: &Self::Class) -> Self {
            let owner = Owner::default();
            let [sink, src] = &*TEMPLATES;
            let sink = gst::Pad::builder_from_template(sink)
                .chain_function(|_, parent, buffer| {
                    Self::catch_panic_pad_function(
                        parent,
                        || Err(gst::FlowError::Error),
                        |this| this.take(&buffer),
                    )
                })
                .event_function(|_, parent, event| {
                    Self::catch_panic_pad_function(parent, || false, |this| this.event_in(event))
                });
            let src = gst::Pad::builder_from_template(src).event_function(|_, parent, event| {
                let send = |this: &Self| {
                    let ways = [&this.colour, &this.alpha];
                    ways.map(|way| way.back.push_event(event.clone()))
                        .contains(&true)
                };
                Self::catch_panic_pad_function(parent, || false, send)
            });
            AlphaEncoder {
                sink: sink.name("sink").build(),
                src: src.name("src").build(),
                colour: way(Plane::Colour, &owner),
                alpha: way(Plane::Alpha, &owner),
                encoders: OnceCell::new(),
                owner,
                state: Mutex::default(),
                bits_per_second: Mutex::default(),
            }
        }
    }

    static TEMPLATES: Lazy<[gst::PadTemplate; 2]> = Lazy::new(|| {
        let taken = gst_video::VideoCapsBuilder::new()
            .format(VideoFormat::A420)
            .build();
        let made = formats::alpha_codecs()
            .into_iter()
            .map(formats::encoded_caps);
        let made = made.reduce(|mut all, caps| {
            all.merge(caps);
            all
        });
        let made = made.unwrap_or_else(gst::Caps::new_any);
        let template = |name, direction, caps| {
            gst::PadTemplate::new(name, direction, gst::PadPresence::Always, caps)
        };
        [
            template("sink", gst::PadDirection::Sink, &taken),
            template("src", gst::PadDirection::Src, &made),
        ]
        .map(|template| template.unwrap_or_else(|error| unreachable!("{error}")))
    });

    /// Pads without a parent element, which call back into the owner.
    fn way(plane: Plane, owner: &Owner) -> Way {
        let (packets, events) = (owner.clone(), owner.clone());
        let owner_of = |owner: &Owner| owner.get().and_then(glib::WeakRef::upgrade);
        let back = gst::Pad::builder(gst::PadDirection::Sink)
            .chain_function(move |_, _, buffer| {
                let owner = owner_of(&packets).ok_or(gst::FlowError::Flushing)?;
                owner.imp().packet(plane, buffer)
            })
            .event_function(move |_, _, event| {
                owner_of(&events).is_some_and(|owner| owner.imp().event_out(plane, event))
            })
            .build();
        let out = gst::Pad::builder(gst::PadDirection::Src).build();
        Way { out, back }
    }

    impl ObjectImpl for AlphaEncoder {
        fn properties() -> &'static [glib::ParamSpec] {
            static PROPERTIES: Lazy<[glib::ParamSpec; 1]> = Lazy::new(|| {
                [glib::ParamSpecUInt::builder("bitrate")
                    .nick("Bit rate")
                    .blurb("Total bitrate of both encoders in bit/s")
                    .mutable_playing()
                    .build()]
            });
            &*PROPERTIES
        }

        fn set_property(&self, _: usize, value: &glib::Value, _: &glib::ParamSpec) {
            let Ok(rate) = value.get::<u32>() else {
                return;
            };
            *lock(&self.bits_per_second) = rate;
            let share = rate / ALPHA_SHARE;
            for (encoder, rate) in self
                .encoders
                .get()
                .into_iter()
                .flatten()
                .zip([rate - share, share])
            {
                formats::set_bits_per_second(encoder, rate);
            }
        }

        fn property(&self, _: usize, _: &glib::ParamSpec) -> glib::Value {
            lock(&self.bits_per_second).to_value()
        }

        fn constructed(&self) {
            self.parent_constructed();
            let this = self.obj();
            let _ = self.owner.set(this.downgrade());
            let added = [&self.sink, &self.src].map(|pad| this.add_pad(pad));
            debug_assert!(added.iter().all(Result::is_ok));
        }
    }

    impl GstObjectImpl for AlphaEncoder {}

    impl ElementImpl for AlphaEncoder {
        fn pad_templates() -> &'static [gst::PadTemplate] {
            &*TEMPLATES
        }

        fn change_state(
            &self,
            transition: gst::StateChange,
        ) -> Result<gst::StateChangeSuccess, gst::StateChangeError> {
            let ways = [&self.colour, &self.alpha];
            let pads = || ways.into_iter().flat_map(|way| [&way.back, &way.out]);
            if transition == gst::StateChange::ReadyToPaused {
                *lock(&self.state) = State::default();
                for pad in pads() {
                    pad.set_active(true).map_err(|_| gst::StateChangeError)?;
                }
            }
            let done = self.parent_change_state(transition)?;
            if transition == gst::StateChange::PausedToReady {
                for pad in pads() {
                    pad.set_active(false).map_err(|_| gst::StateChangeError)?;
                }
            }
            Ok(done)
        }
    }

    impl BinImpl for AlphaEncoder {}

    impl AlphaEncoder {
        /// Handles an input frame.
        fn take(&self, frame: &gst::Buffer) -> Result<gst::FlowSuccess, gst::FlowError> {
            let formats = lock(&self.state).formats.clone();
            let (from, to) = formats.ok_or(gst::FlowError::NotNegotiated)?;
            let [colour, alpha] = split(frame, &from, &to).ok_or(gst::FlowError::Error)?;
            let pts = colour.pts();
            self.colour.out.push(colour)?;
            let owes_key = {
                let mut state = lock(&self.state);
                let asked = std::mem::take(&mut state.asked);
                std::mem::take(&mut state.owes_key) && !asked
            };
            if let (true, Some(pts), Some(sink)) = (owes_key, pts, self.alpha.out.peer()) {
                key_units::ask(&sink, pts);
            }
            self.alpha.out.push(alpha)
        }

        fn event_in(&self, event: gst::Event) -> bool {
            let event = match event.view() {
                gst::EventView::Caps(caps) => match self.negotiate(caps.caps()) {
                    Some(caps) => gst::event::Caps::new(&caps),
                    None => return false,
                },
                gst::EventView::CustomDownstream(_) => {
                    lock(&self.state).asked |= gst_video::ForceKeyUnitEvent::is(&event);
                    event
                }
                _ => event,
            };
            let ways = [&self.colour, &self.alpha];
            !ways
                .map(|way| way.out.push_event(event.clone()))
                .contains(&false)
        }

        /// Sets the input caps, and returns the caps for the encoders.
        fn negotiate(&self, caps: &gst::CapsRef) -> Option<gst::Caps> {
            let from = VideoInfo::from_caps(caps).ok()?;
            let mut caps = caps.to_owned();
            caps.make_mut().set("format", VideoFormat::I420.to_str());
            let to = VideoInfo::from_caps(&caps).ok()?;
            lock(&self.state).formats = Some((from, to));
            Some(caps)
        }

        /// Handles a packet from one of the encoders.
        fn packet(
            &self,
            plane: Plane,
            packet: gst::Buffer,
        ) -> Result<gst::FlowSuccess, gst::FlowError> {
            let mut state = lock(&self.state);
            match plane {
                Plane::Colour => {
                    let is_key = !packet.flags().contains(gst::BufferFlags::DELTA_UNIT);
                    state.owes_key = is_key && std::mem::replace(&mut state.has_begun, true);
                    state.colours.push_back(packet);
                }
                Plane::Alpha => state.alphas.push_back(packet),
            }
            if state.colours.is_empty() || state.alphas.is_empty() {
                return Ok(gst::FlowSuccess::Ok);
            }
            let pair = state.colours.pop_front().zip(state.alphas.pop_front());
            drop(state);
            let Some(joined) = pair.and_then(|(colour, alpha)| join(&colour, &alpha)) else {
                let what = "the packets of colour and alpha do not match";
                gst::element_imp_error!(self, gst::StreamError::Encode, ["{what}"]);
                return Err(gst::FlowError::Error);
            };
            self.src.push(joined)
        }

        /// Handles an event from one of the encoders. Those from the colour encoder are forwarded.
        fn event_out(&self, plane: Plane, event: gst::Event) -> bool {
            if event.type_() == gst::EventType::Eos {
                let mut state = lock(&self.state);
                match plane {
                    Plane::Colour => state.ended.0 = true,
                    Plane::Alpha => state.ended.1 = true,
                }
                let (true, true) = state.ended else {
                    return true;
                };
                state.ended = (false, false);
                drop(state);
                return self.src.push_event(event);
            }
            match event.view() {
                _ if plane == Plane::Alpha => true,
                gst::EventView::Caps(caps) => {
                    let mut caps = caps.caps_owned();
                    caps.make_mut().set(JOINED, true);
                    self.src.push_event(gst::event::Caps::new(&caps))
                }
                _ => self.src.push_event(event),
            }
        }
    }

    /// Joins two packets if they are of the same frame. Decoding can start at the result if it can start at both.
    fn join(colour: &gst::Buffer, alpha: &gst::Buffer) -> Option<gst::Buffer> {
        if colour.pts() != alpha.pts() {
            return None;
        }
        let bytes = formats::join_alpha(&colour.map_readable().ok()?, &alpha.map_readable().ok()?);
        let mut joined = gst::Buffer::from_mut_slice(bytes);
        let fields = joined.get_mut()?;
        let what = gst::BufferCopyFlags::FLAGS | gst::BufferCopyFlags::TIMESTAMPS;
        colour.copy_into(fields, what, ..).ok()?;
        if alpha.flags().contains(gst::BufferFlags::DELTA_UNIT) {
            fields.set_flags(gst::BufferFlags::DELTA_UNIT);
        }
        Some(joined)
    }
}
