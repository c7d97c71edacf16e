//! The uploader, run like a user does, against a local S3 server behind a network that drops connections.
//!
//! The server is moto's, which scripts/test installs; MEDIARECORDER_S3_SERVER is the path of its program.

mod common;

use common::harness::media::{assert_lasts, assert_plays, run};
use common::harness::plugin;
use common::settings::skipped;
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::thread;
use std::time::{Duration, Instant};

/// The minimum part size of S3.
const PIECE: u64 = 5 << 20;
const DEADLINE: Duration = Duration::from_secs(120);

/// The S3 server; exits with the test.
struct Server {
    process: Child,
    address: SocketAddr,
}

impl Server {
    /// With an empty bucket `recordings`; `None`, which is reported, if it could not be installed from PyPI.
    fn start() -> Option<Self> {
        let Some(program) = std::env::var_os("MEDIARECORDER_S3_SERVER") else {
            skipped(
                "the uploader (no S3 server: MEDIARECORDER_S3_SERVER names moto_server, which scripts/test installs)",
            );
            return None;
        };
        let port = TcpListener::bind("127.0.0.1:0")
            .and_then(|listener| listener.local_addr())
            .expect("a free port")
            .port();
        let process = Command::new(program)
            .args(["-H", "127.0.0.1", "-p", &port.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("moto_server");
        let address = SocketAddr::from(([127, 0, 0, 1], port));
        let server = Server { process, address };
        let started = Instant::now();
        while TcpStream::connect(address).is_err() {
            assert!(started.elapsed() < DEADLINE, "moto_server does not listen");
            thread::sleep(Duration::from_millis(50));
        }
        let (status, _) = server.request("PUT /recordings");
        assert_eq!(status, 200, "the bucket");
        Some(server)
    }

    /// Status and body of a request without a body.
    fn request(&self, what: &str) -> (u16, Vec<u8>) {
        let mut stream = TcpStream::connect(self.address).expect("connected");
        write!(
            stream,
            "{what} HTTP/1.0\r\nHost: localhost\r\nContent-Length: 0\r\n\r\n"
        )
        .expect("sent");
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer).expect("an answer");
        let head = answer
            .windows(4)
            .position(|bytes| bytes == b"\r\n\r\n")
            .expect("a head");
        let status = std::str::from_utf8(&answer[9..12])
            .expect("a status")
            .parse();
        (status.expect("a status"), answer.split_off(head + 4))
    }

    fn object(&self, key: &str) -> Vec<u8> {
        let (status, bytes) = self.request(&format!("GET /recordings/{key}"));
        assert_eq!(status, 200, "{key}");
        bytes
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

/// The network in between: it drops every third connection at some point.
struct Network {
    address: SocketAddr,
    dropped: Arc<AtomicUsize>,
}

impl Network {
    fn to(server: SocketAddr) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("its address");
        let dropped = Arc::<AtomicUsize>::default();
        let count = dropped.clone();
        thread::spawn(move || {
            for (number, client) in listener.incoming().enumerate() {
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(server)) else {
                    return;
                };
                // From immediately to after a whole piece, whose response is then lost.
                let limit = match number % 3 {
                    1 => number as u64 * 977_777 % (PIECE + 2000),
                    _ => u64::MAX,
                };
                carry(client, server, limit, &count);
            }
        });
        Network { address, dropped }
    }
}

/// Forwards in both directions until either end closes, or this many bytes have been uploaded.
fn carry(client: TcpStream, server: TcpStream, limit: u64, dropped: &Arc<AtomicUsize>) {
    let down = (
        server.try_clone().expect("a copy"),
        client.try_clone().expect("a copy"),
    );
    let left = Arc::new(AtomicU64::new(limit));
    let dropped = dropped.clone();
    thread::spawn(move || {
        let (mut from, mut to) = (client, server);
        let mut bytes = vec![0; 64 << 10];
        while let Ok(read @ 1..) = from.read(&mut bytes) {
            let allowed = left.load(Ordering::Relaxed).min(read as u64);
            if to.write_all(&bytes[..allowed as usize]).is_err() {
                break;
            }
            if left.fetch_sub(allowed, Ordering::Relaxed) == allowed {
                dropped.fetch_add(1, Ordering::Relaxed);
                let _ = from.shutdown(Shutdown::Both);
                break;
            }
            // A link of about 10 MB/s, so that there is something to interrupt.
            thread::sleep(Duration::from_millis(read as u64 / 10_000));
        }
        let _ = to.shutdown(Shutdown::Both);
    });
    thread::spawn(move || {
        let (mut from, mut to) = down;
        let _ = std::io::copy(&mut from, &mut to);
        let _ = to.shutdown(Shutdown::Both);
    });
}

fn example() -> PathBuf {
    let test = std::env::current_exe().expect("the test's own path");
    let profile = test.ancestors().nth(2).expect("target/PROFILE/deps/TEST");
    let example = profile.join("examples/upload");
    assert!(
        example.is_file(),
        "{} is not built: cargo build --example upload",
        example.display()
    );
    example
}

/// The uploader in `folder`, to this object.
fn upload(folder: &Path, network: &Network, options: &str, key: &str, file: &str) -> Command {
    let mut command = plugin::command("timeout");
    command
        .args(["--foreground", "--signal=KILL", "120"])
        .arg(example())
        .args(options.split_whitespace())
        .args(["--endpoint", &format!("http://{}", network.address)])
        .args([&format!("s3://recordings/{key}"), file])
        .envs([
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
            ("AWS_REGION", "us-east-1"),
        ])
        .current_dir(folder);
    command
}

/// The file is unlinked, its bytes are still available.
fn keep(file: &Path) -> PathBuf {
    let kept = file.with_extension("kept");
    let started = Instant::now();
    while std::fs::hard_link(file, &kept).is_err() {
        assert!(
            started.elapsed() < DEADLINE,
            "{} does not appear",
            file.display()
        );
        thread::sleep(Duration::from_millis(10));
    }
    kept
}

fn assert_uploaded(server: &Server, key: &str, kept: &Path) {
    let local = std::fs::read(kept).expect("the local bytes");
    let remote = server.object(key);
    assert!(
        local.len() as u64 > PIECE,
        "only {} bytes were recorded",
        local.len()
    );
    assert!(
        local == remote,
        "{key}: {} bytes here, {} there",
        local.len(),
        remote.len()
    );
    assert!(
        !kept.with_file_name(key).exists(),
        "the local copy is still there"
    );
}

#[track_caller]
fn records_and_uploads(file: &str) {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(server) = Server::start() else {
        return;
    };
    let network = Network::to(server.address);
    let options = format!("--test --seconds 6 --part-size {PIECE}");
    let mut command = upload(folder.path(), &network, &options, file, file);
    let running = command.stderr(Stdio::piped()).spawn().expect("started");
    let kept = keep(&folder.path().join(file));
    let output = running.wait_with_output().expect("its end");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{text}");
    assert_uploaded(&server, file, &kept);
    assert!(
        network.dropped.load(Ordering::Relaxed) > 0,
        "no connection was dropped"
    );
    assert!(
        !folder.path().join(format!("{file}.upload")).exists(),
        "the journal is still there"
    );
    let kept = kept.to_str().expect("a name");
    assert_lasts(kept, 6.0, 0.1);
    assert_plays(kept);
}

#[test]
fn webm_is_uploaded_while_recording() {
    records_and_uploads("talk.webm");
}

#[test]
fn matroska_is_uploaded_while_recording() {
    records_and_uploads("talk.mkv");
}

#[test]
fn an_ordinary_mp4_is_uploaded_while_recording() {
    records_and_uploads("talk.mp4");
}

/// Twenty kills at any time: one while recording, the others during the upload of the rest.
#[test]
fn the_recording_is_uploaded_however_often_it_is_killed() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(server) = Server::start() else {
        return;
    };
    let network = Network::to(server.address);
    let mut kills = 0;
    for file in ["a.webm", "b.mp4", "c.mkv"].into_iter().cycle() {
        let path = folder.path().join(file);
        let options = format!("--test --part-size {PIECE}");
        kill(
            &mut upload(folder.path(), &network, &options, file, file),
            || {
                let started = Instant::now();
                while !std::fs::metadata(&path).is_ok_and(|file| file.len() > 3 * PIECE) {
                    assert!(started.elapsed() < DEADLINE, "{file} does not grow");
                    thread::sleep(Duration::from_millis(20));
                }
            },
        );
        let kept = keep(&path);
        let mut resume = upload(folder.path(), &network, "--resume", file, file);
        let mut killed = 1;
        while killed < 7 {
            let wait = Duration::from_millis(killed * 137 % 400 + 30);
            if !kill(&mut resume, || thread::sleep(wait)) {
                break;
            }
            killed += 1;
        }
        if path.with_file_name(format!("{file}.upload")).exists() {
            run(resume.stderr(Stdio::piped()));
        }
        assert_uploaded(&server, file, &kept);
        assert_plays(kept.to_str().expect("a name"));
        std::fs::remove_file(kept).expect("removed");
        kills += killed;
        if kills >= 20 {
            return;
        }
    }
}

