//! Child processes that must not outlive the test.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Makes the kernel kill the child when the thread that spawned it ends. An abort, such as that of a fatal
/// warning, runs no `Drop`, and whoever reads this process's output would wait for the orphan to close it.
pub fn kill_with_test(command: &mut Command) -> &mut Command {
    // SAFETY: prctl is async-signal-safe, and nothing else is called between fork and exec.
    unsafe {
        command.pre_exec(|| {
            if libc::prctl(libc::PR_SET_PDEATHSIG, libc::SIGKILL) == 0 {
                Ok(())
            } else {
                Err(std::io::Error::last_os_error())
            }
        })
    }
}
