//! Where the time of a run goes: the calls over each edge, below the edges that led to them, from the spans that the runtime traces.

use std::cell::RefCell;
use std::collections::{BTreeMap, HashMap};
use std::fmt::Write as _;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tracing::span::{Attributes, Id, Record};
use tracing::{Event, Metadata, Subscriber};

use crate::Stop;
use crate::render::printable;

/// The name of a call's span.
const CALL: &str = "cofferdam.call";
/// The longest bar, in characters.
const BAR: f64 = 24.0;

/// Collects the calls of this process from [`Profile::begin`] on.
#[derive(Clone)]
pub(crate) struct Profile(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    /// The last number of a span that was given.
    number: u64,
    open: HashMap<u64, Call>,
    rows: BTreeMap<Vec<String>, Row>,
}

/// A call that runs.
struct Call {
    /// The edges that led to it, and its own.
    path: Vec<String>,
    caller: Option<u64>,
    began: Instant,
    /// Time in calls that it made.
    inner: Duration,
    handles: usize,
}

/// What ended.
#[derive(Default)]
struct Row {
    calls: u64,
    total: Duration,
    own: Duration,
}

thread_local! {
    /// The calls that this thread is in.
    static INSIDE: RefCell<Vec<u64>> = const { RefCell::new(Vec::new()) };
}

impl Profile {
    /// From now on, for as long as the program runs.
    pub(crate) fn begin() -> Result<Self, Stop> {
        let profile = Self(Arc::default());
        let set = tracing::subscriber::set_global_default(profile.clone());
        set.map_err(|error| Stop::Usage(format!("the calls cannot be traced: {error}")))?;
        Ok(profile)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Each edge below those that led to it: how often it was called, how long that took, how much of that was its own, and that as a bar.
    pub(crate) fn table(&self) -> String {
        let state = self.lock();
        let all: Duration = state.rows.values().map(|row| row.own).sum();
        let name = |path: &[String]| {
            let edge = path.last().map_or("", String::as_str);
            format!("{}{}", "  ".repeat(path.len().saturating_sub(1)), printable(edge))
        };
        let width = state.rows.keys().map(|path| name(path).chars().count()).max().unwrap_or(0).max(4);
        let mut text = format!("\n{:<width$}  {:>7}  {:>10}  {:>10}\n", "edge", "calls", "all", "its own");
        for (path, row) in &state.rows {
            let share = row.own.as_secs_f64() / all.as_secs_f64().max(f64::MIN_POSITIVE);
            #[expect(
                clippy::cast_possible_truncation,
                clippy::cast_sign_loss,
                reason = "at most the longest bar"
            )]
            let bar = "█".repeat((share * BAR).round() as usize);
            let (total, own) = (shown(row.total), shown(row.own));
            let line = format!("{:<width$}  {:>7}  {total:>10}  {own:>10}  {bar}", name(path), row.calls);
            let _ = writeln!(text, "{}", line.trim_end());
        }
        text
    }
}

fn shown(time: Duration) -> String {
    let micros = time.as_secs_f64() * 1e6;
    match micros {
        _ if micros < 1e3 => format!("{micros:.1} µs"),
        _ if micros < 1e6 => format!("{:.1} ms", micros / 1e3),
        _ => format!("{:.2} s", micros / 1e6),
    }
}

/// The value of the field `edge`.
#[derive(Default)]
struct Edge(String);

impl tracing::field::Visit for Edge {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        if field.name() == "edge" {
            self.0 = format!("{value:?}");
        }
    }
}

impl Subscriber for Profile {
    fn enabled(&self, metadata: &Metadata<'_>) -> bool {
        metadata.is_span() && metadata.name() == CALL
    }

    fn new_span(&self, span: &Attributes<'_>) -> Id {
        let mut edge = Edge::default();
        span.record(&mut edge);
        let mut state = self.lock();
        state.number += 1;
        let number = state.number;
        let caller = INSIDE.with_borrow(|inside| inside.last().copied());
        let mut path = caller
            .and_then(|caller| state.open.get(&caller))
            .map(|call| call.path.clone())
            .unwrap_or_default();
        path.push(edge.0);
        let call = Call { path, caller, began: Instant::now(), inner: Duration::ZERO, handles: 1 };
        state.open.insert(number, call);
        Id::from_u64(number)
    }

    fn clone_span(&self, id: &Id) -> Id {
        if let Some(call) = self.lock().open.get_mut(&id.into_u64()) {
            call.handles += 1;
        }
        id.clone()
    }

    fn try_close(&self, id: Id) -> bool {
        let mut state = self.lock();
        let number = id.into_u64();
        let Some(call) = state.open.get_mut(&number) else { return false };
        call.handles -= 1;
        if call.handles > 0 {
            return false;
        }
        let Some(call) = state.open.remove(&number) else { return false };
        let took = call.began.elapsed();
        if let Some(caller) = call.caller.and_then(|caller| state.open.get_mut(&caller)) {
            caller.inner += took;
        }
        let row = state.rows.entry(call.path).or_default();
        row.calls += 1;
        row.total += took;
        row.own += took.saturating_sub(call.inner);
        true
    }

    fn enter(&self, id: &Id) {
        INSIDE.with_borrow_mut(|inside| inside.push(id.into_u64()));
    }

    fn exit(&self, id: &Id) {
        INSIDE.with_borrow_mut(|inside| {
            if let Some(at) = inside.iter().rposition(|one| *one == id.into_u64()) {
                inside.remove(at);
            }
        });
    }

    fn record(&self, _: &Id, _: &Record<'_>) {}
    fn record_follows_from(&self, _: &Id, _: &Id) {}
    fn event(&self, _: &Event<'_>) {}
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_call_in_a_call_is_below_it_and_its_time_is_not_the_callers_own() {
        let profile = Profile(Arc::default());
        tracing::subscriber::with_default(profile.clone(), || {
            let call =
                |edge: &str| tracing::debug_span!("cofferdam.call", edge = %edge, function = "f").entered();
            let _other = tracing::debug_span!("something else").entered();
            for _ in 0..2 {
                let _outer = call("app -> a");
                let _inner = call("a -> b");
                std::thread::sleep(Duration::from_millis(2));
            }
        });
        let state = profile.lock();
        let rows: Vec<(Vec<&str>, u64)> = state
            .rows
            .iter()
            .map(|(path, row)| (path.iter().map(String::as_str).collect(), row.calls))
            .collect();
        assert_eq!(rows, [(vec!["app -> a"], 2), (vec!["app -> a", "a -> b"], 2)]);
        let outer = &state.rows[&vec!["app -> a".to_owned()]];
        assert!(outer.total >= Duration::from_millis(4) && outer.own < outer.total / 2, "{:?}", outer.own);
        drop(state);
        let table = profile.table();
        assert!(table.contains("\n  a -> b"), "{table}");
    }
}
