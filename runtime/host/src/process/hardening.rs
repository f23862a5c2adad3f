//! What a guest's program brings against its own memory bugs: a second line, behind the confinement that it cannot choose.
//!
//! Nothing of the program runs. What is missing is said, and decides nothing: a compartment holds without it.

use object::elf::{
    DF_1_NOW, DF_BIND_NOW, DT_BIND_NOW, DT_FLAGS, DT_FLAGS_1, ET_DYN, FileHeader64, PF_W, PF_X,
    PT_GNU_EH_FRAME, PT_GNU_RELRO, PT_GNU_STACK, PT_INTERP, PT_LOAD,
};
use object::read::elf::{Dyn as _, FileHeader as _, ProgramHeader as _};
use object::{Endianness, Object as _, ObjectSymbol as _};

/// What is seen of a program.
#[derive(Debug, Clone, PartialEq, Eq)]
#[non_exhaustive]
#[expect(clippy::struct_excessive_bools, reason = "each is something that a program has or has not")]
pub struct ProgramSummary {
    /// Its size, bytes.
    pub bytes: usize,
    /// It needs no loader. A compartment has none.
    pub is_static: bool,
    /// It can be placed anywhere in memory, so that its addresses are not known beforehand.
    pub position_independent: bool,
    /// Its stack may hold code.
    pub executable_stack: bool,
    /// Some of its memory is both writable and executable when it starts.
    pub writable_code: bool,
    /// What is written only while it is placed becomes read-only then.
    pub read_only_relocations: bool,
    /// All of that is done before it begins, and nothing later.
    pub bound_at_start: bool,
    /// Its functions look whether their frame was overwritten before they return: those of C that were compiled so. `None` when it has
    /// no symbols to tell.
    pub stack_protector: Option<bool>,
    /// It has the tables that name functions in reports of violations.
    pub unwind_tables: bool,
}

impl ProgramSummary {
    /// What it lacks, each with what gives it; empty when it lacks nothing.
    pub fn lacks(&self) -> Vec<&'static str> {
        let all = [
            (self.is_static, "a static program: build it with -C target-feature=+crt-static"),
            (
                self.position_independent,
                "random addresses: link it as static-pie (rustc does so by itself; not with -C relocation-model=static)",
            ),
            (
                !self.executable_stack,
                "a stack without code: an object of C or assembly lacks its .note.GNU-stack; link with -z noexecstack",
            ),
            (
                !self.writable_code,
                "code that is not writable: link without -z rwx-segments, --omagic and --execstack",
            ),
            (self.read_only_relocations, "read-only relocations: link with -z relro"),
            (self.is_static || self.bound_at_start, "relocations done at the start: link with -z now"),
            (
                self.stack_protector != Some(false),
                "a stack protector: compile C with -fstack-protector-strong (Rust has none on stable)",
            ),
            (self.unwind_tables, "tables for reports: keep .eh_frame_hdr (not -C force-unwind-tables=no)"),
        ];
        all.iter().filter(|(has, _)| !has).map(|(_, what)| *what).collect()
    }
}

