//! One attempt: what is tried, what must stop it, how it is seen to work without that, and which layers stop it.
//!
//! Every expectation is written by hand, from the manual pages of the kernel's calls and from `docs/process-backend.md`. Nothing in
//! here is computed from the code that is tried.

use serde::{Deserialize, Serialize};

/// Who runs the suite.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Who {
    /// Anybody.
    Everybody,
    /// Only where the host is root: for others the kernel refuses it in any case.
    Root,
    /// Only where the host is no root: for root the kernel has no such bound, and the host refuses to start.
    Ordinary,
}

impl Who {
    /// Whether it can be tried by this user.
    pub fn includes(self, root: bool) -> bool {
        match self {
            Self::Everybody => true,
            Self::Root => root,
            Self::Ordinary => !root,
        }
    }
}

/// An answer of the kernel that is expected.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// It worked: nothing negative.
    Done,
    /// Exactly this.
    Is(i64),
    /// More than this.
    Above(i64),
    /// The kernel's own error for an argument that means nothing: the call was let through to it.
    Reached(i32),
    /// Whatever the kernel says: which it is depends on how the kernel was made, and that it is asked is what counts.
    Asked,
}

impl Answer {
    /// Whether a value is that answer.
    pub fn holds(self, value: i64) -> bool {
        match self {
            Self::Done => value >= 0,
            Self::Is(expected) => value == expected,
            Self::Above(least) => value > least,
            Self::Reached(error) => value == -i64::from(error),
            Self::Asked => true,
        }
    }
}

/// An answer for root, and one for everybody else.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Expected {
    /// When the host is root.
    pub root: Answer,
    /// When it is not.
    pub ordinary: Answer,
}

impl Expected {
    /// The same for everybody.
    pub const fn same(answer: Answer) -> Self {
        Self { root: answer, ordinary: answer }
    }

    /// The one that holds for this user.
    pub fn of(self, root: bool) -> Answer {
        if root { self.root } else { self.ordinary }
    }
}

