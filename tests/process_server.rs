//! The launcher that stays: its guests are confined as those of a launcher of their own, each has namespaces of its own, and they are
//! gone when it is.
//!
//! When the tests run as root, all of them run once more as an ordinary user.

#![cfg(all(target_os = "linux", target_arch = "x86_64"))]

mod family;
mod lines;
mod native;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use ambient_authority::ambient_authority;
use cofferdam::AuditLog;
use cofferdam::process::{CallError, FaultKind, ProcessCompartment, ProcessHost, StartError};
use family::{children, guest_of, is_filtered, parent_of, stat};
use native::{
    Events, alone, as_an_ordinary_user, folder_with_file, guest, is_alone, launcher, planned, start,
};

fn try_start(
    host: &ProcessHost,
    grants: &str,
) -> Result<(ProcessCompartment, tempfile::TempDir), StartError> {
    try_start_logged(host, grants, &AuditLog::discard())
}

fn try_start_logged(
    host: &ProcessHost,
    grants: &str,
    log: &AuditLog,
) -> Result<(ProcessCompartment, tempfile::TempDir), StartError> {
    let folder = folder_with_file();
    let started = ProcessCompartment::start_ambient(
        host,
        &planned(grants, "memory = \"32MiB\""),
        &guest("fixture"),
        folder.path(),
        log,
        ambient_authority(),
    )?;
    Ok((started, folder))
}

fn new_host() -> ProcessHost {
    ProcessHost::from_path_ambient(&launcher(), ambient_authority()).expect("cargo built it")
}

fn lives(compartment: &mut ProcessCompartment) -> bool {
    matches!(compartment.call_typed::<_, u32>("add", &(2_u32, 3_u32)), Ok(5))
}

