//! Instructions that call the kernel by themselves: such code needs no symbol, so only its bytes show it.

use iced_x86::{Code, Decoder, DecoderOptions};
use memchr::memmem;
use object::Architecture;

use crate::limits::INSTRUCTIONS_MAX;

/// `syscall`, `sysenter`, `int 0x80`.
const X86: [[u8; 2]; 3] = [[0x0f, 0x05], [0x0f, 0x34], [0xcd, 0x80]];

/// Whether a function calls the kernel. `body` begins where the function does.
///
/// Bytes that look like such an instruction are inside of another one more often than not, so they are confirmed by decoding
/// from the beginning. Where that runs into what is no code, the bytes count: data between code cannot hide them.
pub(crate) fn calls_kernel(body: &[u8], architecture: Architecture) -> bool {
    match architecture {
        Architecture::X86_64 => {
            let candidates: Vec<usize> =
                X86.iter().flat_map(|bytes| memmem::find_iter(body, bytes)).collect();
            !candidates.is_empty() && confirmed(body, &candidates)
        }
        // `svc`, with any number: instructions have four bytes each.
        Architecture::Aarch64 => body
            .chunks_exact(4)
            .any(|word| u32::from_le_bytes([word[0], word[1], word[2], word[3]]) & 0xffe0_001f == 0xd400_0001),
        _ => false,
    }
}

fn confirmed(body: &[u8], candidates: &[usize]) -> bool {
    let last = candidates.iter().max().copied().unwrap_or_default();
    let mut decoder = Decoder::new(64, body, DecoderOptions::NONE);
    for _ in 0..INSTRUCTIONS_MAX {
        let at = decoder.position();
        if at > last || !decoder.can_decode() {
            return false;
        }
        let instruction = decoder.decode();
        let is_call = matches!(instruction.code(), Code::Syscall | Code::Sysenter)
            || (instruction.code() == Code::Int_imm8 && instruction.immediate8() == 0x80);
        if is_call {
            return true;
        }
        if instruction.is_invalid() {
            return candidates.iter().any(|candidate| *candidate >= at);
        }
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn x86(body: &[u8]) -> bool {
        calls_kernel(body, Architecture::X86_64)
    }

    #[test]
    fn system_calls_are_told_from_bytes_that_look_like_them() {
        // mov eax, 41; syscall; ret
        assert!(x86(&[0xb8, 0x29, 0, 0, 0, 0x0f, 0x05, 0xc3]));
        // int 0x80; ret
        assert!(x86(&[0xcd, 0x80, 0xc3]));
        // sysenter
        assert!(x86(&[0x0f, 0x34]));
        // mov eax, 0x050f; ret
        assert!(!x86(&[0xb8, 0x0f, 0x05, 0, 0, 0xc3]));
        // int3; ret, and int 0x81
        assert!(!x86(&[0xcc, 0xc3]));
        assert!(!x86(&[0xcd, 0x81, 0xc3]));
        // mov eax, 0x80cd
        assert!(!x86(&[0xb8, 0xcd, 0x80, 0, 0]));
    }

    #[test]
    fn bytes_behind_what_is_no_code_count() {
        // An opcode that no 64-bit code has, then `syscall`.
        assert!(x86(&[0x06, 0x0f, 0x05]));
    }

    #[test]
    fn arm_calls_the_kernel_by_svc() {
        let svc = 0xd400_0001_u32.to_le_bytes();
        let nop = 0xd503_201f_u32.to_le_bytes();
        assert!(calls_kernel(&[nop, svc].concat(), Architecture::Aarch64));
        assert!(!calls_kernel(&[nop, nop].concat(), Architecture::Aarch64));
    }
}
