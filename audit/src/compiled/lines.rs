//! Files and lines of places in linked programs, from the line tables that debug information has.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

use addr2line::Context;
use gimli::{EndianSlice, RunTimeEndian};
use object::{Object as _, ObjectSection as _};

use super::relocatable::Elf;

/// A file and a line.
pub(crate) type Line = (PathBuf, u32);

/// What was asked for already, by program and address.
type Known = HashMap<(usize, u64), Option<Line>>;

/// Looks lines up in programs, each of which is read again when the first line in it is asked for.
#[derive(Debug, Default)]
pub(crate) struct Lines {
    programs: Vec<PathBuf>,
    known: Mutex<Known>,
}

impl Lines {
    pub(crate) fn new(programs: Vec<PathBuf>) -> Self {
        Self { programs, known: Mutex::default() }
    }

    /// The file and line of the code at each of some addresses of one program; the innermost function where one was inlined.
    pub(crate) fn find(&self, program: usize, addresses: &[u64]) -> Vec<Option<Line>> {
        let mut known = self.known.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        if addresses.iter().any(|address| !known.contains_key(&(program, *address))) {
            let found = self.programs.get(program).and_then(|path| look_up(path, addresses));
            for (at, address) in addresses.iter().enumerate() {
                known.insert((program, *address), found.as_ref().and_then(|found| found[at].clone()));
            }
        }
        addresses.iter().map(|address| known.get(&(program, *address)).cloned().flatten()).collect()
    }
}

fn look_up(path: &Path, addresses: &[u64]) -> Option<Vec<Option<Line>>> {
    let bytes = std::fs::read(path).ok()?;
    let file = Elf::parse(&*bytes).ok()?;
    let endian = if file.is_little_endian() { RunTimeEndian::Little } else { RunTimeEndian::Big };
    let dwarf = gimli::Dwarf::load(|id| {
        let data = file.section_by_name(id.name()).and_then(|section| section.data().ok());
        Ok::<_, gimli::Error>(EndianSlice::new(data.unwrap_or_default(), endian))
    });
    let tables = Context::from_dwarf(dwarf.ok()?).ok()?;
    let line = |address: &u64| {
        let location = tables.find_location(*address).ok()??;
        Some((PathBuf::from(location.file?), location.line?))
    };
    Some(addresses.iter().map(line).collect())
}
