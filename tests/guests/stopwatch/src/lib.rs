//! A guest that measures time, and says nowhere that it does.

#[cfg(cofferdam_guest)]
mod guest {
    use std::hint::black_box;
    use std::time::Instant;

    wit_bindgen::generate!({ world: "stopwatch", path: "wit" });

    struct Stopwatch;

    impl Guest for Stopwatch {
        fn measure(count: u32) -> u64 {
            let began = Instant::now();
            for number in 0..count {
                black_box(number);
            }
            u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX)
        }
    }

    export!(Stopwatch);
}
