//! Reads linked programs and shared objects whose relocations the linker left in: the whole graph of one program, with what was
//! linked into it and nothing else.

use object::{
    Object as _, ObjectSection as _, ObjectSymbol as _, RelocationTarget, SectionIndex, SymbolKind,
    SymbolSection,
};

use super::code_graph::{Piece, Pieces};
use super::opcode::{calls_kernel, direct_references};
use super::relocatable::{Elf, is_described, is_executable, is_loaded, settle, target_offset};
use crate::map::Map;

/// Why a program could not be read.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub(crate) enum LinkedError {
    /// Another format, or damaged.
    #[error("it is no 64-bit ELF file that can be read")]
    Format,
    /// The linker did not leave relocations in.
    #[error(
        "it has no relocations: the linker does not know `--emit-relocs`, something stripped them, or `build.target` of Cargo keeps \
         linker options from it (take that out for `--compiled`)"
    )]
    NoRelocations,
}

/// The graph of a program.
pub(crate) fn read_program(bytes: &[u8]) -> Result<Pieces<'_>, LinkedError> {
    let file = Elf::parse(bytes).map_err(|_| LinkedError::Format)?;
    let mut reader = Reader {
        file: &file,
        out: Pieces::default(),
        by_symbol: Map::default(),
        spans: Vec::new(),
        limits: Vec::new(),
        is_dynamic: file.dynamic_symbols().any(|symbol| symbol.is_undefined() && !symbol.is_weak()),
    };
    reader.symbols();
    let references = reader.references()?;
    reader.name_the_rest(&references);
    reader.link(&references);
    reader.unasked(&references);
    reader.opcodes();
    Ok(reader.out)
}

/// A reference: where it stands, and the symbol or the address that it leads to.
enum Target {
    Piece(u32),
    Address(u64),
}

struct Reader<'f, 'd> {
    file: &'f Elf<'d>,
    out: Pieces<'d>,
    by_symbol: Map<usize, u32>,
    /// Begin, end and piece, by address.
    spans: Vec<(u64, u64, u32)>,
    /// Begin and end of each section.
    limits: Vec<(u64, u64)>,
    /// Whether it takes anything from shared libraries.
    is_dynamic: bool,
}

