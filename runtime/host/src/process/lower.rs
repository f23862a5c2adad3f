//! A compartment's plan as an order for the launcher. What cannot be enforced is an error, never left out.

use std::path::Path;

use capability_manifest::scope::{HostPort, NamePattern, PatternSet, Scope, Stream};
use capability_manifest::{Backend, Capability, HostCapability, Stage, Weakening};
use cofferdam_wire::limits::MEMORY_BYTES;
use cofferdam_wire::order::Order;

use super::error::StartError;
use super::filter::Rules;
use super::limits::{
    DESCRIPTORS_MAX, MEMORY_BYTES_DEFAULT, MOUNTS_MAX, OUTPUT_BYTES_DEFAULT, STACK_BYTES_MAX,
    TASKS_WITH_PROGRAMS_MAX, THREADS_DEFAULT,
};
use super::lower_mounts::{Paths, lower_mounts};
use super::program::Program;
use crate::plan::{CompartmentPlan, not_in_a_process};

/// Everything that a start needs and that does not change from one to the next.
#[derive(Debug)]
pub(super) struct Lowered {
    /// `consumer -> crate`.
    pub(super) edge: String,
    /// The order; the host's number is filled in at each start.
    pub(super) order: Order,
    /// What to do where there are no namespaces, if the workspace accepts that.
    pub(super) weaker: Option<Weaker>,
    /// Why the workspace accepts a guest that speculates.
    pub(super) speculates: Option<String>,
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
    /// It may start programs.
    pub(super) programs: bool,
    /// Memory of all its processes together, bytes, where a control group bounds that.
    pub(super) memory: u64,
    /// It may use what is handed to it.
    pub(super) handles: bool,
    /// The granted paths, as the guest knows them and as the manifest does.
    pub(super) names: Vec<(String, String)>,
    /// Keeps the granted paths from becoming others under the same number.
    _paths: Vec<std::fs::File>,
}

/// Lowers a plan.
///
/// `counted`: the kernel counts the guest's processes.
pub(super) fn lower(
    plan: &CompartmentPlan,
    program: &Program,
    folder: &Path,
    counted: bool,
) -> Result<Lowered, StartError> {
    let edge = plan.edge();
    enforceable(plan, &edge, counted)?;
    let rules =
        Rules::new(&plan.syscalls).map_err(|source| StartError::Rule { edge: edge.clone(), source })?;
    let filter = rules.program().map_err(|source| StartError::Rule { edge: edge.clone(), source })?;
    let Paths { mounts, held, largest_program } = lower_mounts(plan, folder)?;
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
        namespaces: true,
        mounts,
        limits: limits(plan, program.length.max(largest_program), threads),
        environment: environment(plan),
        deny_write_execute: granted(HostCapability::MmapExecutable).is_none(),
        control_speculation: reason(plan, Weakening::Speculation).is_none(),
        filter,
    };
    let weaker = weaker(plan, &order);
    Ok(Lowered {
        edge,
        order,
        weaker,
        speculates: reason(plan, Weakening::Speculation).map(str::to_owned),
        rules,
        hosts: match granted(HostCapability::NetworkConnect) {
            Some(Scope::Hosts(hosts)) => hosts.clone(),
            _ => PatternSet::new([]),
        },
        stdout: stream(Stream::Stdout),
        stderr: stream(Stream::Stderr),
        threads: u32::try_from(threads).unwrap_or(u32::MAX).saturating_add(1),
        programs: granted(HostCapability::ProcessSpawn).is_some(),
        memory: resident(plan, program.length.max(largest_program)),
        handles: granted(HostCapability::HandleForge).is_some(),
        names: plan.mounts.iter().map(|mount| (mount.at.clone(), mount.host.clone())).collect(),
        _paths: held,
    })
}

/// Refuses what this release cannot hold a guest to.
fn enforceable(plan: &CompartmentPlan, edge: &str, counted: bool) -> Result<(), StartError> {
    if plan.backend != Backend::Process.name() {
        return Err(StartError::OtherBackend { edge: edge.to_owned(), backend: plan.backend.clone() });
    }
    let cannot = |what: String| Err(StartError::CannotEnforce { edge: edge.to_owned(), what });
    if plan.mounts.len() > MOUNTS_MAX {
        return cannot(format!("more than {MOUNTS_MAX} paths"));
    }
    for grant in &plan.grants {
        let Capability::Host(Stage::Run, host) = &grant.capability else { continue };
        if let Some(what) = not_in_a_process(*host, &grant.scope) {
            return cannot(what);
        }
        match (host, &grant.scope) {
            (HostCapability::ProcessSpawn, _) => programs_can_be_bounded(plan, counted).or_else(cannot)?,
            (HostCapability::Thread, Scope::Count(Some(_))) if !counted => {
                return cannot(
                    "a number of threads when the host runs as root (run it as another user, or with control groups that count)"
                        .to_owned(),
                );
            }
            _ => {}
        }
    }
    Ok(())
}

