//! One part of one attempt, in this process: done, and judged.

use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use ambient_authority::AmbientAuthority;
use cofferdam::manifest::{Diagnostic, Files, Form, ManifestText, ProjectBuilder, parse, resolve};
use cofferdam::process::{CallError, ProcessCompartment, ProcessHost, StartError};
use cofferdam::{AuditLog, CompartmentPlan, plan};
use serde::{Deserialize, Serialize};

use crate::attempt::{Act, Answer, Attempt, Control, Layer, Mutation, Part, Stop, Wanted};
use crate::world::World;

/// The programs that the suite runs.
#[derive(Debug, Clone)]
pub struct Programs {
    /// The launcher, as it is shipped.
    pub launcher: PathBuf,
    /// The hostile guest.
    pub guest: PathBuf,
    /// A launcher that leaves out what its mark says. Only tests have one; it is made of the launcher's own source.
    pub mutant: Option<PathBuf>,
}

/// What came of one part of an attempt.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// The attempt.
    pub id: String,
    /// The part.
    pub part: Part,
    /// Whether it was as it must be.
    pub passed: bool,
    /// What happened; if it must not have, what was expected.
    pub said: String,
}

/// What a guest was seen to do.
#[derive(Debug, Clone, PartialEq, Eq)]
enum Seen {
    Gave(i64),
    Other(String),
    Killed(String),
    Fault(String),
    Deadline,
    Limit(&'static str),
    NoStart(String),
    Denied(Vec<&'static str>),
}

impl std::fmt::Display for Seen {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Gave(value @ ..0) => {
                let number = i32::try_from(-value).unwrap_or(0);
                write!(f, "answered with error {number}: {}", std::io::Error::from_raw_os_error(number))
            }
            Self::Gave(value) => write!(f, "answered with {value}"),
            Self::Other(text) => f.write_str(text),
            Self::Killed(call) => write!(f, "killed for {call}"),
            Self::Fault(kind) => write!(f, "failed: {kind}"),
            Self::Deadline => f.write_str("ended at its deadline"),
            Self::Limit(what) => write!(f, "ended for {what}"),
            Self::NoStart(text) => write!(f, "did not start: {text}"),
            Self::Denied(codes) => write!(f, "denied: {}", codes.join(", ")),
        }
    }
}

/// Does one part of an attempt.
pub fn try_part(attempt: &Attempt, part: Part, programs: &Programs, ambient: AmbientAuthority) -> Trial {
    let outcome = match part {
        Part::Confined => confined(attempt, programs, ambient),
        Part::Control => control(attempt, programs, ambient),
        Part::Mutated => mutated(attempt, None, programs, ambient),
        Part::Alone(index) => mutated(attempt, Some(index), programs, ambient),
    };
    let (passed, said) = match outcome {
        Ok(said) => (true, said),
        Err(said) => (false, said),
    };
    Trial { id: attempt.id.to_owned(), part, passed, said }
}

/// The parts that an attempt has; those without every layer only where there is a launcher that leaves layers out.
pub fn parts(attempt: &Attempt, mutated: bool) -> Vec<Part> {
    let mut parts = vec![Part::Confined];
    if !matches!(attempt.control, Control::Nothing(_)) {
        parts.push(Part::Control);
    }
    match attempt.mutation {
        Mutation::Without(layers, _) if mutated => {
            parts.push(Part::Mutated);
            if layers.len() > 1 {
                parts.extend((0..layers.len()).map(Part::Alone));
            }
        }
        Mutation::Limits(..) => parts.push(Part::Mutated),
        _ => {}
    }
    parts
}

fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

pub(crate) fn text(error: impl std::fmt::Display) -> String {
    error.to_string()
}

/// An audit log that can be read.
#[derive(Clone, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl Write for Log {
    fn write(&mut self, bytes: &[u8]) -> std::io::Result<usize> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner).extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> std::io::Result<()> {
        Ok(())
    }
}

impl Log {
    fn events(&self, kind: &str) -> Vec<serde_json::Value> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner).clone();
        String::from_utf8_lossy(&bytes)
            .lines()
            .filter_map(|line| serde_json::from_str::<serde_json::Value>(line).ok())
            .filter(|event| event["event"] == kind)
            .collect()
    }
}

