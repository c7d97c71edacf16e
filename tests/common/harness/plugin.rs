//! The plugin as a file, for tests that run other programs: gst-launch, gst-inspect, Python.

use super::wait_for;
use crate::common::child_process::kill_with_test;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus};
use std::sync::OnceLock;

const FILE: &str = "libgstmediarecorder.so";

/// The plugin's file: from `$MEDIARECORDER_PLUGIN_DIR`, or next to this test, where cargo built it together with
/// the library that the test is linked to, or built here by `cargo build`.
///
/// If there is none, the test fails; it is not skipped.
fn built() -> PathBuf {
    if let Some(folder) = std::env::var_os("MEDIARECORDER_PLUGIN_DIR") {
        let file = Path::new(env!("CARGO_MANIFEST_DIR"))
            .join(folder)
            .join(FILE);
        assert!(
            file.is_file(),
            "MEDIARECORDER_PLUGIN_DIR has no {FILE}: {}",
            file.display()
        );
        return file;
    }
    // target/<profile>/deps/<this test>
    let exe = std::env::current_exe().expect("this test has a path");
    let deps = exe.parent().expect("the folder of tests");
    let beside = deps.join(FILE);
    if beside.is_file() {
        return beside;
    }
    let profile = deps.parent().expect("the profile's folder");
    let target = profile.parent().expect("the target folder");
    let mut build = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    build
        .args(["build", "--lib", "--target-dir"])
        .arg(target)
        .current_dir(env!("CARGO_MANIFEST_DIR"));
    if profile.ends_with("release") {
        build.arg("--release");
    }
    super::media::run(&mut build);
    let file = profile.join(FILE);
    assert!(file.is_file(), "cargo build made no {}", file.display());
    file
}

/// A directory that contains only the plugin.
pub fn folder() -> &'static Path {
    static FOLDER: OnceLock<PathBuf> = OnceLock::new();
    FOLDER.get_or_init(|| {
        let file = built().canonicalize().expect("the plugin has a path");
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("plugin");
        std::fs::create_dir_all(&folder).expect("a folder for the plugin");
        // Test programs may run in parallel: created under a temporary name, then renamed.
        let link = folder.join(FILE);
        let aside =
            Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("{FILE}.{}", std::process::id()));
        std::os::unix::fs::symlink(&file, &aside).expect("a link to the plugin");
        std::fs::rename(&aside, &link).expect("the link in its place");
        folder
    })
}

/// `program` in an environment where GStreamer finds the plugin and the user's registry is not touched.
pub fn command(program: &str) -> Command {
    let mut command = Command::new(program);
    command
        .env("GST_PLUGIN_PATH", folder())
        .env(
            "GST_REGISTRY",
            Path::new(env!("CARGO_TARGET_TMPDIR")).join("registry.bin"),
        )
        .env("LC_ALL", "C.UTF-8");
    command
}

/// A program that runs in the background, and is killed with the test.
pub struct Running(Child);

impl Running {
    #[track_caller]
    pub fn spawn(command: &mut Command) -> Self {
        let child = kill_with_test(command).spawn();
        Running(child.unwrap_or_else(|e| panic!("{command:?} does not run: {e}")))
    }

    /// Sends SIGINT, as Ctrl-C does.
    #[track_caller]
    pub fn interrupt(&self) {
        super::media::run(Command::new("kill").args(["-INT", &self.0.id().to_string()]));
    }

    /// Waits until the program has exited.
    #[track_caller]
    pub fn wait_exit(&mut self) -> ExitStatus {
        let mut status = None;
        wait_for("the program's end", || {
            status = self.0.try_wait().expect("a child can be waited for");
            status.is_some()
        });
        status.expect("just seen")
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only fails if the program has already exited.
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

/// Waits until `path` holds at least `size` bytes.
#[track_caller]
pub fn wait_size(path: &str, size: u64) {
    wait_for(&format!("{size} bytes in {path}"), || {
        std::fs::metadata(path).is_ok_and(|m| m.len() >= size)
    });
}
