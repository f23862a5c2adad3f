//! What the host tells the launcher, and what the launcher answers.
//!
//! The order is everything that is decided about a compartment before it starts. It is made from a plan, and the launcher only
//! carries it out.

use crate::record;
use crate::value::{Decode, DecodeError, Encode, Sink, Source};

record! {
    /// How to confine one guest.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Order {
        /// [`crate::VERSION`] of the host.
        pub version: u32,
        /// Only try every step, and answer with what worked; there is no guest.
        pub probe: bool,
        /// The host's process. The launcher ends if this is not its parent.
        pub host: u32,
        /// Whether to make namespaces, and the empty root in them. False only where a manifest accepts that weakening.
        pub namespaces: bool,
        /// What the guest sees of the file system, outer paths before inner ones.
        pub mounts: Vec<MountOrder>,
        /// `(resource, value)`: soft and hard limit alike.
        pub limits: Vec<(u32, u64)>,
        /// The guest's variables.
        pub environment: Vec<(String, String)>,
        /// Whether memory may never become executable. False only where a grant needs it.
        pub deny_write_execute: bool,
        /// Whether to switch off speculation that can be made to tell what is in memory. False only where a manifest accepts that
        /// weakening.
        pub control_speculation: bool,
        /// The seccomp filter: instructions of 8 bytes.
        pub filter: Vec<u8>,
    }
}

record! {
    /// One path that the guest sees.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct MountOrder {
        /// Where, below the guest's root, without a slash in front.
        pub at: String,
        /// The path on the host, free of links.
        pub path: Vec<u8>,
        /// The device that the host found it on. The launcher refuses another.
        pub device: u64,
        /// The inode that the host found. The launcher refuses another.
        pub inode: u64,
        /// A file, not a folder.
        pub file: bool,
        /// Whether it may be changed.
        pub writable: bool,
        /// Whether what is in it may be run, or mapped to be run.
        pub executable: bool,
        /// Landlock rights below it, as the kernel's bits.
        pub rights: u64,
        /// Not 0 for an empty folder in memory of so many bytes, for which path, device and inode say nothing.
        pub scratch: u64,
    }
}

/// One layer that the launcher puts around the guest, in the order in which it does.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(u8)]
pub enum Layer {
    /// The order itself: complete, and of this version.
    Order,
    /// A session of its own, so that no signal reaches the host's group.
    Session,
    /// It ends when its host ends.
    ParentDeath,
    /// User, process, mount, IPC, host-name and network namespaces.
    Namespaces,
    /// One user and one group, neither of them root inside.
    Identity,
    /// A root with the granted paths and nothing else.
    Root,
    /// Resource limits.
    Limits,
    /// Only the guest's own descriptors.
    Descriptors,
    /// No Linux capability, and no way to one.
    Privileges,
    /// No new privileges through programs.
    NoNewPrivileges,
    /// Speculative store bypass and indirect branches.
    Speculation,
    /// No memory that was written becomes executable.
    WriteExecute,
    /// Landlock.
    Landlock,
    /// The seccomp filter.
    Filter,
    /// The guest itself.
    Execute,
}

impl Layer {
    /// All, in order.
    pub const ALL: [Self; 15] = [
        Self::Order,
        Self::Session,
        Self::ParentDeath,
        Self::Namespaces,
        Self::Identity,
        Self::Root,
        Self::Limits,
        Self::Descriptors,
        Self::Privileges,
        Self::NoNewPrivileges,
        Self::Speculation,
        Self::WriteExecute,
        Self::Landlock,
        Self::Filter,
        Self::Execute,
    ];

    /// Its name in reports.
    pub fn name(self) -> &'static str {
        match self {
            Self::Order => "order",
            Self::Session => "session",
            Self::ParentDeath => "parent-death signal",
            Self::Namespaces => "namespaces",
            Self::Identity => "identity",
            Self::Root => "empty root",
            Self::Limits => "resource limits",
            Self::Descriptors => "descriptors",
            Self::Privileges => "Linux capabilities",
            Self::NoNewPrivileges => "no new privileges",
            Self::Speculation => "speculation control",
            Self::WriteExecute => "write xor execute",
            Self::Landlock => "Landlock",
            Self::Filter => "seccomp filter",
            Self::Execute => "guest",
        }
    }
}

impl Encode for Layer {
    fn encode<'v>(&'v self, out: &mut Sink<'v>) {
        out.put(&[*self as u8]);
    }
}

impl Decode for Layer {
    const BYTES_MIN: usize = 1;

    fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError> {
        let tag = from.tag(15, "layer")?;
        Ok(Self::ALL[usize::from(tag)])
    }
}

/// What became of a layer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Outcome {
    /// In force.
    Enforced,
    /// The order does not ask for it.
    NotAsked,
    /// This machine has no use for it, and says so (a processor without the flaw, for instance).
    NotApplicable,
    /// It failed.
    Failed,
}

impl Encode for Outcome {
    fn encode<'v>(&'v self, out: &mut Sink<'v>) {
        out.put(&[*self as u8]);
    }
}

impl Decode for Outcome {
    const BYTES_MIN: usize = 1;

    fn decode(from: &mut Source<'_>) -> Result<Self, DecodeError> {
        Ok(match from.tag(4, "outcome")? {
            0 => Self::Enforced,
            1 => Self::NotAsked,
            2 => Self::NotApplicable,
            _ => Self::Failed,
        })
    }
}

record! {
    /// What became of one layer.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct LayerReport {
        /// Which.
        pub layer: Layer,
        /// What became of it.
        pub outcome: Outcome,
        /// More about it, for people: `ABI 7`, or what failed.
        pub detail: String,
        /// The kernel's error number, or 0.
        pub errno: i32,
    }
}

record! {
    /// The launcher's answer, sent before the filter is in force. If a layer failed, it is the last, and the launcher has ended.
    #[derive(Debug, Clone, PartialEq, Eq)]
    pub struct Report {
        /// Each layer so far.
        pub layers: Vec<LayerReport>,
    }
}

record! {
    /// How the guest's process ended, on the status pipe.
    #[derive(Debug, Clone, Copy, PartialEq, Eq)]
    pub struct Status {
        /// By a signal, not by itself.
        pub by_signal: bool,
        /// The signal or the exit code.
        pub number: i32,
    }
}

impl Status {
    /// Encoded size.
    pub const BYTES: usize = 5;
}

/// The launcher's name: that of its file, and the first argument of a process that was started as one.
pub const LAUNCHER: &str = "cofferdam-launcher";

/// The descriptors that come with an order, by place: the order itself, the shared memory, the guest's program, its standard
/// streams, and the pipe for its [`Status`].
pub const ORDER_DESCRIPTORS: usize = 7;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_layer_and_outcome_survives_the_wire() {
        for (index, layer) in Layer::ALL.into_iter().enumerate() {
            assert_eq!(layer as usize, index);
            for outcome in [Outcome::Enforced, Outcome::NotAsked, Outcome::NotApplicable, Outcome::Failed] {
                let report = LayerReport { layer, outcome, detail: "x".to_owned(), errno: -1 };
                let bytes = crate::encode(&report).expect("small");
                assert_eq!(crate::decode::<LayerReport>(&bytes), Ok(report));
            }
        }
        assert!(crate::decode::<Layer>(&[15]).is_err());
    }

    #[test]
    fn a_status_has_a_fixed_size() {
        let status = Status { by_signal: true, number: 9 };
        assert_eq!(crate::encode(&status).expect("small").len(), Status::BYTES);
    }
}
