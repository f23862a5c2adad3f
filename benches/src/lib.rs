//! What all benches share: measuring several things in turns, so that whatever else the machine does falls on all of them, and
//! saying the result as a table for people and as JSON for `cargo xtask bench`.
//!
//! A measurement is the median over many batches, with its quartiles. A ratio is taken inside each batch, and then its median and
//! quartiles: what a machine does to both sides of it cancels out.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::PathBuf;
use std::time::{Duration, Instant};

use serde::Serialize;

pub mod floors;
pub mod guests;

/// Median and quartiles.
#[derive(Debug, Clone, Copy, Serialize)]
pub struct Spread {
    /// A quarter of all is below.
    pub low: f64,
    /// The median.
    pub middle: f64,
    /// A quarter of all is above.
    pub high: f64,
}

impl Spread {
    /// Of any numbers; there must be one at least.
    pub fn of(mut all: Vec<f64>) -> Self {
        all.sort_by(f64::total_cmp);
        Self { low: all[all.len() / 4], middle: all[all.len() / 2], high: all[all.len() * 3 / 4] }
    }
}

/// One thing that was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Measured {
    /// What it is.
    pub name: String,
    /// Its value.
    pub value: Spread,
    /// How many times this the first of its row took.
    pub ratio: Option<Spread>,
    /// What was promised of that ratio, or of the value where there is none: at most so much.
    pub at_most: Option<f64>,
    /// The same: at least so much.
    pub at_least: Option<f64>,
}

/// Things that were measured in turns, the first of them ours.
#[derive(Debug, Clone, Serialize)]
pub struct Row {
    /// What they all do.
    pub what: String,
    /// Of all values.
    pub unit: String,
    /// What there is to say beside the numbers.
    pub note: Option<String>,
    /// The first is ours.
    pub measured: Vec<Measured>,
}

/// What one bench found.
#[derive(Debug, Clone, Serialize)]
pub struct Report {
    /// The bench.
    pub group: String,
    /// The question that it answers.
    pub question: String,
    /// Processors, kernel, load when it began.
    pub machine: String,
    /// The answers.
    pub rows: Vec<Row>,
}

/// One side of a comparison: runs so many calls, and gives the microseconds of one.
pub struct Side<'a> {
    name: String,
    run: Box<dyn FnMut(u32) -> f64 + 'a>,
}

/// A side whose calls follow each other.
pub fn side<'a>(name: &str, mut one: impl FnMut() + 'a) -> Side<'a> {
    let run = move |rounds| {
        let began = Instant::now();
        for _ in 0..rounds {
            one();
        }
        micros(began.elapsed()) / f64::from(rounds)
    };
    Side { name: name.to_owned(), run: Box::new(run) }
}

/// A side with a pause before each call, in which whoever answers it goes to sleep. The pause is not counted.
pub fn after_pause<'a>(name: &str, pause: Duration, mut one: impl FnMut() + 'a) -> Side<'a> {
    let run = move |rounds| {
        let mut all = Duration::ZERO;
        for _ in 0..rounds {
            std::thread::sleep(pause);
            let began = Instant::now();
            one();
            all += began.elapsed();
        }
        micros(all) / f64::from(rounds)
    };
    Side { name: name.to_owned(), run: Box::new(run) }
}

/// A side that does so many calls in one: what is given is the time of all of them.
pub fn side_of_many<'a>(name: &str, calls: u32, mut all: impl FnMut() + 'a) -> Side<'a> {
    let run = move |rounds| {
        let began = Instant::now();
        for _ in 0..rounds {
            all();
        }
        micros(began.elapsed()) / f64::from(rounds) / f64::from(calls)
    };
    Side { name: name.to_owned(), run: Box::new(run) }
}

/// A side that measures itself: microseconds of one call.
pub fn side_itself<'a>(name: &str, run: impl FnMut(u32) -> f64 + 'a) -> Side<'a> {
    Side { name: name.to_owned(), run: Box::new(run) }
}

/// As a number.
pub fn micros(time: Duration) -> f64 {
    time.as_secs_f64() * 1e6
}

/// What a row promises of one of its sides.
#[derive(Debug, Clone, Copy)]
pub enum Promise {
    /// The first side takes at most so many times as long as this one.
    TimesAtMost(f64),
    /// The first side is at least so many times as fast as this one.
    TimesFaster(f64),
    /// This side takes at most so many microseconds.
    MicrosAtMost(f64),
}

/// Collects a report.
pub struct Group {
    report: Report,
    quick: bool,
    filter: Option<String>,
}

impl Group {
    /// Begins. `None` when Cargo only wants to know that the bench is there, as `cargo test --benches` does.
    pub fn begin(name: &str, question: &str) -> Option<Self> {
        let arguments: Vec<String> = std::env::args().skip(1).collect();
        if !arguments.iter().any(|argument| argument == "--bench") {
            return None;
        }
        let filter = arguments.into_iter().find(|argument| !argument.starts_with("--"));
        println!("{name}: {question}\n{}\n", machine());
        Some(Self {
            report: Report {
                group: name.to_owned(),
                question: question.to_owned(),
                machine: machine(),
                rows: Vec::new(),
            },
            quick: std::env::var_os("COFFERDAM_BENCH_QUICK").is_some(),
            filter,
        })
    }

