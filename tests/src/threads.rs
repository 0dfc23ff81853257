//! The threads of a running program.

use std::fs;
use std::io;
use std::path::PathBuf;

/// Threads that the host's kernel adds to a process, and ends at will: an io_uring has workers for requests that would
/// block, which stay for seconds when idle, and newer kernels have KVM's worker there. They never leave the kernel.
const THE_KERNELS: [&str; 2] = ["iou-wrk-", "kvm-"];

/// A thread.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Thread {
    /// The host's thread ID.
    pub id: i32,
    /// Its name, truncated by the kernel to 15 bytes.
    pub name: String,
    /// Its directory in /proc.
    pub directory: PathBuf,
}

/// The threads that a process has started itself, in the order of /proc.
///
/// # Errors
///
/// There is no such process.
pub fn of(process: u32) -> io::Result<Vec<Thread>> {
    let mut threads = Vec::new();
    for entry in fs::read_dir(format!("/proc/{process}/task"))? {
        let directory = entry?.path();
        let id = directory.file_name().and_then(|name| name.to_str());
        let id = id.and_then(|name| name.parse().ok());
        // A thread that has ended meanwhile has no name.
        let (Some(id), Ok(name)) = (id, fs::read_to_string(directory.join("comm"))) else {
            continue;
        };
        let name = name.trim_end().to_owned();
        if !THE_KERNELS.iter().any(|prefix| name.starts_with(prefix)) {
            threads.push(Thread {
                id,
                name,
                directory,
            });
        }
    }
    Ok(threads)
}

#[cfg(test)]
mod tests {
    use std::sync::Barrier;
    use std::thread;

    use super::*;

    #[test]
    fn only_the_programs_own_threads_are_listed() {
        let (started, looked) = (Barrier::new(3), Barrier::new(3));
        let wait = || {
            started.wait();
            looked.wait();
        };
        let found = thread::scope(|scope| {
            for name in ["one-of-its-own", "iou-wrk-1234"] {
                let builder = thread::Builder::new().name(name.to_owned());
                builder.spawn_scoped(scope, wait).unwrap();
            }
            started.wait();
            let found = of(std::process::id());
            looked.wait();
            found.unwrap()
        });
        let names: Vec<_> = found.iter().map(|thread| thread.name.as_str()).collect();
        assert!(names.contains(&"one-of-its-own"), "{names:?}");
        assert!(!names.contains(&"iou-wrk-1234"), "{names:?}");
        assert!(found.iter().all(|thread| thread.id > 0));
    }
}
