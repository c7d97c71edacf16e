//! A private PulseAudio daemon with a silent microphone: the monitor of its null sink.

#[path = "../common/child_process.rs"]
mod child_process;

use child_process::kill_with_test;
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

/// Runs until dropped, independently of the user's sound server.
pub struct SoundServer {
    child: Child,
    dir: tempfile::TempDir,
}

impl SoundServer {
    pub fn start() -> Self {
        // 0700, as PulseAudio requires; in /tmp, because a socket's path is limited in length.
        let dir = tempfile::tempdir_in("/tmp").expect("a directory");
        let mut child = Command::new("pulseaudio");
        child
            .args(["-n", "--daemonize=no", "--exit-idle-time=-1"])
            .arg("--load=module-native-protocol-unix")
            .arg("--load=module-null-sink sink_name=nul rate=48000 channels=2")
            .arg(
                "--load=module-remap-source master=nul.monitor source_name=mic \
                 source_properties=device.description=Desk_Mic",
            )
            .envs(variables(dir.path().into()))
            .env_remove("PULSE_SERVER")
            .stdin(Stdio::null())
            .stderr(Stdio::null());
        let child = kill_with_test(&mut child)
            .spawn()
            .expect("pulseaudio runs (Debian package pulseaudio)");
        let server = Self { child, dir };
        let deadline = Instant::now() + Duration::from_secs(20);
        while !server.answers() {
            assert!(Instant::now() < deadline, "pulseaudio does not answer");
            std::thread::sleep(Duration::from_millis(20));
        }
        server
    }

    /// Makes the program a client of this server.
    pub fn serve<'a>(&self, command: &'a mut Command) -> &'a mut Command {
        command
            .envs(variables(self.dir.path().into()))
            .env_remove("PULSE_SERVER")
    }

    fn answers(&self) -> bool {
        let mut command = Command::new("pactl");
        self.serve(&mut command).args(["list", "short", "sources"]);
        command
            .output()
            .is_ok_and(|output| String::from_utf8_lossy(&output.stdout).contains("mic"))
    }
}

fn variables(dir: PathBuf) -> [(&'static str, PathBuf); 2] {
    [("XDG_RUNTIME_DIR", dir.clone()), ("HOME", dir)]
}

impl Drop for SoundServer {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
