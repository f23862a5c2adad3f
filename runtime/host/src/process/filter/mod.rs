//! The rules about a compartment's system calls: what they decide, as a program for the kernel and here.
//!
//! The kernel runs the program; the supervisor asks [`Rules::decide`] about the calls that the program hands to it. Both say the
//! same, and tests hold them against each other and against the kernel.

mod emit;
#[cfg(test)]
mod evaluate;

use std::collections::BTreeMap;
use std::str::FromStr;
use std::sync::{LazyLock, OnceLock};

use capability_manifest::{
    ArgumentCondition, CapabilityPage, HostCapability, PageSeverity, SyscallAction, SyscallRule,
};
use serde::Deserialize;
use syscalls::{Errno, Sysno};

use crate::plan::SyscallPlan;

/// The rules that every guest has.
const BASELINE: &str = include_str!("../../../baseline/process.toml");

/// The calling convention of this platform, `AUDIT_ARCH_X86_64` of `linux/audit.h`.
pub(super) const ARCH: u32 = 0xC000_003E;

/// Set in the numbers of the x32 convention, `__X32_SYSCALL_BIT` of `asm/unistd.h`.
const X32_BIT: u32 = 0x4000_0000;

/// The highest number that this release knows, and so the highest that can be named in a rule.
fn highest() -> u32 {
    u32::try_from(Sysno::table_size() - 1).expect("the kernel has some hundred calls")
}

/// What is decided about a call.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(super) enum Decision {
    /// It runs.
    Allow,
    /// The host does it, or not.
    Notify,
    /// It fails with this error, after the host has recorded it.
    Report(u16),
    /// It fails with this error.
    Errno(u16),
    /// The same, said by the host: the launcher's own last call has the same number and must get through.
    ErrnoByHost(u16),
    /// Nothing allows it.
    Violation,
}

/// One rule. Ordered so that the most permissive comes first.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Rule {
    decision: Decision,
    when: Vec<ArgumentCondition>,
}

impl Rule {
    fn holds(&self, arguments: &[u64; 6]) -> bool {
        self.when.iter().all(|condition| {
            arguments[usize::from(condition.argument)] & u64::from(condition.mask)
                == u64::from(condition.equals)
        })
    }
}

/// The rules of one compartment, by number.
#[derive(Debug, Clone, Default)]
pub(super) struct Rules {
    calls: BTreeMap<u32, Vec<Rule>>,
    startup: BTreeMap<u32, u16>,
}

