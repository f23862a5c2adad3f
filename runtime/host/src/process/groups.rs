//! Control groups: one for each guest, in a folder of cgroup v2 that is the host's own (`cgroups(7)`, delegation).
//!
//! They bound what resource limits do not: the resident memory of all processes of a guest together, and the number of processes also where
//! the host is root, whose processes the kernel counts for nobody. A host asks for them by naming the folder; moving a process into
//! a group can take some milliseconds, so they are nobody's default.

use std::fs;
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

/// The environment variable that names a folder of control groups for guests.
pub const CONTROL_GROUP_VARIABLE: &str = "COFFERDAM_CGROUP";

/// What bounds guests, of what the kernel has.
const CONTROLLERS: [&str; 2] = ["memory", "pids"];

/// A folder in which guests get groups.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Groups {
    folder: PathBuf,
    controllers: Vec<&'static str>,
}

/// The group of one guest. What is in it is killed, and it is removed, when this is dropped.
#[derive(Debug)]
pub(super) struct Group {
    folder: PathBuf,
}

/// What a group is bounded by.
#[derive(Debug, Clone, Copy)]
pub(super) struct Bounds {
    /// Memory of all processes together, bytes.
    pub(super) memory: u64,
    /// Processes and threads.
    pub(super) tasks: u64,
}

impl Groups {
    /// The folder, with the controllers that it can give to groups in it. Removes groups that hosts which are gone have left.
    ///
    /// # Errors
    /// When it is no folder of cgroup v2, or this user may make no groups in it.
    pub(super) fn open(folder: &Path) -> Result<Self, String> {
        let wrong = |what: &str| format!("control groups in `{}`: {what}", folder.display());
        let read = |name: &str| fs::read_to_string(folder.join(name));
        let offered = read("cgroup.controllers").map_err(|error| {
            wrong(&format!(
                "it is no folder of cgroup v2 ({error}); name one that is delegated to this user, as by \
                            `systemd-run --user --scope -p Delegate=yes`"
            ))
        })?;
        for controller in
            CONTROLLERS.iter().filter(|name| offered.split_whitespace().any(|one| one == **name))
        {
            // Refused while processes are in the folder itself; what is on counts, and is looked at below.
            let _ = fs::write(folder.join("cgroup.subtree_control"), format!("+{controller}"));
        }
        let on = read("cgroup.subtree_control").map_err(|error| wrong(&error.to_string()))?;
        let on: Vec<&str> = on.split_whitespace().collect();
        let controllers = CONTROLLERS.into_iter().filter(|name| on.contains(name)).collect();
        let groups = Self { folder: folder.to_owned(), controllers };
        groups.sweep();
        // Whether groups can be made is found out by making one.
        groups.make(None).map_err(|error| wrong(&error.to_string()))?;
        Ok(groups)
    }

    /// The controllers that bound guests here.
    pub(super) fn controllers(&self) -> &[&'static str] {
        &self.controllers
    }

    /// Whether the kernel counts a guest's processes here.
    pub(super) fn count_processes(&self) -> bool {
        self.controllers.contains(&"pids")
    }

    /// A new group.
    ///
    /// # Errors
    /// When it cannot be made, or a bound that the kernel has here cannot be set.
    pub(super) fn make(&self, bounds: Option<Bounds>) -> Result<Group, std::io::Error> {
        static NUMBER: AtomicU64 = AtomicU64::new(1);
        let name = format!("{PREFIX}{}-{}", std::process::id(), NUMBER.fetch_add(1, Ordering::Relaxed));
        let group = Group { folder: self.folder.join(name) };
        fs::create_dir(&group.folder)?;
        let Some(bounds) = bounds else { return Ok(group) };
        if self.controllers.contains(&"memory") {
            group.set("memory.max", bounds.memory)?;
            // Where swap is counted, none of it is a guest's; and a guest whose one process is killed for memory is over.
            for (name, value) in [("memory.swap.max", 0), ("memory.oom.group", 1)] {
                match group.set(name, value) {
                    Err(error)
                        if error.kind() != ErrorKind::NotFound
                            && error.kind() != ErrorKind::PermissionDenied =>
                    {
                        return Err(error);
                    }
                    _ => {}
                }
            }
        }
        if self.count_processes() {
            group.set("pids.max", bounds.tasks)?;
        }
        Ok(group)
    }

    /// Removes groups of hosts that are gone: who was killed could not.
    fn sweep(&self) {
        let Ok(entries) = fs::read_dir(&self.folder) else { return };
        for entry in entries.filter_map(Result::ok) {
            let name = entry.file_name();
            let host = name.to_str().and_then(|name| name.strip_prefix(PREFIX)?.split('-').next());
            if host.is_some_and(|host| !Path::new("/proc").join(host).exists()) {
                // One that still has processes stays.
                let _ = fs::remove_dir(entry.path());
            }
        }
    }
}