impl<'d> Reader<'_, 'd> {
    fn piece(&mut self, piece: Piece<'d>) -> u32 {
        self.out.pieces.push(piece);
        self.out.pieces.len() as u32 - 1
    }

    fn symbols(&mut self) {
        let mut by_section: Map<usize, Vec<(u64, u64, u32)>> = Map::default();
        for symbol in self.file.symbols() {
            if matches!(symbol.kind(), SymbolKind::Section | SymbolKind::File) {
                continue;
            }
            let Some(name) = symbol.name().ok().filter(|name| !name.is_empty()) else { continue };
            let section = match symbol.section() {
                SymbolSection::Section(index) => Some(index),
                _ => None,
            };
            // In a program without shared libraries the functions of libc are like any other, and known by their names.
            let is_defined = section.is_some() && (self.is_dynamic || name.starts_with("_R"));
            let number = self.piece(Piece {
                name: Some(name),
                is_global: section.is_none(),
                is_defined,
                ..Piece::default()
            });
            // Where data without a size ends is not known; it is found again by its address.
            let in_code = section.is_some_and(|index| {
                self.file.section_by_index(index).is_ok_and(|section| is_executable(&section))
            });
            if section.is_some() && symbol.size() == 0 && !in_code {
                continue;
            }
            self.by_symbol.insert(symbol.index().0, number);
            if let Some(index) = section {
                // Addresses of thread-local data are no addresses.
                if symbol.kind() != SymbolKind::Tls {
                    let end = symbol.address().saturating_add(symbol.size());
                    by_section.entry(index.0).or_default().push((symbol.address(), end, number));
                }
            }
        }
        for section in self.file.sections() {
            if is_loaded(&section) && section.address() > 0 {
                self.limits.push((section.address(), section.address().saturating_add(section.size())));
            }
        }
        self.limits.sort_unstable();
        for (index, mut spans) in by_section {
            let Ok(section) = self.file.section_by_index(SectionIndex(index)) else { continue };
            let end = section.address().saturating_add(section.size());
            let same = settle(&mut spans, end);
            self.out.links.extend(same);
            self.spans.append(&mut spans);
        }
        self.spans.sort_unstable();
    }

    fn at(&self, address: u64) -> Option<u32> {
        let after = self.spans.partition_point(|(begin, ..)| *begin <= address);
        let (_, end, piece) = self.spans.get(after.checked_sub(1)?)?;
        (address < *end).then_some(*piece)
    }

    fn references(&self) -> Result<Vec<(u64, Target)>, LinkedError> {
        let architecture = self.file.architecture();
        let mut all = Vec::new();
        let mut in_code = false;
        for section in self.file.sections() {
            let name = section.name_bytes().map_err(|_| LinkedError::Format)?;
            if !is_loaded(&section) || is_described(name) {
                continue;
            }
            for (address, relocation) in section.relocations() {
                in_code |= is_executable(&section);
                let RelocationTarget::Symbol(target) = relocation.target() else { continue };
                let target = match self.by_symbol.get(&target.0) {
                    Some(piece) => Target::Piece(*piece),
                    None => {
                        let Ok(symbol) = self.file.symbol_by_index(target) else { continue };
                        let place = target_offset(relocation.addend(), relocation.flags(), architecture);
                        Target::Address(symbol.address().wrapping_add_signed(place))
                    }
                };
                all.push((address, target));
            }
        }
        if in_code { Ok(all) } else { Err(LinkedError::NoRelocations) }
    }

    /// Data that somebody refers to and that has no name becomes a piece, from there to the next one.
    fn name_the_rest(&mut self, references: &[(u64, Target)]) {
        let mut begins: Vec<u64> = references
            .iter()
            .filter_map(|(_, target)| match target {
                Target::Address(address) if self.at(*address).is_none() => Some(*address),
                _ => None,
            })
            .collect();
        begins.sort_unstable();
        begins.dedup();
        let mut found = Vec::with_capacity(begins.len());
        for (at, begin) in begins.iter().enumerate() {
            let after = self.limits.partition_point(|(start, _)| start <= begin);
            let Some((_, section_end)) = after.checked_sub(1).map(|before| self.limits[before]) else {
                continue;
            };
            let next = self.spans.partition_point(|(start, ..)| start <= begin);
            let next = self.spans.get(next).map_or(u64::MAX, |(start, ..)| *start);
            let end = section_end.min(next).min(begins.get(at + 1).copied().unwrap_or(u64::MAX));
            if end > *begin {
                let piece = self.piece(Piece { is_defined: true, ..Piece::default() });
                found.push((*begin, end, piece));
            }
        }
        self.spans.append(&mut found);
        self.spans.sort_unstable();
    }

    /// What the lists hold that a program is loaded and unloaded by.
    fn unasked(&mut self, references: &[(u64, Target)]) {
        let lists: Vec<(u64, u64)> = self
            .file
            .sections()
            .filter(|section| {
                let name = section.name_bytes().unwrap_or_default();
                [&b".init_array"[..], b".preinit_array", b".fini_array", b".ctors", b".dtors"]
                    .iter()
                    .any(|list| name.starts_with(list))
            })
            .map(|section| (section.address(), section.address().saturating_add(section.size())))
            .collect();
        for (address, target) in references {
            if lists.iter().any(|(begin, end)| begin <= address && address < end) {
                let piece = match target {
                    Target::Piece(piece) => Some(*piece),
                    Target::Address(address) => self.at(*address),
                };
                if let Some(piece) = piece {
                    self.out.pieces[piece as usize].runs_unasked = true;
                }
            }
        }
        self.unasked_code();
    }

    /// Code that is not in a list: what stands in `.init` and `.fini`, and functions that choose another when the program is loaded.
    fn unasked_code(&mut self) {
        let code: Vec<(u64, u64)> = self
            .file
            .sections()
            .filter(|section| matches!(section.name_bytes(), Ok(b".init" | b".fini")))
            .map(|section| (section.address(), section.address().saturating_add(section.size())))
            .collect();
        for (begin, _, piece) in &self.spans {
            if code.iter().any(|(from, to)| from <= begin && begin < to) {
                self.out.pieces[*piece as usize].runs_unasked = true;
            }
        }
        for symbol in self.file.symbols() {
            if symbol.elf_symbol().st_type() == object::elf::STT_GNU_IFUNC
                && let Some(piece) = self.by_symbol.get(&symbol.index().0)
            {
                self.out.pieces[*piece as usize].runs_unasked = true;
            }
        }
    }

    fn link(&mut self, references: &[(u64, Target)]) {
        for (address, target) in references {
            let to = match target {
                Target::Piece(piece) => Some(*piece),
                Target::Address(address) => self.at(*address),
            };
            if let (Some(from), Some(to)) = (self.at(*address), to) {
                self.out.links.push((from, to, *address));
            }
        }
    }

    fn opcodes(&mut self) {
        let architecture = self.file.architecture();
        for section in self.file.sections().filter(is_executable) {
            let Ok(data) = section.data() else { continue };
            let first = self.spans.partition_point(|(begin, ..)| *begin < section.address());
            let end = section.address().saturating_add(section.size());
            let mut calling = Vec::new();
            let mut links = Vec::new();
            for (begin, until, piece) in self.spans[first..].iter().take_while(|(begin, ..)| *begin < end) {
                let from = (begin - section.address()) as usize;
                let body = data.get(from..(until - section.address()) as usize).unwrap_or_default();
                if calls_kernel(body, architecture) {
                    calling.push(*piece);
                }
                // The Rust compiler leaves a relocation everywhere; assemblers of C do not.
                let is_rust =
                    self.out.pieces[*piece as usize].name.is_some_and(|name| name.starts_with("_R"));
                if !is_rust {
                    for (at, _, target) in direct_references(body, *begin, architecture) {
                        links.extend(self.at(target).map(|to| (*piece, to, at)));
                    }
                }
            }
            self.out.links.extend(links);
            for piece in calling {
                self.out.pieces[piece as usize].calls_kernel = true;
            }
        }
    }
}
