//! Loads togglerecord, which scripts/togglerecord builds.

use anyhow::{Context, Result, ensure};
use std::path::PathBuf;

/// Registers it in this process.
pub fn load() -> Result<()> {
    let path = path();
    ensure!(
        path.exists(),
        "togglerecord is not there: run scripts/togglerecord, which builds it ({} is missing; \
         MEDIARECORDER_TOGGLERECORD names another)",
        path.display()
    );
    let plugin = gst::Plugin::load_file(&path).with_context(|| path.display().to_string())?;
    gst::Registry::get().add_plugin(&plugin)?;
    Ok(())
}

fn path() -> PathBuf {
    if let Some(path) = std::env::var_os("MEDIARECORDER_TOGGLERECORD") {
        return path.into();
    }
    let target = std::env::var_os("CARGO_TARGET_DIR").map_or_else(
        || PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("target"),
        PathBuf::from,
    );
    target.join("togglerecord/libgsttogglerecord.so")
}
