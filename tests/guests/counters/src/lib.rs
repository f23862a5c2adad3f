//! One source for both backends: what crosses, in every shape.
#![cfg(cofferdam_guest)]

use std::cell::Cell;
use std::sync::atomic::{AtomicU32, Ordering};

cofferdam_guest::guest!({ path: "wit", world: "counting", implementation: crate::Counting });

use counters::{Colour, Failure, Labelled, Marks};
use shapes::Point;

/// How many counters were dropped.
static DROPPED: AtomicU32 = AtomicU32::new(0);

/// A counter.
pub struct Counter(Cell<u32>);

impl Drop for Counter {
    fn drop(&mut self) {
        DROPPED.fetch_add(1, Ordering::Relaxed);
    }
}

/// The implementation.
pub struct Counting;

impl Guest for Counting {
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

    #[allow(clippy::too_many_arguments)]
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
