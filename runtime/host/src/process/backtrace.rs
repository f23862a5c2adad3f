//! The functions that led to a call, by unwinding a copy of the caller's stack.
//!
//! The caller waits in the kernel, which tells its stack pointer and no other register. Functions that keep their frame by the frame
//! pointer are found by looking for one on the stack that a call could have left; the rest is what the program's tables say.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::FileExt;

use cofferdam_wire::notification::Notification;

use super::error::Frame;
use super::limits::{FRAMES_MAX, STACK_COPY_BYTES_MAX};
use super::program::Program;
use super::symbols::Symbols;

/// A copy of the top of a stack.
struct Stack {
    start: u64,
    bytes: Vec<u8>,
}

impl Stack {
    fn word(&self, address: u64) -> Option<u64> {
        let at = usize::try_from(address.checked_sub(self.start)?).ok()?;
        let eight = self.bytes.get(at..at.checked_add(8)?)?.first_chunk()?;
        Some(u64::from_le_bytes(*eight))
    }
}

/// The functions that led to a call, innermost first. None when the program has no tables, or another program made the call.
pub(super) fn backtrace(program: &Program, notification: &Notification) -> Option<Vec<Frame>> {
    let symbols = program.symbols()?;
    let pid = notification.pid;
    let moved = moved_by(symbols, pid, notification.instruction)?;
    // `N 0x.. 0x.. 0x.. 0x.. 0x.. 0x.. STACK INSTRUCTION`, proc_pid_syscall(5).
    let line = std::fs::read_to_string(format!("/proc/{pid}/syscall")).ok()?;
    let stack = line.split_whitespace().nth(7)?.strip_prefix("0x")?;
    let stack = copy(pid, u64::from_str_radix(stack, 16).ok()?)?;
    Some(unwind(symbols, &stack, notification.instruction.wrapping_sub(moved), moved))
}

/// How far the program was moved when it was started: from the mapping of its own file that the instruction is in.
fn moved_by(symbols: &Symbols, pid: u32, instruction: u64) -> Option<u64> {
    // A guest can make many mappings; the one that is looked for is among the first.
    const MAPS_BYTES_MAX: u64 = 64 << 10;
    let mut maps = String::new();
    File::open(format!("/proc/{pid}/maps")).ok()?.take(MAPS_BYTES_MAX).read_to_string(&mut maps).ok()?;
    maps.lines().find_map(|line| {
        let mut fields = line.split_whitespace();
        let (range, access, offset) = (fields.next()?, fields.next()?, fields.next()?);
        let (start, end) = range.split_once('-')?;
        let hex = |text| u64::from_str_radix(text, 16).ok();
        let (start, end, offset) = (hex(start)?, hex(end)?, hex(offset)?);
        // The name that `seal` gives; a started program has a path.
        let own = line.contains("/memfd:cofferdam (deleted)") && access.contains('x');
        (own && (start..end).contains(&instruction)).then(|| symbols.moved_by(start, offset))?
    })
}

fn copy(pid: u32, start: u64) -> Option<Stack> {
    const PAGE: u64 = 4096;
    let memory = File::open(format!("/proc/{pid}/mem")).ok()?;
    let mut bytes = Vec::new();
    // Page by page: the stack may end before the copy would.
    while bytes.len() < STACK_COPY_BYTES_MAX {
        let at = start.checked_add(bytes.len() as u64)?;
        let mut page = vec![0; usize::try_from(PAGE - at % PAGE).ok()?];
        if memory.read_exact_at(&mut page, at).is_err() {
            break;
        }
        bytes.append(&mut page);
    }
    Some(Stack { start, bytes })
}

fn unwind(symbols: &Symbols, stack: &Stack, instruction: u64, moved: u64) -> Vec<Frame> {
    let mut frames = Vec::new();
    let (mut address, mut stack_pointer, mut frame_pointer) = (instruction, stack.start, None);
    while frames.len() < FRAMES_MAX {
        // An address to return to is behind its call, which may be the function's last instruction.
        let inside = address.wrapping_sub(1);
        let Some(rule) = symbols.rule(inside) else { break };
        frames.push(Frame { address, function: symbols.name(inside) });
        if rule.from_frame_pointer && frame_pointer.is_none() {
            frame_pointer = find_frame(symbols, stack, stack_pointer, rule.offset, moved);
        }
        let base = if rule.from_frame_pointer { frame_pointer } else { Some(stack_pointer) };
        let Some(frame) = base.and_then(|base| base.checked_add_signed(rule.offset)) else { break };
        let returns = frame.checked_sub(8).and_then(|at| stack.word(at));
        // Frames go outwards only, so the loop ends.
        let Some(returns) = returns.filter(|_| frame > stack_pointer) else { break };
        if let Some(offset) = rule.frame_pointer {
            frame_pointer = frame.checked_add_signed(offset).and_then(|at| stack.word(at));
        }
        stack_pointer = frame;
        address = returns.wrapping_sub(moved);
    }
    frames
}

/// The frame pointer of a function, when no register says: the nearest on the stack with an address behind it that a call returns to.
fn find_frame(symbols: &Symbols, stack: &Stack, from: u64, offset: i64, moved: u64) -> Option<u64> {
    // Most bytes between the stack pointer and the frame of one function. Larger ones are seldom, and then the backtrace ends.
    const FRAME_BYTES_MAX: u64 = 16 << 10;
    let aligned = from.checked_next_multiple_of(8)?;
    (0..FRAME_BYTES_MAX / 8).map(|index| aligned + 8 * index).find(|candidate| {
        let outer = stack.word(*candidate);
        let returns = candidate.checked_add_signed(offset - 8).and_then(|at| stack.word(at));
        outer.is_some_and(|outer| outer > *candidate && outer - *candidate < STACK_COPY_BYTES_MAX as u64)
            && returns.is_some_and(|returns| symbols.follows_a_call(returns.wrapping_sub(moved)))
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stack_is_read_inside_its_copy_only() {
        let stack = Stack { start: 0x1000, bytes: vec![1; 16] };
        assert_eq!(stack.word(0x1008), Some(0x0101_0101_0101_0101));
        for outside in [0, 0xFFF, 0x1009, u64::MAX] {
            assert_eq!(stack.word(outside), None);
        }
    }

    #[test]
    fn what_is_no_program_has_no_symbols() {
        assert!(Symbols::read(b"").is_none());
        assert!(Symbols::read(&[0x7F; 200]).is_none());
        let own = std::fs::read("/proc/self/exe").expect("a test has a program");
        assert!(Symbols::read(&own[..own.len() / 2]).is_none(), "its sections are at the end");
    }

    #[test]
    fn a_stack_that_says_anything_gives_a_bounded_trace() {
        let own = std::fs::read("/proc/self/exe").expect("a test has a program");
        let symbols = Symbols::read(&own).expect("a test has tables");
        let name = |address| symbols.name(address);
        let known =
            (0..own.len() as u64).step_by(64).find(|at| name(*at).is_some() && symbols.rule(*at).is_some());
        let known = known.expect("it has functions");
        // Every word is an address to return to, and a frame pointer to itself.
        let bytes: Vec<u8> = known.to_le_bytes().into_iter().cycle().take(STACK_COPY_BYTES_MAX).collect();
        let frames = unwind(&symbols, &Stack { start: known, bytes }, known + 1, 0);
        assert!((1..=FRAMES_MAX).contains(&frames.len()), "{}", frames.len());
    }
}
