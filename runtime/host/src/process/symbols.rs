//! What a guest's program says about its own functions: names, and how to find a caller from a stack. Read from its sealed copy,
//! and believed no further than a report for people needs.

use gimli::{
    BaseAddresses, CfaRule, EhFrame, EhFrameHdr, LittleEndian, Register, RegisterRule, UnwindContext,
    UnwindSection,
};
use object::read::elf::ElfFile64;
use object::{Object, ObjectSection, ObjectSegment, ObjectSymbol, SegmentFlags, SymbolKind};

use super::limits::FUNCTION_NAME_MAX;

/// The tables of one program.
#[derive(Debug)]
pub(super) struct Symbols {
    text: Section,
    frames: Section,
    index: Section,
    /// `(address, size, name)`, by address.
    functions: Vec<(u64, u64, String)>,
    /// `(offset in the file, address)` of what is executable.
    executable: Vec<(u64, u64)>,
}

#[derive(Debug)]
struct Section {
    address: u64,
    bytes: Vec<u8>,
}

/// Where a function's caller is found.
pub(super) struct Rule {
    /// Whether the frame is at an offset from the frame pointer, not from the stack pointer.
    pub(super) from_frame_pointer: bool,
    /// That offset.
    pub(super) offset: i64,
    /// Where below the frame the caller's frame pointer is; `None` if it is unchanged.
    pub(super) frame_pointer: Option<i64>,
}

/// DWARF numbers of the System V ABI for AMD64.
const FRAME_POINTER: Register = Register(6);
const STACK_POINTER: Register = Register(7);

impl Symbols {
    pub(super) fn read(bytes: &[u8]) -> Option<Self> {
        let file = ElfFile64::<object::LittleEndian>::parse(bytes).ok()?;
        let section = |name| {
            let section = file.section_by_name(name)?;
            Some(Section { address: section.address(), bytes: section.data().ok()?.to_vec() })
        };
        let mut functions: Vec<(u64, u64, String)> = file
            .symbols()
            .filter(|symbol| symbol.kind() == SymbolKind::Text && symbol.address() != 0)
            .filter_map(|symbol| Some((symbol.address(), symbol.size(), symbol.name().ok()?.to_owned())))
            .collect();
        functions.sort();
        let is_executable =
            |flags| matches!(flags, SegmentFlags::Elf { p_flags } if p_flags & object::elf::PF_X != 0);
        let executable = file
            .segments()
            .filter(|segment| is_executable(segment.flags()))
            .map(|segment| (segment.file_range().0, segment.address()))
            .collect();
        Some(Self {
            text: section(".text")?,
            frames: section(".eh_frame")?,
            index: section(".eh_frame_hdr")?,
            functions,
            executable,
        })
    }

    /// How far from its own addresses the program is, when the mapping of its file from `offset` on begins at `start`.
    pub(super) fn moved_by(&self, start: u64, offset: u64) -> Option<u64> {
        const PAGE: u64 = !0xFFF;
        let (_, address) = self.executable.iter().find(|(from, _)| from & PAGE == offset)?;
        Some(start.wrapping_sub(address & PAGE))
    }

    /// The name of the function that an address is in.
    pub(super) fn name(&self, address: u64) -> Option<String> {
        let after = self.functions.partition_point(|(start, ..)| *start <= address);
        let (start, size, name) = self.functions.get(after.checked_sub(1)?)?;
        // Hand-written functions may have no size.
        if address - start >= (*size).max(1) && *size != 0 {
            return None;
        }
        let plain = format!("{:#}", rustc_demangle::demangle(name));
        Some(plain.chars().filter(|c| !c.is_control()).take(FUNCTION_NAME_MAX).collect())
    }

    /// How to find the caller of the function at an address.
    pub(super) fn rule(&self, address: u64) -> Option<Rule> {
        let bases = BaseAddresses::default()
            .set_eh_frame(self.frames.address)
            .set_eh_frame_hdr(self.index.address)
            .set_text(self.text.address);
        let header = EhFrameHdr::new(&self.index.bytes, LittleEndian).parse(&bases, 8).ok()?;
        let frames = EhFrame::new(&self.frames.bytes, LittleEndian);
        let mut context = UnwindContext::new();
        let row = header
            .table()?
            .unwind_info_for_address(&frames, &bases, &mut context, address, EhFrame::cie_from_offset)
            .ok()?;
        let CfaRule::RegisterAndOffset { register, offset } = *row.cfa() else { return None };
        if register != STACK_POINTER && register != FRAME_POINTER {
            return None;
        }
        let frame_pointer = match row.register(FRAME_POINTER) {
            Some(RegisterRule::Offset(offset)) => Some(offset),
            _ => None,
        };
        Some(Rule { from_frame_pointer: register == FRAME_POINTER, offset, frame_pointer })
    }

    /// Whether a call can return to this address: the instruction before it is one.
    pub(super) fn follows_a_call(&self, address: u64) -> bool {
        let at = |back: u64| {
            let place = address.checked_sub(back)?.checked_sub(self.text.address)?;
            self.text.bytes.get(usize::try_from(place).ok()?).copied()
        };
        // CALL with a displacement, and through a register or memory (FF /2) in its usual lengths.
        let indirect = |back| at(back) == Some(0xFF) && at(back - 1).is_some_and(|mode| mode >> 3 & 7 == 2);
        at(5) == Some(0xE8) || [2, 3, 4, 6, 7].into_iter().any(indirect)
    }
}
