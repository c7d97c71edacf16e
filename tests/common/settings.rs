//! Settings of a test run: a reproducible random seed, long tests, and tests that cannot run here.
#![allow(dead_code)]

/// xorshift64*.
pub struct Rng(u64);

impl Rng {
    pub fn new(seed: u64) -> Self {
        Rng(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1)
    }

    /// Seeded by `MEDIARECORDER_SEED`, otherwise by the time, which is printed.
    pub fn from_env() -> Self {
        let given = std::env::var("MEDIARECORDER_SEED").ok();
        let seed = given.and_then(|seed| seed.parse().ok()).unwrap_or_else(|| {
            std::time::SystemTime::now()
                .duration_since(std::time::UNIX_EPOCH)
                .map_or(1, |now| now.as_nanos() as u64 >> 8)
        });
        eprintln!("MEDIARECORDER_SEED={seed}");
        Rng::new(seed)
    }

    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d) >> 11
    }

    /// Below `most`.
    pub fn below(&mut self, most: u64) -> u64 {
        self.next() % most.max(1)
    }

    /// One of these, at random.
    pub fn pick<T: Copy>(&mut self, these: &[T]) -> T {
        these[self.below(these.len() as u64) as usize]
    }

    /// An independent generator, for another thread.
    pub fn fork(&mut self) -> Self {
        Rng::new(self.next())
    }
}

/// Whether long tests are enabled (`scripts/test --long`).
pub fn long() -> bool {
    std::env::var_os("MEDIARECORDER_LONG").is_some()
}

/// `all` in a long run, a tenth of it otherwise.
pub fn tenth(all: u64) -> u64 {
    if long() { all } else { all / 10 }
}

/// Reports a test that cannot run here; scripts/test lists them at its end.
pub fn skipped(what: &str) {
    use std::io::Write;
    eprintln!("not run: {what}");
    if let Some(list) = std::env::var_os("MEDIARECORDER_SKIPPED") {
        let mut list = std::fs::OpenOptions::new().append(true).open(list).unwrap();
        writeln!(list, "{what}").unwrap();
    }
}