/// Looks at a program for Linux on x86-64.
///
/// # Errors
/// When it is none, with what is wrong about it.
pub fn inspect_program(bytes: &[u8]) -> Result<ProgramSummary, String> {
    let wrong = |error: object::Error| format!("it is no program for Linux on x86-64: {error}");
    let header = FileHeader64::<Endianness>::parse(bytes).map_err(wrong)?;
    let endian = header.endian().map_err(wrong)?;
    if header.e_machine(endian) != object::elf::EM_X86_64 {
        return Err("it is no program for Linux on x86-64".to_owned());
    }
    let segments = header.program_headers(endian, bytes).map_err(wrong)?;
    if segments.is_empty() {
        return Err("it is an object file or a library, and no program".to_owned());
    }
    let has = |kind: u32| segments.iter().any(|segment| segment.p_type(endian) == kind);
    let is = |flags: u32, both: u32| flags & both == both;
    let mut bound_at_start = false;
    for segment in segments {
        if let Some(entries) = segment.dynamic(endian, bytes).map_err(wrong)? {
            bound_at_start |= entries.iter().any(|entry| {
                let value = entry.d_val(endian);
                match entry.d_tag(endian) {
                    tag if tag == DT_BIND_NOW => true,
                    tag if tag == DT_FLAGS => value & u64::from(DF_BIND_NOW) != 0,
                    tag if tag == DT_FLAGS_1 => value & u64::from(DF_1_NOW) != 0,
                    _ => false,
                }
            });
        }
    }
    // A program without the segment gets an executable stack from the kernel.
    let stack = segments.iter().find(|segment| segment.p_type(endian) == PT_GNU_STACK);
    let file = object::File::parse(bytes).map_err(wrong)?;
    let mut symbols = file.symbols().chain(file.dynamic_symbols()).peekable();
    let stack_protector = symbols
        .peek()
        .is_some()
        .then(|| symbols.any(|symbol| symbol.name().is_ok_and(|name| name.starts_with("__stack_chk_fail"))));
    Ok(ProgramSummary {
        bytes: bytes.len(),
        is_static: !has(PT_INTERP),
        position_independent: header.e_type(endian) == ET_DYN,
        executable_stack: stack.is_none_or(|segment| is(segment.p_flags(endian), PF_X)),
        writable_code: segments
            .iter()
            .any(|segment| segment.p_type(endian) == PT_LOAD && is(segment.p_flags(endian), PF_W | PF_X)),
        read_only_relocations: has(PT_GNU_RELRO),
        bound_at_start,
        stack_protector,
        unwind_tables: has(PT_GNU_EH_FRAME),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_looked_at_and_what_is_none_is_refused() {
        let own = std::fs::read("/proc/self/exe").expect("a test has a program");
        let summary = inspect_program(&own).expect("a program");
        assert!(summary.position_independent && summary.unwind_tables, "{summary:?}");
        assert!(!summary.executable_stack && !summary.writable_code, "{summary:?}");
        for bytes in [&b""[..], b"\x7fELF", b"#!/bin/sh\n", &own[..64], &[0; 4096]] {
            assert!(inspect_program(bytes).is_err());
        }
    }

    #[test]
    fn what_is_missing_is_named() {
        let mut own = std::fs::read("/proc/self/exe").expect("a test has a program");
        let at = |bytes: &[u8], kind: u32| {
            let table = usize::try_from(u64::from_le_bytes(*bytes[32..].first_chunk().expect("a header")))
                .expect("small");
            (0..usize::from(bytes[56]))
                .map(|index| table + 56 * index)
                .find(|at| bytes[*at..*at + 4] == kind.to_le_bytes())
                .expect("it has one")
        };
        // The flags are behind the type.
        let stack = at(&own, PT_GNU_STACK);
        own[stack + 4] |= 1;
        let load = at(&own, PT_LOAD);
        own[load + 4] = 7;
        let relro = at(&own, PT_GNU_RELRO);
        own[relro..relro + 4].copy_from_slice(&0x6000_0000_u32.to_le_bytes());
        let summary = inspect_program(&own).expect("a program");
        assert!(
            summary.executable_stack && summary.writable_code && !summary.read_only_relocations,
            "{summary:?}"
        );
        let lacks = summary.lacks().join("\n");
        for part in ["a stack without code", "code that is not writable", "read-only relocations"] {
            assert!(lacks.contains(part), "{part} in {lacks}");
        }
    }

    #[test]
    fn no_bytes_make_it_panic() {
        let own = std::fs::read("/proc/self/exe").expect("a test has a program");
        let mut state = 7_u64;
        let mut bytes = own[..own.len().min(1 << 16)].to_vec();
        for _ in 0..2000 {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let at = usize::try_from(state >> 33).expect("small") % 1024;
            let old = bytes[at];
            bytes[at] = state.to_le_bytes()[3];
            let _ = inspect_program(&bytes).map(|summary| summary.lacks().len());
            if state.is_multiple_of(3) {
                bytes[at] = old;
            }
        }
    }
}
