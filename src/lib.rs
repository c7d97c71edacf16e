//! `mediarecorder`: a GStreamer element that records what it is given as a browser's
//! [MediaRecorder](https://www.w3.org/TR/mediastream-recording/) does.

mod fault;
pub mod formats;
pub mod gate;
pub mod model;
pub mod output;
pub mod recorder;
pub mod session;

/// Compiles the Rust program of README.md.
#[cfg(doctest)]
#[doc = include_str!("../README.md")]
struct Readme;

fn plugin_init(plugin: &gst::Plugin) -> Result<(), glib::BoolError> {
    recorder::register(plugin)
}

gst::plugin_define!(
    mediarecorder,
    env!("CARGO_PKG_DESCRIPTION"),
    plugin_init,
    concat!(env!("CARGO_PKG_VERSION"), "-", env!("COMMIT_ID")),
    "MIT/X11",
    env!("CARGO_PKG_NAME"),
    env!("CARGO_PKG_NAME"),
    "https://github.com/mediarecorder/gst-plugin-mediarecorder",
    env!("BUILD_REL_DATE")
);
