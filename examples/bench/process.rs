//! Runs in child processes, and their cost.

use crate::{Way, place::Place};
use anyhow::{Context, Result, bail, ensure};
use std::{
    io::Read,
    mem::MaybeUninit,
    os::unix::process::ExitStatusExt,
    process::{Child, Command, ExitStatus, Stdio},
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    time::{Duration, Instant},
};

/// Sampling interval of threads and memory.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// The cost of a run.
#[derive(Clone, Copy, Debug, Default)]
pub struct Cost {
    /// Seconds of CPU time, user and system.
    pub cpu: f64,
    /// Seconds.
    pub wall: f64,
    /// Peak resident set in MiB.
    pub rss: f64,
    /// Maximum number of threads seen.
    pub threads: f64,
}

/// The child's own figures, where those of the whole process are not the subject: one line of JSON.
pub type Said = Option<serde_json::Value>;

/// Runs `work` in a child process and waits for its end.
pub fn measure(place: &Place, work: &str, way: Way, amount: u64) -> Result<(Cost, Said)> {
    measure_under(&[], place, work, way, amount)
}

/// The same with the child started by another program, such as strace, with these arguments; none: by itself.
fn measure_under(
    starter: &[&str],
    place: &Place,
    work: &str,
    way: Way,
    amount: u64,
) -> Result<(Cost, Said)> {
    place.clear()?;
    let begun = Instant::now();
    let executable = std::env::current_exe()?;
    let mut command = match starter {
        [] => Command::new(&executable),
        [program, args @ ..] => {
            let mut command = Command::new(program);
            command.args(args).arg(&executable);
            command
        }
    };
    let mut child = command
        .arg("child")
        .args(["--dir".as_ref(), place.dir().as_os_str()])
        .args(["--way", way.name(), "--amount", &amount.to_string(), work])
        .args(place.is_kept().then_some("--keep"))
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| starter.join(" "))?;
    let mut said = String::new();
    let stdout = child.stdout.take();
    let (over, threads, rss) = (AtomicBool::new(false), AtomicU64::new(0), AtomicU64::new(0));
    let id = child.id();
    let ended = std::thread::scope(|scope| {
        scope.spawn(|| {
            while !over.load(Ordering::Relaxed) {
                let status = status_of(id);
                threads.fetch_max(number_of(&status, "Threads:"), Ordering::Relaxed);
                // The kernel's final figure, ru_maxrss, includes this process, of which the child was a copy.
                rss.fetch_max(number_of(&status, "VmHWM:"), Ordering::Relaxed);
                std::thread::sleep(LOOK_EVERY);
            }
        });
        // It prints little, and at the end.
        let read = stdout.map(|mut out| out.read_to_string(&mut said));
        let ended = wait(&child).map(|(status, usage)| (status, usage, begun.elapsed()));
        over.store(true, Ordering::Relaxed);
        read.transpose()?;
        ended
    });
    let (status, usage, wall) = ended?;
    if !place.is_kept() {
        place.clear()?;
    }
    ensure!(status.success(), "{work} {}: {status}", way.name());
    let mut cost = Cost {
        cpu: cpu_of(&usage),
        wall: wall.as_secs_f64(),
        rss: rss.into_inner() as f64 / 1024.0,
        threads: threads.into_inner() as f64,
    };
    let said: Said = match said.trim() {
        "" => None,
        said => Some(serde_json::from_str(said)?),
    };
    if let Some(said) = &said {
        let of = |name: &str, whole: f64| said[name].as_f64().unwrap_or(whole);
        cost.cpu = of("cpu", cost.cpu);
        cost.wall = of("wall", cost.wall);
    }
    Ok((cost, said))
}

/// A run of which only the child's own figures matter.
pub fn ask(place: &Place, work: &str, way: Way, amount: u64) -> Result<serde_json::Value> {
    ask_under(&[], place, work, way, amount)
}

/// The same under another program, as in [`measure_under`].
pub fn ask_under(
    starter: &[&str],
    place: &Place,
    work: &str,
    way: Way,
    amount: u64,
) -> Result<serde_json::Value> {
    match measure_under(starter, place, work, way, amount)?.1 {
        Some(said) => Ok(said),
        None => bail!("{work} {} has printed nothing", way.name()),
    }
}

/// CPU time and wall time of a part of this process.
pub struct Part {
    cpu: f64,
    wall: Instant,
}

impl Part {
    pub fn begin() -> Self {
        Self {
            cpu: own_cpu(),
            wall: Instant::now(),
        }
    }

    /// Prints the cost, for [`measure`] to read.
    pub fn say(self) {
        println!(
            "{}",
            serde_json::json!({ "cpu": own_cpu() - self.cpu, "wall": self.wall.elapsed().as_secs_f64() })
        );
    }
}

fn cpu_of(usage: &libc::rusage) -> f64 {
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

fn own_cpu() -> f64 {
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the pointer is to memory of the right type that outlives the call; a zeroed rusage is valid.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    cpu_of(&usage)
}

/// Waits for a child and returns its resource usage.
fn wait(child: &Child) -> Result<(ExitStatus, libc::rusage)> {
    let pid = libc::pid_t::try_from(child.id())?;
    let mut status = 0;
    let mut usage = MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: both pointers are to memory of the right types that outlives the call; a zeroed rusage is valid.
    let (done, usage) = unsafe {
        let done = libc::wait4(pid, &mut status, 0, usage.as_mut_ptr());
        (done, usage.assume_init())
    };
    ensure!(done == pid, "wait4: {}", std::io::Error::last_os_error());
    Ok((ExitStatus::from_raw(status), usage))
}

/// The status of a process in /proc; nothing if it has exited.
fn status_of(process: u32) -> String {
    std::fs::read_to_string(format!("/proc/{process}/status")).unwrap_or_default()
}

/// A figure in its status, or 0.
fn number_of(status: &str, name: &str) -> u64 {
    let line = status.lines().find_map(|line| line.strip_prefix(name));
    let number = line.and_then(|line| line.split_whitespace().next());
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}
