//! mozjpeg, called from Rust.

use std::ffi::{CStr, c_char};

use mozjpeg_sys::{
    J_COLOR_SPACE, boolean, jpeg_CreateDecompress, jpeg_common_struct, jpeg_decompress_struct,
    jpeg_destroy_decompress, jpeg_error_mgr, jpeg_finish_decompress, jpeg_mem_src, jpeg_read_header,
    jpeg_read_scanlines, jpeg_start_decompress, jpeg_std_error,
};

use crate::types::Picture;

/// The version of the interface that the C code was compiled for.
const VERSION: i32 = mozjpeg_sys::JPEG_LIB_VERSION;
/// Most bytes of a message: `JMSG_LENGTH_MAX` of jpeglib.h.
const MESSAGE_BYTES: usize = 200;

/// The implementation.
pub(crate) struct Codec;

/// A decoder in C, with the place for its errors. Neither may move while it is used.
struct Decoder {
    state: jpeg_decompress_struct,
    errors: jpeg_error_mgr,
}

impl crate::decoder::Guest for Codec {
    fn decode(file: Vec<u8>, pixels_most: u32) -> Result<Picture, String> {
        if !file.starts_with(&[0xff, 0xd8]) {
            return Err("it does not begin as a JPEG file does".to_owned());
        }
        let mut decoder = Decoder::new();
        decoder.decode(&file, pixels_most)
    }
}

impl Decoder {
    fn new() -> Box<Self> {
        // SAFETY: Both are C structs of numbers, pointers and optional functions, for which zeros are valid; that is how
        // libjpeg.txt ("Initialization") has callers make them.
        let mut decoder: Box<Self> = Box::new(unsafe { std::mem::zeroed() });
        // SAFETY: It writes into the struct, which stays in its box as long as the decoder uses it.
        let errors = unsafe { jpeg_std_error(&mut decoder.errors) };
        errors.error_exit = Some(fail);
        errors.emit_message = Some(ignore);
        decoder.state.common.err = &raw mut decoder.errors;
        // SAFETY: The struct has its error handler, as the function asks, and is of the size that is named.
        unsafe {
            jpeg_CreateDecompress(&raw mut decoder.state, VERSION, size_of::<jpeg_decompress_struct>())
        };
        decoder
    }

    fn decode(&mut self, file: &[u8], pixels_most: u32) -> Result<Picture, String> {
        let state = &mut self.state;
        // SAFETY: The bytes outlive every use of the source: `state` is not read from after this function.
        unsafe { jpeg_mem_src(state, file.as_ptr(), file.len() as _) };
        // SAFETY: The decoder is made and has a source.
        unsafe { jpeg_read_header(state, true as boolean) };
        let (width, height) = (state.image_width, state.image_height);
        if u64::from(width) * u64::from(height) > u64::from(pixels_most) {
            return Err(format!("{width} times {height} pixels are more than {pixels_most}"));
        }
        state.out_color_space = J_COLOR_SPACE::JCS_RGB;
        // SAFETY: The header was read.
        unsafe { jpeg_start_decompress(state) };
        let row_bytes = width as usize * 3;
        if state.output_width != width || state.output_height != height || state.output_components != 3 {
            return Err("it decodes to something else than its header says".to_owned());
        }
        let mut pixels = vec![0_u8; row_bytes * height as usize];
        for row in pixels.chunks_exact_mut(row_bytes) {
            let mut row = row.as_mut_ptr();
            // SAFETY: One row of `output_width * output_components` bytes is written, and there is room for it.
            while unsafe { jpeg_read_scanlines(state, &raw mut row, 1) } == 0 {}
        }
        // SAFETY: All rows were read.
        unsafe { jpeg_finish_decompress(state) };
        Ok(Picture { width, height, pixels })
    }
}

impl Drop for Decoder {
    fn drop(&mut self) {
        // SAFETY: It was made in `new`, and is not used after this.
        unsafe { jpeg_destroy_decompress(&mut self.state) };
    }
}

/// Where libjpeg ends when it cannot go on. It may not return there, and has no other way to say so.
unsafe extern "C-unwind" fn fail(state: &mut jpeg_common_struct) {
    let mut message = [0_u8; MESSAGE_BYTES + 1];
    // SAFETY: The error handler is that of `Decoder::new`.
    if let Some(format) = unsafe { (*state.err).format_message } {
        type Format = unsafe extern "C-unwind" fn(*mut jpeg_common_struct, *mut c_char);
        // SAFETY: The binding says that the buffer is read only and of 80 bytes; in jpeglib.h it is a `char *` of
        // `JMSG_LENGTH_MAX` bytes that is written to. Both are one pointer in the C calling convention.
        let format: Format = unsafe { std::mem::transmute(format) };
        // SAFETY: The buffer has room for the longest message.
        unsafe { format(state, message.as_mut_ptr().cast()) };
    }
    let message = CStr::from_bytes_until_nul(&message).unwrap_or_default();
    panic!("mozjpeg: {}", message.to_string_lossy());
}

/// Warnings are of damage that the decoder works around.
unsafe extern "C-unwind" fn ignore(_: &mut jpeg_common_struct, _: i32) {}
