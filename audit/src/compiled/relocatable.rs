//! Reads relocatable objects, by themselves and in archives: what each function and each piece of data refers to.

use object::elf;
use object::read::elf::ElfFile64;
use object::{
    Architecture, Endianness, Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget,
    SectionIndex, SymbolKind, SymbolSection,
};

use super::archive;
use super::code_graph::{Piece, Pieces};
use super::opcode::{calls_kernel, direct_references};
use crate::map::{Map, Set};
use crate::package::PackageIndex;

pub(crate) type Elf<'d> = ElfFile64<'d, Endianness>;

/// The objects of an archive. What is in it that is no object is counted as not read, unless it is the compiler's own.
pub(crate) fn read_archive(bytes: &[u8], home: PackageIndex) -> Option<Vec<Pieces<'_>>> {
    let mut all = Vec::new();
    for archive::Member { name, data } in archive::read(bytes)?.0 {
        if name == "lib.rmeta" {
            continue;
        }
        // An archive inside of one: C code that a library brings along.
        if data.starts_with(archive::MAGIC) {
            match read_archive(data, home) {
                Some(inner) => all.extend(inner),
                None => all.push(unread(home)),
            }
            continue;
        }
        let is_rust = name.ends_with(".rcgu.o");
        all.push(read_object(data, home, !is_rust).unwrap_or_else(|| unread(home)));
    }
    Some(all)
}

fn unread<'d>(home: PackageIndex) -> Pieces<'d> {
    Pieces { home: Some(home), unread: 1, ..Pieces::default() }
}

/// Sections whose references are made when code is unwound or debugged, and are no use of what they name.
pub(crate) fn is_described(name: &[u8]) -> bool {
    name.starts_with(b".eh_frame")
        || name.starts_with(b".gcc_except_table")
        || name.starts_with(b".debug")
        || name.starts_with(b".stapsdt")
        || name.starts_with(b".note")
}

/// One object. `None` when it is of another form than ELF with 64 bits.
pub(crate) fn read_object(bytes: &[u8], home: PackageIndex, is_foreign: bool) -> Option<Pieces<'_>> {
    let file = Elf::parse(bytes).ok()?;
    let mut reader = Reader {
        file: &file,
        out: Pieces { home: Some(home), is_foreign, ..Pieces::default() },
        by_symbol: Map::default(),
        in_section: Map::default(),
        relocated: Set::default(),
    };
    reader.symbols();
    reader.opcodes();
    reader.relocations()?;
    reader.direct();
    Some(reader.out)
}

struct Reader<'f, 'd> {
    file: &'f Elf<'d>,
    out: Pieces<'d>,
    by_symbol: Map<usize, u32>,
    /// Of each section the named pieces, sorted by where they begin, and the piece that stands for the rest.
    in_section: Map<usize, Section>,
    /// Section and offset of each relocation.
    relocated: Set<(usize, u64)>,
}

#[derive(Default)]
struct Section {
    /// Begin, end, piece.
    spans: Vec<(u64, u64, u32)>,
    rest: Option<u32>,
}

impl Section {
    fn at(&self, offset: u64) -> Option<u32> {
        let after = self.spans.partition_point(|(begin, ..)| *begin <= offset);
        let (_, end, piece) = self.spans.get(after.checked_sub(1)?)?;
        (offset < *end).then_some(*piece)
    }
}

