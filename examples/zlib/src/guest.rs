//! zlib as a guest.

use std::process::ExitCode;

use cofferdam_example_zlib::{compress, decompress};
use cofferdam_guest::Guest;

fn main() -> ExitCode {
    Guest::new()
        .function("compress", |(bytes, level): (Vec<u8>, i32)| compress(&bytes, level))
        .function("decompress", |(bytes, most): (Vec<u8>, u64)| decompress(&bytes, most))
        .serve()
}
