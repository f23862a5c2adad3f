//! Instructions that call the kernel by themselves: such code needs no symbol, so only its bytes show it.

use iced_x86::{Code, Decoder, DecoderOptions, OpKind};
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
        Architecture::Aarch64 => body.chunks_exact(4).any(|word| {
            u32::from_le_bytes([word[0], word[1], word[2], word[3]]) & 0xffe0_001f == 0xd400_0001
        }),
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

/// Where a piece of code refers to by itself: calls and jumps that the assembler has resolved, which leaves no relocation. C code is
/// full of them. Gives the address of each instruction, where the next one begins, and the address that it leads to.
pub(crate) fn direct_references(body: &[u8], begin: u64, architecture: Architecture) -> Vec<(u64, u64, u64)> {
    let mut found = Vec::new();
    match architecture {
        Architecture::X86_64 => {
            let end = begin.saturating_add(body.len() as u64);
            let mut decoder = Decoder::with_ip(64, body, begin, DecoderOptions::NONE);
            while decoder.can_decode() && found.len() < INSTRUCTIONS_MAX {
                let instruction = decoder.decode();
                let target = if instruction.op_count() > 0 && instruction.op0_kind() == OpKind::NearBranch64 {
                    instruction.near_branch_target()
                } else if instruction.is_ip_rel_memory_operand() {
                    instruction.ip_rel_memory_address()
                } else {
                    continue;
                };
                if target < begin || target >= end {
                    found.push((instruction.ip(), instruction.next_ip(), target));
                }
            }
        }
        Architecture::Aarch64 => {
            for (at, word) in body.chunks_exact(4).enumerate() {
                let word = u32::from_le_bytes([word[0], word[1], word[2], word[3]]);
                // `b` and `bl`: 26 bits, in steps of four bytes, with a sign.
                if word & 0x7c00_0000 == 0x1400_0000 {
                    let address = begin.wrapping_add(at as u64 * 4);
                    let offset = i64::from((word << 6).cast_signed() >> 4);
                    found.push((address, address + 4, address.wrapping_add_signed(offset)));
                }
            }
        }
        _ => {}
    }
    found
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
    fn calls_without_a_relocation_are_found() {
        // call +0x10; lea rax, [rip + 0x20]; jmp to itself; ret
        let body = [0xe8, 0x10, 0, 0, 0, 0x48, 0x8d, 0x05, 0x20, 0, 0, 0, 0xeb, 0xfe, 0xc3];
        let found = direct_references(&body, 0x1000, Architecture::X86_64);
        assert_eq!(found, [(0x1000, 0x1005, 0x1015), (0x1005, 0x100c, 0x102c)]);
        // bl +8; b -4
        let body = [0x9400_0002_u32.to_le_bytes(), 0x17ff_ffff_u32.to_le_bytes()].concat();
        let found = direct_references(&body, 0x1000, Architecture::Aarch64);
        assert_eq!(found, [(0x1000, 0x1004, 0x1008), (0x1004, 0x1008, 0x1000)]);
    }

    #[test]
    fn arm_calls_the_kernel_by_svc() {
        let svc = 0xd400_0001_u32.to_le_bytes();
        let nop = 0xd503_201f_u32.to_le_bytes();
        assert!(calls_kernel(&[nop, svc].concat(), Architecture::Aarch64));
        assert!(!calls_kernel(&[nop, nop].concat(), Architecture::Aarch64));
    }
}
