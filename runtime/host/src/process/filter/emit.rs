//! Rules as a program of classic BPF: `seccomp(2)` and `linux/filter.h`.
//!
//! The program compares the number with each known one in turn and tries that call's rules, most permissive first. Everything
//! that no rule holds for is notified, and so is what only the host may do: the supervisor tells the two apart.

use super::{ARCH, Decision, RuleError, Rules, X32_BIT, highest};

/// Where `struct seccomp_data` has its fields.
const NUMBER: u32 = 0;
const CONVENTION: u32 = 4;
const ARGUMENTS: u32 = 16;

/// Codes of `linux/bpf_common.h`: load a word at an absolute offset, jump always, if equal, if greater, if any bit is set, the
/// accumulator and a constant, return a constant.
pub(super) const LOAD: u16 = 0x20;
pub(super) const JUMP: u16 = 0x05;
pub(super) const IF_EQUAL: u16 = 0x15;
pub(super) const IF_GREATER: u16 = 0x25;
pub(super) const IF_SET: u16 = 0x45;
pub(super) const AND: u16 = 0x54;
pub(super) const RETURN: u16 = 0x06;

/// Answers of `linux/seccomp.h`.
pub(super) const ALLOW: u32 = 0x7FFF_0000;
pub(super) const NOTIFY: u32 = 0x7FC0_0000;
pub(super) const ERRNO: u32 = 0x0005_0000;

/// Most instructions that the kernel accepts, `BPF_MAXINSNS`.
const INSTRUCTIONS_MAX: usize = 4096;

#[derive(Clone, Copy)]
struct Instruction {
    code: u16,
    yes: u8,
    no: u8,
    value: u32,
}

impl Instruction {
    fn new(code: u16, value: u32) -> Self {
        Self { code, yes: 0, no: 0, value }
    }

    /// Skips so many instructions on each outcome.
    fn branch(code: u16, value: u32, yes: u8, no: u8) -> Self {
        Self { code, yes, no, value }
    }
}

impl Decision {
    /// What the kernel is to answer.
    pub(super) fn for_the_kernel(self) -> u32 {
        match self {
            Self::Allow => ALLOW,
            Self::Notify | Self::Report(_) | Self::ErrnoByHost(_) | Self::Violation => NOTIFY,
            Self::Errno(number) => ERRNO | u32::from(number),
        }
    }
}

pub(super) fn emit(rules: &Rules) -> Result<Vec<u8>, RuleError> {
    let mut program = vec![
        Instruction::new(LOAD, CONVENTION),
        Instruction::branch(IF_EQUAL, ARCH, 1, 0),
        Instruction::new(RETURN, NOTIFY),
        Instruction::new(LOAD, NUMBER),
        Instruction::branch(IF_SET, X32_BIT, 0, 1),
        Instruction::new(RETURN, NOTIFY),
        Instruction::branch(IF_GREATER, highest(), 0, 1),
        Instruction::new(RETURN, Decision::Errno(super::ENOSYS).for_the_kernel()),
    ];
    for (number, rules) in &rules.calls {
        let mut block = Vec::new();
        for rule in rules {
            // From the end: each condition that fails skips the rest of the rule.
            let mut rest = vec![Instruction::new(RETURN, rule.decision.for_the_kernel())];
            for condition in rule.when.iter().rev() {
                let skip = u8::try_from(rest.len()).map_err(|_| too_long(*number))?;
                let mut tested = vec![
                    Instruction::new(LOAD, ARGUMENTS + 8 * u32::from(condition.argument)),
                    Instruction::new(AND, condition.mask),
                    Instruction::branch(IF_EQUAL, condition.equals, 0, skip),
                ];
                tested.append(&mut rest);
                rest = tested;
            }
            block.append(&mut rest);
        }
        block.push(Instruction::new(RETURN, NOTIFY));
        let length = u32::try_from(block.len()).map_err(|_| too_long(*number))?;
        // Blocks can be longer than a branch reaches, so a jump of its own skips them. The number is still loaded after it.
        program.push(Instruction::branch(IF_EQUAL, *number, 1, 0));
        program.push(Instruction::new(JUMP, length));
        program.append(&mut block);
    }
    program.push(Instruction::new(RETURN, NOTIFY));
    if program.len() > INSTRUCTIONS_MAX {
        return Err(RuleError { name: "all".to_owned(), text: format!("{} instructions", program.len()) });
    }
    Ok(bytes(&program))
}

pub(super) fn allow_all() -> Vec<u8> {
    bytes(&[Instruction::new(RETURN, ALLOW)])
}

fn too_long(number: u32) -> RuleError {
    RuleError { name: super::call_name(ARCH, number.cast_signed()), text: "too many conditions".to_owned() }
}

/// As `struct sock_filter`, little-endian.
fn bytes(program: &[Instruction]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(8 * program.len());
    for one in program {
        bytes.extend(one.code.to_le_bytes());
        bytes.extend([one.yes, one.no]);
        bytes.extend(one.value.to_le_bytes());
    }
    bytes
}
