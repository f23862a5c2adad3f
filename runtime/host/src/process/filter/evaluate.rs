//! Runs a filter as the kernel would, to hold what was emitted against what was meant.

use super::emit::{AND, IF_EQUAL, IF_GREATER, IF_SET, JUMP, LOAD, RETURN};

/// What the program answers to a call. Panics on anything that the emitter has no use for.
pub(super) fn evaluate(program: &[u8], arch: u32, number: i32, arguments: &[u64; 6]) -> u32 {
    let mut data = Vec::new();
    data.extend(number.to_le_bytes());
    data.extend(arch.to_le_bytes());
    data.extend(0_u64.to_le_bytes());
    data.extend(arguments.iter().flat_map(|argument| argument.to_le_bytes()));
    let (instructions, _) = program.as_chunks::<8>();
    let (mut at, mut accumulator) = (0, 0_u32);
    loop {
        let one = instructions[at];
        let value = u32::from_le_bytes([one[4], one[5], one[6], one[7]]);
        let branch = |yes: bool| usize::from(if yes { one[2] } else { one[3] });
        at += 1;
        match u16::from_le_bytes([one[0], one[1]]) {
            LOAD => {
                let from = value as usize;
                accumulator = u32::from_le_bytes(*data[from..].first_chunk().expect("inside seccomp_data"));
            }
            AND => accumulator &= value,
            JUMP => at += value as usize,
            IF_EQUAL => at += branch(accumulator == value),
            IF_GREATER => at += branch(accumulator > value),
            IF_SET => at += branch(accumulator & value != 0),
            RETURN => return value,
            code => panic!("no such instruction: {code:#x}"),
        }
    }
}
