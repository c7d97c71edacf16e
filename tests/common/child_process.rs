//! Programs that run beside a test and must not outlive it.

use std::os::unix::process::CommandExt;
use std::process::Command;

/// Has the kernel kill the program when the thread that starts it ends, even by an abort (as a fatal
/// warning does), which runs no `Drop`: whoever reads this process's output would wait for an orphan to close it.
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