const EDGE: &str = "selftest -> guest";

/// The plan of a compartment with these grants and limits, through the whole pipeline.
fn planned(grants: &str, limits: &str) -> Result<CompartmentPlan, String> {
    let table =
        if grants.is_empty() { String::new() } else { format!("[crates.selftest.grants.guest]\n{grants}\n") };
    let manifest = format!(
        "[holds]\n{grants}\n[crates.selftest]\ndependencies = [\"guest\"]\n{table}[crates.guest]\n\
         compartment = {{ backend = \"process\", limits = {{ {limits} }} }}\n"
    );
    match decided(&manifest)? {
        Ok(mut plan) => Ok(plan.compartments.remove(0)),
        Err(codes) => Err(format!("denied: {codes:?}")),
    }
}

/// A manifest, decided about: a plan, or the codes of what is wrong.
pub(crate) fn decided(manifest: &str) -> Result<Result<cofferdam::Plan, Vec<&'static str>>, String> {
    let mut files = Files::default();
    let file = files.add(ManifestText::from_bytes("capabilities.toml", manifest.into()).map_err(text)?);
    let manifest = match parse(file, files.get(file), Form::Standalone) {
        Ok(manifest) => manifest,
        Err(errors) => {
            return Ok(Err(errors
                .iter()
                .map(|error| Diagnostic::of_manifest_error(error).code.name())
                .collect()));
        }
    };
    let project = match ProjectBuilder::standalone(files, manifest) {
        Ok(project) => project,
        Err((_, errors)) => {
            return Ok(Err(errors
                .iter()
                .map(|error| Diagnostic::of_project_error(error).code.name())
                .collect()));
        }
    };
    let resolution = resolve(&project);
    match resolution.granted(&project) {
        Some(graph) => plan(&project, &graph).map(Ok).map_err(text),
        None => Ok(Err(resolution
            .denials()
            .iter()
            .map(|denial| Diagnostic::of_denial(&project, denial).code.name())
            .collect())),
    }
}

/// A program with the last byte of a mark in it replaced.
fn marked(program: &Path, mark: &[u8], byte: u8, folder: &Path) -> Result<PathBuf, String> {
    let mut bytes = std::fs::read(program).map_err(text)?;
    let at =
        bytes.windows(mark.len()).position(|window| window == mark).ok_or("the guest has no such mark")?;
    bytes[at + mark.len()] = byte;
    let path = folder.join("marked");
    std::fs::write(&path, bytes).map_err(text)?;
    Ok(path)
}

/// A launcher that leaves these layers out.
fn host(programs: &Programs, leave_out: &[Layer], ambient: AmbientAuthority) -> Result<ProcessHost, String> {
    if leave_out.is_empty() {
        return ProcessHost::from_path_ambient(&programs.launcher, ambient).map_err(text);
    }
    let path = programs.mutant.as_ref().ok_or("there is no launcher that leaves layers out")?;
    let mut bytes = std::fs::read(path).map_err(text)?;
    let mark = b"leave out: ";
    let at = bytes.windows(mark.len()).position(|window| window == mark).ok_or("the launcher has no mark")?;
    let tokens = leave_out.iter().map(|layer| layer.token()).collect::<Vec<_>>().join(" ");
    let from = at + mark.len();
    bytes[from..from + tokens.len()].copy_from_slice(tokens.as_bytes());
    // The edits are of the way without a server.
    ProcessHost::from_bytes(&bytes).map(ProcessHost::without_server).map_err(text)
}

/// How a compartment is tried.
struct Run<'a> {
    attempt: &'a Attempt,
    programs: &'a Programs,
    grants: String,
    limits: &'a str,
    leave_out: Vec<Layer>,
    /// The guest does not do what the attempt is.
    honest: bool,
}

/// What was seen of it, and around it.
struct Outcome {
    seen: Seen,
    log: Log,
    noticed: Vec<String>,
    /// What must never happen, and did.
    wrong: Vec<String>,
    /// The facts that the expectations name.
    port: String,
}

