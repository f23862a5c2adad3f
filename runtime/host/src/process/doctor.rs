//! What this machine can enforce, found out by trying each layer for real in a launcher without a guest.

use std::fmt;
use std::os::fd::AsFd;
use std::time::Instant;

use ambient_authority::AmbientAuthority;
use cofferdam_wire::memory::Memory;
use cofferdam_wire::order::{Layer, LayerReport, Order, Outcome, Report};
use cofferdam_wire::packet;
use rustix::fs::{Mode, OFlags};

use super::compartment::describe_groups;
use super::error::StartError;
use super::filter::allow_all;
use super::groups::CONTROL_GROUP_VARIABLE;
use super::host::ProcessHost;
use super::limits::START_DEADLINE;
use super::program::seal;
use super::server::command;

/// How much of the confinement this machine can enforce.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Tier {
    /// Every layer. Process compartments start here.
    Full,
    /// No namespaces, but Landlock and seccomp. Compartments start only where the workspace accepts that weakening by name.
    WithoutNamespaces,
    /// Less than that.
    Insufficient,
}

impl fmt::Display for Tier {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Full => "full: process compartments start here",
            Self::WithoutNamespaces => {
                "Landlock and seccomp without namespaces: process compartments start here only where the workspace accepts it: \
                 compartments.NAME.weakenings = { namespaces = \"why\" }"
            }
            Self::Insufficient => "insufficient: process compartments do not start here",
        })
    }
}

/// One layer on this machine.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Finding {
    /// Which.
    pub layer: Layer,
    /// What became of it.
    pub outcome: Outcome,
    /// More about it, or why it failed.
    pub detail: String,
    /// What mends it, if it failed and that is known.
    pub mend: Option<String>,
}

/// What was found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Doctor {
    /// The sum of it.
    pub tier: Tier,
    /// Each layer, in the order in which it is put on.
    pub findings: Vec<Finding>,
    /// What control groups add, which no tier needs.
    pub control_groups: String,
}

/// Tries every layer.
///
/// # Errors
/// When the launcher cannot be started or does not answer.
///
/// # Authority
/// Starts the launcher, and reads settings of the kernel below `/proc/sys` where a layer failed.
pub fn examine_ambient(host: &ProcessHost, _: AmbientAuthority) -> Result<Doctor, StartError> {
    let failed =
        |error: &dyn fmt::Display| StartError::Host { edge: "doctor".to_owned(), message: error.to_string() };
    let order = Order {
        version: cofferdam_wire::VERSION,
        probe: true,
        host: std::process::id(),
        namespaces: true,
        mounts: Vec::new(),
        limits: Vec::new(),
        environment: Vec::new(),
        deny_write_execute: true,
        control_speculation: true,
        filter: allow_all(),
    };
    let bytes = cofferdam_wire::encode(&order).map_err(|error| failed(&error))?;
    let order = seal(&bytes).map_err(|error| failed(&error))?;
    let (_memory, shared) = Memory::create().map_err(|error| failed(&error))?;
    let nothing = rustix::fs::open("/dev/null", OFlags::RDWR | OFlags::CLOEXEC, Mode::empty())
        .map_err(|error| failed(&error))?;
    let (socket, theirs) = packet::pair().map_err(|error| failed(&error))?;
    let mut child =
        command(&host.launcher, theirs).spawn().map_err(|error| failed(&format!("the launcher: {error}")))?;
    let descriptors = [&order, &shared, &order, &nothing, &nothing, &nothing, &nothing];
    let answer = packet::send(&socket, b"order", &descriptors.map(AsFd::as_fd))
        .and_then(|()| packet::receive(&socket, 0, Some(Instant::now() + START_DEADLINE)));
    let _ = child.kill();
    let _ = child.wait();
    let (bytes, _) = answer.map_err(|error| failed(&format!("the launcher did not report: {error}")))?;
    let report: Report = cofferdam_wire::decode(&bytes).map_err(|error| failed(&error))?;
    let mut doctor = judge(&report.layers);
    doctor.control_groups = match host.control_groups() {
        None => format!("{}; {CONTROL_GROUP_VARIABLE} names a delegated folder", describe_groups(None)),
        groups => describe_groups(groups),
    };
    Ok(doctor)
}

/// The tier and the advice, from what a launcher reports.
fn judge(layers: &[LayerReport]) -> Doctor {
    let findings: Vec<Finding> = Layer::ALL
        .into_iter()
        // There was no guest.
        .filter(|layer| *layer != Layer::Execute)
        .map(|layer| {
            // The last word counts: a layer can be put on and fail later.
            match layers.iter().rev().find(|report| report.layer == layer) {
                Some(report) => finding(report),
                None => Finding {
                    layer,
                    outcome: Outcome::Failed,
                    detail: "the launcher did not get this far".to_owned(),
                    mend: None,
                },
            }
        })
        .collect();
    let works = |layer: Layer| {
        findings.iter().any(|finding| finding.layer == layer && finding.outcome != Outcome::Failed)
    };
    let tier = if findings.iter().all(|finding| finding.outcome != Outcome::Failed) {
        Tier::Full
    } else if works(Layer::Landlock) && works(Layer::Filter) && works(Layer::NoNewPrivileges) {
        Tier::WithoutNamespaces
    } else {
        Tier::Insufficient
    };
    Doctor { tier, findings, control_groups: describe_groups(None) }
}

