//! What the system says of this process's memory.
//!
//! Invariant: what cannot be read is not there, rather than zero. It refuses to know who wants to hear of it.

use std::fs::read_to_string;

/// Bytes of memory that the process holds now, whatever for; `None`: this system does not say.
pub fn resident() -> Option<u64> {
    resident_of(&read_to_string("/proc/self/status").ok()?)
}

/// How many the cgroup (version 2 or 1) lets it hold before it is killed; `None`: as many as there are.
pub fn limit() -> Option<u64> {
    /// Version 1 says "no limit" with a number near 2^63.
    const NO_LIMIT: u64 = 1 << 60;
    ["/sys/fs/cgroup/memory.max", "/sys/fs/cgroup/memory/memory.limit_in_bytes"]
        .into_iter()
        .filter_map(|path| read_to_string(path).ok()?.trim().parse().ok())
        .find(|limit| *limit < NO_LIMIT)
}

fn resident_of(status: &str) -> Option<u64> {
    let kibibytes = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?.trim().strip_suffix("kB")?;
    kibibytes.trim().parse::<u64>().ok()?.checked_mul(1024)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kibibytes_are_read_and_nothing_else() {
        assert_eq!(resident_of("Name:\tlarder\nVmHWM:\t   9 kB\nVmRSS:\t    5120 kB\n"), Some(5 << 20));
        assert_eq!(resident_of("VmRSS:\t 5120 MB\n").or(resident_of("Name:\tlarder\n")), None);
    }

    #[test]
    #[cfg(target_os = "linux")]
    fn this_process_holds_something() {
        assert!(resident().unwrap() > 1 << 20);
    }
}
