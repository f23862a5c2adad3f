//! libwebp, called from Rust.

use std::ffi::c_int;

use libwebp_sys::{WebPDecodeRGBInto, WebPGetInfo};

use crate::types::Picture;

/// The implementation.
pub(crate) struct Codec;

impl crate::decoder::Guest for Codec {
    fn decode(file: Vec<u8>, pixels_most: u32) -> Result<Picture, String> {
        let (mut width, mut height): (c_int, c_int) = (0, 0);
        // SAFETY: It reads so many bytes, and writes two numbers.
        let known = unsafe { WebPGetInfo(file.as_ptr(), file.len(), &raw mut width, &raw mut height) };
        let (Ok(width), Ok(height)) = (u32::try_from(width), u32::try_from(height)) else {
            return Err("libwebp: a size below nothing".to_owned());
        };
        if known == 0 || width == 0 || height == 0 {
            return Err("libwebp: this is no WebP file".to_owned());
        }
        if u64::from(width) * u64::from(height) > u64::from(pixels_most) {
            return Err(format!("{width} times {height} pixels are more than {pixels_most}"));
        }
        let row_bytes = c_int::try_from(width * 3).map_err(|_| "libwebp: rows that are too long")?;
        let mut pixels = vec![0_u8; width as usize * height as usize * 3];
        // SAFETY: It reads so many bytes, and writes at most `pixels.len()` in rows of `row_bytes`.
        let decoded = unsafe {
            WebPDecodeRGBInto(file.as_ptr(), file.len(), pixels.as_mut_ptr(), pixels.len(), row_bytes)
        };
        if decoded.is_null() {
            return Err("libwebp: the file is damaged".to_owned());
        }
        Ok(Picture { width, height, pixels })
    }
}