/// What stops an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Stop {
    /// The guest is killed for this call, and the caller is told its name.
    Killed(&'static str),
    /// The guest is told this error and goes on.
    Error(i32),
    /// The same, and the host records what was refused: its text begins so.
    Refused(i32, &'static str),
    /// The call is answered, and this is all that it brings.
    Gives(i64),
    /// The guest fails, in this way of the audit log.
    Fault(&'static str),
    /// The same, and the log says why in these words.
    FaultSaying(&'static str, &'static str),
    /// The call has no result, and the caller is told so in one way or another.
    Unanswered,
    /// The call takes too long.
    Deadline,
    /// The guest needs more of this than it may have.
    Limit(&'static str),
    /// The compartment does not start, and the message has these words.
    NoStart(&'static str),
    /// The manifest is denied, with this code.
    Denied(&'static str),
}

/// A layer of the confinement, as it can be left out.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Layer {
    /// The filter's rules about these calls.
    Filter(&'static [u32]),
    /// The filter's rule about the convention of 32 bits.
    Convention32,
    /// The filter's rule about the x32 convention.
    ConventionX32,
    /// All namespaces, and the empty root in them.
    Namespaces,
    /// The namespace of processes.
    Processes,
    /// The namespace of the network.
    Network,
    /// The namespace of System V and POSIX objects.
    Ipc,
    /// The mounts' being read-only.
    ReadOnlyMounts,
    /// The root's being read-only.
    ReadOnlyRoot,
    /// Landlock.
    Landlock,
    /// The session of its own.
    Session,
    /// Closing what was left open.
    Descriptors,
    /// Resource limits.
    Limits,
    /// The kernel's switch against memory that is written and run.
    WriteExecute,
    /// Giving up Linux capabilities.
    Capabilities,
}

impl Layer {
    /// How the launcher that leaves layers out is told.
    pub fn token(self) -> String {
        match self {
            Self::Filter(calls) => {
                calls.iter().map(|call| format!("call:{call}")).collect::<Vec<_>>().join(" ")
            }
            Self::Convention32 => "convention:32".to_owned(),
            Self::ConventionX32 => "convention:x32".to_owned(),
            Self::Namespaces => "namespaces".to_owned(),
            Self::Processes => "namespace:process".to_owned(),
            Self::Network => "namespace:network".to_owned(),
            Self::Ipc => "namespace:ipc".to_owned(),
            Self::ReadOnlyMounts => "read-only-mounts".to_owned(),
            Self::ReadOnlyRoot => "read-only-root".to_owned(),
            Self::Landlock => "landlock".to_owned(),
            Self::Session => "session".to_owned(),
            Self::Descriptors => "descriptors".to_owned(),
            Self::Limits => "limits".to_owned(),
            Self::WriteExecute => "write-execute".to_owned(),
            Self::Capabilities => "capabilities".to_owned(),
        }
    }

    /// Its name for people.
    pub fn name(self) -> &'static str {
        match self {
            Self::Filter(_) | Self::Convention32 | Self::ConventionX32 => "seccomp",
            Self::Namespaces => "namespaces",
            Self::Processes => "process namespace",
            Self::Network => "network namespace",
            Self::Ipc => "IPC namespace",
            Self::ReadOnlyMounts => "read-only mounts",
            Self::ReadOnlyRoot => "read-only root",
            Self::Landlock => "Landlock",
            Self::Session => "session",
            Self::Descriptors => "closed descriptors",
            Self::Limits => "resource limits",
            Self::WriteExecute => "write xor execute",
            Self::Capabilities => "Linux capabilities",
        }
    }
}

/// How it is seen that the attempt is a real one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Control {
    /// The same function in a process without any confinement.
    Unconfined(Expected),
    /// The same function in a compartment with this grant and these limits.
    Granted(&'static str, &'static str, Answer),
    /// The same manifest without what is wrong in it.
    Mended(&'static str),
    /// The honest form of the same conversation.
    Honest,
    /// There is none, and why.
    Nothing(&'static str),
}

/// How it is seen that what stops the attempt does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Mutation {
    /// Without all of these layers it works, and any one of them stops it.
    Without(&'static [Layer], Expected),
    /// With these limits instead of its own it works.
    Limits(&'static str, Answer),
    /// The host stops it, in code that cannot be left out by a launcher: which, and which test holds it.
    InTheHost(&'static str),
    /// Nothing to leave out, and why.
    Nothing(&'static str),
}

/// What the guest is made to do.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Act {
    /// One of its attempts, by name.
    Attempt(&'static str),
    /// A lie to its host, with a number, where the host expects this.
    Lie(&'static str, u64, Wanted),
    /// A greeting of this kind.
    Greeting(u8),
    /// A call before `main`.
    Early,
    /// Nothing: its manifest alone is tried.
    Manifest(&'static str),
    /// Nothing: whether the granted path of this kind is refused.
    Path(&'static str),
}

/// The type that a host expects of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Wanted {
    /// A number of 32 bits.
    Number,
    /// The kernel's answer.
    Kernel,
    /// `bool`.
    Truth,
    /// `char`.
    Character,
    /// A text.
    Text,
    /// `option<u8>`.
    Maybe,
    /// `result<u8, u8>`.
    Outcome,
    /// A list of bytes.
    Bytes,
    /// A list of lists of bytes.
    Lists,
}

/// One attempt.
#[derive(Debug, Clone, Copy)]
pub struct Attempt {
    /// Its number in the list; a letter tells those of one number apart.
    pub id: &'static str,
    /// What the guest tries.
    pub tries: &'static str,
    /// Where it is known from.
    pub source: &'static str,
    /// What it does for that.
    pub act: Act,
    /// What its edge grants.
    pub grants: &'static str,
    /// What its compartment may use.
    pub limits: &'static str,
    /// What the guest is told beside where its victim is.
    pub facts: &'static [&'static str],
    /// What stops it.
    pub stop: Stop,
    /// How it is seen to be real.
    pub control: Control,
    /// How what stops it is seen to.
    pub mutation: Mutation,
    /// Layers that are left out as well, so that the attempt goes all the way. Nothing is claimed for them.
    pub also: &'static [Layer],
    /// What the victim has that outlives it when it is killed, and only this attempt asks for.
    pub victim_holds: &'static str,
    /// What the victim may have noticed.
    pub noticed: &'static [&'static str],
    /// Who can try it.
    pub who: Who,
}

impl Attempt {
    /// An attempt by name, without grants, that is killed for one call.
    pub(crate) const fn new(id: &'static str, tries: &'static str, name: &'static str) -> Self {
        Self {
            id,
            tries,
            source: "",
            act: Act::Attempt(name),
            grants: "",
            limits: "",
            facts: &[],
            stop: Stop::Deadline,
            control: Control::Unconfined(Expected::same(Answer::Done)),
            mutation: Mutation::Nothing("nothing is said"),
            also: &[],
            victim_holds: "",
            noticed: &[],
            who: Who::Everybody,
        }
    }

    pub(crate) const fn act(mut self, act: Act) -> Self {
        self.act = act;
        self
    }

    pub(crate) const fn from(mut self, source: &'static str) -> Self {
        self.source = source;
        self
    }

    pub(crate) const fn with(mut self, grants: &'static str) -> Self {
        self.grants = grants;
        self
    }

    pub(crate) const fn within(mut self, limits: &'static str) -> Self {
        self.limits = limits;
        self
    }

    pub(crate) const fn told(mut self, facts: &'static [&'static str]) -> Self {
        self.facts = facts;
        self
    }

    pub(crate) const fn killed(mut self, call: &'static str) -> Self {
        self.stop = Stop::Killed(call);
        self
    }

    pub(crate) const fn error(mut self, error: i32) -> Self {
        self.stop = Stop::Error(error);
        self
    }

    pub(crate) const fn stop(mut self, stop: Stop) -> Self {
        self.stop = stop;
        self
    }

    pub(crate) const fn free(mut self, answer: Answer) -> Self {
        self.control = Control::Unconfined(Expected::same(answer));
        self
    }

    pub(crate) const fn free_for(mut self, root: Answer, ordinary: Answer) -> Self {
        self.control = Control::Unconfined(Expected { root, ordinary });
        self
    }

    pub(crate) const fn control(mut self, control: Control) -> Self {
        self.control = control;
        self
    }

    pub(crate) const fn mutation(mut self, mutation: Mutation) -> Self {
        self.mutation = mutation;
        self
    }

    pub(crate) const fn without(mut self, layers: &'static [Layer]) -> Self {
        self.mutation = Mutation::Without(layers, Expected::same(Answer::Done));
        self
    }

    pub(crate) const fn without_gives(mut self, layers: &'static [Layer], answer: Answer) -> Self {
        self.mutation = Mutation::Without(layers, Expected::same(answer));
        self
    }

    pub(crate) const fn also(mut self, layers: &'static [Layer]) -> Self {
        self.also = layers;
        self
    }

    pub(crate) const fn victim_holds(mut self, what: &'static str) -> Self {
        self.victim_holds = what;
        self
    }

    pub(crate) const fn noticed(mut self, what: &'static [&'static str]) -> Self {
        self.noticed = what;
        self
    }

    pub(crate) const fn only(mut self, who: Who) -> Self {
        self.who = who;
        self
    }

    /// The layers that stop it, by name, each once; what else stops it.
    pub fn layers(&self) -> Vec<&'static str> {
        let mut names = Vec::new();
        match self.mutation {
            Mutation::Without(layers, _) => {
                for layer in layers {
                    if !names.contains(&layer.name()) {
                        names.push(layer.name());
                    }
                }
            }
            Mutation::Limits(..) => names.push("limits of the manifest"),
            Mutation::InTheHost(_) => names.push("host"),
            Mutation::Nothing(_) => names.push(match self.stop {
                Stop::Denied(_) => "resolver",
                _ => "kernel",
            }),
        }
        names
    }
}

/// One part of trying an attempt.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Part {
    /// In its compartment, where it is stopped.
    Confined,
    /// Where nothing stops it.
    Control,
    /// Without every layer that stops it.
    Mutated,
    /// With this one of them alone.
    Alone(usize),
}

impl Part {
    /// As a word of a command line.
    pub fn word(self) -> String {
        match self {
            Self::Confined => "confined".to_owned(),
            Self::Control => "control".to_owned(),
            Self::Mutated => "mutated".to_owned(),
            Self::Alone(index) => format!("alone-{index}"),
        }
    }

    /// From such a word.
    pub fn from_word(word: &str) -> Option<Self> {
        match word {
            "confined" => Some(Self::Confined),
            "control" => Some(Self::Control),
            "mutated" => Some(Self::Mutated),
            _ => word.strip_prefix("alone-")?.parse().ok().map(Self::Alone),
        }
    }
}
