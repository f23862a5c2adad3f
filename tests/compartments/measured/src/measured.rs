//! The implementation.

use crate::api::Guest;

/// The implementation.
pub(crate) struct Measured;

impl Guest for Measured {
    fn empty() {}

    fn add(a: u64, b: u64) -> u64 {
        a.wrapping_add(b)
    }

    fn ends(data: Vec<u8>) -> u32 {
        let ends = data.first().into_iter().chain(data.last()).map(|byte| u32::from(*byte)).sum::<u32>();
        ends + u32::try_from(data.len()).unwrap_or(u32::MAX)
    }

    fn echo(data: Vec<u8>) -> Vec<u8> {
        data
    }

    fn work(rounds: u64) -> u64 {
        (0..rounds).fold(1, |value: u64, round| std::hint::black_box(value.wrapping_mul(31) ^ round))
    }

    fn yields(rounds: u32) -> u32 {
        for _ in 0..rounds {
            std::thread::yield_now();
        }
        rounds
    }

    fn crash() {
        std::process::abort();
    }

    fn open() -> bool {
        std::fs::File::open("/etc/passwd").is_ok()
    }

    fn hang() {
        loop {
            std::hint::spin_loop();
        }
    }
}
