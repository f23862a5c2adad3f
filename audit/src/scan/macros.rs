//! Macros, and the attributes and derives that may be some: what uses them, what they are handed, and what their rules write.

use std::path::PathBuf;

use proc_macro2::{TokenStream, TokenTree};
use syn::parse::Parser as _;
use syn::punctuated::Punctuated;
use syn::visit::Visit as _;
use syn::{Expr, Meta, Token};

use super::modules::{FILE_WORDS, mention};
use super::tokens::{self, check_depth, name as plain};
use super::uses::{Apart, PASS_ON, arms, holds_include_apart};
use super::walk::{line, segments};
use super::{Observation, Scanner, line_number};
use crate::limits::MODULE_DEPTH_MAX;
use crate::predicate::Predicate;
use crate::summary::{ItemKind, Owner, Referent};

impl Scanner<'_> {
    pub(super) fn meta(&mut self, meta: &Meta, at: usize) {
        let path = meta.path();
        let name = path.get_ident().map(|ident| plain(&ident.to_string())).unwrap_or_default();
        match (name.as_str(), meta) {
            ("derive", Meta::List(list)) => {
                let derived = list.parse_args_with(Punctuated::<syn::Path, Token![,]>::parse_terminated);
                for path in derived.into_iter().flatten() {
                    self.macro_path(&path);
                }
            }
            ("cfg_attr", Meta::List(list)) => {
                let Ok(all) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
                    return;
                };
                let mut all = all.iter();
                let Some(predicate) = all.next() else { return };
                let predicate = Predicate::parse(predicate);
                if self.is_off(&predicate) {
                    return;
                }
                let before = self.condition.len();
                self.condition.push(predicate);
                for inner in all {
                    self.meta(inner, at);
                }
                self.condition.truncate(before);
            }
            ("unsafe", Meta::List(list)) => {
                if let Ok(inner) = list.parse_args::<Meta>() {
                    self.meta(&inner, at);
                }
            }
            ("no_mangle" | "export_name" | "link_section" | "used" | "linkage", _) => {
                self.by_linking("init", at);
            }
            ("global_allocator" | "panic_handler" | "alloc_error_handler", _) => {
                self.by_linking("runtime-hook", at);
            }
            ("doc", Meta::NameValue(pair)) => {
                // `#[doc = include_str!("../README.md")]` reads a file, but nothing of it is in the program.
                let _ = pair;
            }
            (name, _) if INERT.contains(&name) => {}
            _ => {
                self.macro_path(path);
                // The crates of these names, or what else has them: code before and after `main`.
                if path.segments.last().is_some_and(|last| last.ident == "ctor" || last.ident == "dtor") {
                    self.by_linking("init", at);
                }
            }
        }
    }

    /// The item at hand is used because the crate is linked: nobody need name it for its code to run.
    fn by_linking(&mut self, capability: &str, at: usize) {
        let item = std::mem::replace(&mut self.item, self.linked);
        self.capability(capability, at);
        if item != self.linked {
            self.refer(Referent::Item(line_number(item)), at, None);
        }
        self.item = item;
    }

    fn macro_path(&mut self, path: &syn::Path) {
        let to = Referent::Macro(self.path(path.leading_colon.is_some(), &segments(path)));
        self.refer(to, path.segments.first().map_or(0, |first| line(first.ident.span())), None);
    }

    pub(super) fn item_macro(&mut self, it: &syn::ItemMacro) {
        if it.mac.path.is_ident("macro_rules") {
            let name = it.ident.as_ref().map(|ident| plain(&ident.to_string())).unwrap_or_default();
            let at = it.ident.as_ref().map_or(0, |ident| line(ident.span()));
            self.rules_in_tokens(&name, &it.mac.tokens);
            if exports(&it.attrs) {
                self.note_export(&name, at);
            }
            let outer = self.in_macro.replace(name.clone());
            self.declare(&name, ItemKind::Macro, at, Owner::Scope, &[], |scanner| {
                scanner.rules(&it.mac.tokens);
            });
            self.in_macro = outer;
            return;
        }
        let before = std::mem::replace(&mut self.item, self.linked);
        self.macro_path(&it.mac.path);
        let path = segments(&it.mac.path);
        let name = path.last().cloned().unwrap_or_default();
        let at = it.mac.path.segments.first().map_or(0, |first| line(first.ident.span()));
        self.note_use(&name, at);
        self.hand_in(&name, at, &it.mac.tokens);
        self.foreign_functions(&name, &it.mac.tokens);
        match name.as_str() {
            "cfg_if" | "cfg_match" | "cfg_select" => {
                self.handed_to(&path, |scanner| scanner.cfg_if(&it.mac.tokens));
            }
            "include" => self.include(&it.mac.tokens, at, true),
            "global_asm" => self.expression_macro(&it.mac),
            name if it.mac.tokens.is_empty() => {
                // A macro that takes nothing writes its rule where it stands: modules, imports and all.
                self.read_at_use(name, at, true);
                // What names no files once for each target, so that a macro that uses itself ends.
                if let Some(body) = self.plain_macros.remove(name) {
                    self.used_macros.insert(name.to_owned());
                    self.handed_to_none(false, |scanner| scanner.nested(without_dollars(body)));
                }
            }
            _ => self.handed_to(&path, |scanner| scanner.nested(it.mac.tokens.clone())),
        }
        self.item = before;
    }

    /// Keeps what the rules of a macro by example say of its uses.
    pub(super) fn rules_in_tokens(&mut self, name: &str, rules: &TokenStream) {
        let at = rules.clone().into_iter().next().map(|first| first.span().start());
        let (at, column) = at.map_or((0, 0), |at| (at.line, at.column));
        self.defined_macros.entry(name.to_owned()).or_default().insert((self.place.number, at, column));
        let names_files = self.note_rules(name, rules);
        match plain_rule(rules) {
            Some(_) if names_files => _ = self.plain_macros.remove(name),
            Some(body) => _ = self.plain_macros.insert(name.to_owned(), body),
            None => {}
        }
        if tokens::writes_extern(rules.clone()) {
            self.foreign_macros.insert(name.to_owned());
        }
        let scope = self.scope;
        let glue = tokens::glue(rules.clone());
        self.glue.entry(name.to_owned()).or_default().extend(glue.into_iter().map(|prefix| (scope, prefix)));
    }

    /// What a macro that takes nothing writes where it is used among tokens, when that may be files. All else of it was read
    /// with its rules.
    pub(super) fn write_out(&mut self, name: &str, at: usize) {
        const TIMES_MAX: usize = 16;
        self.read_at_use(name, at, true);
        let Some(body) = self.plain_macros.get(name).cloned() else { return };
        let uses_macros = |text: &str| text.contains('!');
        if !mention(body.clone(), FILE_WORDS) && !uses_macros(&body.to_string()) {
            return;
        }
        self.written_out += 1;
        if self.written_out > TIMES_MAX {
            return self.unknown_syntax(at);
        }
        // A use that the parser reads is written out once, and that may be another one, in another folder.
        let before = self.plain_macros.clone();
        self.used_macros.insert(name.to_owned());
        self.plain_macros.remove(name);
        self.handed_to_none(false, |scanner| scanner.nested(without_dollars(body)));
        self.plain_macros = before;
    }

    /// What a macro that writes `extern` blocks is handed declares foreign functions, under the names that stand there.
    fn foreign_functions(&mut self, name: &str, input: &TokenStream) {
        if !self.foreign_macros.contains(name) {
            return;
        }
        for (function, at) in tokens::declared(input.clone()) {
            let symbol = self.text(&function);
            self.declare(&function, ItemKind::Foreign(symbol), at, Owner::Scope, &[], |_| {});
        }
    }

    /// Keeps what a macro is handed, for the macros that make paths of it.
    fn hand_in(&mut self, name: &str, at: usize, input: &TokenStream) {
        if holds_include_apart(input) {
            self.note_apart_to(name, Apart::Include, at);
        }
        if input.is_empty() || PASS_ON.contains(&name) || matches!(name, "cfg_if" | "macro_rules") {
            return;
        }
        self.glued.push(super::Glued {
            item: self.item,
            condition: self.condition.list().to_vec(),
            line: at,
            name: name.to_owned(),
            words: tokens::handed_in(input.clone()),
        });
    }

    /// The input of a macro that may be items: those are declared, whatever the macro does with them.
    pub(super) fn nested(&mut self, tokens: TokenStream) {
        if tokens.is_empty() {
            return;
        }
        self.depth += 1;
        let fits = self.depth < MODULE_DEPTH_MAX && self.is_shallow(&tokens);
        match fits.then(|| syn::parse2::<syn::File>(tokens.clone())) {
            Some(Ok(file)) => {
                self.inner_attributes(&file.attrs);
                self.items(&file.items);
            }
            _ => self.tokens(tokens, 0),
        }
        self.depth -= 1;
    }

    /// `if #[cfg(a)] { ... } else if #[cfg(b)] { ... } else { ... }`: each branch under what makes it chosen.
    fn cfg_if(&mut self, tokens: &TokenStream) {
        let list: Vec<TokenTree> = tokens.clone().into_iter().collect();
        let before = self.condition.len();
        let mut predicate: Option<Predicate> = None;
        for token in &list {
            let TokenTree::Group(group) = token else { continue };
            match group.delimiter() {
                proc_macro2::Delimiter::Bracket => {
                    let meta = syn::parse2::<Meta>(group.stream());
                    predicate = Some(match meta {
                        Ok(Meta::List(list)) if list.path.is_ident("cfg") => list
                            .parse_args::<Meta>()
                            .map_or(Predicate::Constant(None), |meta| Predicate::parse(&meta)),
                        _ => Predicate::Constant(None),
                    });
                }
                proc_macro2::Delimiter::Brace => {
                    let chosen = predicate.take();
                    self.condition.extend(chosen.iter().cloned());
                    if !self.condition.list()[before..].iter().any(|one| self.is_off(one)) {
                        self.nested(group.stream());
                    }
                    if let Some(chosen) = chosen {
                        self.condition.truncate(self.condition.len() - 1);
                        self.condition.push(Predicate::Not(Box::new(chosen)));
                    }
                }
                _ => {}
            }
        }
        self.condition.truncate(before);
    }

    /// The rules of a macro by example. What they write is read as statements where it can be, else token by token.
    fn rules(&mut self, tokens: &TokenStream) {
        // What is handed in may be rules.
        self.handed_to_none(self.doubts, |scanner| {
            for (_, body) in arms(tokens) {
                scanner.computed_modules(&body.stream());
                scanner.body(without_dollars(body.stream()));
            }
        });
    }

    /// Tokens that may be statements.
    pub(super) fn body(&mut self, tokens: TokenStream) {
        self.depth += 1;
        if self.depth < MODULE_DEPTH_MAX && self.is_shallow(&tokens) {
            match syn::Block::parse_within.parse2(tokens.clone()) {
                Ok(statements) => self.statements(&statements),
                Err(_) => self.tokens(tokens, 0),
            }
        } else {
            self.tokens(tokens, 0);
        }
        self.depth -= 1;
    }

    pub(super) fn expression_macro(&mut self, it: &syn::Macro) {
        let at = it.path.segments.first().map_or(0, |first| line(first.ident.span()));
        let path = segments(&it.path);
        self.macro_use(&path, it.path.leading_colon.is_some(), at, it.tokens.clone(), Some(it));
        if it.tokens.is_empty()
            && let Some(name) = path.last()
        {
            self.read_at_use(name, at, false);
        }
    }

    pub(super) fn macro_use(
        &mut self,
        path: &[String],
        global: bool,
        at: usize,
        input: TokenStream,
        it: Option<&syn::Macro>,
    ) {
        let to = Referent::Macro(self.path(global, path));
        self.refer(to, at, None);
        let name = path.last().map_or("", String::as_str);
        self.note_use(name, at);
        self.hand_in(name, at, &input);
        self.foreign_functions(name, &input);
        self.handed_to(path, |scanner| scanner.input(name, at, input, it));
    }

    fn input(&mut self, name: &str, at: usize, input: TokenStream, it: Option<&syn::Macro>) {
        match name {
            "asm" | "global_asm" | "naked_asm" | "llvm_asm" => {
                let enters_kernel = input.to_string().to_ascii_lowercase();
                let words = ["syscall", "svc", "int 0x80", "int $$0x80", "sysenter", "ecall", "swi"];
                let system = words.iter().any(|word| enters_kernel.contains(word));
                self.capability(if system { "raw-syscall" } else { "asm" }, at);
                self.tokens(input, 0);
            }
            "env" | "option_env" => {
                let variable = input.into_iter().next().as_ref().and_then(tokens::literal);
                let is_cargos = variable.as_deref().is_some_and(|name| {
                    name.starts_with("CARGO") || matches!(name, "OUT_DIR" | "TARGET" | "HOST" | "PROFILE")
                });
                if !is_cargos {
                    let to = Referent::Capability(self.text("build.embed"));
                    self.refer(to, at, variable.as_deref());
                }
            }
            "include" => match it {
                Some(it) => self.include(&it.tokens, at, false),
                None => self.tokens(input, 0),
            },
            "include_str" | "include_bytes" => {
                let file = input.clone().into_iter().next().as_ref().and_then(tokens::literal);
                let inside = file.as_deref().is_some_and(|file| {
                    let path = self.place.file_folder.join(file);
                    self.look(Observation::inside(&path, &self.allowed))
                });
                let generated =
                    input.to_string().contains("OUT_DIR") || input.to_string().contains("CARGO_MANIFEST_DIR");
                if !inside && !generated {
                    let to = Referent::Capability(self.text("build.embed"));
                    self.refer(to, at, file.as_deref());
                }
            }
            "cfg_if" | "cfg_match" | "cfg_select" => self.cfg_if(&input),
            "macro_rules" => self.rules(&input),
            _ => self.arguments(input),
        }
    }

    /// Whether tokens may be parsed.
    fn is_shallow(&self, tokens: &TokenStream) -> bool {
        self.shallow || check_depth(tokens.clone()).is_ok()
    }

    /// The input of a macro in a body: expressions where it can be, else statements, else token by token.
    fn arguments(&mut self, input: TokenStream) {
        if input.is_empty() {
            return;
        }
        self.depth += 1;
        if self.depth < MODULE_DEPTH_MAX && self.is_shallow(&input) {
            let parsed = Punctuated::<Expr, Token![,]>::parse_terminated.parse2(input.clone());
            match parsed {
                Ok(list) => {
                    for expression in &list {
                        self.visit_expr(expression);
                    }
                }
                Err(_) => self.body(input),
            }
        } else {
            self.tokens(input, 0);
        }
        self.depth -= 1;
    }

    /// `include!("file")`.
    pub(super) fn include(&mut self, input: &TokenStream, at: usize, items: bool) {
        let written = input.to_string();
        let Some(file) = input.clone().into_iter().next().as_ref().and_then(tokens::literal) else {
            // Under a name that the build script sets, as a rule: `concat!(env!("OUT_DIR"), ...)`.
            let scripted = self
                .package
                .targets
                .iter()
                .any(|target| target.kind == crate::package::TargetKind::BuildScript);
            let generated = written.contains("OUT_DIR") || (scripted && written.contains("env !"));
            let why = if generated {
                "is written by the build script"
            } else {
                "is included under a computed name"
            };
            let file = PathBuf::from(computed(&written));
            return self.unknown(&file, at, why, generated);
        };
        let path = self.place.file_folder.join(&file);
        if self.depth >= MODULE_DEPTH_MAX {
            return self.unknown(&path, at, "files are included too deeply", false);
        }
        match self.read(&path) {
            Err(super::ReadError::System(error)) if error.kind() == std::io::ErrorKind::NotFound => {
                self.capability("build.embed", at);
                self.missing(&path, at, &error.to_string());
            }
            Err(error) => {
                // Data may be included from elsewhere; code that cannot be read here is not known.
                self.capability("build.embed", at);
                self.unknown(&path, at, &error.to_string(), false);
            }
            Ok((real, text)) => {
                let folder = path.parent().unwrap_or(&self.folder).to_owned();
                let number = self.file_number(&real);
                let place = self.place_in(number, folder.clone(), folder.clone(), folder);
                self.in_file(place, &text, |scanner| {
                    if items {
                        return scanner.source(&path, &text);
                    }
                    match text.parse::<TokenStream>() {
                        Ok(tokens) => scanner.body(tokens),
                        Err(_) => scanner.unknown(&path, at, "cannot be read as Rust", false),
                    }
                });
            }
        }
    }
}

