//! Amounts by name.
#![cfg(cofferdam_guest)]

use std::cell::RefCell;
use std::collections::BTreeMap;

cofferdam_guest::guest!({ path: "wit", world: "keeping", implementation: crate::Keeping });

use ledger::{Entry, Marks, Point, Refusal, Side};

thread_local! {
    static AMOUNTS: RefCell<BTreeMap<String, i64>> = const { RefCell::new(BTreeMap::new()) };
}

/// The implementation.
pub struct Keeping;

impl ledger::Guest for Keeping {
    fn book(entry: Entry, side: Side, marks: Marks) -> Result<i64, Refusal> {
        if entry.name.is_empty() {
            return Err(Refusal::Closed);
        }
        if !marks.contains(Marks::KEPT) || entry.tags != ["a", "b"] {
            return Err(Refusal::Unknown(entry.name));
        }
        AMOUNTS.with_borrow_mut(|amounts| {
            let amount = amounts.entry(entry.name).or_default();
            match side {
                Side::Left => *amount += entry.amount,
                Side::Right => *amount -= entry.amount,
            }
            Ok(*amount)
        })
    }

    fn names(prefix: Option<String>) -> Vec<(String, i64)> {
        let prefix = prefix.unwrap_or_default();
        AMOUNTS.with_borrow(|amounts| {
            let found = amounts.iter().filter(|(name, _)| name.starts_with(&prefix));
            found.map(|(name, amount)| (name.clone(), *amount)).collect()
        })
    }

    fn mirror(at: Point) -> Point {
        Point { x: at.y, y: at.x }
    }

    fn bytes(mut data: Vec<u8>) -> Vec<u8> {
        data.reverse();
        data
    }

    fn crash() {
        panic!("the ledger is on fire");
    }

    fn hang() {
        loop {
            std::hint::spin_loop();
        }
    }
}