/// Whether the limits of a guest still mean something when it starts programs; if not, why.
fn programs_can_be_bounded(plan: &CompartmentPlan, counted: bool) -> Result<(), String> {
    if !counted {
        return Err("`process.spawn` when the host runs as root (run it as another user, or with control groups that count)"
            .to_owned());
    }
    if plan.limits.cpu_time.is_some() {
        return Err("`cpu-time` beside `process.spawn` (the kernel counts each process alone)".to_owned());
    }
    if let Some(Scope::Count(Some(_))) = plan.scope(HostCapability::Thread) {
        return Err("a number of threads beside `process.spawn` (the kernel counts threads and processes \
                    together)"
            .to_owned());
    }
    Ok(())
}

/// Why the workspace accepts a weakening, if it does.
fn reason(plan: &CompartmentPlan, weakening: Weakening) -> Option<&str> {
    let accepted = plan.weakenings.iter().find(|one| one.name == weakening.name());
    accepted.map(|one| one.reason.as_str())
}

/// A confinement without namespaces.
#[derive(Debug)]
pub(super) struct Weaker {
    /// Why the workspace accepts it.
    pub(super) reason: String,
    /// The order, or what of the plan only namespaces can hold.
    pub(super) order: Result<Order, String>,
}

/// The order without namespaces, if the workspace accepts that. Without a root of its own a guest sees every path by its metadata,
/// and without a user of its own it is counted with the host's user, so what needs either is refused.
fn weaker(plan: &CompartmentPlan, order: &Order) -> Option<Weaker> {
    const ENOUGH: [HostCapability; 8] = [
        HostCapability::Clock,
        HostCapability::Entropy,
        HostCapability::EnvironmentRead,
        HostCapability::MmapAnonymous,
        HostCapability::MmapExecutable,
        HostCapability::NetworkConnect,
        HostCapability::ProcessExit,
        HostCapability::Stdio,
    ];
    let accepted = reason(plan, Weakening::Namespaces)?;
    let names = ENOUGH.map(HostCapability::name);
    let too_much =
        plan.syscalls.iter().map(|rule| rule.because_of.as_str()).find(|name| !names.contains(name));
    let order = match too_much {
        Some(name) => Err(format!("`{name}` without namespaces")),
        None => Ok(Order {
            namespaces: false,
            // It would count every process of the host's user, and the filter lets the guest make none.
            limits: order.limits.iter().copied().filter(|(resource, _)| *resource != PROCESSES).collect(),
            ..order.clone()
        }),
    };
    Some(Weaker { reason: accepted.to_owned(), order })
}

/// The resource of processes, of one user.
pub(super) const PROCESSES: u32 = 6;

/// The resource of processor time, whole seconds.
pub(super) const CPU: u32 = 0;

/// All memory that a guest and what is around it may have: its limit, its program, the ring, its scratch folder, and what the kernel keeps
/// for some processes.
fn resident(plan: &CompartmentPlan, program_bytes: u64) -> u64 {
    const KERNEL: u64 = 8 << 20;
    let memory = plan.limits.memory.map_or(MEMORY_BYTES_DEFAULT, |bytes| bytes.0);
    let scratch = match plan.scope(HostCapability::FilesystemScratch) {
        Some(Scope::Bytes(bytes)) => *bytes,
        _ => 0,
    };
    [2 * program_bytes, MEMORY_BYTES as u64, scratch, KERNEL].into_iter().fold(memory, u64::saturating_add)
}

/// `(resource, value)`, with the numbers of `asm-generic/resource.h`.
fn limits(plan: &CompartmentPlan, program_bytes: u64, threads: u64) -> Vec<(u32, u64)> {
    const STACK: u32 = 3;
    const CORE: u32 = 4;
    const DESCRIPTORS: u32 = 7;
    const LOCKED: u32 = 8;
    const ADDRESS_SPACE: u32 = 9;
    const SIGNALS: u32 = 11;
    const QUEUES: u32 = 12;
    const NICE: u32 = 13;
    const REAL_TIME: u32 = 14;
    let memory = plan.limits.memory.map_or(MEMORY_BYTES_DEFAULT, |bytes| bytes.0);
    // What is there before the guest takes any: its program, mapped in segments, the ring, and libc's first pages.
    let before = 2 * program_bytes + MEMORY_BYTES as u64 + (1 << 20);
    // The launcher's two processes are in the same namespace as the guest's.
    let (processes, memory) = if plan.scope(HostCapability::ProcessSpawn).is_some() {
        (2 + TASKS_WITH_PROGRAMS_MAX, memory / TASKS_WITH_PROGRAMS_MAX)
    } else {
        (3 + threads, memory)
    };
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