/// Whether attributes give a macro to other crates.
fn exports(attributes: &[syn::Attribute]) -> bool {
    let word = &["macro_export"];
    attributes.iter().any(|attribute| {
        attribute.path().is_ident("macro_export")
            || matches!(&attribute.meta, Meta::List(list) if mention(list.tokens.clone(), word))
    })
}

/// The rule of a macro that takes nothing and has no other.
pub(super) fn plain_rule(tokens: &TokenStream) -> Option<TokenStream> {
    let list: Vec<TokenTree> = tokens.clone().into_iter().collect();
    match list.as_slice() {
        [
            TokenTree::Group(matcher),
            TokenTree::Punct(_),
            TokenTree::Punct(_),
            TokenTree::Group(body),
            rest @ ..,
        ] if matcher.stream().is_empty() && rest.len() <= 1 => Some(body.stream()),
        _ => None,
    }
}

/// The tokens of a macro's rule without `$`, so that they can be parsed: `$crate` is this crate, `$name` some name.
pub(super) fn without_dollars(tokens: TokenStream) -> TokenStream {
    tokens
        .into_iter()
        .filter_map(|token| match token {
            TokenTree::Punct(punct) if punct.as_char() == '$' => None,
            TokenTree::Group(group) => {
                let mut inner = proc_macro2::Group::new(group.delimiter(), without_dollars(group.stream()));
                inner.set_span(group.span());
                Some(TokenTree::Group(inner))
            }
            other => Some(other),
        })
        .collect()
}