/// Runs it until `wait` returns; FALSE if it exited before.
fn kill(command: &mut Command, wait: impl FnOnce()) -> bool {
    let mut running = command.stderr(Stdio::null()).spawn().expect("started");
    wait();
    if running.try_wait().expect("its state").is_some() {
        return false;
    }
    // `timeout` forwards signals, but this one cannot be caught.
    let _ = Command::new("pkill")
        .args(["-KILL", "-P", &running.id().to_string()])
        .status();
    running.wait().expect("its end");
    true
}

#[test]
fn a_missing_bucket_is_reported_before_recording() {
    let folder = tempfile::tempdir().expect("a folder");
    let Some(server) = Server::start() else {
        return;
    };
    let mut command = plugin::command("timeout");
    let output = command
        .args(["--foreground", "--signal=KILL", "60"])
        .arg(example())
        .args([
            "--test",
            "--endpoint",
            &format!("http://{}", server.address),
        ])
        .args(["s3://nowhere/a.webm", "a.webm"])
        .envs([
            ("AWS_ACCESS_KEY_ID", "test"),
            ("AWS_SECRET_ACCESS_KEY", "test"),
        ])
        .current_dir(folder.path())
        .output()
        .expect("run");
    let text = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success(), "{text}");
    assert!(text.contains("NoSuchBucket"), "{text}");
    assert!(
        !folder.path().join("a.webm").exists(),
        "something was recorded"
    );
}