/// A rule that cannot be lowered: a fault of the pages or of the plan, not of the guest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("the rule for `{name}` ({text}) cannot be lowered to a filter")]
pub struct RuleError {
    /// The call.
    pub name: String,
    /// The part that is wrong.
    pub text: String,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Baseline {
    format: u32,
    syscalls: Vec<SyscallRule>,
    startup: Vec<StartupRule>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct StartupRule {
    name: String,
    errno: String,
    #[serde(rename = "reason")]
    _reason: String,
}

impl Rules {
    /// The baseline and what the plan adds to it.
    pub(super) fn new(plan: &[SyscallPlan]) -> Result<Self, RuleError> {
        // The text is this crate's own and never changes.
        static BASELINE_RULES: OnceLock<Result<Rules, RuleError>> = OnceLock::new();
        let mut rules = BASELINE_RULES.get_or_init(Self::baseline).clone()?;
        for one in plan {
            rules.add_planned(one)?;
        }
        Ok(rules)
    }

    fn baseline() -> Result<Self, RuleError> {
        let wrong = |text: String| RuleError { name: "baseline".to_owned(), text };
        let baseline: Baseline =
            toml::from_str(BASELINE).map_err(|error| wrong(error.message().to_owned()))?;
        if baseline.format != 1 {
            return Err(wrong(format!("format {}", baseline.format)));
        }
        let mut rules = Self::default();
        for rule in baseline.syscalls {
            let decision = match (rule.action, rule.errno.as_deref()) {
                (SyscallAction::Allow, None) => Decision::Allow,
                (SyscallAction::Notify, None) => Decision::Notify,
                (SyscallAction::Errno, Some(errno)) => Decision::Errno(error_number(&rule.name, errno)?),
                _ => return Err(wrong(rule.name)),
            };
            rules.add(&rule.name, decision, rule.when)?;
        }
        for rule in baseline.startup {
            let error = error_number(&rule.name, &rule.errno)?;
            rules.startup.insert(call_number(&rule.name)?, error);
        }
        Ok(rules)
    }

    /// The error for a call that the guest's libraries make before its first words, and that nothing allows.
    pub(super) fn at_startup(&self, number: i32) -> Option<u16> {
        self.startup.get(&number.cast_unsigned()).copied()
    }

    /// Adds a rule as a plan prints it: what is printed is what runs.
    fn add_planned(&mut self, rule: &SyscallPlan) -> Result<(), RuleError> {
        let wrong = |text: &str| RuleError { name: rule.name.clone(), text: text.to_owned() };
        let decision = match rule.action.split_once(' ') {
            None if rule.action == "allow" => Decision::Allow,
            None if rule.action == "notify" => Decision::Notify,
            Some(("errno", name)) => Decision::Errno(error_number(&rule.name, name)?),
            Some(("report", name)) => Decision::Report(error_number(&rule.name, name)?),
            _ => return Err(wrong(&rule.action)),
        };
        let condition = |text: &String| condition(text).ok_or_else(|| wrong(text));
        let when = rule.when.iter().map(condition).collect::<Result<_, _>>()?;
        self.add(&rule.name, decision, when)
    }

    fn add(&mut self, name: &str, decision: Decision, when: Vec<ArgumentCondition>) -> Result<(), RuleError> {
        let wrong = |text: &str| RuleError { name: name.to_owned(), text: text.to_owned() };
        let number = call_number(name)?;
        let decision = match decision {
            Decision::Errno(error) if number == Sysno::execveat as u32 => Decision::ErrnoByHost(error),
            other => other,
        };
        if when.iter().any(|one| one.argument > 5 || one.equals & !one.mask != 0) {
            return Err(wrong("a condition that never holds"));
        }
        let rules = self.calls.entry(number).or_default();
        let rule = Rule { decision, when };
        if !rules.contains(&rule) {
            rules.push(rule);
            // Stable, so that among equals the order of the pages stays.
            rules.sort_by_key(|rule| rule.decision);
        }
        Ok(())
    }

    /// What the filter says about a call.
    pub(super) fn decide(&self, arch: u32, number: i32, arguments: &[u64; 6]) -> Decision {
        let number = number.cast_unsigned();
        if arch != ARCH || number & X32_BIT != 0 {
            return Decision::Violation;
        }
        if number > highest() {
            return Decision::Errno(ENOSYS);
        }
        let rules = self.calls.get(&number).map_or(&[][..], Vec::as_slice);
        rules.iter().find(|rule| rule.holds(arguments)).map_or(Decision::Violation, |rule| rule.decision)
    }

    /// The filter for the kernel.
    pub(super) fn program(&self) -> Result<Vec<u8>, RuleError> {
        emit::emit(self)
    }
}

/// A filter that notifies of nothing, to try whether filters work.
pub(super) fn allow_all() -> Vec<u8> {
    emit::allow_all()
}

/// `ENOSYS`, as for a number that no kernel has.
const ENOSYS: u16 = 38;

/// The name of a call, for people.
pub(super) fn call_name(arch: u32, number: i32) -> String {
    if arch != ARCH {
        return format!("system call {number} of another calling convention ({arch:#x})");
    }
    if number.cast_unsigned() & X32_BIT != 0 {
        return format!("system call {number:#x} of the x32 convention");
    }
    usize::try_from(number)
        .ok()
        .and_then(Sysno::new)
        .map_or_else(|| format!("system call {number}"), |call| call.name().to_owned())
}

/// The capability that allows a call and gives least away; of several such, the one first in the table.
pub(super) fn allowed_by(arch: u32, number: i32, arguments: &[u64; 6]) -> Option<HostCapability> {
    let call = call_name(arch, number);
    // A folder in memory is no answer to who wanted another one.
    HostCapability::all()
        .filter(|capability| *capability != HostCapability::FilesystemScratch)
        // Somebody waits for the answer, and most pages do not know the call at all.
        .filter(|capability| CapabilityPage::mentions(*capability, &call))
        .filter_map(|capability| Some((alone(capability)?, capability)))
        .filter(|((_, rules), _)| rules.decide(arch, number, arguments) == Decision::Allow)
        // The first of equals, as `min_by_key` gives it.
        .min_by_key(|((severity, _), _)| *severity)
        .map(|(_, capability)| capability)
}

/// How much a capability gives away, and the rules that allow anything because of it; read once.
fn alone(capability: HostCapability) -> Option<&'static (PageSeverity, Rules)> {
    type Read = OnceLock<Option<(PageSeverity, Rules)>>;
    static PAGES: LazyLock<BTreeMap<&str, Read>> =
        LazyLock::new(|| HostCapability::all().map(|one| (one.name(), Read::new())).collect());
    let read = || {
        let page = CapabilityPage::load(capability).ok()?;
        let mut rules = Rules::default();
        let gives = |action| matches!(action, SyscallAction::Allow | SyscallAction::Notify);
        for rule in page.process?.syscalls.into_iter().filter(|rule| gives(rule.action)) {
            rules.add(&rule.name, Decision::Allow, rule.when).ok()?;
        }
        Some((page.severity, rules))
    };
    PAGES.get(capability.name())?.get_or_init(read).as_ref()
}

fn call_number(name: &str) -> Result<u32, RuleError> {
    let wrong = || RuleError { name: name.to_owned(), text: "no call of this platform".to_owned() };
    Sysno::from_str(name).ok().and_then(|call| u32::try_from(call.id()).ok()).ok_or_else(wrong)
}

fn error_number(call: &str, name: &str) -> Result<u16, RuleError> {
    (1..ERRORS_END)
        .find(|number| Errno::new(*number).name() == Some(name))
        .and_then(|number| u16::try_from(number).ok())
        .ok_or_else(|| RuleError { name: call.to_owned(), text: name.to_owned() })
}

/// Past the kernel's last error number; `asm-generic/errno.h` ends at 133.
const ERRORS_END: i32 = 134;

/// `arg2 & 0x4 == 0x0`, as a plan prints it.
fn condition(text: &str) -> Option<ArgumentCondition> {
    let (argument, rest) = text.strip_prefix("arg")?.split_once(" & ")?;
    let (mask, equals) = rest.split_once(" == ")?;
    let hex = |text: &str| u32::from_str_radix(text.strip_prefix("0x")?, 16).ok();
    Some(ArgumentCondition { argument: argument.parse().ok()?, mask: hex(mask)?, equals: hex(equals)? })
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::evaluate::evaluate;
    use super::*;

    /// Every rule of every page at once: the largest filter there can be.
    fn all_pages() -> Rules {
        let mut rules = Rules::baseline().expect("the baseline can be lowered");
        for capability in HostCapability::all() {
            let page = CapabilityPage::load(capability).expect("the pages are right");
            for rule in page.process.into_iter().flat_map(|process| process.syscalls) {
                let planned = SyscallPlan {
                    name: rule.name,
                    action: match (rule.action, rule.errno) {
                        (SyscallAction::Report, Some(errno)) => format!("report {errno}"),
                        (_, Some(errno)) => format!("errno {errno}"),
                        (SyscallAction::Notify, None) => "notify".to_owned(),
                        (_, None) => "allow".to_owned(),
                    },
                    when: rule
                        .when
                        .iter()
                        .map(|when| format!("arg{} & {:#x} == {:#x}", when.argument, when.mask, when.equals))
                        .collect(),
                    because_of: String::new(),
                };
                rules.add_planned(&planned).unwrap_or_else(|error| panic!("{error}"));
            }
        }
        rules
    }

    #[test]
    fn every_page_can_be_lowered_at_once() {
        let program = all_pages().program().expect("it fits");
        // The kernel accepts 4,096 instructions.
        assert!(program.len() / 8 <= 4096, "{}", program.len() / 8);
    }

    #[test]
    fn the_baseline_gives_no_way_out() {
        let rules = Rules::new(&[]).expect("the baseline can be lowered");
        let calls = [
            "open",
            "openat",
            "openat2",
            "socket",
            "connect",
            "execve",
            "execveat",
            "fork",
            "clone",
            "ptrace",
            "mount",
            "unshare",
            "setns",
            "kill",
            "bpf",
            "keyctl",
            "userfaultfd",
            "prctl",
            "seccomp",
            "memfd_create",
            "pidfd_open",
            "process_vm_readv",
            "perf_event_open",
            "clock_gettime",
            "dup",
            "fcntl",
            "stat",
            "chdir",
            "shmget",
            "personality",
        ];
        for name in calls {
            let number = Sysno::from_str(name).expect("a call").id();
            assert_eq!(rules.decide(ARCH, number, &[0; 6]), Decision::Violation, "{name}");
        }
        let mmap = Sysno::mmap.id();
        let executable = [0, 4096, 7, 0x22, u64::MAX, 0];
        assert_eq!(rules.decide(ARCH, mmap, &executable), Decision::Violation);
        assert_eq!(rules.decide(ARCH, mmap, &[0, 4096, 3, 0x22, u64::MAX, 0]), Decision::Allow);
    }

    #[test]
    fn other_conventions_and_unknown_numbers_are_never_allowed() {
        let rules = all_pages();
        let read = Sysno::read.id();
        assert_eq!(rules.decide(ARCH, read, &[0; 6]), Decision::Allow);
        assert_eq!(rules.decide(0x4000_0003, read, &[0; 6]), Decision::Violation);
        assert_eq!(rules.decide(ARCH, read | 0x4000_0000, &[0; 6]), Decision::Violation);
        assert_eq!(rules.decide(ARCH, -1, &[0; 6]), Decision::Violation);
        assert_eq!(rules.decide(ARCH, 5000, &[0; 6]), Decision::Errno(ENOSYS));
        assert!(call_name(0x4000_0003, 3).contains("another calling convention"));
        assert!(call_name(ARCH, read | 0x4000_0000).contains("x32"));
        assert_eq!(call_name(ARCH, 41), "socket");
    }

    #[test]
    fn high_halves_of_arguments_change_nothing() {
        let rules = all_pages();
        let ioctl = Sysno::ioctl.id();
        // TIOCSTI with a bit above the 32 that the kernel looks at is still TIOCSTI.
        for high in [0, 1 << 32, u64::MAX << 32] {
            assert_eq!(rules.decide(ARCH, ioctl, &[0, 0x5412 | high, 0, 0, 0, 0]), Decision::Violation);
            assert_eq!(rules.decide(ARCH, ioctl, &[0, 0x5421 | high, 0, 0, 0, 0]), Decision::Allow);
        }
    }

    #[test]
    fn a_capability_is_named_for_what_it_would_allow() {
        let name = |call: Sysno, arguments: [u64; 6]| {
            allowed_by(ARCH, call.id(), &arguments).map(HostCapability::name)
        };
        assert_eq!(name(Sysno::openat, [0; 6]), Some("filesystem.read"));
        assert_eq!(name(Sysno::openat, [0, 0, 0x241, 0, 0, 0]), Some("filesystem.write"));
        assert_eq!(name(Sysno::socket, [2, 1, 0, 0, 0, 0]), Some("network.connect"));
        assert_eq!(name(Sysno::getrandom, [0; 6]), Some("entropy"));
        assert_eq!(name(Sysno::execve, [0; 6]), Some("process.spawn"));
        assert_eq!(name(Sysno::mmap, [0, 0, 7, 0x22, 0, 0]), Some("mmap.executable"));
        assert_eq!(name(Sysno::bpf, [0; 6]), None);
    }

    #[test]
    fn what_cannot_be_lowered_is_refused() {
        let rule = |name: &str, action: &str, when: &str| SyscallPlan {
            name: name.to_owned(),
            action: action.to_owned(),
            when: if when.is_empty() { Vec::new() } else { vec![when.to_owned()] },
            because_of: String::new(),
        };
        for (name, action, when) in [
            ("no_such_call", "allow", ""),
            ("read", "perhaps", ""),
            ("read", "errno ENOTHING", ""),
            ("read", "allow", "arg6 & 0x1 == 0x1"),
            ("read", "allow", "arg0 & 0x1 == 0x2"),
            ("read", "allow", "arg0 = 1"),
        ] {
            assert!(Rules::new(&[rule(name, action, when)]).is_err(), "{name} {action} {when}");
        }
    }

    /// Numbers and arguments close to what rules name.
    fn call() -> impl Strategy<Value = (u32, i32, [u64; 6])> {
        let arch = prop_oneof![9 => Just(ARCH), 1 => any::<u32>()];
        let number =
            prop_oneof![8 => 0..470_i32, 1 => any::<i32>(), 1 => (0..470_i32).prop_map(|n| n | 0x4000_0000)];
        let word = prop_oneof![
            4 => 0..20_u64,
            2 => (0..64_u32).prop_map(|bit| 1 << bit),
            2 => proptest::sample::select(vec![0x22_u64, 0x21, 0x5421, 0x5412, 0x1002, 1030, 0x11, 0x003D_0F00, 0x8004_2407]),
            1 => any::<u64>(),
        ];
        (arch, number, [word.clone(), word.clone(), word.clone(), word.clone(), word.clone(), word])
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(20_000))]
        #[test]
        fn the_program_says_what_the_rules_say((arch, number, arguments) in call()) {
            static ALL: OnceLock<[(Rules, Vec<u8>); 2]> = OnceLock::new();
            let all = ALL.get_or_init(|| {
                [all_pages(), Rules::new(&[]).expect("lowered")].map(|rules| {
                    let program = rules.program().expect("it fits");
                    (rules, program)
                })
            });
            for (rules, program) in all {
                let expected = rules.decide(arch, number, &arguments);
                prop_assert_eq!(evaluate(program, arch, number, &arguments), expected.for_the_kernel());
            }
        }
    }
}