/// What names of groups begin with, before the host's process.
const PREFIX: &str = "cofferdam-";

impl Group {
    fn set(&self, name: &str, value: u64) -> Result<(), std::io::Error> {
        fs::write(self.folder.join(name), value.to_string())
    }

    /// Puts a process in, and with it all that it starts from now on.
    pub(super) fn add(&self, process: u32) -> Result<(), std::io::Error> {
        self.set("cgroup.procs", process.into())
    }

    /// Kills everything in it, at once.
    pub(super) fn kill(&self) {
        // Kernels before 5.14 have no such file; its process 1 is killed beside this, and that ends the rest.
        let file = fs::OpenOptions::new().write(true).open(self.folder.join("cgroup.kill"));
        let _ = file.and_then(|mut file| file.write_all(b"1"));
    }

    /// Whether the kernel killed something in it for want of memory.
    pub(super) fn ran_out_of_memory(&self) -> bool {
        let events = fs::read_to_string(self.folder.join("memory.events")).unwrap_or_default();
        events.lines().any(|line| line.strip_prefix("oom_kill ").is_some_and(|count| count.trim() != "0"))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.kill();
        // The kernel takes a moment to see that the last process is gone.
        let begun = Instant::now();
        while fs::remove_dir(&self.folder).is_err_and(|error| error.kind() == ErrorKind::ResourceBusy)
            && begun.elapsed() < REMOVE_MAX
        {
            std::thread::sleep(Duration::from_millis(1));
        }
    }
}

/// Longest wait for the end of what was killed. What is left then is removed by a later host.
const REMOVE_MAX: Duration = Duration::from_secs(2);

#[cfg(test)]
mod tests {
    use super::*;

    /// A folder that looks like one of cgroup v2.
    fn folder(controllers: &str) -> tempfile::TempDir {
        let folder = tempfile::tempdir().expect("a folder");
        fs::write(folder.path().join("cgroup.controllers"), controllers).expect("written");
        fs::write(folder.path().join("cgroup.subtree_control"), controllers).expect("written");
        folder
    }

    fn named(groups: &Groups) -> Vec<String> {
        let names = fs::read_dir(&groups.folder)
            .expect("there")
            .filter_map(|entry| entry.ok()?.file_name().into_string().ok());
        names.filter(|name| name.starts_with(PREFIX)).collect()
    }

    #[test]
    fn bounds_are_written_where_the_kernel_has_them() {
        let folder = folder("memory");
        let groups = Groups { folder: folder.path().to_owned(), controllers: vec!["memory", "pids"] };
        let group = groups.make(Some(Bounds { memory: 1 << 20, tasks: 7 })).expect("made");
        let read = |name: &str| fs::read_to_string(group.folder.join(name)).expect("written");
        assert_eq!((read("memory.max"), read("pids.max")), ("1048576".to_owned(), "7".to_owned()));
        assert_eq!((read("memory.swap.max"), read("memory.oom.group")), ("0".to_owned(), "1".to_owned()));
        group.add(12).expect("written");
        assert_eq!(read("cgroup.procs"), "12");
        assert!(!group.ran_out_of_memory());
        fs::write(group.folder.join("memory.events"), "oom 1\noom_kill 1\n").expect("written");
        assert!(group.ran_out_of_memory());
        let none = Groups { controllers: Vec::new(), ..groups.clone() };
        let group = none.make(Some(Bounds { memory: 1, tasks: 1 })).expect("made");
        assert!(!group.folder.join("memory.max").exists() && !none.count_processes());
    }

    #[test]
    fn what_is_no_folder_of_groups_is_refused_and_what_is_left_over_is_swept() {
        let plain = tempfile::tempdir().expect("a folder");
        let error = Groups::open(plain.path()).expect_err("no cgroup");
        assert!(error.contains("no folder of cgroup v2") && error.contains("Delegate=yes"), "{error}");
        let folder = folder("");
        // No process has this number: it is above what the kernel gives (`PID_MAX_LIMIT` is 4,194,304).
        fs::create_dir(folder.path().join("cofferdam-99999999-1")).expect("made");
        let own = folder.path().join(format!("cofferdam-{}-0", std::process::id()));
        fs::create_dir(&own).expect("made");
        let groups = Groups::open(folder.path()).expect("it looks right");
        assert_eq!(named(&groups), [own.file_name().and_then(|name| name.to_str()).expect("text")]);
    }
}