/// How long what belongs to an ended guest may take to be closed.
const SETTLED_MAX: Duration = Duration::from_secs(5);

fn descriptors() -> usize {
    std::fs::read_dir("/proc/self/fd").map_or(0, Iterator::count)
}

impl Run<'_> {
    fn go(self, ambient: AmbientAuthority) -> Result<Outcome, String> {
        let world = World::new(&self.programs.guest, self.attempt)?;
        if let Act::Path(kind) = self.attempt.act {
            world.make(if self.honest { "file" } else { kind })?;
        }
        let before = descriptors();
        let host = host(self.programs, &self.leave_out, ambient)?;
        let plan = planned(&world.filled(&self.grants), self.limits)?;
        let guest = match self.attempt.act {
            _ if self.honest => self.programs.guest.clone(),
            Act::Early => marked(&self.programs.guest, b"calls ptrace before main: ", b'1', world.path())?,
            Act::Greeting(how) => {
                marked(&self.programs.guest, b"greets its host in this way: ", how, world.path())?
            }
            _ => self.programs.guest.clone(),
        };
        let log = Log::default();
        // What a careless host leaves open: a folder, and not to be closed for programs that it starts.
        let folder = std::fs::File::open(world.path()).map_err(text)?;
        let leaked = rustix::io::dup(&folder).map_err(text)?;
        let mut wrong = Vec::new();
        let started = ProcessCompartment::start_ambient(
            &host,
            &plan,
            &guest,
            world.path(),
            &AuditLog::to_writer(log.clone()),
            ambient,
        );
        let seen = match started {
            Ok(mut compartment) => {
                let seen = self.act(&mut compartment, &world, &log);
                // The next call works; a lie can be about the next one, and then the one after it does.
                let mut next = || compartment.call_typed::<_, u32>("add", &(2_u32, 3_u32));
                match next().or_else(|_| next()) {
                    Ok(5) => {}
                    Ok(other) => wrong.push(format!("2 and 3 are {other} in the next call")),
                    Err(error) => wrong.push(format!("the next call does not work: {error}")),
                }
                drop(compartment);
                seen
            }
            Err(error) => Seen::NoStart(error.to_string()),
        };
        drop((host, leaked, folder));
        // A thread that connects for a guest can end a moment after it; what is left for good is a leak.
        let begun = Instant::now();
        while descriptors() != before && begun.elapsed() < SETTLED_MAX {
            std::thread::sleep(Duration::from_millis(5));
        }
        let after = descriptors();
        if after != before {
            wrong.push(format!("the host has {after} descriptors, and had {before}"));
        }
        if !world.is_still() {
            wrong.push("something of the guest outlives it".to_owned());
        }
        let port = world.filled("{port}");
        let noticed = world.end()?;
        Ok(Outcome { seen, log, noticed, wrong, port })
    }

    fn act(&self, compartment: &mut ProcessCompartment, world: &World, log: &Log) -> Seen {
        let outside = self.leave_out.contains(&Layer::Namespaces);
        match self.attempt.act {
            Act::Attempt(name) => {
                let facts = world.told(self.attempt.facts, outside);
                seen(compartment.call_typed::<_, i64>("attempt", &(name, facts)), log)
            }
            Act::Lie(way, number, wanted) => {
                let way = if self.honest { "honest" } else { way };
                let wanted = if self.honest { Wanted::Number } else { wanted };
                lie(compartment, way, number, wanted, log)
            }
            Act::Early | Act::Greeting(_) | Act::Path(_) | Act::Manifest(_) => {
                seen(compartment.call_typed::<_, u32>("add", &(0_u32, 0_u32)).map(i64::from), log)
            }
        }
    }
}

