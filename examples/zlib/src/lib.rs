//! Two functions of zlib, safe to call. The guest serves them; the host calls them directly too, to compare.

use std::ffi::c_int;

/// Most bytes that are given out for one input: what a compartment's message can hold.
const OUTPUT_BYTES_MAX: usize = 63 << 20;

/// Compresses.
///
/// # Errors
/// zlib's own message, or that the level is none.
#[expect(unsafe_code, reason = "a C library")]
pub fn compress(bytes: &[u8], level: i32) -> Result<Vec<u8>, String> {
    let length = libz_sys::uLong::try_from(bytes.len()).map_err(|error| error.to_string())?;
    // SAFETY: compressBound computes with a number.
    let bound = unsafe { libz_sys::compressBound(length) };
    let mut out = vec![0; usize::try_from(bound).map_err(|error| error.to_string())?];
    let mut written = bound;
    // SAFETY: compress2 reads `length` bytes from `bytes`, and writes at most `written` bytes, which `out` has.
    let code = unsafe {
        libz_sys::compress2(out.as_mut_ptr(), &raw mut written, bytes.as_ptr(), length, c_int::from(level))
    };
    finish(out, written, code)
}

/// Decompresses.
///
/// # Errors
/// zlib's own message; also when the result is larger than `most`.
#[expect(unsafe_code, reason = "a C library")]
pub fn decompress(bytes: &[u8], most: u64) -> Result<Vec<u8>, String> {
    let most = usize::try_from(most).unwrap_or(usize::MAX).min(OUTPUT_BYTES_MAX);
    let length = libz_sys::uLong::try_from(bytes.len()).map_err(|error| error.to_string())?;
    let mut out = vec![0; most];
    let mut written = libz_sys::uLong::try_from(most).map_err(|error| error.to_string())?;
    // SAFETY: uncompress reads `length` bytes from `bytes`, and writes at most `written` bytes, which `out` has.
    let code = unsafe { libz_sys::uncompress(out.as_mut_ptr(), &raw mut written, bytes.as_ptr(), length) };
    finish(out, written, code)
}

fn finish(mut out: Vec<u8>, written: libz_sys::uLong, code: c_int) -> Result<Vec<u8>, String> {
    match code {
        libz_sys::Z_OK => {
            out.truncate(usize::try_from(written).map_err(|error| error.to_string())?);
            Ok(out)
        }
        libz_sys::Z_DATA_ERROR => Err("the data is damaged".to_owned()),
        libz_sys::Z_BUF_ERROR => Err("the result is too large".to_owned()),
        code => Err(format!("zlib's error {code}")),
    }
}