fn read(pid: u32, name: &str) -> String {
    std::fs::read_to_string(format!("/proc/{pid}/{name}")).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// What the kernel says about how a process is confined, without what differs from one process to the next.
fn confinement(pid: u32, folder: &Path) -> BTreeMap<String, String> {
    let mut found = BTreeMap::new();
    for line in read(pid, "status").lines() {
        let Some((name, value)) = line.split_once(':') else { continue };
        let is_confinement = [
            "Uid",
            "Gid",
            "Groups",
            "CapInh",
            "CapPrm",
            "CapEff",
            "CapBnd",
            "CapAmb",
            "NoNewPrivs",
            "Seccomp",
            "Seccomp_filters",
            "Speculation_Store_Bypass",
            "SpeculationIndirectBranch",
            "CoreDumping",
            "THP_enabled",
        ]
        .contains(&name);
        if is_confinement || name.starts_with("Sig") || name.starts_with("NSpid") {
            // Process numbers outside differ; those inside do not.
            let value = value.split_whitespace().skip(usize::from(name == "NSpid"));
            found.insert(name.to_owned(), value.collect::<Vec<_>>().join(" "));
        }
    }
    // The numbers of signals that are pending are the host's own; what stays is the limit.
    found.remove("SigQ");
    let limits = read(pid, "limits");
    let (processes, limits): (Vec<&str>, Vec<&str>) =
        limits.lines().partition(|line| line.starts_with("Max processes"));
    found.insert("limits".to_owned(), limits.join("\n"));
    // A launcher of its own is one more beside the guest, in its namespaces.
    found.insert("processes".to_owned(), processes.join("\n"));
    let mounts = read(pid, "mountinfo").replace(&folder.display().to_string(), "FOLDER");
    let mounts = mounts
        .lines()
        .map(|line| line.split(' ').skip(3).filter(|word| !word.starts_with("size")).collect::<Vec<_>>());
    found.insert("mounts".to_owned(), format!("{:?}", mounts.collect::<Vec<_>>()));
    for name in ["uid_map", "gid_map", "setgroups"] {
        found.insert(name.to_owned(), read(pid, name));
    }
    found.insert("session".to_owned(), (stat(pid, 3) == stat(parent_of(pid), 3)).to_string());
    found
}

const NAMESPACES: [&str; 7] = ["user", "pid", "mnt", "ipc", "uts", "net", "cgroup"];

fn namespaces(pid: u32) -> [PathBuf; 7] {
    NAMESPACES.map(|name| std::fs::read_link(format!("/proc/{pid}/ns/{name}")).expect("ours"))
}

/// Run alone: the guests of other tests are children of this process too.
#[test]
fn alone_compare() {
    if !is_alone() {
        return;
    }
    let own = std::process::id();
    let grants = "filesystem = { read = [\"data\"] }\nentropy = true";
    let mut found = Vec::new();
    let direct = new_host().without_server();
    let (mut first, folder) = try_start(&direct, grants).unwrap_or_else(|error| panic!("{error}"));
    assert!(lives(&mut first));
    let layers: Vec<_> = first.layers().iter().map(|one| (one.layer, one.outcome)).collect();
    let guest = guest_of(own).expect("it runs");
    let of = |pid: u32| confinement(pid, folder.path());
    found.push((of(guest), of(parent_of(guest)), namespaces(guest)));
    drop(first);
    let host = new_host();
    // The first waits for its namespaces, and the others find them made.
    for _ in 0..3 {
        let (mut next, folder) = try_start(&host, grants).unwrap_or_else(|error| panic!("{error}"));
        assert!(lives(&mut next));
        let again: Vec<_> = next.layers().iter().map(|one| (one.layer, one.outcome)).collect();
        assert_eq!(again, layers);
        let (guest, seen) = (guest_of(own).expect("it runs"), namespaces(guest_of(own).expect("it runs")));
        let of = |pid: u32| confinement(pid, folder.path());
        found.push((of(guest), of(parent_of(guest)), seen));
    }
    for other in &found[1..] {
        for (name, value) in found[0].0.iter().filter(|(name, _)| *name != "processes") {
            assert_eq!(other.0.get(name), Some(value), "{name} of the guest");
        }
        let most = |of: &BTreeMap<String, String>| -> u32 {
            of["processes"].split_whitespace().nth(2).and_then(|most| most.parse().ok()).expect("a number")
        };
        assert_eq!(most(&other.0) + 1, most(&found[0].0));
        for name in ["CapEff", "CapPrm", "CapBnd", "NoNewPrivs", "uid_map", "mounts"] {
            assert_eq!(other.1[name], found[0].1[name], "{name} of process 1");
        }
    }
    let host = namespaces(own);
    for (.., one) in &found {
        for place in 0..NAMESPACES.len() {
            assert_ne!(one[place], host[place], "{} is the host's", NAMESPACES[place]);
        }
    }
}

#[test]
fn a_guest_of_a_server_is_confined_as_one_of_a_launcher() {
    let output = alone("alone_compare").output().expect("a test has a program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Run alone, as above.
#[test]
fn alone_side_by_side() {
    if !is_alone() {
        return;
    }
    let (host, log) = (new_host(), lines::Lines::default());
    let audit = AuditLog::to_writer(log.clone());
    let mut guests: Vec<_> = (0..3)
        .map(|_| try_start_logged(&host, "", &audit).unwrap_or_else(|error| panic!("{error}")))
        .collect();
    for (guest, _) in &mut guests {
        assert_eq!(guest.call_typed::<_, u64>("count", &()).expect("a result"), 1);
    }
    let own = std::process::id();
    let server = children(&[own]);
    assert_eq!(server.len(), 1, "one server for all");
    let filtered: Vec<u32> =
        children(&children(&server)).into_iter().filter(|pid| is_filtered(*pid)).collect();
    assert_eq!(filtered.len(), 3);
    let seen: Vec<_> = filtered.iter().map(|pid| namespaces(*pid)).collect();
    for place in 0..NAMESPACES.len() {
        let mut all: Vec<&PathBuf> = seen.iter().map(|one| &one[place]).collect();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), 3, "{} is shared", NAMESPACES[place]);
    }
    // The end of the server is the end of its guests, and nobody goes on without them being confined anew.
    let server =
        rustix::process::Pid::from_raw(i32::try_from(server[0]).expect("a number")).expect("a process");
    rustix::process::kill_process(server, rustix::process::Signal::KILL).expect("ours");
    let begun = Instant::now();
    while filtered.iter().any(|pid| is_filtered(*pid)) {
        assert!(begun.elapsed() < Duration::from_secs(5), "{filtered:?} outlive their server");
    }
    for (guest, _) in &mut guests {
        // Each has a guest of the next server, which has counted nothing yet; a call can come before the end of the last was seen.
        let counted = guest.call_typed::<_, u64>("count", &());
        let counted = counted.or_else(|error| match error {
            CallError::Fault { kind: FaultKind::Vanished, .. } => guest.call_typed::<_, u64>("count", &()),
            error => Err(error),
        });
        assert_eq!(counted.expect("a result"), 1);
    }
    let faults = log.events("fault");
    assert!(faults.len() == 3 && faults.iter().all(|fault| fault["kind"] == "vanished"), "{}", log.text());
    drop(guests);
    drop(host);
    assert!(children(&[own]).is_empty(), "the server goes with the last that needs it");
}

#[test]
fn guests_side_by_side_share_nothing_but_the_server_and_end_with_it() {
    let output = alone("alone_side_by_side").output().expect("a test has a program");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stdout));
}

