//! Which crate a compiled library is: names of functions hold a number for each crate, and only the library shows which one.

use std::collections::HashMap;

use super::code_graph::Pieces;
use super::mangled;

/// The number of the crate of that name whose library this is.
///
/// A copy of foreign code is compiled for the crate that is being compiled, so the crate for which copies are is it. A library
/// without any copy is the crate that most of its functions are of; another version of the same crate may be among them.
pub(crate) fn number(files: &[Pieces<'_>], name: &str) -> Option<u64> {
    let mut copies: HashMap<u64, usize> = HashMap::new();
    let mut own: HashMap<u64, usize> = HashMap::new();
    for file in files.iter().filter(|file| !file.is_foreign) {
        for piece in file.pieces.iter().filter(|piece| piece.is_defined) {
            if own.values().chain(copies.values()).sum::<usize>() >= ENOUGH {
                break;
            }
            let Some(symbol) = piece.name.and_then(mangled::parse) else { continue };
            match symbol.copied_for {
                Some(krate) if krate.name == name => *copies.entry(krate.number).or_default() += 1,
                None if symbol.path.krate.name == name => {
                    *own.entry(symbol.path.krate.number).or_default() += 1;
                }
                _ => {}
            }
        }
    }
    let most = |counts: &HashMap<u64, usize>| {
        counts.iter().max_by_key(|(number, count)| (**count, **number)).map(|(number, _)| *number)
    };
    most(&own)
        .or_else(|| most(&copies))
        .filter(|found| {
            // Where both are there and disagree, the copies tell.
            most(&copies).is_none_or(|copied| copied == *found)
        })
        .or_else(|| most(&copies))
}

/// Functions that are counted: a crate's own are among the first.
const ENOUGH: usize = 2_000;
