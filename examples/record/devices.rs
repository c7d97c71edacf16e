//! Capture devices, and how to select them.

use anyhow::{Context, Result, bail};
use gst::prelude::*;

/// The kind of a device or a track.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    Audio,
    Video,
}

impl Kind {
    /// GStreamer's device class.
    const fn device_class(self) -> &'static str {
        match self {
            Self::Audio => "Audio/Source",
            Self::Video => "Video/Source",
        }
    }

    /// The recorder's pad.
    pub const fn pad_name(self) -> &'static str {
        match self {
            Self::Audio => "audio_0",
            Self::Video => "video_0",
        }
    }

    /// The caps of decoded data.
    pub const fn raw(self) -> &'static str {
        match self {
            Self::Audio => "audio/x-raw",
            Self::Video => "video/x-raw",
        }
    }

    pub const fn content(self) -> &'static str {
        match self {
            Self::Audio => "sound",
            Self::Video => "picture",
        }
    }

    pub const fn noun(self) -> &'static str {
        match self {
            Self::Audio => "microphone",
            Self::Video => "camera",
        }
    }

    pub const fn option(self) -> &'static str {
        match self {
            Self::Audio => "--audio",
            Self::Video => "--video",
        }
    }
}

/// All devices of a kind, the preferred one first.
pub fn find(kind: Kind) -> Vec<gst::Device> {
    let monitor = gst::DeviceMonitor::new();
    if monitor
        .add_filter(Some(kind.device_class()), None)
        .is_none()
    {
        return Vec::new(); // no plugin here looks for such devices
    }
    if monitor.start().is_err() {
        return Vec::new();
    }
    let mut devices: Vec<_> = monitor.devices().into_iter().collect();
    // Not stopped: with PipeWire's provider (0.3.65) that corrupts memory.
    std::mem::forget(monitor);
    devices.sort_by_key(rank); // stable: otherwise as the system orders them
    devices
}

/// The system's default, then real devices, then the monitors of outputs.
fn rank(device: &gst::Device) -> u8 {
    if is_default(device) {
        0
    } else if is_output_monitor(device) {
        2
    } else {
        1
    }
}

fn is_default(device: &gst::Device) -> bool {
    device
        .properties()
        .and_then(|properties| properties.get::<bool>("is-default").ok())
        .unwrap_or(false)
}

/// The monitor of an output, which PulseAudio and PipeWire offer for capture.
fn is_output_monitor(device: &gst::Device) -> bool {
    device
        .properties()
        .and_then(|properties| properties.get::<String>("device.class").ok())
        .is_some_and(|class| class == "monitor")
}

/// The devices whose name contains `wanted`, ignoring case; one with exactly that name comes first.
pub fn matching(kind: Kind, devices: Vec<gst::Device>, wanted: &str) -> Result<Vec<gst::Device>> {
    let names: Vec<String> = devices.iter().map(name).collect();
    let order = match_names(&names, wanted);
    if order.is_empty() {
        let noun = kind.noun();
        if names.is_empty() {
            bail!("there is no {noun} here, so none called {wanted:?} (--test needs none)");
        }
        bail!(
            "no {noun} has {wanted:?} in its name; there is: {}",
            names.join(", ")
        );
    }
    Ok(order
        .into_iter()
        .filter_map(|index| devices.get(index).cloned())
        .collect())
}

fn match_names(names: &[String], wanted: &str) -> Vec<usize> {
    let wanted = wanted.to_lowercase();
    let mut found: Vec<(bool, usize)> = names
        .iter()
        .map(|name| name.to_lowercase())
        .enumerate()
        .filter(|(_, name)| name.contains(&wanted))
        .map(|(index, name)| (name != wanted, index))
        .collect();
    found.sort_unstable();
    found.into_iter().map(|(_, index)| index).collect()
}

pub fn name(device: &gst::Device) -> String {
    device.display_name().to_string()
}

/// `--list`
pub fn print_list() -> Result<()> {
    use std::io::Write;
    let mut out = std::io::stdout().lock();
    for kind in [Kind::Audio, Kind::Video] {
        let devices = find(kind);
        writeln!(out, "{}s:", kind.noun()).context("the list cannot be written")?;
        if devices.is_empty() {
            writeln!(out, "    none found")?;
        }
        for device in &devices {
            let mark = if is_default(device) { '*' } else { ' ' };
            writeln!(out, "  {mark} {}{}", name(device), remark(device))?;
        }
    }
    writeln!(
        out,
        "\n* is the system's default. Pick by a part of the name: {} NAME, {} NAME.",
        Kind::Audio.option(),
        Kind::Video.option()
    )?;
    Ok(())
}

/// The element that captures from the device, and whether it is an output's monitor.
fn remark(device: &gst::Device) -> String {
    let element = device
        .create_element(None)
        .ok()
        .and_then(|element| element.factory())
        .map_or_else(String::new, |factory| format!("  [{}]", factory.name()));
    let monitor = if is_output_monitor(device) {
        "  (what an output plays)"
    } else {
        ""
    };
    format!("{element}{monitor}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_match_by_part_and_exact_ones_come_first() {
        let names = ["USB Camera 2", "usb camera", "Built-in"].map(String::from);
        assert_eq!(match_names(&names, "USB"), [0, 1]);
        assert_eq!(match_names(&names, "USB Camera"), [1, 0]);
        assert_eq!(match_names(&names, "built"), [2]);
        assert!(match_names(&names, "screen").is_empty());
    }
}
