//! The processes around a guest, as `/proc` shows them.

#![allow(dead_code, reason = "each test file uses a part of it")]

/// A field of `/proc/PID/stat` behind the name, counted from 0: the state, the parent, the group, the session.
pub(crate) fn stat(pid: u32, field: usize) -> Option<String> {
    let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).ok()?;
    stat.rsplit(") ").next()?.split(' ').nth(field).map(str::to_owned)
}

pub(crate) fn parent_of(pid: u32) -> u32 {
    stat(pid, 1).and_then(|parent| parent.parse().ok()).expect("it lives")
}

/// The processes whose parent is one of these, those that nobody waited for included.
pub(crate) fn children(of: &[u32]) -> Vec<u32> {
    std::fs::read_dir("/proc")
        .expect("proc")
        .filter_map(|entry| entry.ok()?.file_name().into_string().ok()?.parse().ok())
        .filter(|pid| {
            stat(*pid, 1).and_then(|parent| parent.parse().ok()).is_some_and(|parent| of.contains(&parent))
        })
        .collect()
}

/// All that come of a process, itself not included.
pub(crate) fn descendants(of: u32) -> Vec<u32> {
    let mut all = Vec::new();
    let mut last = vec![of];
    while !last.is_empty() {
        last = children(&last);
        all.extend(last.clone());
    }
    all
}

/// Whether a process has a seccomp filter.
pub(crate) fn is_filtered(pid: u32) -> bool {
    status(pid, "Seccomp").as_deref() == Some("2")
}

/// A line of `/proc/PID/status`.
pub(crate) fn status(pid: u32, name: &str) -> Option<String> {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).ok()?;
    let line = status.lines().find(|line| line.split(':').next() == Some(name))?;
    Some(line.split_once(':')?.1.split_whitespace().collect::<Vec<_>>().join(" "))
}

/// The one guest among the processes that come of a host.
pub(crate) fn guest_of(host: u32) -> Option<u32> {
    descendants(host).into_iter().find(|pid| is_filtered(*pid))
}
