//! Modules that are declared in tokens: which file each of them is, by the same rules as for the parser's, or that no one can
//! tell before the macro around it is used.

use std::path::PathBuf;

use proc_macro2::{Delimiter, Group, Punct, Spacing, TokenStream, TokenTree};
use syn::Attribute;
use syn::parse::Parser as _;

use super::tokens::{self, Seen, Walked, ident, literal, punct};
use super::uses::Apart;
use super::walk::named_values;
use super::{FilePlace, Scanner};
use crate::summary::ScopeIndex;

/// Most attributes of one item, and on the way to one module, that are looked at. Behind the others more is read, not less.
pub(super) const ATTRIBUTES_MAX: usize = 64;

/// Most tokens of an attribute that is looked at.
const ATTRIBUTE_TOKENS_MAX: usize = 256;

/// `mod name`, in tokens.
#[derive(Debug)]
pub(crate) struct Declaration {
    pub(crate) name: String,
    pub(crate) line: usize,
    /// The insides of its attributes.
    pub(crate) attributes: Vec<TokenStream>,
    /// What stands in its braces.
    pub(crate) body: Option<TokenStream>,
    /// Only who uses the macro around it says its name or its path.
    pub(crate) computed: bool,
    /// It ends like a module that is a file. Else it is one if there is such a file.
    pub(crate) certain: bool,
    /// The place behind it.
    pub(crate) end: usize,
}

/// What the word `mod` declares.
pub(crate) fn declared(list: &[TokenTree], at: usize) -> Option<Declaration> {
    let handed_in = punct(list, at + 1) == Some('$');
    let of = at + 1 + usize::from(handed_in);
    let repeated = handed_in && matches!(list.get(of), Some(TokenTree::Group(_)));
    let name = ident(list, of);
    // `$name:ident` stands in what a rule matches, and `#name` in what a procedural macro writes.
    if name.is_none() && !repeated || handed_in && punct(list, of + 1) == Some(':') {
        return None;
    }
    let (attributes, handed_in_attribute) = attributes_before(list, at);
    let body = match list.get(of + 1) {
        Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Brace => Some(group.stream()),
        _ => None,
    };
    Some(Declaration {
        name: name.unwrap_or_default(),
        line: list[at].span().start().line,
        attributes,
        computed: handed_in || handed_in_attribute,
        certain: punct(list, of + 1) == Some(';'),
        end: of + 1 + usize::from(body.is_some()),
        body,
    })
}

/// The attributes before a word of an item and its visibility, and whether one that is not known may be a `#[path]`.
fn attributes_before(list: &[TokenTree], mut at: usize) -> (Vec<TokenStream>, bool) {
    let mut found = Vec::new();
    let mut computed = false;
    let before = |at: usize, back: usize| at.checked_sub(back).and_then(|at| list.get(at));
    let sign = |at: usize, back: usize| at.checked_sub(back).and_then(|at| punct(list, at));
    loop {
        match before(at, 1) {
            Some(TokenTree::Ident(_)) if sign(at, 2) == Some('$') => at -= 2,
            Some(TokenTree::Ident(word)) if *word == "pub" || *word == "unsafe" => at -= 1,
            Some(TokenTree::Group(group)) if group.delimiter() == Delimiter::Parenthesis => {
                match before(at, 2) {
                    Some(TokenTree::Ident(word)) if *word == "pub" => at -= 2,
                    _ => break,
                }
            }
            Some(TokenTree::Group(group))
                if group.delimiter() == Delimiter::Bracket && sign(at, 2) == Some('#') =>
            {
                computed |= may_compute_path(&group.stream());
                found.push(group.stream());
                at -= 2;
            }
            // `$(#[$attribute])*`
            Some(TokenTree::Punct(_)) if sign(at, 3) == Some('$') => match before(at, 2) {
                Some(TokenTree::Group(group)) => {
                    let inner: Vec<TokenTree> = group.stream().into_iter().collect();
                    computed |= attributes_before(&inner, inner.len()).1;
                    at -= 3;
                }
                _ => break,
            },
            _ => break,
        }
    }
    found.reverse();
    (found, computed)
}

/// Whether an attribute is a `#[path]` that is no literal, or may become one where a macro is used.
fn may_compute_path(attribute: &TokenStream) -> bool {
    let list: Vec<TokenTree> = attribute.clone().into_iter().take(ATTRIBUTE_TOKENS_MAX).collect();
    match (ident(&list, 0).as_deref(), list.get(1)) {
        (Some("path"), Some(TokenTree::Punct(_))) => list.len() != 3 || literal(&list[2]).is_none(),
        (Some("cfg_attr"), Some(TokenTree::Group(group))) => {
            let inner: Vec<TokenTree> = group.stream().into_iter().collect();
            let parts = inner.split(|token| matches!(token, TokenTree::Punct(one) if one.as_char() == ','));
            !is_small(attribute)
                || parts.skip(1).any(|part| may_compute_path(&part.iter().cloned().collect()))
        }
        (None, _) => punct(&list, 0) == Some('$'),
        _ => false,
    }
}

