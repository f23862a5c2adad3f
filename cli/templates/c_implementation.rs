//! The implementation: the C library, called from Rust.

unsafe extern "C" {
    fn @IDENT@_checksum(bytes: *const u8, count: usize) -> u32;
}

/// Implements the world.
pub struct Implementation;

impl crate::Guest for Implementation {
    fn checksum(bytes: Vec<u8>) -> u32 {
        // SAFETY: It reads so many bytes from there, and keeps nothing.
        unsafe { @IDENT@_checksum(bytes.as_ptr(), bytes.len()) }
    }
}
