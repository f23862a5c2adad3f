//! Asks the ledger: a guest that calls another over an edge of its own, from one source for both backends.
#![cfg(cofferdam_guest)]

use std::sync::atomic::{AtomicU32, Ordering};

cofferdam_guest::guest!({ path: "wit", world: "telling", implementation: crate::Telling });

use ledger::{Entry, Marks, Point, Refusal, Side};

static LIVES: AtomicU32 = AtomicU32::new(0);

/// The implementation.
pub struct Telling;

impl teller::Guest for Telling {
    fn book(name: String, amount: i64) -> Result<i64, String> {
        let entry = Entry { name, amount: amount.abs(), tags: vec!["a".to_owned(), "b".to_owned()] };
        let side = if amount < 0 { Side::Right } else { Side::Left };
        ledger::book(&entry, side, Marks::KEPT | Marks::SEEN).map_err(|refusal| match refusal {
            Refusal::Closed => "closed".to_owned(),
            Refusal::Unknown(name) => format!("unknown: {name}"),
        })
    }

    fn names() -> Vec<String> {
        ledger::names(Some("a")).into_iter().map(|(name, amount)| format!("{name} {amount}")).collect()
    }

    fn mirror(x: u8, y: u8) -> (u8, u8) {
        let at = ledger::mirror(Point { x, y });
        (at.x, at.y)
    }

    fn bytes(data: Vec<u8>) -> Vec<u8> {
        ledger::bytes(&data)
    }

    fn crash() {
        ledger::crash();
    }

    fn hang() {
        ledger::hang();
    }

    fn lives() -> u32 {
        LIVES.fetch_add(1, Ordering::Relaxed) + 1
    }
}
