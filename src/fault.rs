//! Faults on demand, for the tests of this crate: a named place panics once when a test says so.
//!
//! Nothing of it is in what users run: without `cfg(test)` a place is an empty function.

#[cfg(not(test))]
#[inline(always)]
pub(crate) fn place(_name: &str) {}

#[cfg(test)]
pub(crate) use armed::{arm, in_own_process, init, is_armed, place};

#[cfg(test)]
mod armed {
    use std::{
        process::Command,
        sync::{Mutex, Once},
    };

    /// Set in the processes of [`in_own_process`].
    const OWN_PROCESS: &str = "MEDIARECORDER_OWN_PROCESS";

    /// GStreamer and the plugin, once for all tests of this crate.
    pub(crate) fn init() {
        static ONCE: Once = Once::new();
        ONCE.call_once(|| {
            gst::init().unwrap();
            crate::plugin_register_static().unwrap();
        });
    }

    /// Runs the body of a test in a process of its own: no other test's recording may come by an armed place. `F` is a
    /// closure in the test function, whose name it gives.
    pub(crate) fn in_own_process<F>(body: impl FnOnce()) {
        if std::env::var_os(OWN_PROCESS).is_some() {
            return body();
        }
        let name = std::any::type_name::<F>();
        let (_crate, name) = name.split_once("::").unwrap();
        let name = name.split("::{{").next().unwrap();
        let output = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", name, "--nocapture"])
            .env(OWN_PROCESS, "1")
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&output.stdout);
        let passed = output.status.success() && text.contains("1 passed");
        assert!(
            passed,
            "{name}: {}\n{text}{}",
            output.status,
            String::from_utf8_lossy(&output.stderr)
        );
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