    /// Measures in turns: so many batches of so many calls of each side. The first side is ours; promises are of the others in order, and
    /// with one side, of that.
    pub fn turns(
        &mut self,
        what: &str,
        batches: u32,
        rounds: u32,
        mut sides: Vec<Side<'_>>,
        promises: &[Option<Promise>],
    ) {
        if self.filter.as_ref().is_some_and(|filter| !what.contains(filter.as_str())) {
            return;
        }
        let batches = if self.quick { batches.div_ceil(8).max(3) } else { batches };
        for side in &mut sides {
            (side.run)(rounds);
        }
        let mut values: Vec<Vec<f64>> = vec![Vec::new(); sides.len()];
        for _ in 0..batches {
            for (side, values) in sides.iter_mut().zip(&mut values) {
                values.push((side.run)(rounds));
            }
        }
        let own = values[0].clone();
        let measured = sides.iter().zip(values).enumerate().map(|(at, (side, values))| {
            let ratio = (at > 0)
                .then(|| Spread::of(own.iter().zip(&values).map(|(own, other)| own / other).collect()));
            let place = if sides.len() == 1 { Some(0) } else { at.checked_sub(1) };
            let promise = place.and_then(|place| promises.get(place).copied().flatten());
            let of_itself = matches!(promise, Some(Promise::MicrosAtMost(_)));
            assert!(promise.is_none() || of_itself != ratio.is_some(), "{what}: a promise of another kind");
            let (at_most, at_least) = match promise {
                Some(Promise::TimesAtMost(most) | Promise::MicrosAtMost(most)) => (Some(most), None),
                Some(Promise::TimesFaster(least)) => (None, Some(least)),
                None => (None, None),
            };
            Measured { name: side.name.clone(), value: Spread::of(values), ratio, at_most, at_least }
        });
        let row =
            Row { what: what.to_owned(), unit: "µs".to_owned(), note: None, measured: measured.collect() };
        self.say(row);
    }

    /// Values that were measured otherwise.
    pub fn values(&mut self, what: &str, unit: &str, measured: Vec<Measured>, note: Option<&str>) {
        let row =
            Row { what: what.to_owned(), unit: unit.to_owned(), note: note.map(str::to_owned), measured };
        self.say(row);
    }

    /// Whether the filter lets a row through, for those that cost much to prepare.
    pub fn wants(&self, what: &str) -> bool {
        self.filter.as_ref().is_none_or(|filter| what.contains(filter.as_str()))
    }

    /// Whether only a short run was asked for.
    pub fn is_quick(&self) -> bool {
        self.quick
    }

    fn say(&mut self, row: Row) {
        println!("{}", text(&row));
        self.report.rows.push(row);
    }

    /// Writes the report where `cargo xtask bench` finds it.
    pub fn end(self) {
        if self.filter.is_some() {
            return;
        }
        let folder = reports();
        std::fs::create_dir_all(&folder).expect("the target folder is writable");
        let text = serde_json::to_string_pretty(&self.report).expect("plain data");
        std::fs::write(folder.join(format!("{}.json", self.report.group)), text).expect("writable");
    }
}

/// Where reports are.
pub fn reports() -> PathBuf {
    PathBuf::from(concat!(env!("CARGO_MANIFEST_DIR"), "/../target/bench"))
}

/// One value, for a row of its own.
pub fn value(name: &str, value: Spread) -> Measured {
    Measured { name: name.to_owned(), value, ratio: None, at_most: None, at_least: None }
}

/// A row as people read it on a terminal.
fn text(row: &Row) -> String {
    let mut out = format!("{}\n", row.what);
    for one in &row.measured {
        let Spread { low, middle, high } = one.value;
        let _ = write!(out, "  {:<46} {middle:>12.3} [{low:.3} to {high:.3}] {}", one.name, row.unit);
        if let Some(Spread { low, middle, high }) = one.ratio {
            let _ = write!(out, "   ours is {middle:.2} [{low:.2} to {high:.2}] times this");
        }
        out.push('\n');
    }
    out
}

/// Processors, kernel, load.
fn machine() -> String {
    let read = |path: &str| std::fs::read_to_string(path).unwrap_or_default();
    let info: BTreeMap<String, String> = read("/proc/cpuinfo")
        .lines()
        .filter_map(|line| line.split_once(':'))
        .map(|(key, value)| (key.trim().to_owned(), value.trim().to_owned()))
        .collect();
    let model = info.get("model name").map_or("unknown processor", String::as_str).to_owned();
    let processors = std::thread::available_parallelism().map_or(0, std::num::NonZero::get);
    let kernel = read("/proc/sys/kernel/osrelease");
    let load = read("/proc/loadavg").split(' ').next().unwrap_or_default().to_owned();
    format!("{processors} processors, {model}, Linux {}, load {load} at the beginning", kernel.trim())
}
