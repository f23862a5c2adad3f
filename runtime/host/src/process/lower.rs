//! A compartment's plan as an order for the launcher. What cannot be enforced is an error, never left out.

use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use capability_manifest::scope::{HostPattern, HostPort, NamePattern, PatternSet, Scope, Stream};
use capability_manifest::{Backend, Capability, HostCapability, Stage};
use cofferdam_wire::limits::MEMORY_BYTES;
use cofferdam_wire::order::{MountOrder, Order};
use rustix::fs::{Mode, OFlags};

use super::error::StartError;
use super::filter::Rules;
use super::limits::{
    DESCRIPTORS_MAX, MEMORY_BYTES_DEFAULT, MOUNTS_MAX, OUTPUT_BYTES_DEFAULT, STACK_BYTES_MAX, THREADS_DEFAULT,
};
use super::program::Program;
use crate::plan::{CompartmentPlan, MountPlan};

/// Everything that a start needs and that does not change from one to the next.
#[derive(Debug)]
pub(super) struct Lowered {
    /// `consumer -> crate`.
    pub(super) edge: String,
    /// The order; the host's number is filled in at each start.
    pub(super) order: Order,
    /// The rules of the filter.
    pub(super) rules: Rules,
    /// Most bytes of standard output, if it is granted.
    pub(super) stdout: Option<u64>,
    /// Most bytes of standard error, if it is granted.
    pub(super) stderr: Option<u64>,
    /// Where the host connects it to.
    pub(super) hosts: PatternSet<HostPort>,
    /// Threads that can run at a time: what processor time is charged for.
    pub(super) threads: u32,
    /// Keeps the granted paths from becoming others under the same number.
    _paths: Vec<rustix::fd::OwnedFd>,
}

/// Lowers a plan.
pub(super) fn lower(plan: &CompartmentPlan, program: &Program, folder: &Path) -> Result<Lowered, StartError> {
    let edge = plan.edge();
    enforceable(plan, &edge)?;
    let rules =
        Rules::new(&plan.syscalls).map_err(|source| StartError::Rule { edge: edge.clone(), source })?;
    let filter = rules.program().map_err(|source| StartError::Rule { edge: edge.clone(), source })?;
    let (mut mounts, mut paths) = (Vec::new(), Vec::new());
    for mount in &plan.mounts {
        let (order, path) = lower_mount(plan, mount, folder).map_err(|message| StartError::Path {
            edge: edge.clone(),
            path: mount.host.clone(),
            message,
        })?;
        mounts.push(order);
        paths.push(path);
    }
    // Outer paths first: what is mounted inside them comes on top.
    mounts.sort_by(|a, b| a.at.cmp(&b.at));
    let granted = |capability| plan.scope(capability);
    let threads = match granted(HostCapability::Thread) {
        None => 0,
        Some(Scope::Count(Some(count))) => *count,
        Some(_) => THREADS_DEFAULT,
    };
    let output = plan.limits.output.map_or(OUTPUT_BYTES_DEFAULT, |bytes| bytes.0);
    let stream = |stream| match granted(HostCapability::Stdio) {
        Some(Scope::Streams(streams)) => streams
            .iter()
            .find(|one| one.pattern == stream)
            .map(|one| one.bytes.unwrap_or(output).min(output)),
        _ => None,
    };
    let order = Order {
        version: cofferdam_wire::VERSION,
        probe: false,
        host: 0,
        mounts,
        limits: limits(plan, program, threads),
        environment: environment(plan),
        deny_write_execute: granted(HostCapability::MmapExecutable).is_none(),
        filter,
    };
    Ok(Lowered {
        edge,
        order,
        rules,
        hosts: match granted(HostCapability::NetworkConnect) {
            Some(Scope::Hosts(hosts)) => hosts.clone(),
            _ => PatternSet::new([]),
        },
        stdout: stream(Stream::Stdout),
        stderr: stream(Stream::Stderr),
        threads: u32::try_from(threads).unwrap_or(u32::MAX).saturating_add(1),
        _paths: paths,
    })
}

/// Refuses what this release cannot hold a guest to.
fn enforceable(plan: &CompartmentPlan, edge: &str) -> Result<(), StartError> {
    if plan.backend != Backend::Process.name() {
        return Err(StartError::OtherBackend { edge: edge.to_owned(), backend: plan.backend.clone() });
    }
    let cannot = |what: String| Err(StartError::CannotEnforce { edge: edge.to_owned(), what });
    if plan.mounts.len() > MOUNTS_MAX {
        return cannot(format!("more than {MOUNTS_MAX} paths"));
    }
    for grant in &plan.grants {
        let Capability::Host(Stage::Run, host) = &grant.capability else { continue };
        match (host, &grant.scope) {
            (
                HostCapability::NetworkListen
                | HostCapability::NetworkDns
                | HostCapability::NetworkUnix
                | HostCapability::ProcessSpawn
                | HostCapability::FilesystemWatch,
                _,
            ) => return cannot(format!("`{}`", grant.capability)),
            (HostCapability::NetworkConnect, Scope::Hosts(hosts))
                if hosts.iter().any(|one| matches!(one.host, HostPattern::Suffix(_))) =>
            {
                return cannot(
                    "`network.connect` to every host of a domain (an address does not tell its name)"
                        .to_owned(),
                );
            }
            (_, Scope::Paths(set)) if set.smallest_bound().is_some() => {
                return cannot("a quota on writing".to_owned());
            }
            (HostCapability::Stdio, Scope::Streams(streams)) if streams.covers_any_of(&Stream::Stdin) => {
                return cannot("`stdio` of `stdin`".to_owned());
            }
            (HostCapability::Clock, Scope::Resolution(1..)) => {
                return cannot(
                    "a coarse clock (native code reads the processor's counter; grant `clock = true`, or use wasm)"
                        .to_owned(),
                );
            }
            // The kernel does not count the processes of its own root user, whatever namespace they are in.
            (HostCapability::Thread, Scope::Count(Some(_))) if rustix::process::getuid().is_root() => {
                return cannot(
                    "a number of threads when the host runs as root (run it as another user)".to_owned(),
                );
            }
            _ => {}
        }
    }
    Ok(())
}