fn finding(report: &LayerReport) -> Finding {
    let mut detail = report.detail.clone();
    if report.errno != 0 {
        let error = std::io::Error::from_raw_os_error(report.errno);
        detail = format!("{detail}: {error}");
    }
    let mend = (report.outcome == Outcome::Failed).then(|| mend(report.layer)).flatten();
    Finding { layer: report.layer, outcome: report.outcome, detail, mend }
}

/// What to do about a layer that failed here.
fn mend(layer: Layer) -> Option<String> {
    let setting = |path: &str| std::fs::read_to_string(path).ok().map(|text| text.trim().to_owned());
    match layer {
        Layer::Namespaces | Layer::Identity | Layer::Root => {
            if setting("/proc/sys/kernel/apparmor_restrict_unprivileged_userns").as_deref() == Some("1") {
                return Some(
                    "AppArmor keeps unprivileged programs from making user namespaces: sudo sysctl -w \
                     kernel.apparmor_restrict_unprivileged_userns=0, or give the launcher a profile with `userns,`"
                        .to_owned(),
                );
            }
            if setting("/proc/sys/kernel/unprivileged_userns_clone").as_deref() == Some("0") {
                return Some("sudo sysctl -w kernel.unprivileged_userns_clone=1".to_owned());
            }
            if setting("/proc/sys/user/max_user_namespaces").as_deref() == Some("0") {
                return Some("sudo sysctl -w user.max_user_namespaces=15000".to_owned());
            }
            Some(
                "in a container, its own filter or profile refuses: run it with one that allows unshare and mount, such as \
                 `--security-opt seccomp=unconfined --security-opt systempaths=unconfined`"
                    .to_owned(),
            )
        }
        Layer::Landlock => Some(
            "a kernel from 6.2 on, with `landlock` in the list of security modules (lsm= on the kernel's command line; \
             /sys/kernel/security/lsm shows it)"
                .to_owned(),
        ),
        Layer::WriteExecute => Some("a kernel from 6.3 on".to_owned()),
        Layer::Filter => Some("a kernel from 5.5 on with CONFIG_SECCOMP_FILTER".to_owned()),
        _ => None,
    }
}

impl fmt::Display for Doctor {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for finding in &self.findings {
            let outcome = match finding.outcome {
                Outcome::Enforced => "yes",
                Outcome::NotAsked | Outcome::NotApplicable => "-",
                Outcome::Failed => "NO",
            };
            write!(f, "{:<20} {outcome:<4}", finding.layer.name())?;
            writeln!(f, "{}", finding.detail)?;
            if let Some(mend) = &finding.mend {
                writeln!(f, "{:<20}      mend: {mend}", "")?;
            }
        }
        let groups = self.control_groups.trim_start_matches("control group: ");
        let outcome = if groups.starts_with("enforced") { "yes" } else { "-" };
        writeln!(f, "{:<20} {outcome:<4}{groups}", "control group")?;
        writeln!(f, "{}", self.tier)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(layer: Layer, outcome: Outcome) -> LayerReport {
        let errno = i32::from(outcome == Outcome::Failed);
        LayerReport { layer, outcome, detail: "x".to_owned(), errno }
    }

    fn tier(failed: &[Layer]) -> Tier {
        let outcome = |layer: Layer| {
            if failed.contains(&layer) { Outcome::Failed } else { Outcome::Enforced }
        };
        let all: Vec<LayerReport> =
            Layer::ALL.into_iter().map(|layer| report(layer, outcome(layer))).collect();
        judge(&all).tier
    }

    #[test]
    fn a_tier_is_as_strong_as_its_weakest_layer() {
        assert_eq!(tier(&[]), Tier::Full);
        assert_eq!(tier(&[Layer::Namespaces, Layer::Identity, Layer::Root]), Tier::WithoutNamespaces);
        assert_eq!(tier(&[Layer::Limits]), Tier::WithoutNamespaces);
        assert_eq!(tier(&[Layer::Landlock]), Tier::Insufficient);
        assert_eq!(tier(&[Layer::Filter]), Tier::Insufficient);
    }

    #[test]
    fn a_layer_that_nobody_reported_is_not_there() {
        let found = judge(&[report(Layer::Order, Outcome::Enforced)]);
        assert_eq!(found.tier, Tier::Insufficient);
        assert!(found.findings.iter().skip(1).all(|finding| finding.outcome == Outcome::Failed));
    }

    #[test]
    fn what_failed_is_named_with_what_mends_it() {
        let text = judge(&[report(Layer::Landlock, Outcome::Failed)]).to_string();
        assert!(text.contains("Landlock             NO  x: Operation not permitted"), "{text}");
        assert!(text.contains("mend: a kernel from 6.2 on"), "{text}");
    }
}
