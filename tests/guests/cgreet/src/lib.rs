//! A guest with C in it.

#[cfg(cofferdam_guest)]
mod guest {
    use std::ffi::{c_char, c_int};

    wit_bindgen::generate!({ world: "cgreet", path: "wit" });

    unsafe extern "C" {
        fn cgreet_greet(out: *mut c_char, room: usize, name: *const c_char, name_bytes: usize) -> c_int;
        fn cgreet_checksum(data: *const u8, bytes: usize) -> u32;
    }

    struct Cgreet;

    impl Guest for Cgreet {
        fn greet(name: String) -> String {
            let mut out = vec![0_u8; name.len() + 64];
            // SAFETY: `cgreet_greet` reads `name.len()` bytes of `name` and writes at most `out.len()` bytes, both of which exist.
            let written =
                unsafe { cgreet_greet(out.as_mut_ptr().cast(), out.len(), name.as_ptr().cast(), name.len()) };
            out.truncate(usize::try_from(written).unwrap_or(0).min(out.len() - 1));
            String::from_utf8_lossy(&out).into_owned()
        }

        fn checksum(data: Vec<u8>) -> u32 {
            // SAFETY: `cgreet_checksum` reads `data.len()` bytes of `data`, which exist.
            unsafe { cgreet_checksum(data.as_ptr(), data.len()) }
        }
    }

    export!(Cgreet);
}