/// The resource of processor time, whole seconds.
pub(super) const CPU: u32 = 0;

/// `(resource, value)`, with the numbers of `asm-generic/resource.h`.
fn limits(plan: &CompartmentPlan, program: &Program, threads: u64) -> Vec<(u32, u64)> {
    const STACK: u32 = 3;
    const CORE: u32 = 4;
    const PROCESSES: u32 = 6;
    const DESCRIPTORS: u32 = 7;
    const LOCKED: u32 = 8;
    const ADDRESS_SPACE: u32 = 9;
    const SIGNALS: u32 = 11;
    const QUEUES: u32 = 12;
    const NICE: u32 = 13;
    const REAL_TIME: u32 = 14;
    let memory = plan.limits.memory.map_or(MEMORY_BYTES_DEFAULT, |bytes| bytes.0);
    // What is there before the guest takes any: its program, mapped in segments, the ring, and libc's first pages.
    let before = 2 * program.length + MEMORY_BYTES as u64 + (1 << 20);
    // The launcher's two processes are in the same namespace as the guest's.
    let processes = 3 + threads;
    let mut limits = vec![
        (ADDRESS_SPACE, memory.saturating_add(before)),
        // 0 would leave core dumps to a program of the host's; 1 is taken for "none" by files and programs alike (core(5)).
        (CORE, 1),
        (DESCRIPTORS, DESCRIPTORS_MAX),
        (LOCKED, 0),
        (NICE, 0),
        (PROCESSES, processes),
        (QUEUES, 0),
        (REAL_TIME, 0),
        (SIGNALS, DESCRIPTORS_MAX),
        (STACK, STACK_BYTES_MAX),
    ];
    if let Some(time) = plan.limits.cpu_time {
        // Whole seconds are all that the kernel knows; the host counts finer, call by call.
        limits.push((CPU, time.0.div_ceil(1_000_000_000).max(1)));
    }
    limits
}

/// The granted variables that the host has.
fn environment(plan: &CompartmentPlan) -> Vec<(String, String)> {
    let Some(Scope::Names(granted)) = plan.scope(HostCapability::EnvironmentRead) else { return Vec::new() };
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .filter(|(name, _)| granted.covers_pattern(&NamePattern::Exact(name.clone())))
        .collect()
}

fn lower_mount(
    plan: &CompartmentPlan,
    mount: &MountPlan,
    folder: &Path,
) -> Result<(MountOrder, rustix::fd::OwnedFd), String> {
    let path = std::fs::canonicalize(folder.join(&mount.host)).map_err(|error| error.to_string())?;
    let flags = OFlags::PATH | OFlags::NOFOLLOW | OFlags::CLOEXEC;
    let opened = rustix::fs::open(&path, flags, Mode::empty()).map_err(|error| error.to_string())?;
    let found = std::fs::File::from(opened);
    let kind = found.metadata().map_err(|error| error.to_string())?;
    if mount.file != kind.is_file() || (!mount.file && !kind.is_dir()) {
        let wanted = if mount.file { "a file" } else { "a folder" };
        return Err(format!("it is not {wanted}"));
    }
    // A path of the host's that is granted under its own name is relative to the workspace, and so is its name inside.
    let at = mount.at.trim_start_matches('/').to_owned();
    if at.is_empty() || at == "." {
        return Err("it would be the whole root; grant what is in it, or place it with `at`".to_owned());
    }
    let writable = mount.capabilities.iter().any(|name| name == HostCapability::FilesystemWrite.name());
    let mut rights = 0;
    for rule in &plan.landlock {
        if mount.capabilities.contains(&rule.because_of)
            || (writable && rule.because_of == HostCapability::FilesystemRead.name())
        {
            rights |= landlock_bit(&rule.right)
                .ok_or_else(|| format!("no Landlock right is named `{}`", rule.right))?;
        }
    }
    let order = MountOrder {
        at,
        path: path.as_os_str().as_bytes().to_vec(),
        device: kind.dev(),
        inode: kind.ino(),
        file: mount.file,
        writable,
        rights,
    };
    Ok((order, found.into()))
}

/// The bit of a right on files, by its place in `linux/landlock.h`.
fn landlock_bit(right: &str) -> Option<u64> {
    const RIGHTS: [&str; 16] = [
        "fs.execute",
        "fs.write-file",
        "fs.read-file",
        "fs.read-dir",
        "fs.remove-dir",
        "fs.remove-file",
        "fs.make-char",
        "fs.make-dir",
        "fs.make-reg",
        "fs.make-sock",
        "fs.make-fifo",
        "fs.make-block",
        "fs.make-sym",
        "fs.refer",
        "fs.truncate",
        "fs.ioctl-dev",
    ];
    RIGHTS.iter().position(|name| *name == right).map(|place| 1 << place)
}