impl<'d> Reader<'_, 'd> {
    fn piece(&mut self, piece: Piece<'d>) -> u32 {
        self.out.pieces.push(piece);
        self.out.pieces.len() as u32 - 1
    }

    fn symbols(&mut self) {
        for symbol in self.file.symbols() {
            if matches!(symbol.kind(), SymbolKind::Section | SymbolKind::File) {
                continue;
            }
            let name = symbol.name().ok().filter(|name| !name.is_empty());
            let section = match symbol.section() {
                SymbolSection::Section(index) => Some(index),
                _ => None,
            };
            let is_defined = section.is_some() || symbol.is_common();
            let is_global = symbol.is_global() || name.is_some_and(|name| name.starts_with("_R"));
            let number = self.piece(Piece { name, is_global, is_defined, ..Piece::default() });
            self.by_symbol.insert(symbol.index().0, number);
            if let Some(index) = section {
                let spans = &mut self.in_section.entry(index.0).or_default().spans;
                spans.push((symbol.address(), symbol.address().saturating_add(symbol.size()), number));
            }
        }
        let mut same = Vec::new();
        for (index, section) in &mut self.in_section {
            let end = self.file.section_by_index(SectionIndex(*index)).map_or(0, |section| section.size());
            same.extend(settle(&mut section.spans, end));
        }
        self.out.links.extend(same);
    }

    fn opcodes(&mut self) {
        let architecture = self.file.architecture();
        for section in self.file.sections() {
            if !is_executable(&section) {
                continue;
            }
            let Ok(data) = section.data() else { continue };
            let index = section.index().0;
            let spans = self.in_section.get(&index).map(|section| section.spans.clone()).unwrap_or_default();
            if spans.is_empty() && calls_kernel(data, architecture) {
                let rest = self.rest(index);
                self.out.pieces[rest as usize].calls_kernel = true;
            }
            for (begin, end, piece) in spans {
                let body = data.get(begin as usize..end as usize).unwrap_or_default();
                if calls_kernel(body, architecture) {
                    self.out.pieces[piece as usize].calls_kernel = true;
                }
            }
        }
    }

    /// The piece that stands for what has no name in a section.
    fn rest(&mut self, index: usize) -> u32 {
        if let Some(rest) = self.in_section.get(&index).and_then(|section| section.rest) {
            return rest;
        }
        let rest = self.piece(Piece { is_defined: true, ..Piece::default() });
        self.in_section.entry(index).or_default().rest = Some(rest);
        rest
    }

    fn piece_at(&mut self, index: usize, offset: u64) -> u32 {
        match self.in_section.get(&index).and_then(|section| section.at(offset)) {
            Some(piece) => piece,
            None => self.rest(index),
        }
    }

    fn relocations(&mut self) -> Option<()> {
        let file = self.file;
        let architecture = file.architecture();
        for section in file.sections() {
            if !is_loaded(&section) || is_described(section.name_bytes().ok()?) {
                continue;
            }
            let index = section.index().0;
            for (offset, relocation) in section.relocations() {
                let RelocationTarget::Symbol(target) = relocation.target() else { continue };
                let to = match self.by_symbol.get(&target.0) {
                    Some(piece) => *piece,
                    None => {
                        let symbol = file.symbol_by_index(target).ok()?;
                        let SymbolSection::Section(in_section) = symbol.section() else { continue };
                        let place = target_offset(relocation.addend(), relocation.flags(), architecture);
                        self.piece_at(in_section.0, symbol.address().wrapping_add_signed(place))
                    }
                };
                let from = self.piece_at(index, offset);
                self.relocated.insert((index, offset));
                self.out.links.push((from, to, 0));
            }
        }
        Some(())
    }

    /// References within a section that need no relocation. The Rust compiler gives each function a section, so only code of
    /// others has them.
    fn direct(&mut self) {
        let architecture = self.file.architecture();
        for section in self.file.sections().filter(is_executable) {
            let Ok(data) = section.data() else { continue };
            let index = section.index().0;
            let Some(spans) = self.in_section.get(&index).map(|section| section.spans.clone()) else {
                continue;
            };
            for (begin, end, piece) in spans {
                let is_rust = self.out.pieces[piece as usize].name.is_some_and(|name| name.starts_with("_R"));
                if is_rust {
                    continue;
                }
                let body = data.get(begin as usize..end as usize).unwrap_or_default();
                for (from, next, target) in direct_references(body, begin, architecture) {
                    if (from..next).any(|at| self.relocated.contains(&(index, at))) {
                        continue;
                    }
                    if let Some(to) = self.in_section.get(&index).and_then(|section| section.at(target)) {
                        self.out.links.push((piece, to, 0));
                    }
                }
            }
        }
    }
}

/// Sorts spans, ends those without a size where the next one begins, and links names that mean one place.
pub(crate) fn settle(spans: &mut Vec<(u64, u64, u32)>, section_end: u64) -> Vec<(u32, u32, u64)> {
    // The longest first among those that begin together: the others are names within it.
    spans.sort_unstable_by_key(|(begin, end, piece)| (*begin, std::cmp::Reverse(*end), *piece));
    let mut links = Vec::new();
    let mut kept: Vec<(u64, u64, u32)> = Vec::with_capacity(spans.len());
    for (begin, end, piece) in spans.drain(..) {
        match kept.last() {
            Some((known, _, first)) if *known == begin => {
                links.push((piece, *first, 0));
                links.push((*first, piece, 0));
            }
            _ => kept.push((begin, end, piece)),
        }
    }
    for at in 0..kept.len() {
        let next = kept.get(at + 1).map_or(section_end, |(begin, ..)| *begin);
        let (begin, end, _) = kept[at];
        if end <= begin {
            kept[at].1 = next;
        }
    }
    *spans = kept;
    links
}

/// Where a reference through the symbol of a section leads, within it.
pub(crate) fn target_offset(addend: i64, flags: object::RelocationFlags, architecture: Architecture) -> i64 {
    let object::RelocationFlags::Elf { r_type } = flags else { return addend };
    // These count from the end of the instruction, which is four bytes behind the place.
    let counts_from_end = architecture == Architecture::X86_64
        && [
            elf::R_X86_64_PC32,
            elf::R_X86_64_PLT32,
            elf::R_X86_64_GOTPCREL,
            elf::R_X86_64_GOTPCRELX,
            elf::R_X86_64_REX_GOTPCRELX,
        ]
        .contains(&r_type);
    if counts_from_end { addend.saturating_add(4) } else { addend }
}

fn section_flags<'d>(section: &impl object::ObjectSection<'d>) -> u64 {
    match section.flags() {
        object::SectionFlags::Elf { sh_flags } => sh_flags,
        _ => 0,
    }
}

pub(crate) fn is_loaded<'d>(section: &impl object::ObjectSection<'d>) -> bool {
    section_flags(section) & u64::from(elf::SHF_ALLOC) != 0
}

pub(crate) fn is_executable<'d>(section: &impl object::ObjectSection<'d>) -> bool {
    section_flags(section) & u64::from(elf::SHF_EXECINSTR) != 0
}
