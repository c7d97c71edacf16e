//! Video orientation: the rotation or flip that makes frames upright, and the part of it still to apply.

/// An optional horizontal flip, followed by a clockwise rotation in quarter turns.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Orientation {
    mirrored: bool,
    /// 0 to 3.
    quarters: u8,
}

impl Orientation {
    /// All orientations.
    pub const ALL: [Orientation; 8] = {
        let mut all = [Orientation {
            mirrored: false,
            quarters: 0,
        }; 8];
        let mut n = 0u8;
        while n < 8 {
            all[n as usize] = Orientation {
                mirrored: n >= 4,
                quarters: n % 4,
            };
            n += 1;
        }
        all
    };

    /// Parses the value of GStreamer's `image-orientation` tag, such as `flip-rotate-90`.
    pub fn from_tag(tag: &str) -> Option<Self> {
        let (mirrored, degrees) = match tag.strip_prefix("flip-") {
            Some(rest) => (true, rest),
            None => (false, tag),
        };
        let quarters = match degrees.strip_prefix("rotate-")? {
            "0" => 0,
            "90" => 1,
            "180" => 2,
            "270" => 3,
            _ => return None,
        };
        Some(Orientation { mirrored, quarters })
    }

    /// The value of the `image-orientation` tag.
    pub fn tag(self) -> &'static str {
        match (self.mirrored, self.quarters) {
            (false, 1) => "rotate-90",
            (false, 2) => "rotate-180",
            (false, 3) => "rotate-270",
            (false, _) => "rotate-0",
            (true, 1) => "flip-rotate-90",
            (true, 2) => "flip-rotate-180",
            (true, 3) => "flip-rotate-270",
            (true, _) => "flip-rotate-0",
        }
    }

    /// The nick in `GstVideoOrientationMethod`.
    pub fn direction(self) -> &'static str {
        match (self.mirrored, self.quarters) {
            (false, 1) => "90r",
            (false, 2) => "180",
            (false, 3) => "90l",
            (false, _) => "identity",
            (true, 1) => "ur-ll",
            (true, 2) => "vert",
            (true, 3) => "ul-lr",
            (true, _) => "horiz",
        }
    }

    /// Whether frames are flipped horizontally before they are rotated.
    pub fn is_mirrored(self) -> bool {
        self.mirrored
    }

    /// Counterclockwise rotation in degrees from -180 to 180, after the flip.
    pub fn counterclockwise(self) -> i16 {
        match self.quarters {
            1 => -90,
            2 => 180,
            3 => 90,
            _ => 0,
        }
    }

    /// Whether width and height are swapped.
    pub fn is_sideways(self) -> bool {
        self.quarters % 2 == 1
    }

    /// The directions, as (right, down), that a step to the right and a step down map to.
    pub fn steps(self) -> [(i32, i32); 2] {
        let [right, down] = match self.quarters % 4 {
            0 => [(1, 0), (0, 1)],
            1 => [(0, 1), (-1, 0)],
            2 => [(-1, 0), (0, -1)],
            _ => [(0, -1), (1, 0)],
        };
        if self.mirrored {
            [(-right.0, -right.1), down]
        } else {
            [right, down]
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_read_back() {
        for turn in Orientation::ALL {
            assert_eq!(Orientation::from_tag(turn.tag()), Some(turn));
        }
        assert_eq!(Orientation::from_tag("rotate-45"), None);
    }

    #[test]
    fn a_quarter_turn_clockwise_maps_right_to_down_and_down_to_left() {
        let steps = |tag| Orientation::from_tag(tag).unwrap().steps();
        assert_eq!(steps("rotate-90"), [(0, 1), (-1, 0)]);
        assert_eq!(steps("flip-rotate-0"), [(-1, 0), (0, 1)]);
        // Flipped first: right becomes left, and then up.
        assert_eq!(steps("flip-rotate-90"), [(0, -1), (-1, 0)]);
    }
}