fn is_small(tokens: &TokenStream) -> bool {
    let mut count = 0;
    let mut pending = vec![tokens.clone()];
    while let Some(tokens) = pending.pop() {
        for token in tokens {
            count += 1;
            if count > ATTRIBUTE_TOKENS_MAX {
                return false;
            }
            if let TokenTree::Group(group) = token {
                pending.push(group.stream());
            }
        }
    }
    true
}

/// Whether an attribute may say that what it stands before is not compiled.
pub(crate) fn is_condition(attribute: &TokenStream) -> bool {
    let first = attribute.clone().into_iter().next();
    matches!(first, Some(TokenTree::Ident(word)) if word == "cfg" || word == "test" || word == "bench")
        && is_small(attribute)
}

/// The conditions that stand at the beginning of a file.
pub(super) fn conditions_of_file(tokens: &TokenStream) -> Vec<TokenStream> {
    let mut tokens = tokens.clone().into_iter();
    let mut found = Vec::new();
    while let (Some(TokenTree::Punct(hash)), Some(TokenTree::Punct(bang)), Some(TokenTree::Group(group))) =
        (tokens.next(), tokens.next(), tokens.next())
        && hash.as_char() == '#'
        && bang.as_char() == '!'
        && found.len() < ATTRIBUTES_MAX
    {
        if is_condition(&group.stream()) {
            found.push(group.stream());
        }
    }
    found
}

/// Whether tokens begin with `#name`: a procedural macro writes them, for others.
pub(super) fn is_written(tokens: &TokenStream) -> bool {
    let list: Vec<TokenTree> = tokens.clone().into_iter().take(2).collect();
    punct(&list, 0) == Some('#') && ident(&list, 1).is_some()
}

/// The words that name files.
pub(super) const FILE_WORDS: &[&str] = &["mod", "include", "r#include"];

/// Whether tokens hold one of some words.
pub(super) fn mention(tokens: TokenStream, words: &[&str]) -> bool {
    let mut pending = vec![tokens];
    while let Some(tokens) = pending.pop() {
        for token in tokens {
            match token {
                TokenTree::Ident(ident) if words.iter().any(|word| ident == *word) => return true,
                TokenTree::Group(group) => pending.push(group.stream()),
                _ => {}
            }
        }
    }
    false
}

fn parsed(attributes: &[TokenStream]) -> Vec<Attribute> {
    let small = attributes.iter().filter(|attribute| is_small(attribute));
    small
        .filter_map(|attribute| {
            let brackets = Group::new(Delimiter::Bracket, attribute.clone());
            let whole = [TokenTree::Punct(Punct::new('#', Spacing::Alone)), TokenTree::Group(brackets)];
            Attribute::parse_outer.parse2(TokenStream::from_iter(whole)).ok()
        })
        .flatten()
        .collect()
}

impl Walked {
    /// The numbers of all that stands around a place, from the inside.
    fn outwards(&self, around: usize) -> impl Iterator<Item = usize> {
        std::iter::successors(Some(around), |at| (*at > 0).then(|| self.around[*at].outer))
    }

    pub(super) fn is_in_module(&self, around: usize) -> bool {
        self.outwards(around).any(|at| self.around[at].module.is_some())
    }

    /// What may say that a place is not compiled.
    pub(super) fn conditions(&self, around: usize) -> Vec<Attribute> {
        let all = self.outwards(around).flat_map(|at| &self.around[at].attributes);
        let all: Vec<TokenStream> =
            all.filter(|attribute| is_condition(attribute)).take(ATTRIBUTES_MAX).cloned().collect();
        parsed(&all)
    }
}