/// Where cgroup v2 is, if this user may make groups there.
fn groups_here() -> Option<PathBuf> {
    let mounts = std::fs::read_to_string("/proc/self/mountinfo").expect("proc");
    let of_groups = mounts.lines().filter(|line| line.contains(" - cgroup2 "));
    let mut places = of_groups.filter_map(|line| line.split(' ').nth(4)).map(PathBuf::from);
    places.find_map(|place| {
        let folder = place.join(format!("test-of-cofferdam-{}", std::process::id()));
        std::fs::create_dir(&folder).ok()?;
        Some(folder)
    })
}

/// Which controllers there are is the machine's; that the group has the guest, ends with it and kills it holds everywhere.
#[test]
fn a_guest_is_in_a_control_group_where_the_host_has_a_folder_for_them() {
    let wrong = new_host().with_control_groups_ambient("/tmp".as_ref(), ambient_authority());
    assert!(wrong.expect_err("no cgroup").to_string().contains("Delegate=yes"));
    let Some(folder) = groups_here() else {
        assert!(!native::is_root() || !Path::new("/sys/fs/cgroup/cgroup.procs").exists());
        return;
    };
    let groups = || -> Vec<PathBuf> {
        let entries = std::fs::read_dir(&folder).expect("there").filter_map(Result::ok);
        entries.map(|entry| entry.path()).filter(|path| path.is_dir()).collect()
    };
    let host = new_host().with_control_groups_ambient(&folder, ambient_authority());
    let host = host.unwrap_or_else(|error| panic!("{error}"));
    let log = lines::Lines::default();
    for host in [
        &host,
        &new_host()
            .without_server()
            .with_control_groups_ambient(&folder, ambient_authority())
            .expect("again"),
    ] {
        assert!(groups().is_empty());
        let (mut compartment, _folder) = try_start_logged(host, "", &AuditLog::to_writer(log.clone()))
            .unwrap_or_else(|error| panic!("{error}"));
        assert!(lives(&mut compartment));
        assert_eq!(groups().len(), 1);
        let processes = std::fs::read_to_string(groups()[0].join("cgroup.procs")).expect("there");
        let processes: Vec<u32> = processes.lines().filter_map(|line| line.parse().ok()).collect();
        assert!(processes.iter().any(|pid| is_filtered(*pid)), "{processes:?}");
        // What is killed by its group is gone like what is killed otherwise, and the next has another group.
        std::fs::write(groups()[0].join("cgroup.kill"), "1").expect("there since 5.14");
        let begun = Instant::now();
        while processes.iter().any(|pid| is_filtered(*pid)) {
            assert!(begun.elapsed() < Duration::from_secs(5), "{processes:?}");
        }
        assert!(lives(&mut compartment) || lives(&mut compartment));
        assert_eq!(groups().len(), 1);
        drop(compartment);
        assert!(groups().is_empty());
    }
    let confined = log.events("confined");
    assert!(
        confined[0]["layers"]
            .as_array()
            .expect("a list")
            .iter()
            .any(|one| { one.as_str().is_some_and(|one| one.starts_with("control group: enforced")) })
    );
    std::fs::remove_dir(&folder).expect("it is empty");
}

#[test]
fn a_program_that_is_no_launcher_is_told_from_one() {
    let host = ProcessHost::from_path_ambient("/bin/true".as_ref(), ambient_authority()).expect("opens");
    let error = try_start(&host, "").expect_err("it answers nothing");
    assert!(
        matches!(&error, StartError::Host { message, .. } if message.contains("another version")),
        "{error}"
    );
    let host = host.without_server();
    assert!(matches!(try_start(&host, "").expect_err("nothing"), StartError::Host { .. }));
}

#[test]
fn a_compartment_outlives_the_host_value_that_it_was_started_with() {
    let host = new_host();
    let (mut compartment, _folder) = try_start(&host, "").unwrap_or_else(|error| panic!("{error}"));
    drop(host);
    assert!(lives(&mut compartment));
    compartment.call_typed::<(), ()>("crash", &()).expect_err("it crashes");
    assert!(lives(&mut compartment), "another guest");
    let mut other = start("", "");
    other.lives();
}

/// All of the above as an ordinary user.
#[test]
fn everything_holds_for_an_ordinary_user_too() {
    as_an_ordinary_user();
}
