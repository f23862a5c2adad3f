//! libspng, called from Rust.

use std::ffi::{CStr, c_char, c_int};
use std::ptr::NonNull;

use spng_sys::{
    spng_ctx, spng_ctx_free, spng_ctx_new, spng_decode_image, spng_decoded_image_size,
    spng_format_SPNG_FMT_RGB8, spng_get_ihdr, spng_ihdr, spng_set_chunk_limits, spng_set_png_buffer,
};

use crate::types::Picture;

/// Most bytes of a chunk that is not pixels, and of all such chunks together.
const CHUNK_BYTES_MAX: usize = 1 << 20;
const FORMAT: c_int = spng_format_SPNG_FMT_RGB8.cast_signed();

unsafe extern "C" {
    /// What an error means. Not among the bindings.
    fn spng_strerror(error: c_int) -> *const c_char;
}

/// The implementation.
pub(crate) struct Codec;

impl crate::decoder::Guest for Codec {
    fn decode(file: Vec<u8>, pixels_most: u32) -> Result<Picture, String> {
        decode(&file, pixels_most)
    }
}

/// A decoder in C.
struct Decoder(NonNull<spng_ctx>);

/// The pixels of a PNG file.
pub(crate) fn decode(file: &[u8], pixels_most: u32) -> Result<Picture, String> {
    // SAFETY: It has no conditions; 0 makes a decoder.
    let decoder = Decoder(NonNull::new(unsafe { spng_ctx_new(0) }).ok_or("no memory for a decoder")?);
    let spng = decoder.0.as_ptr();
    // SAFETY: The decoder is made.
    told(unsafe { spng_set_chunk_limits(spng, CHUNK_BYTES_MAX, CHUNK_BYTES_MAX) })?;
    // SAFETY: The bytes outlive the decoder, which only reads them.
    told(unsafe { spng_set_png_buffer(spng, file.as_ptr().cast(), file.len()) })?;
    let mut header = spng_ihdr {
        width: 0,
        height: 0,
        bit_depth: 0,
        color_type: 0,
        compression_method: 0,
        filter_method: 0,
        interlace_method: 0,
    };
    // SAFETY: The decoder has its bytes, and writes one header.
    told(unsafe { spng_get_ihdr(spng, &raw mut header) })?;
    let (width, height) = (header.width, header.height);
    if u64::from(width) * u64::from(height) > u64::from(pixels_most) {
        return Err(format!("{width} times {height} pixels are more than {pixels_most}"));
    }
    let mut bytes = 0;
    // SAFETY: The header was read, and one number is written.
    told(unsafe { spng_decoded_image_size(spng, FORMAT, &raw mut bytes) })?;
    if bytes as u64 != u64::from(width) * u64::from(height) * 3 {
        return Err("it decodes to something else than its header says".to_owned());
    }
    let mut pixels = vec![0_u8; bytes];
    // SAFETY: There is room for as many bytes as the decoder has said, and it is told so.
    told(unsafe { spng_decode_image(spng, pixels.as_mut_ptr().cast(), bytes, FORMAT, 0) })?;
    Ok(Picture { width, height, pixels })
}

fn told(error: c_int) -> Result<(), String> {
    if error == 0 {
        return Ok(());
    }
    // SAFETY: It gives a constant text for every number.
    let text = unsafe { CStr::from_ptr(spng_strerror(error)) };
    Err(format!("libspng: {}", text.to_string_lossy()))
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: It was made above, and is not used after this.
        unsafe { spng_ctx_free(self.0.as_ptr()) };
    }
}