impl Scanner<'_> {
    /// A scope for each module whose body stands among the tokens, by what stands around. Without files there is no need.
    pub(super) fn scopes_in_tokens(&mut self, walked: &Walked, whole: bool) -> Vec<Option<ScopeIndex>> {
        let mut scopes: Vec<Option<ScopeIndex>> = vec![None; walked.around.len()];
        if !whole && !walked.seen.iter().any(|(_, one)| matches!(one, Seen::Module(_))) {
            return scopes;
        }
        let outer = self.scope;
        for (index, around) in walked.around.iter().enumerate().skip(1) {
            scopes[index] = scopes[around.outer];
            if let Some(name) = &around.module {
                self.scope = scopes[around.outer].unwrap_or(outer);
                scopes[index] = Some(self.add_scope(name, false));
            }
        }
        self.scope = outer;
        scopes
    }

    /// Runs where the files are that tokens name, and in the macro whose rules they are.
    pub(super) fn in_tokens<R>(
        &mut self,
        walked: &Walked,
        around: usize,
        run: impl FnOnce(&mut Self) -> R,
    ) -> R {
        let rules = walked.outwards(around).find_map(|at| walked.around[at].rules.clone());
        let place = walked.is_in_module(around).then(|| {
            let mut inwards: Vec<usize> = walked.outwards(around).collect();
            inwards.reverse();
            let before = self.place.clone();
            for at in inwards {
                let around = &walked.around[at];
                if let Some(name) = &around.module {
                    self.place = self.place_of_body(name, &parsed(&around.attributes));
                }
            }
            std::mem::replace(&mut self.place, before)
        });
        let place = place.map(|place| std::mem::replace(&mut self.place, place));
        let in_macro = rules.map(|name| self.in_macro.replace(name));
        let done = run(self);
        if let Some(place) = place {
            self.place = place;
        }
        if let Some(in_macro) = in_macro {
            self.in_macro = in_macro;
        }
        done
    }

    /// Where the modules are that a module's braces declare. Its own `#[path]` names their folder.
    pub(super) fn place_of_body(&mut self, name: &str, attributes: &[Attribute]) -> FilePlace {
        let paths = named_values(attributes, "path");
        let named = paths.iter().find(|(conditions, _)| conditions.is_empty());
        let folder = match named {
            Some((_, path)) => self.place.folder.join(path),
            None => self.place.modules.join(name),
        };
        self.place_in(self.place.number, self.place.file_folder.clone(), folder.clone(), folder)
    }

    /// Whether the parser's way would not read what stands there.
    pub(super) fn is_left_out(&mut self, walked: &Walked, around: usize) -> bool {
        !self.is_compiled(walked, around, &[])
    }

    /// Whether the parser's way would read what tokens hold behind some attributes.
    pub(super) fn is_compiled(&mut self, walked: &Walked, around: usize, own: &[TokenStream]) -> bool {
        let mut conditions = walked.conditions(around);
        conditions.extend(parsed(own));
        let added = self.push_conditions(&conditions);
        self.pop_conditions(added);
        added.is_some() && !walked.around[around].pattern
    }

    /// Reads the file of a module that tokens declare in the current scope.
    pub(super) fn module_in_tokens(&mut self, walked: &Walked, around: usize, of: &Declaration) {
        let own = parsed(&of.attributes);
        let mut conditions = walked.conditions(around);
        conditions.extend(own.iter().cloned());
        let added = self.push_conditions(&conditions);
        if added.is_some() {
            self.in_tokens(walked, around, |scanner| scanner.declared_in_tokens(of, &own));
        }
        self.pop_conditions(added);
    }

    fn declared_in_tokens(&mut self, of: &Declaration, attributes: &[Attribute]) {
        if of.computed {
            self.computed_module(of.line);
        }
        let paths = named_values(attributes, "path");
        let is_there = |scanner: &mut Self| {
            let beside = scanner.place.modules.join(format!("{}.rs", of.name));
            let inside = scanner.place.modules.join(&of.name).join("mod.rs");
            scanner.is_file(&beside) || scanner.is_file(&inside)
        };
        if of.name.is_empty() {
            return;
        }
        if !of.certain && paths.is_empty() && !is_there(self) {
            // Its end may be written by the macro that it is handed to, and elsewhere.
            return self.note_apart(Apart::Module, of.line);
        }
        let scope = self.add_scope(&of.name, false);
        let outer = std::mem::replace(&mut self.scope, scope);
        let self_path = self.self_path.take();
        self.module(&of.name, of.line, &paths);
        self.self_path = self_path;
        self.scope = outer;
    }

    /// Notes a module whose file is not known.
    fn computed_module(&mut self, at: usize) {
        if self.computed.insert((self.place.number, at)) {
            let file = PathBuf::from(self.summary.files[self.place.number as usize].clone());
            // Whatever else has the macro's name and is used, this is not read.
            let in_macro = self.in_macro.take();
            self.unknown(&file, at, "declares a module under a computed name", false);
            self.in_macro = in_macro;
        }
    }

    /// Notes the modules of a macro's rule whose files only its uses name.
    pub(super) fn computed_modules(&mut self, rule: &TokenStream) {
        if !mention(rule.clone(), &["mod"]) {
            return;
        }
        let mut pending = vec![rule.clone()];
        while let Some(tokens) = pending.pop() {
            let walked = tokens::walk(tokens);
            for (around, one) in &walked.seen {
                match one {
                    Seen::Module(of) if of.computed => {
                        let mut conditions = walked.conditions(*around);
                        conditions.extend(parsed(&of.attributes));
                        let added = self.push_conditions(&conditions);
                        if added.is_some() {
                            self.computed_module(of.line);
                        }
                        self.pop_conditions(added);
                    }
                    Seen::Macro { input, .. } => pending.push(input.clone()),
                    _ => {}
                }
            }
        }
    }
}