fn lie(compartment: &mut ProcessCompartment, way: &str, number: u64, wanted: Wanted, log: &Log) -> Seen {
    fn other<T: std::fmt::Debug>(value: T) -> Seen {
        let shown: String = format!("{value:?}").chars().take(60).collect();
        Seen::Other(format!("taken for {shown}"))
    }
    let arguments = (way, number);
    macro_rules! call {
        ($type:ty) => {
            match compartment.call_typed::<_, $type>("lie", &arguments) {
                Ok(value) => other(value),
                Err(error) => seen(Err(error), log),
            }
        };
    }
    match wanted {
        Wanted::Number => seen(compartment.call_typed::<_, u32>("lie", &arguments).map(i64::from), log),
        Wanted::Kernel => seen(compartment.call_typed::<_, i64>("lie", &arguments), log),
        Wanted::Truth => call!(bool),
        Wanted::Character => call!(char),
        Wanted::Text => call!(String),
        Wanted::Maybe => call!(Option<u8>),
        Wanted::Outcome => call!(Result<u8, u8>),
        Wanted::Bytes => call!(Vec<u8>),
        Wanted::Lists => call!(Vec<Vec<u8>>),
    }
}

fn seen(result: Result<i64, CallError>, log: &Log) -> Seen {
    match result {
        Ok(value) => Seen::Gave(value),
        Err(CallError::Violation { violation, .. }) => Seen::Killed(violation.call.clone()),
        Err(CallError::Deadline { .. }) => Seen::Deadline,
        Err(CallError::Limit { what, .. }) => Seen::Limit(what),
        Err(error @ CallError::Fault { .. }) => {
            let kind = log.events("fault").pop().and_then(|event| Some(event["kind"].as_str()?.to_owned()));
            kind.map_or_else(|| Seen::Other(format!("not recorded: {error}")), Seen::Fault)
        }
        Err(CallError::Restart { source, .. }) if matches!(*source, StartError::Host { .. }) => {
            Seen::Other(format!("the host cannot start it again: {source}"))
        }
        Err(error) => Seen::Other(error.to_string()),
    }
}

/// Whether what was seen is the stop that is expected.
fn is_stop(stop: Stop, seen: &Seen) -> bool {
    match (stop, seen) {
        (Stop::Killed(call), Seen::Killed(found)) => call == found,
        (Stop::Error(error) | Stop::Refused(error, _), Seen::Gave(value)) => *value == -i64::from(error),
        (Stop::Gives(expected), Seen::Gave(value)) => *value == expected,
        (Stop::Fault(kind) | Stop::FaultSaying(kind, _), Seen::Fault(found)) => kind == found,
        (Stop::Deadline, Seen::Deadline) | (Stop::Unanswered, Seen::Deadline | Seen::Fault(_)) => true,
        (Stop::Limit(what), Seen::Limit(found)) => what == *found,
        (Stop::NoStart(words), Seen::NoStart(message)) => message.contains(words),
        (Stop::Denied(code), Seen::Denied(found)) => found.contains(&code),
        _ => false,
    }
}

