//! The size of a part so far, including what has yet to be written.

use super::timing::lock;
use crate::model::{forecast::TrackBytes, timeline::Ns};
use std::sync::Mutex;

/// See the module documentation.
#[derive(Debug, Default)]
pub struct PartSize {
    figures: Mutex<Figures>,
}

#[derive(Debug, Default)]
struct Figures {
    /// Media that has reached the muxer, in the order of the recording's tracks.
    tracks: Vec<TrackBytes>,
    packets: u64,
    /// Container overhead, as far as observed.
    container: u64,
    /// What finalising adds: a fixed amount, and an amount per packet.
    index: (u64, u64),
    /// The container's own size limit.
    limit: Option<u64>,
}

impl PartSize {
    /// For this many tracks, all empty.
    pub fn of_tracks(tracks: usize) -> Self {
        let figures = Figures {
            tracks: vec![TrackBytes::default(); tracks],
            ..Figures::default()
        };
        PartSize {
            figures: Mutex::new(figures),
        }
    }

    /// Sets the size of the container's index, and the container's limit.
    pub fn set_container(&self, index: (u64, u64), limit: Option<u64>) {
        let mut figures = lock(&self.figures);
        figures.index = index;
        figures.limit = limit;
    }

    /// Notes that a packet of this track has reached the muxer. It ends at recorded time `end` of the part.
    pub fn add_packet(&self, track: usize, size: u64, end: Ns) {
        let mut figures = lock(&self.figures);
        figures.packets += 1;
        if let Some(track) = figures.tracks.get_mut(track) {
            track.bytes = track.bytes.saturating_add(size);
            track.reached = track.reached.max(end);
        }
    }

    /// Notes how many bytes have been written.
    pub fn note_written(&self, written: u64) {
        let mut figures = lock(&self.figures);
        // While the muxer holds media, this is too low.
        let container = written.saturating_sub(figures.media());
        figures.container = figures.container.max(container);
    }

    /// The media of the tracks, and how much they may have in total if the file is limited to `limit`; `None`:
    /// unlimited.
    pub fn budget(&self, limit: Option<u64>) -> Option<(Vec<TrackBytes>, u64)> {
        let figures = lock(&self.figures);
        let limit = limit.into_iter().chain(figures.limit).min()?;
        Some((
            figures.tracks.clone(),
            limit.saturating_sub(figures.beside_media()),
        ))
    }

    /// How much media the tracks may have if the file is limited to `room`.
    pub fn within(&self, room: u64) -> u64 {
        room.saturating_sub(lock(&self.figures).beside_media())
    }

    /// The size of the file if it ended now.
    pub fn expected(&self) -> u64 {
        let figures = lock(&self.figures);
        figures.media().saturating_add(figures.beside_media())
    }
}

impl Figures {
    fn media(&self) -> u64 {
        self.tracks.iter().map(|track| track.bytes).sum()
    }

    fn beside_media(&self) -> u64 {
        let (fixed, per_packet) = self.index;
        let index = fixed.saturating_add(per_packet.saturating_mul(self.packets));
        self.container.saturating_add(index)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn overhead_and_index_do_not_count_as_track_bytes() {
        let size = PartSize::of_tracks(2);
        assert_eq!(size.budget(None), None);
        size.set_container((100, 10), Some(5_000));
        size.note_written(300);
        size.add_packet(1, 1_000, 40);
        // The muxer still holds the packet.
        size.note_written(300);
        let (tracks, budget) = size.budget(None).unwrap();
        assert_eq!((tracks[1].bytes, tracks[1].reached), (1_000, 40));
        assert_eq!(budget, 5_000 - 300 - 100 - 10);
        size.note_written(1_350);
        assert_eq!(size.budget(Some(2_000)).unwrap().1, 2_000 - 350 - 110);
        assert_eq!(size.expected(), 1_000 + 350 + 110);
    }
}
