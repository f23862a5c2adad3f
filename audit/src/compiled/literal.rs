//! The text that a call is given, where it is a literal: `std::env::var("OUT_DIR")` names a variable of Cargo's own, and only its
//! code shows which.

use iced_x86::{Code, Decoder, DecoderOptions, Mnemonic, OpKind, Register};
use object::{Architecture, Object as _, ObjectSection as _};

use super::relocatable::{Elf, is_executable, is_loaded};
use crate::limits::ARGUMENT_BYTES_MAX;

/// The code and the data of a linked program.
#[derive(Debug)]
pub(crate) struct Literals<'d> {
    /// Address and bytes of each section with code.
    code: Vec<(u64, &'d [u8])>,
    /// The same of data.
    data: Vec<(u64, &'d [u8])>,
    is_x86: bool,
}

/// How many bytes before the place and behind it are looked at: a handful of instructions, which is where an unoptimised build puts
/// arguments.
const BEFORE: u64 = 64;
const BEHIND: u64 = 48;

impl<'d> Literals<'d> {
    /// Of a program that was read already.
    pub(crate) fn new(bytes: &'d [u8]) -> Option<Self> {
        let file = Elf::parse(bytes).ok()?;
        let mut all =
            Self { code: Vec::new(), data: Vec::new(), is_x86: file.architecture() == Architecture::X86_64 };
        for section in file.sections().filter(is_loaded) {
            let Ok(data) = section.data() else { continue };
            let list = if is_executable(&section) { &mut all.code } else { &mut all.data };
            list.push((section.address(), data));
        }
        Some(all)
    }

    /// Whether the instructions of this machine can be read at all.
    pub(crate) fn can_read(&self) -> bool {
        self.is_x86
    }

    /// The text given as second argument (the first is where the result goes) to the call whose target stands at `at`.
    pub(crate) fn before_call(&self, at: u64) -> Option<String> {
        if !self.is_x86 {
            return None;
        }
        let (begin, code) = section_at(&self.code, at)?;
        // Where an instruction begins is not known, so each beginning is tried; one that leads to the call is right from the
        // first instructions on, and the arguments are set last.
        let until = at.saturating_add(BEHIND).min(begin + code.len() as u64);
        (0..16).find_map(|skip| {
            let from = at.saturating_sub(BEFORE - skip).max(begin);
            let window = code.get((from - begin) as usize..(until - begin) as usize)?;
            self.argument(window, from, at)
        })
    }

    fn argument(&self, window: &[u8], from: u64, at: u64) -> Option<String> {
        let mut decoder = Decoder::with_ip(64, window, from, DecoderOptions::NONE);
        let (mut address, mut length) = (None, None);
        // The register that has the function, when its address is loaded first.
        let mut callee = Register::None;
        while decoder.can_decode() {
            let instruction = decoder.decode();
            let is_place = instruction.next_ip() == at + 4;
            if instruction.mnemonic() == Mnemonic::Call {
                let by_register = instruction.op0_kind() == OpKind::Register;
                if is_place || (by_register && instruction.op0_register() == callee) {
                    let bytes = self.bytes(address?, length?)?;
                    return std::str::from_utf8(bytes).ok().map(str::to_owned);
                }
                (address, length) = (None, None);
            }
            if is_place && instruction.op0_kind() == OpKind::Register {
                callee = instruction.op0_register();
            }
            if instruction.next_ip() > at + 4 && callee == Register::None {
                return None;
            }
            match (instruction.code(), instruction.op0_register()) {
                (Code::Lea_r64_m, Register::RSI) => {
                    address =
                        instruction.is_ip_rel_memory_operand().then(|| instruction.memory_displacement64());
                }
                (Code::Mov_r32_imm32, Register::EDX) => length = Some(u64::from(instruction.immediate32())),
                (_, Register::RSI | Register::ESI) if writes(&instruction) => address = None,
                (_, Register::RDX | Register::EDX) if writes(&instruction) => length = None,
                _ => {}
            }
        }
        None
    }

    fn bytes(&self, address: u64, length: u64) -> Option<&'d [u8]> {
        let (begin, data) = section_at(&self.data, address)?;
        let from = usize::try_from(address - begin).ok()?;
        let length = usize::try_from(length).ok().filter(|length| *length <= ARGUMENT_BYTES_MAX)?;
        data.get(from..from.checked_add(length)?)
    }
}

/// Whether an instruction may change its first operand: all but comparisons do.
fn writes(instruction: &iced_x86::Instruction) -> bool {
    instruction.op_count() > 0
        && instruction.op0_kind() == OpKind::Register
        && !matches!(instruction.mnemonic(), Mnemonic::Cmp | Mnemonic::Test | Mnemonic::Push)
}

fn section_at<'d>(sections: &[(u64, &'d [u8])], address: u64) -> Option<(u64, &'d [u8])> {
    sections.iter().copied().find(|(begin, data)| *begin <= address && address - begin < data.len() as u64)
}
