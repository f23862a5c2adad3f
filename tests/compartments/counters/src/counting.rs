//! The implementation.

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

use crate::counters::{Colour, Failure, Labelled, Marks};
use crate::shapes::Point;
use crate::ways::{Place, Way};
use crate::{counters, progress, streams, work};

/// How many counters were dropped.
static DROPPED: AtomicU32 = AtomicU32::new(0);

/// A counter.
pub(crate) struct Counter(Cell<u32>);

impl Drop for Counter {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// The implementation.
pub(crate) struct Counting;

impl crate::Guest for Counting {
    fn dropped() -> u32 {
        DROPPED.load(Ordering::Relaxed)
    }

    fn fail(why: String) {
        panic!("{why}");
    }

    fn hang() {
        loop {
            std::hint::spin_loop();
        }
    }

    fn look(path: String) -> Result<String, String> {
        std::fs::read_to_string(path).map_err(|error| error.to_string())
    }
}

impl counters::Guest for Counting {
    type Counter = Counter;

    fn counter_new(start: u32) -> Counter {
        Counter(Cell::new(start))
    }

    fn counter_add(this: &Counter, by: u32) -> u32 {
        this.0.set(this.0.get() + by);
        this.0.get()
    }

    fn counter_sum(first: Counter, rest: Vec<Counter>) -> Counter {
        let sum = rest.iter().map(|counter| counter.0.get()).sum::<u32>() + first.0.get();
        Counter(Cell::new(sum))
    }

    fn shout(text: String) -> Result<String, Failure> {
        match text.len() {
            0 => Err(Failure::Empty),
            length @ 9.. => Err(Failure::TooLong(u32::try_from(length).unwrap_or(u32::MAX))),
            _ if text.contains('?') => Err(Failure::Strange(text)),
            _ => Ok(text.to_uppercase()),
        }
    }

    fn relabel(one: Labelled) -> Labelled {
        let at = one.at.map(|at| Point { x: at.y, y: at.x });
        let marks = (one.marks | Marks::KEPT) & !Marks::SEEN;
        Labelled { count: one.count + 1, marks, at, label: one.label }
    }

    fn value(of: Option<&Counter>) -> Option<u32> {
        of.map(|counter| counter.0.get())
    }

    fn values(of: Vec<&Counter>) -> Vec<u32> {
        of.into_iter().map(|counter| counter.0.get()).collect()
    }

    fn next(after: Colour) -> Colour {
        match after {
            Colour::Red => Colour::Green,
            Colour::Green => Colour::DarkBlue,
            Colour::DarkBlue => Colour::Red,
        }
    }

    #[allow(clippy::too_many_arguments, clippy::many_single_char_names, reason = "as in WIT")]
    fn numbers(
        a: u8,
        b: i16,
        c: u32,
        d: i64,
        e: f32,
        f: f64,
        g: char,
        h: bool,
    ) -> (u8, i16, u32, i64, f32, f64, char, bool) {
        (!a, -b, !c, -d, -e, -f, g.to_ascii_uppercase(), !h)
    }

    fn bytes(mut data: Vec<u8>) -> Vec<u8> {
        data.reverse();
        data
    }

    fn table(mut rows: Vec<(String, Vec<Point>)>) -> Vec<(String, Vec<Point>)> {
        rows.reverse();
        rows
    }

    fn split(text: String) -> Result<(String, String), ()> {
        text.split_once('=').map(|(a, b)| (a.to_owned(), b.to_owned())).ok_or(())
    }
}

impl work::Guest for Counting {
    fn count(to: u32) -> u32 {
        for done in 0..to {
            let step = progress::Step { done, label: format!("step {done}"), at: u8::try_from(done).ok() };
            if !progress::take(&step) {
                return done;
            }
        }
        to
    }

    fn walk(start: Place, steps: u32) -> Vec<Place> {
        let mut been = Vec::new();
        let mut at = start;
        for _ in 0..steps {
            let next = match progress::turn(&at, &been) {
                Way::Back => match been.pop() {
                    Some(place) => place,
                    None => break,
                },
                Way::On(steps) => Place { x: at.x + i32::try_from(steps).unwrap_or(i32::MAX), ..at.clone() },
                Way::To(place) => place,
            };
            been.push(std::mem::replace(&mut at, next));
        }
        been.push(at);
        been
    }

    fn ask(words: Vec<String>) -> Result<String, String> {
        progress::ask(&words)
    }
}

/// Bytes to come.
pub(crate) struct Source(Cell<(u64, u64)>);

/// Bytes that came, and their sum.
pub(crate) struct Sink(Cell<(u64, u64)>);

impl streams::Guest for Counting {
    type Source = Source;
    type Sink = Sink;

    fn source_new(bytes: u64) -> Source {
        Source(Cell::new((0, bytes)))
    }

    fn source_read(this: &Source, most: u32) -> Vec<u8> {
        let (at, end) = this.0.get();
        let next = end.min(at + u64::from(most));
        this.0.set((next, end));
        (at..next).map(|number| u8::try_from(number % 251).unwrap_or(0)).collect()
    }

    fn sink_new() -> Sink {
        Sink(Cell::new((0, 0)))
    }

    fn sink_write(this: &Sink, chunk: Vec<u8>) {
        let (count, sum) = this.0.get();
        let more: u64 = chunk.iter().copied().map(u64::from).sum();
        this.0.set((count + chunk.len() as u64, sum + more));
    }

    fn sink_taken(this: &Sink) -> (u64, u64) {
        this.0.get()
    }
}
