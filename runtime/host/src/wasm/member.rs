//! One compartment of a unit: what it has beside its plan. A compartment that nothing is fused to is a unit of one.

use std::sync::Arc;

use super::compartment::CompartmentOptions;
use super::error::StartError;
use super::forward::Route;
use super::instance::{Quotas, quotas};
use super::limits::{CALL_DEADLINE_DEFAULT, CALLS_IN_FLIGHT_DEFAULT, HANDLES_DEFAULT, MEMORY_BYTES_DEFAULT};
use super::standing::Standing;
use super::stream::{Sink, Which};
use crate::audit::AuditLog;
use crate::client::{Compartment, Provided};
use crate::plan::CompartmentPlan;

/// What one member is started from.
pub(crate) struct MemberStart {
    pub(crate) plan: CompartmentPlan,
    pub(crate) component: Vec<u8>,
    pub(crate) options: CompartmentOptions,
    /// The member that calls it, by its place in the unit; 0 for the first.
    pub(crate) inside: usize,
    /// The compartments that it may call over isolated edges.
    pub(crate) edges: Vec<Compartment>,
    /// What the host program implements for it.
    pub(crate) provided: Vec<Provided>,
}

/// A member of a compartment that was started.
pub(super) struct Member {
    pub(super) edge: String,
    pub(super) inside: usize,
    pub(super) options: CompartmentOptions,
    pub(super) routes: Vec<Route>,
    pub(super) provided: Vec<Provided>,
    pub(super) standing: Arc<Standing>,
    pub(super) stdout: Sink,
    pub(super) stderr: Sink,
    pub(super) quotas: Quotas,
}

impl Member {
    /// A member beside those that are there.
    pub(super) fn new(start: &MemberStart, others: &[Self], log: &AuditLog) -> Self {
        let edge = start.plan.edge();
        let standing = match others.first() {
            None => Standing::new(edge.clone(), log),
            Some(first) => first.standing.beside(edge.clone()),
        };
        let output = |which| Sink::new(start.options.output, which, &edge);
        Self {
            inside: start.inside,
            options: start.options.clone(),
            provided: start.provided.clone(),
            routes: start.edges.iter().cloned().map(Route::new).collect(),
            standing: Arc::new(standing),
            stdout: output(Which::Out),
            stderr: output(Which::Error),
            quotas: quotas(&start.plan),
            edge,
        }
    }
}

/// Refuses a member's own limit where the unit, which has one limit for all, would let it have more.
pub(super) fn within_the_unit(unit: &CompartmentPlan, member: &CompartmentPlan) -> Result<(), StartError> {
    use capability_manifest::scope::{ByteCount, Nanoseconds};
    let default_deadline =
        Nanoseconds(u64::try_from(CALL_DEADLINE_DEFAULT.as_nanos()).expect("seconds fit into 64 bits"));
    let (all, own) = (&unit.limits, &member.limits);
    let bytes = |value: Option<ByteCount>| value.map(|value| (value.0, value.to_string()));
    let time = |value: Option<Nanoseconds>| value.map(|value| (value.0, value.to_string()));
    let count = |value: Option<u64>| value.map(|value| (value, value.to_string()));
    let pairs = [
        ("memory", bytes(own.memory), bytes(all.memory.or(Some(ByteCount(MEMORY_BYTES_DEFAULT))))),
        ("call-deadline", time(own.call_deadline), time(all.call_deadline.or(Some(default_deadline)))),
        ("cpu-time", time(own.cpu_time), time(all.cpu_time)),
        ("handles", count(own.handles), count(all.handles.or(Some(HANDLES_DEFAULT)))),
        (
            "calls-in-flight",
            count(own.calls_in_flight),
            count(all.calls_in_flight.or(Some(CALLS_IN_FLIGHT_DEFAULT))),
        ),
    ];
    for (limit, wanted, has) in pairs {
        let Some((wanted, text)) = wanted else { continue };
        if has.as_ref().is_none_or(|(has, _)| *has > wanted) {
            return Err(StartError::UnitLimit {
                edge: member.edge(),
                unit: unit.edge(),
                limit,
                wanted: text,
                has: has.map_or("none".to_owned(), |(_, text)| text),
            });
        }
    }
    Ok(())
}