/// What of the audit log is not as the stop says it is.
fn audit(attempt: &Attempt, outcome: &Outcome) -> Vec<String> {
    let mut wrong = Vec::new();
    let (violations, faults) = (outcome.log.events("violation"), outcome.log.events("fault"));
    let refused = outcome.log.events("refused");
    for event in violations.iter().chain(&faults).chain(&refused) {
        if event["edge"] != EDGE {
            wrong.push(format!("an event names another edge: {event}"));
        }
    }
    let text = |event: &'_ serde_json::Value| event["attempt"].as_str().unwrap_or_default().to_owned();
    let calls: Vec<String> = violations.iter().map(text).collect();
    // A refused connection is in the log, and its caller goes on.
    let connects: Vec<String> = outcome.log.events("refusal").iter().map(text).collect();
    if !connects.is_empty() && !attempt.grants.contains("network") {
        wrong.push(format!("refused connections without a grant: {connects:?}"));
    }
    let (mut expected_calls, mut expected_fault, mut expected_refused) = (0, None, 0);
    match attempt.stop {
        Stop::Killed(call) => {
            expected_calls = 1;
            if !calls.iter().all(|found| found.starts_with(&format!("{call}("))) {
                wrong.push(format!("the log has {calls:?} and not {call}"));
            }
        }
        Stop::Refused(_, what) => {
            let what = what.replace("{port}", &outcome.port);
            if connects.is_empty() || !connects.iter().all(|found| *found == what) {
                wrong.push(format!("the log has {connects:?} and not `{what}`"));
            }
        }
        Stop::Fault(kind) => expected_fault = Some(kind),
        Stop::FaultSaying(kind, words) => {
            expected_fault = Some(kind);
            let detail = faults.first().and_then(|event| event["detail"].as_str()).unwrap_or_default();
            if !detail.contains(words) {
                wrong.push(format!("the log has `{detail}`, and not `{words}`"));
            }
        }
        Stop::Deadline => expected_fault = Some("deadline"),
        Stop::Limit(_) => expected_fault = Some("limit"),
        Stop::NoStart(_) => {
            expected_refused = 1;
            expected_calls = usize::from(matches!(attempt.act, Act::Early));
        }
        Stop::Error(_) | Stop::Gives(_) | Stop::Denied(_) | Stop::Unanswered => {}
    }
    if calls.len() != expected_calls {
        wrong.push(format!("the log has {} violations instead of {expected_calls}", calls.len()));
    }
    // A lie about the next call is found out in it, and is a fault of its own.
    let lies = matches!(attempt.act, Act::Lie(..));
    match expected_fault {
        Some(kind) if faults.first().is_none_or(|event| event["kind"] != kind) => {
            wrong.push(format!("the log has {faults:?} and not {kind}"));
        }
        None if !faults.is_empty() && !lies && !matches!(attempt.stop, Stop::NoStart(_)) => {
            wrong.push(format!("the log has {faults:?}"));
        }
        _ => {}
    }
    if refused.len() != expected_refused {
        wrong.push(format!("the log has {} refusals instead of {expected_refused}", refused.len()));
    }
    wrong
}

fn verdict(good: bool, said: String, wrong: &[String]) -> Result<String, String> {
    match (good, wrong) {
        (true, []) => Ok(said),
        (true, wrong) => Err(format!("{said}, but {}", wrong.join("; "))),
        (false, _) => Err(said),
    }
}

fn confined(attempt: &Attempt, programs: &Programs, ambient: AmbientAuthority) -> Result<String, String> {
    if let Act::Manifest(manifest) = attempt.act {
        let seen = match decided(manifest)? {
            Ok(_) => Seen::Other("granted".to_owned()),
            Err(codes) => Seen::Denied(codes),
        };
        return verdict(is_stop(attempt.stop, &seen), seen.to_string(), &[]);
    }
    let run = Run {
        attempt,
        programs,
        grants: attempt.grants.to_owned(),
        limits: attempt.limits,
        leave_out: Vec::new(),
        honest: false,
    };
    let mut outcome = run.go(ambient)?;
    let mut wrong = std::mem::take(&mut outcome.wrong);
    wrong.extend(audit(attempt, &outcome));
    for what in outcome.noticed.iter().filter(|what| *what != "granted-callers") {
        wrong.push(format!("the victim noticed {what}"));
    }
    let good = is_stop(attempt.stop, &outcome.seen);
    let said =
        if good { outcome.seen.to_string() } else { format!("{}, and not {:?}", outcome.seen, attempt.stop) };
    verdict(good, said, &wrong)
}

/// Whether a victim noticed what such an attempt does when it works.
fn was_noticed(attempt: &Attempt, noticed: &[String]) -> Result<(), String> {
    if attempt.noticed.is_empty()
        || attempt.noticed.iter().any(|what| noticed.iter().any(|found| found == what))
    {
        return Ok(());
    }
    Err(format!("the victim noticed {noticed:?}, and nothing of {:?}", attempt.noticed))
}