/// `concat!(env!("OUT_DIR"), "/x.rs")` as `OUT_DIR/x.rs`, else the beginning of what is written.
fn computed(written: &str) -> String {
    let texts: Vec<&str> = written.split('"').skip(1).step_by(2).collect();
    match texts.as_slice() {
        [variable, rest @ ..] if written.contains("env !") && written.starts_with("concat") => {
            format!("{variable}{}", rest.concat())
        }
        _ => written.chars().take(80).collect(),
    }
}

/// Attributes that the compiler knows and that reach nothing.
const INERT: &[&str] = &[
    "allow",
    "warn",
    "deny",
    "forbid",
    "expect",
    "doc",
    "inline",
    "cold",
    "must_use",
    "derive",
    "cfg",
    "cfg_attr",
    "test",
    "bench",
    "ignore",
    "should_panic",
    "automatically_derived",
    "macro_export",
    "macro_use",
    "deprecated",
    "repr",
    "non_exhaustive",
    "path",
    "track_caller",
    "target_feature",
    "no_std",
    "no_core",
    "recursion_limit",
    "type_length_limit",
    "feature",
    "crate_name",
    "crate_type",
    "default",
    "serde",
    "error",
    "from",
    "source",
    "clap",
    "arg",
    "command",
    "value",
    "rustfmt",
    "clippy",
    "diagnostic",
    "rustversion",
    "no_implicit_prelude",
    "instruction_set",
    "proc_macro",
    "proc_macro_derive",
    "proc_macro_attribute",
    "unsafe",
    "debugger_visualizer",
    "windows_subsystem",
];
