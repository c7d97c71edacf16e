//! Reorders channels for encoders that do not reorder to their codec's channel layout.

use crate::{
    formats,
    session::{probe::probe, timing::lock},
};
use gst::prelude::*;
use std::sync::Mutex;

/// There are no channel orders beyond this many channels.
const MOST: usize = 8;

/// Reorders the channels of the encoder's input if the encoder needs it.
pub fn mend(encoder: &gst::Element) {
    let factory = encoder.factory().map(|factory| factory.name());
    let (Some(pad), Some(factory)) = (encoder.static_pad("sink"), factory) else {
        return;
    };
    if (1..=MOST).all(|channels| formats::channel_order(&factory, channels).is_none()) {
        return;
    }
    // Bytes per sample of one channel, and the source index of each channel.
    let order = Mutex::new(None::<(usize, &'static [usize])>);
    let kinds = gst::PadProbeType::BUFFER | gst::PadProbeType::EVENT_DOWNSTREAM;
    probe(&pad, kinds, move |_, info| {
        if let Some(gst::EventView::Caps(caps)) = info.event().map(|event| event.view()) {
            let audio = formats::audio_info(caps.caps());
            *lock(&order) = audio.and_then(|audio| {
                let channels = usize::try_from(audio.channels()).ok()?;
                let width = usize::try_from(audio.width() / 8).ok()?;
                Some((width, formats::channel_order(&factory, channels)?))
            });
        } else if let Some((width, order)) = *lock(&order)
            && let Some(buffer) = info.buffer_mut()
            && let Ok(mut samples) = buffer.make_mut().map_writable()
        {
            reorder(&mut samples, width, order);
        }
        gst::PadProbeReturn::Ok
    });
}

fn reorder(samples: &mut [u8], width: usize, order: &[usize]) {
    let mut came = [0; MOST * 8];
    let length = width * order.len();
    let Some(came) = came.get_mut(..length).filter(|_| length > 0) else {
        return;
    };
    for sample in samples.chunks_exact_mut(length) {
        came.copy_from_slice(sample);
        for (place, from) in sample.chunks_exact_mut(width).zip(order) {
            if let Some(from) = came.get(from * width..(from + 1) * width) {
                place.copy_from_slice(from);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn channels_are_reordered_in_whole_samples() {
        let mut samples = [0, 1, 2, 3, 4, 5, 10, 11, 12, 13, 14, 15, 99];
        reorder(&mut samples, 2, &[0, 2, 1]);
        assert_eq!(samples, [0, 1, 4, 5, 2, 3, 10, 11, 14, 15, 12, 13, 99]);
    }
}