fn control(attempt: &Attempt, programs: &Programs, ambient: AmbientAuthority) -> Result<String, String> {
    match attempt.control {
        Control::Nothing(why) => Ok(why.to_owned()),
        Control::Unconfined(expected) => unconfined(attempt, expected.of(is_root()), programs),
        Control::Granted(grants, limits, answer) => {
            let run = Run {
                attempt,
                programs,
                grants: grants.to_owned(),
                limits,
                leave_out: Vec::new(),
                honest: false,
            };
            let outcome = run.go(ambient)?;
            let good = matches!(outcome.seen, Seen::Gave(value) if answer.holds(value));
            verdict(good, outcome.seen.to_string(), &outcome.wrong)
        }
        Control::Mended(manifest) if matches!(attempt.act, Act::Manifest(_)) => match decided(manifest)? {
            Ok(_) => Ok("granted".to_owned()),
            Err(codes) => Err(format!("denied: {codes:?}")),
        },
        Control::Mended(_) | Control::Honest => {
            let run = Run {
                attempt,
                programs,
                grants: attempt.grants.to_owned(),
                limits: attempt.limits,
                leave_out: Vec::new(),
                honest: true,
            };
            let outcome = run.go(ambient)?;
            let good = matches!(outcome.seen, Seen::Gave(0..));
            let faults = outcome.log.events("fault");
            let wrong: Vec<String> = outcome
                .wrong
                .into_iter()
                .chain(faults.iter().map(|event| format!("the log has {event}")))
                .collect();
            verdict(good, outcome.seen.to_string(), &wrong)
        }
    }
}

/// Longest that a control without a compartment may take.
const UNCONFINED_MAX: Duration = Duration::from_secs(30);

fn unconfined(attempt: &Attempt, expected: Answer, programs: &Programs) -> Result<String, String> {
    let Act::Attempt(name) = attempt.act else { return Err("no attempt that runs alone".to_owned()) };
    let world = World::new(&programs.guest, attempt)?;
    let mut child = Command::new(&programs.guest)
        .arg("attempt")
        .arg(name)
        .args(world.told(attempt.facts, true))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .map_err(text)?;
    let begun = Instant::now();
    let ended = loop {
        if let Some(ended) = child.try_wait().map_err(text)? {
            break ended;
        }
        if begun.elapsed() > UNCONFINED_MAX {
            let _ = child.kill();
            let _ = child.wait();
            return Err("it takes too long without a compartment".to_owned());
        }
        std::thread::sleep(Duration::from_millis(2));
    };
    let mut said = String::new();
    if let Some(mut out) = child.stdout.take() {
        std::io::Read::read_to_string(&mut out, &mut said).map_err(text)?;
    }
    let noticed = world.end()?;
    let answer = said.trim().strip_prefix("answer ").and_then(|answer| answer.parse::<i64>().ok());
    let Some(answer) = answer else {
        return Err(format!("without a compartment it ended with {ended}: {said}"));
    };
    let seen = Seen::Gave(answer);
    if !expected.holds(answer) {
        return Err(format!("without a compartment {seen}, and not {expected:?}"));
    }
    was_noticed(attempt, &noticed)?;
    Ok(seen.to_string())
}

/// Without every layer that stops it, or with one of them alone.
fn mutated(
    attempt: &Attempt,
    kept: Option<usize>,
    programs: &Programs,
    ambient: AmbientAuthority,
) -> Result<String, String> {
    let (leave_out, limits, expected) = match attempt.mutation {
        Mutation::Without(layers, expected) => {
            let mut out: Vec<Layer> = layers.to_vec();
            if let Some(kept) = kept {
                out.remove(kept);
            }
            out.extend(attempt.also);
            (out, attempt.limits, expected.of(is_root()))
        }
        Mutation::Limits(limits, answer) => (Vec::new(), limits, answer),
        Mutation::InTheHost(why) | Mutation::Nothing(why) => return Ok(why.to_owned()),
    };
    let run = Run { attempt, programs, grants: attempt.grants.to_owned(), limits, leave_out, honest: false };
    let outcome = run.go(ambient)?;
    let answered = matches!(outcome.seen, Seen::Gave(value) if expected.holds(value));
    // Where the victim can tell, what it noticed counts, and not only the kernel's answer.
    let noticed = was_noticed(attempt, &outcome.noticed);
    let works = answered && noticed.is_ok();
    if kept.is_some() {
        // It is stopped; how is for this layer to say.
        return if works {
            Err(format!("{} with this layer alone", outcome.seen))
        } else {
            Ok(outcome.seen.to_string())
        };
    }
    if !answered {
        return Err(format!("{}, and not {expected:?}, though nothing should stop it", outcome.seen));
    }
    noticed?;
    verdict(true, outcome.seen.to_string(), &outcome.wrong)
}
