//! How a picture has to be turned to stand upright, and how much of that is left to do.

/// Mirrored or not, and then turned clockwise by quarters.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct Orientation {
    mirrored: bool,
    /// 0 to 3.
    quarters: u8,
}

impl Orientation {
    /// All there are.
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

    /// By the value of GStreamer's tag `image-orientation`, such as `flip-rotate-90`.
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

    /// The value of the tag.
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

    /// The same as a nick of `GstVideoOrientationMethod`.
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

    /// First this, then `next`.
    pub fn then(self, next: Orientation) -> Orientation {
        // Mirrored, a turn goes the other way round.
        let turned = match next.mirrored {
            true => 4 - self.quarters,
            false => self.quarters,
        };
        Orientation {
            mirrored: self.mirrored != next.mirrored,
            quarters: (turned + next.quarters) % 4,
        }
    }

    /// What undoes it.
    pub fn inverse(self) -> Orientation {
        match self.mirrored {
            true => self,
            false => Orientation {
                mirrored: false,
                quarters: (4 - self.quarters) % 4,
            },
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_turn_and_its_inverse_are_nothing() {
        for turn in Orientation::ALL {
            assert_eq!(turn.then(turn.inverse()), Orientation::default());
            assert_eq!(turn.inverse().then(turn), Orientation::default());
            assert_eq!(Orientation::from_tag(turn.tag()), Some(turn));
            for next in Orientation::ALL {
                let both = turn.then(next);
                assert_eq!(both.then(next.inverse()), turn);
                assert_eq!(both.inverse(), next.inverse().then(turn.inverse()));
            }
        }
        assert_eq!(Orientation::from_tag("rotate-45"), None);
    }
}
