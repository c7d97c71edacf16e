//! Faults on demand, for the tests of this crate: a named place panics once when a test says so.
//!
//! Nothing of it is in what users run: without `cfg(test)` a place is an empty function.

#[cfg(not(test))]
#[inline(always)]
pub(crate) fn place(_name: &str) {}

#[cfg(test)]
pub(crate) use armed::{arm, init, is_armed, place};

#[cfg(test)]
mod armed {
    use std::sync::{Mutex, Once};

    /// GStreamer and the plugin, once for all tests of this crate.
    pub(crate) fn init() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            gst::init().unwrap();
            crate::plugin_register_static().unwrap();
        });
    }

    static ARMED: Mutex<Option<&'static str>> = Mutex::new(None);

    /// The next thread that comes by the place `name` panics there.
    pub(crate) fn arm(name: &'static str) {
        *crate::session::lock(&ARMED) = Some(name);
    }

    /// Whether nobody has come by yet.
    pub(crate) fn is_armed() -> bool {
        crate::session::lock(&ARMED).is_some()
    }

    pub(crate) fn place(name: &str) {
        let mut armed = crate::session::lock(&ARMED);
        if *armed == Some(name) {
            *armed = None;
            drop(armed);
            panic!("injected at {name}");
        }
    }
}
