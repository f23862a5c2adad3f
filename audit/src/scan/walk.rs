//! The walk over parsed source: items into scopes, and of each body what it refers to.

use std::path::PathBuf;

use proc_macro2::{Span, TokenStream, TokenTree};
use syn::parse::Parser as _;
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::visit::{self, Visit};
use syn::{
    Attribute, Expr, ForeignItem, ImplItem, Item as Syntax, Lit, Meta, Stmt, Token, TraitItem, Type, UseTree,
};

use super::tokens::{self, Seen, check_depth, name as plain};
use super::{FilePlace, Observation, Scanner, line_number};
use crate::limits::MODULE_DEPTH_MAX;
use crate::predicate::Predicate;
use crate::summary::{Call, Impl, ItemKind, Owner, Referent, Text, UnsafeSite};

fn line(span: Span) -> usize {
    span.start().line
}

fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| plain(&segment.ident.to_string())).collect()
}

/// The path of a type that is one, looking through references and brackets.
fn type_path(of: &Type) -> Option<&syn::TypePath> {
    match of {
        Type::Path(path) if path.qself.is_none() => Some(path),
        Type::Reference(inner) => type_path(&inner.elem),
        Type::Paren(inner) => type_path(&inner.elem),
        Type::Group(inner) => type_path(&inner.elem),
        _ => None,
    }
}

/// A literal text among an argument list's first.
fn first_literal<'e>(mut arguments: impl Iterator<Item = &'e Expr>) -> Option<String> {
    match arguments.next()? {
        Expr::Lit(literal) => match &literal.lit {
            Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        Expr::Reference(inner) => first_literal(std::iter::once(&*inner.expr)),
        Expr::Group(inner) => first_literal(std::iter::once(&*inner.expr)),
        _ => None,
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

impl Scanner<'_> {
    /// Enters the conditions of some attributes. `None` when they say that this is only for tests, or never compiled here.
    pub(super) fn push_conditions(&mut self, attributes: &[Attribute]) -> Option<usize> {
        let mut added = 0;
        for attribute in attributes.iter().filter(|attribute| attribute.path().is_ident("cfg")) {
            let predicate = attribute
                .parse_args::<Meta>()
                .map_or(Predicate::Constant(None), |meta| Predicate::parse(&meta));
            let is_test = |one: &Predicate| *one == Predicate::Name("test".to_owned());
            let only_tests =
                is_test(&predicate) || matches!(&predicate, Predicate::All(all) if all.iter().any(is_test));
            let off = only_tests || self.is_off(&predicate);
            self.condition.push(predicate);
            added += 1;
            if off {
                self.pop_conditions(Some(added));
                return None;
            }
        }
        if attributes
            .iter()
            .any(|attribute| attribute.path().is_ident("test") || attribute.path().is_ident("bench"))
        {
            self.pop_conditions(Some(added));
            return None;
        }
        Some(added)
    }

    pub(super) fn pop_conditions(&mut self, added: Option<usize>) {
        let length = self.condition.len() - added.unwrap_or(0);
        self.condition.truncate(length);
    }

    /// Runs behind the conditions of some attributes, unless they are those of a test.
    fn under(&mut self, attributes: &[Attribute], run: impl FnOnce(&mut Self)) {
        let added = self.push_conditions(attributes);
        if added.is_some() {
            run(self);
        }
        self.pop_conditions(added);
    }

    /// `#![...]` of a file.
    pub(super) fn inner_attributes(&mut self, attributes: &[Attribute]) {
        let before = std::mem::replace(&mut self.item, self.linked);
        self.attributes(attributes);
        self.item = before;
    }

    /// What attributes do by themselves.
    fn attributes(&mut self, attributes: &[Attribute]) {
        for attribute in attributes {
            self.meta(&attribute.meta, line(attribute.span()));
        }
    }

    fn meta(&mut self, meta: &Meta, at: usize) {
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
                let before = std::mem::replace(&mut self.item, self.linked);
                self.capability("init", at);
                self.item = before;
            }
            ("global_allocator" | "panic_handler" | "alloc_error_handler", _) => {
                let before = std::mem::replace(&mut self.item, self.linked);
                self.capability("runtime-hook", at);
                self.item = before;
            }
            ("doc", Meta::NameValue(pair)) => {
                // `#[doc = include_str!("../README.md")]` reads a file, but nothing of it is in the program.
                let _ = pair;
            }
            (name, _) if INERT.contains(&name) => {}
            _ => self.macro_path(path),
        }
    }

    fn macro_path(&mut self, path: &syn::Path) {
        let to = Referent::Macro(self.path(path.leading_colon.is_some(), &segments(path)));
        self.refer(to, path.segments.first().map_or(0, |first| line(first.ident.span())), None);
    }

    /// The items of a file, module or block.
    pub(super) fn items(&mut self, items: &[Syntax]) {
        for item in items {
            self.one(item);
        }
    }

    /// Declares an item and walks what belongs to it.
    fn declare(
        &mut self,
        name: &str,
        kind: ItemKind,
        at: usize,
        owner: Owner,
        attributes: &[Attribute],
        walk: impl FnOnce(&mut Self),
    ) -> usize {
        let condition = self.here();
        let name = self.text(name);
        let index = self.add_item(self.scope, name, kind, condition, at);
        self.target.items[index].owner = owner;
        let before = std::mem::replace(&mut self.item, index);
        self.attributes(attributes);
        walk(self);
        self.item = before;
        index
    }

    fn one(&mut self, item: &Syntax) {
        let attributes: &[Attribute] = match item {
            Syntax::Const(it) => &it.attrs,
            Syntax::Enum(it) => &it.attrs,
            Syntax::ExternCrate(it) => &it.attrs,
            Syntax::Fn(it) => &it.attrs,
            Syntax::ForeignMod(it) => &it.attrs,
            Syntax::Impl(it) => &it.attrs,
            Syntax::Macro(it) => &it.attrs,
            Syntax::Mod(it) => &it.attrs,
            Syntax::Static(it) => &it.attrs,
            Syntax::Struct(it) => &it.attrs,
            Syntax::Trait(it) => &it.attrs,
            Syntax::TraitAlias(it) => &it.attrs,
            Syntax::Type(it) => &it.attrs,
            Syntax::Union(it) => &it.attrs,
            Syntax::Use(it) => &it.attrs,
            _ => &[],
        };
        self.under(attributes, |scanner| match item {
            Syntax::Fn(it) => {
                let name = plain(&it.sig.ident.to_string());
                let at = line(it.sig.ident.span());
                scanner.declare(&name, ItemKind::Function, at, Owner::Scope, &it.attrs, |scanner| {
                    scanner.function(&it.sig, Some(&it.block));
                });
            }
            Syntax::Struct(it) => {
                scanner.declared_type(&it.ident, &it.attrs, |scanner| {
                    scanner.visit_generics(&it.generics);
                    scanner.visit_fields(&it.fields);
                });
            }
            Syntax::Union(it) => {
                scanner.declared_type(&it.ident, &it.attrs, |scanner| scanner.visit_fields_named(&it.fields));
            }
            Syntax::Enum(it) => {
                scanner.declared_type(&it.ident, &it.attrs, |scanner| {
                    scanner.visit_generics(&it.generics);
                    for variant in &it.variants {
                        scanner.visit_variant(variant);
                    }
                });
            }
            Syntax::Const(it) => {
                scanner.value(&it.ident, &it.attrs, |scanner| {
                    scanner.visit_type(&it.ty);
                    scanner.visit_expr(&it.expr);
                });
            }
            Syntax::Static(it) => {
                scanner.value(&it.ident, &it.attrs, |scanner| {
                    scanner.visit_type(&it.ty);
                    scanner.visit_expr(&it.expr);
                });
            }
            Syntax::Type(it) => {
                let at = line(it.ident.span());
                scanner.declare(
                    &plain(&it.ident.to_string()),
                    ItemKind::Alias,
                    at,
                    Owner::Scope,
                    &it.attrs,
                    |scanner| {
                        // The first reference is what the alias stands for.
                        if let Some(path) = type_path(&it.ty) {
                            scanner.path_reference(&path.path, None);
                        }
                        scanner.visit_type(&it.ty);
                    },
                );
            }
            Syntax::Trait(it) => scanner.a_trait(it),
            Syntax::Impl(it) => scanner.an_impl(it),
            Syntax::ForeignMod(it) => scanner.foreign(it),
            Syntax::Mod(it) => scanner.a_module(it),
            Syntax::Use(it) => {
                let mut prefix = Vec::new();
                scanner.use_tree(&it.tree, it.leading_colon.is_some(), &mut prefix);
            }
            Syntax::ExternCrate(it) => {
                let crate_name = plain(&it.ident.to_string());
                let name =
                    it.rename.as_ref().map_or(crate_name.clone(), |(_, name)| plain(&name.to_string()));
                let is_self = crate_name == "self";
                let path = if is_self { vec!["crate".to_owned()] } else { vec![crate_name] };
                scanner.import(&path, !is_self, Some(&name));
                if it.attrs.iter().any(|attribute| attribute.path().is_ident("macro_use")) {
                    scanner.import(&path, !is_self, None);
                }
            }
            Syntax::Macro(it) => scanner.item_macro(it),
            Syntax::TraitAlias(_) => {}
            Syntax::Verbatim(tokens) => scanner.tokens(tokens.clone(), 0),
            _ => scanner.unknown_syntax(line(item.span())),
        });
    }

    fn unknown_syntax(&mut self, at: usize) {
        let file = PathBuf::from(self.summary.files[self.place.number as usize].clone());
        self.unknown(&file, at, "holds syntax that is not known here", false);
    }

    fn declared_type(&mut self, ident: &syn::Ident, attributes: &[Attribute], walk: impl FnOnce(&mut Self)) {
        let name = plain(&ident.to_string());
        let word = self.text(&name);
        let before = self.self_path.replace((false, vec![word]));
        self.declare(&name, ItemKind::Type, line(ident.span()), Owner::Scope, attributes, walk);
        self.self_path = before;
    }

    fn value(&mut self, ident: &syn::Ident, attributes: &[Attribute], walk: impl FnOnce(&mut Self)) {
        let name = plain(&ident.to_string());
        self.declare(&name, ItemKind::Value, line(ident.span()), Owner::Scope, attributes, walk);
    }

    fn function(&mut self, signature: &syn::Signature, body: Option<&syn::Block>) {
        self.visit_signature(signature);
        if let Some(body) = body {
            if signature.unsafety.is_some() {
                self.unsafe_site(signature.fn_token.span, body.span());
            }
            self.visit_block(body);
        }
    }

    fn unsafe_site(&mut self, from: Span, to: Span) {
        let tags = self.tags_at(line(from));
        let site = UnsafeSite { line: line_number(line(from)), end: line_number(to.end().line), tags };
        self.target.items[self.item].unsafes.push(site);
    }

    fn a_trait(&mut self, it: &syn::ItemTrait) {
        let name = plain(&it.ident.to_string());
        let word = self.text(&name);
        let before = self.self_path.replace((false, vec![word]));
        let index =
            self.declare(&name, ItemKind::Trait, line(it.ident.span()), Owner::Scope, &it.attrs, |scanner| {
                for bound in &it.supertraits {
                    scanner.visit_type_param_bound(bound);
                }
            });
        let owner = Owner::Trait(line_number(index));
        for inner in &it.items {
            match inner {
                TraitItem::Fn(function) => self.under(&function.attrs, |scanner| {
                    let name = plain(&function.sig.ident.to_string());
                    let at = line(function.sig.ident.span());
                    scanner.declare(&name, ItemKind::Function, at, owner, &function.attrs, |scanner| {
                        scanner.function(&function.sig, function.default.as_ref());
                    });
                }),
                TraitItem::Const(value) => self.under(&value.attrs, |scanner| {
                    let name = plain(&value.ident.to_string());
                    scanner.declare(
                        &name,
                        ItemKind::Value,
                        line(value.ident.span()),
                        owner,
                        &value.attrs,
                        |scanner| {
                            scanner.visit_type(&value.ty);
                            if let Some((_, value)) = &value.default {
                                scanner.visit_expr(value);
                            }
                        },
                    );
                }),
                TraitItem::Macro(it) => self.expression_macro(&it.mac),
                TraitItem::Verbatim(tokens) => self.tokens(tokens.clone(), 0),
                _ => {}
            }
        }
        self.self_path = before;
    }

    fn an_impl(&mut self, it: &syn::ItemImpl) {
        let of = type_path(&it.self_ty).map(|path| &path.path);
        let of_name = of.map(|path| (path.leading_colon.is_some(), self.words(path)));
        let of = of_name.as_ref().map(|(global, segments)| self.path_number(*global, segments));
        let before = std::mem::replace(&mut self.self_path, of_name);
        let mut arguments = Vec::new();
        let of_trait = it.trait_.as_ref().map(|(_, path, _)| {
            for segment in &path.segments {
                if let syn::PathArguments::AngleBracketed(list) = &segment.arguments {
                    for argument in &list.args {
                        if let syn::GenericArgument::Type(inner) = argument
                            && let Some(path) = type_path(inner)
                        {
                            arguments.push((path.path.leading_colon.is_some(), segments(&path.path)));
                        }
                    }
                }
            }
            (path.leading_colon.is_some(), segments(path))
        });
        let of_trait = of_trait.map(|(global, segments)| self.path(global, &segments));
        let arguments = arguments.iter().map(|(global, segments)| self.path(*global, segments)).collect();
        let condition = self.here();
        self.target.impls.push(Impl { scope: self.scope, of, of_trait, arguments, condition });
        let owner = Owner::Impl(line_number(self.target.impls.len() - 1));
        for inner in &it.items {
            match inner {
                ImplItem::Fn(function) => self.under(&function.attrs, |scanner| {
                    let name = plain(&function.sig.ident.to_string());
                    let at = line(function.sig.ident.span());
                    scanner.declare(&name, ItemKind::Function, at, owner, &function.attrs, |scanner| {
                        scanner.function(&function.sig, Some(&function.block));
                    });
                }),
                ImplItem::Const(value) => self.under(&value.attrs, |scanner| {
                    let name = plain(&value.ident.to_string());
                    scanner.declare(
                        &name,
                        ItemKind::Value,
                        line(value.ident.span()),
                        owner,
                        &value.attrs,
                        |scanner| {
                            scanner.visit_type(&value.ty);
                            scanner.visit_expr(&value.expr);
                        },
                    );
                }),
                ImplItem::Type(alias) => self.under(&alias.attrs, |scanner| {
                    scanner.declare(
                        "(type)",
                        ItemKind::Value,
                        line(alias.ident.span()),
                        owner,
                        &[],
                        |scanner| {
                            scanner.visit_type(&alias.ty);
                        },
                    );
                }),
                ImplItem::Macro(it) => self.impl_macro(&it.mac, owner),
                ImplItem::Verbatim(tokens) => self.member_tokens(tokens.clone(), owner),
                _ => {}
            }
        }
        self.self_path = before;
    }

    /// A macro among the functions of an `impl`: its tokens belong to the type.
    fn impl_macro(&mut self, it: &syn::Macro, owner: Owner) {
        let at = it.path.segments.first().map_or(0, |first| line(first.ident.span()));
        self.declare("(macro)", ItemKind::Value, at, owner, &[], |scanner| scanner.expression_macro(it));
    }

    fn member_tokens(&mut self, tokens: TokenStream, owner: Owner) {
        self.declare("(tokens)", ItemKind::Value, 0, owner, &[], |scanner| scanner.tokens(tokens, 0));
    }

    fn foreign(&mut self, it: &syn::ItemForeignMod) {
        if it.attrs.iter().any(|attribute| attribute.path().is_ident("link")) {
            let before = std::mem::replace(&mut self.item, self.linked);
            self.capability("build.link", line(it.abi.extern_token.span));
            self.item = before;
        }
        // What the compiler itself provides is no foreign code.
        let abi = it.abi.name.as_ref().map(syn::LitStr::value).unwrap_or_default();
        if abi == "rust-intrinsic" || abi == "platform-intrinsic" {
            return;
        }
        for inner in &it.items {
            let (ident, attributes) = match inner {
                ForeignItem::Fn(it) => (&it.sig.ident, &it.attrs),
                ForeignItem::Static(it) => (&it.ident, &it.attrs),
                _ => continue,
            };
            let name = plain(&ident.to_string());
            // Each name that the linker may look for, under the condition on which it does.
            let mut symbols = named_values(attributes, "link_name");
            if symbols.iter().all(|(conditions, _)| !conditions.is_empty()) {
                let others = symbols
                    .iter()
                    .map(|(conditions, _)| Predicate::Not(Box::new(Predicate::All(conditions.clone()))));
                symbols.push((others.collect(), name.clone()));
            }
            for (conditions, symbol) in symbols {
                let symbol = self.text(&symbol);
                let before = self.condition.len();
                self.condition.extend(conditions);
                self.under(attributes, |scanner| {
                    scanner.declare(
                        &name,
                        ItemKind::Foreign(symbol),
                        line(ident.span()),
                        Owner::Scope,
                        &[],
                        |_| {},
                    );
                });
                self.condition.truncate(before);
            }
        }
    }

    fn a_module(&mut self, it: &syn::ItemMod) {
        if self.depth >= MODULE_DEPTH_MAX {
            return self.unknown_syntax(line(it.ident.span()));
        }
        let name = plain(&it.ident.to_string());
        let scope = self.add_scope(&name, false);
        let outer = std::mem::replace(&mut self.scope, scope);
        let self_path = self.self_path.take();
        self.attributes_of_module(&it.attrs);
        if let Some((_, items)) = &it.content {
            let folder = self.place.modules.join(&name);
            let place = FilePlace {
                number: self.place.number,
                file_folder: self.place.file_folder.clone(),
                folder: folder.clone(),
                modules: folder,
            };
            let before = std::mem::replace(&mut self.place, place);
            self.depth += 1;
            self.items(items);
            self.depth -= 1;
            self.place = before;
        } else {
            let paths = named_values(&it.attrs, "path");
            self.module(&name, line(it.ident.span()), &paths);
        }
        self.self_path = self_path;
        self.scope = outer;
    }

    fn attributes_of_module(&mut self, attributes: &[Attribute]) {
        self.inner_attributes(attributes);
    }

    fn use_tree(&mut self, tree: &UseTree, global: bool, prefix: &mut Vec<String>) {
        match tree {
            UseTree::Path(path) => {
                prefix.push(plain(&path.ident.to_string()));
                if prefix.len() < MODULE_DEPTH_MAX {
                    self.use_tree(&path.tree, global, prefix);
                }
                prefix.pop();
            }
            UseTree::Group(group) => {
                for tree in &group.items {
                    self.use_tree(tree, global, prefix);
                }
            }
            UseTree::Glob(_) => self.import(&prefix.clone(), global, None),
            UseTree::Name(name) => self.use_name(&name.ident, &name.ident, global, prefix),
            UseTree::Rename(rename) => self.use_name(&rename.ident, &rename.rename, global, prefix),
        }
    }

    fn use_name(&mut self, of: &syn::Ident, name: &syn::Ident, global: bool, prefix: &[String]) {
        let of = plain(&of.to_string());
        let name = plain(&name.to_string());
        // A trait may be imported for its methods alone, and for nobody to name.
        let mut path = prefix.to_vec();
        let mut bound = name.clone();
        if of == "self" && !prefix.is_empty() {
            if name == "self" {
                bound.clone_from(&prefix[prefix.len() - 1]);
            }
        } else {
            path.push(of);
        }
        self.import(&path, global, Some(&bound));
    }

    // ----- macros

    fn item_macro(&mut self, it: &syn::ItemMacro) {
        if it.mac.path.is_ident("macro_rules") {
            let name = it.ident.as_ref().map(|ident| plain(&ident.to_string())).unwrap_or_default();
            let at = it.ident.as_ref().map_or(0, |ident| line(ident.span()));
            let tokens = it.mac.tokens.clone();
            if let Some(body) = plain_rule(&tokens) {
                self.plain_macros.insert(name.clone(), body);
            }
            if tokens::writes_extern(tokens.clone()) {
                self.foreign_macros.insert(name.clone());
            }
            let scope = self.scope;
            let glue = tokens::glue(tokens.clone());
            self.glue.entry(name.clone()).or_default().extend(glue.into_iter().map(|prefix| (scope, prefix)));
            let outer = self.in_macro.replace(name.clone());
            self.declare(&name, ItemKind::Macro, at, Owner::Scope, &[], |scanner| scanner.rules(tokens));
            self.in_macro = outer;
            return;
        }
        let before = std::mem::replace(&mut self.item, self.linked);
        self.macro_path(&it.mac.path);
        let name = it.mac.path.segments.last().map(|last| last.ident.to_string()).unwrap_or_default();
        let at = it.mac.path.segments.first().map_or(0, |first| line(first.ident.span()));
        self.hand_in(&name, at, &it.mac.tokens);
        self.foreign_functions(&name, &it.mac.tokens);
        match name.as_str() {
            "cfg_if" | "cfg_match" | "cfg_select" => self.cfg_if(&it.mac.tokens),
            "include" => self.include(&it.mac, true),
            "global_asm" => self.expression_macro(&it.mac),
            name if it.mac.tokens.is_empty() && self.plain_macros.contains_key(name) => {
                // A macro that takes nothing writes its rule where it stands: modules, imports and all.
                // Once for each target, so that a macro that uses itself ends.
                self.used_macros.insert(name.to_owned());
                if let Some(body) = self.plain_macros.remove(name) {
                    self.nested(without_dollars(body));
                }
            }
            _ => self.nested(it.mac.tokens.clone()),
        }
        self.item = before;
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
        const OF_STD: &[&str] = &[
            "println",
            "eprintln",
            "print",
            "eprint",
            "format",
            "write",
            "writeln",
            "vec",
            "assert",
            "assert_eq",
            "assert_ne",
            "debug_assert",
            "debug_assert_eq",
            "panic",
            "matches",
            "unreachable",
            "todo",
            "concat",
            "stringify",
            "cfg_if",
            "thread_local",
            "unimplemented",
            "format_args",
            "macro_rules",
        ];
        if input.is_empty() || OF_STD.contains(&name) {
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
    fn nested(&mut self, tokens: TokenStream) {
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
    fn rules(&mut self, tokens: TokenStream) {
        let list: Vec<TokenTree> = tokens.into_iter().collect();
        let mut at = 0;
        while at < list.len() {
            // matcher => transcriber
            let arrow = matches!(&list[at], TokenTree::Punct(punct) if punct.as_char() == '>')
                && at > 0
                && matches!(&list[at - 1], TokenTree::Punct(punct) if punct.as_char() == '=');
            if arrow && let Some(TokenTree::Group(body)) = list.get(at + 1) {
                self.body(without_dollars(body.stream()));
                at += 2;
            } else {
                at += 1;
            }
        }
    }

    /// Tokens that may be statements.
    fn body(&mut self, tokens: TokenStream) {
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

    fn expression_macro(&mut self, it: &syn::Macro) {
        let at = it.path.segments.first().map_or(0, |first| line(first.ident.span()));
        let path = segments(&it.path);
        self.macro_use(&path, it.path.leading_colon.is_some(), at, it.tokens.clone(), Some(it));
    }

    fn macro_use(
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
        self.hand_in(name, at, &input);
        self.foreign_functions(name, &input);
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
                Some(it) => self.include(it, false),
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
            "macro_rules" => self.rules(input),
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
    fn include(&mut self, it: &syn::Macro, items: bool) {
        let at = it.path.segments.first().map_or(0, |first| line(first.ident.span()));
        let written = it.tokens.to_string();
        let Some(file) = it.tokens.clone().into_iter().next().as_ref().and_then(tokens::literal) else {
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
            Err(error) => {
                // Data may be included from elsewhere; code that cannot be read here is not known.
                self.capability("build.embed", at);
                self.unknown(&path, at, &error.to_string(), false);
            }
            Ok((real, text)) => {
                let folder = path.parent().unwrap_or(&self.folder).to_owned();
                let place = FilePlace {
                    number: self.file_number(&real),
                    file_folder: folder.clone(),
                    folder: folder.clone(),
                    modules: folder,
                };
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

    /// Reads what no parser understands, token by token.
    pub(super) fn tokens(&mut self, input: TokenStream, depth: usize) {
        let mut seen = Vec::new();
        tokens::walk(input, &mut seen);
        let outer = self.scope;
        if seen.iter().any(|one| matches!(one, Seen::Use { .. })) {
            self.scope = self.add_scope("", true);
        }
        for one in &seen {
            if let Seen::Use { tokens } = one {
                match syn::parse2::<syn::ItemUse>(without_dollars(tokens.clone())) {
                    Ok(it) => self.use_tree(&it.tree, it.leading_colon.is_some(), &mut Vec::new()),
                    Err(_) => {
                        tokens::walk_use(tokens.clone(), &mut |segments| self.import(&segments, false, None));
                    }
                }
            }
        }
        for one in seen {
            match one {
                Seen::Path { global, segments, line, argument } => {
                    let segments = self.texts(&segments);
                    let (global, segments) = self.with_self(global, segments);
                    let to = Referent::Path(self.path_number(global, &segments));
                    self.refer(to, line, argument.as_deref());
                }
                Seen::Macro { global, segments, line, input } => {
                    if depth < MODULE_DEPTH_MAX && self.depth < MODULE_DEPTH_MAX {
                        self.depth += 1;
                        self.macro_use(&segments, global, line, input, None);
                        self.depth -= 1;
                    } else {
                        self.unknown_syntax(line);
                    }
                }
                Seen::Call { name, line } => {
                    let name = self.text(&name);
                    self.call(name, line);
                }
                Seen::Unsafe { line } => {
                    let tags = self.tags_at(line);
                    let site = UnsafeSite { line: line_number(line), end: line_number(line), tags };
                    self.target.items[self.item].unsafes.push(site);
                }
                Seen::Use { .. } => {}
            }
        }
        self.scope = outer;
    }

    // ----- references

    fn call(&mut self, name: Text, at: usize) {
        let call = Call { name, condition: self.here(), line: line_number(at) };
        let calls = &mut self.target.items[self.item].calls;
        if !calls
            .iter()
            .rev()
            .take(64)
            .any(|known| known.name == call.name && known.condition == call.condition)
        {
            calls.push(call);
        }
    }

    /// `Self::x` by the name of what `Self` is.
    fn with_self(&self, global: bool, path: Vec<Text>) -> (bool, Vec<Text>) {
        match &self.self_path {
            Some((of_global, of)) if path.first() == Some(&self.self_word) => {
                (*of_global, of.iter().chain(&path[1..]).copied().collect())
            }
            _ => (global, path),
        }
    }

    fn path_reference(&mut self, path: &syn::Path, argument: Option<&str>) {
        let Some(first) = path.segments.first() else { return };
        let at = line(first.ident.span());
        let words = self.words(path);
        let (global, segments) = self.with_self(path.leading_colon.is_some(), words);
        if let [only] = segments.as_slice()
            && is_primitive(&self.summary.texts[*only as usize])
        {
            return;
        }
        let to = Referent::Path(self.path_number(global, &segments));
        self.refer(to, at, argument);
    }

    /// A path's words, without generic arguments.
    fn words(&mut self, path: &syn::Path) -> Vec<Text> {
        path.segments.iter().map(|segment| self.ident(&segment.ident)).collect()
    }

    /// `<T as Trait>::f` and `<T>::f`.
    fn qualified(&mut self, qself: &syn::QSelf, path: &syn::Path, argument: Option<&str>) {
        self.visit_type(&qself.ty);
        let all = self.words(path);
        let at = path.segments.first().map_or(0, |first| line(first.ident.span()));
        let rest = &all[qself.position.min(all.len())..];
        if let Some(of) = type_path(&qself.ty) {
            let mut joined = self.words(&of.path);
            joined.extend(rest);
            let (global, joined) = self.with_self(of.path.leading_colon.is_some(), joined);
            let to = Referent::Path(self.path_number(global, &joined));
            self.refer(to, at, argument);
        }
        if qself.position > 0 {
            let to = Referent::Path(self.path_number(path.leading_colon.is_some(), &all));
            self.refer(to, at, argument);
        }
        if let Some(last) = rest.last() {
            self.call(*last, at);
        }
        for segment in &path.segments {
            self.visit_path_arguments(&segment.arguments);
        }
    }

    fn statements(&mut self, statements: &[Stmt]) {
        let outer = self.scope;
        if statements.iter().any(|statement| matches!(statement, Stmt::Item(_))) {
            self.scope = self.add_scope("", true);
        }
        for statement in statements {
            if let Stmt::Item(item) = statement {
                // What an item of a block needs, the block needs too: it may be called there, or be a trait's.
                self.one(item);
            }
        }
        for statement in statements {
            match statement {
                Stmt::Item(_) => {}
                Stmt::Macro(it) => self.under(&it.attrs, |scanner| scanner.expression_macro(&it.mac)),
                other => self.visit_stmt(other),
            }
        }
        self.scope = outer;
    }
}

/// The rule of a macro that takes nothing and has no other.
fn plain_rule(tokens: &TokenStream) -> Option<TokenStream> {
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

/// `#[name = "..."]`, and the same in `cfg_attr`, with its conditions.
fn named_values(attributes: &[Attribute], name: &str) -> Vec<(Vec<Predicate>, String)> {
    fn collect(
        meta: &Meta,
        name: &str,
        conditions: &mut Vec<Predicate>,
        found: &mut Vec<(Vec<Predicate>, String)>,
    ) {
        match meta {
            Meta::NameValue(pair) if pair.path.is_ident(name) => {
                if let Some(path) = first_literal(std::iter::once(&pair.value)) {
                    found.push((conditions.clone(), path));
                }
            }
            Meta::List(list) if list.path.is_ident("cfg_attr") && conditions.len() < MODULE_DEPTH_MAX => {
                let Ok(all) = list.parse_args_with(Punctuated::<Meta, Token![,]>::parse_terminated) else {
                    return;
                };
                let mut all = all.iter();
                let Some(predicate) = all.next() else { return };
                conditions.push(Predicate::parse(predicate));
                for inner in all {
                    collect(inner, name, conditions, found);
                }
                conditions.pop();
            }
            _ => {}
        }
    }
    let mut found = Vec::new();
    for attribute in attributes {
        collect(&attribute.meta, name, &mut Vec::new(), &mut found);
    }
    found
}

/// The tokens of a macro's rule without `$`, so that they can be parsed: `$crate` is this crate, `$name` some name.
fn without_dollars(tokens: TokenStream) -> TokenStream {
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

fn is_primitive(name: &str) -> bool {
    matches!(
        name,
        "self"
            | "Self"
            | "u8"
            | "u16"
            | "u32"
            | "u64"
            | "u128"
            | "usize"
            | "i8"
            | "i16"
            | "i32"
            | "i64"
            | "i128"
            | "isize"
            | "f32"
            | "f64"
            | "bool"
            | "char"
            | "str"
            | "Some"
            | "None"
            | "Ok"
            | "Err"
            | "Option"
            | "Result"
            | "String"
            | "Vec"
            | "Box"
    )
}

fn attributes_of(expression: &Expr) -> &[Attribute] {
    match expression {
        Expr::Block(it) => &it.attrs,
        Expr::Call(it) => &it.attrs,
        Expr::MethodCall(it) => &it.attrs,
        Expr::If(it) => &it.attrs,
        Expr::Match(it) => &it.attrs,
        Expr::Macro(it) => &it.attrs,
        Expr::Unsafe(it) => &it.attrs,
        Expr::Assign(it) => &it.attrs,
        Expr::Return(it) => &it.attrs,
        Expr::Loop(it) => &it.attrs,
        Expr::While(it) => &it.attrs,
        Expr::ForLoop(it) => &it.attrs,
        Expr::Path(it) => &it.attrs,
        Expr::Try(it) => &it.attrs,
        Expr::Let(it) => &it.attrs,
        Expr::Struct(it) => &it.attrs,
        Expr::Tuple(it) => &it.attrs,
        Expr::Array(it) => &it.attrs,
        Expr::Closure(it) => &it.attrs,
        Expr::Binary(it) => &it.attrs,
        Expr::Lit(it) => &it.attrs,
        Expr::Reference(it) => &it.attrs,
        _ => &[],
    }
}

impl<'ast> Visit<'ast> for Scanner<'_> {
    fn visit_attribute(&mut self, attribute: &'ast Attribute) {
        self.meta(&attribute.meta, line(attribute.span()));
    }

    fn visit_visibility(&mut self, _: &'ast syn::Visibility) {}

    fn visit_path(&mut self, path: &'ast syn::Path) {
        self.path_reference(path, None);
        for segment in &path.segments {
            self.visit_path_arguments(&segment.arguments);
        }
    }

    fn visit_type_path(&mut self, path: &'ast syn::TypePath) {
        match &path.qself {
            Some(qself) => self.qualified(qself, &path.path, None),
            None => self.visit_path(&path.path),
        }
    }

    fn visit_expr_path(&mut self, path: &'ast syn::ExprPath) {
        match &path.qself {
            Some(qself) => self.qualified(qself, &path.path, None),
            None => self.visit_path(&path.path),
        }
    }

    fn visit_expr_call(&mut self, call: &'ast syn::ExprCall) {
        let argument = first_literal(call.args.iter());
        match (&*call.func, argument) {
            (Expr::Path(path), Some(argument)) => {
                match &path.qself {
                    Some(qself) => self.qualified(qself, &path.path, Some(&argument)),
                    None => {
                        self.path_reference(&path.path, Some(&argument));
                        for segment in &path.path.segments {
                            self.visit_path_arguments(&segment.arguments);
                        }
                    }
                }
                for argument in &call.args {
                    self.visit_expr(argument);
                }
            }
            _ => visit::visit_expr_call(self, call),
        }
    }

    fn visit_expr_method_call(&mut self, call: &'ast syn::ExprMethodCall) {
        let name = self.ident(&call.method);
        self.call(name, line(call.method.span()));
        visit::visit_expr_method_call(self, call);
    }

    fn visit_expr_unsafe(&mut self, it: &'ast syn::ExprUnsafe) {
        self.unsafe_site(it.unsafe_token.span, it.block.span());
        self.visit_block(&it.block);
    }

    fn visit_macro(&mut self, it: &'ast syn::Macro) {
        self.expression_macro(it);
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.statements(&block.stmts);
    }

    fn visit_item(&mut self, item: &'ast Syntax) {
        self.one(item);
    }

    fn visit_expr(&mut self, expression: &'ast Expr) {
        let attributes = attributes_of(expression);
        if attributes.is_empty() {
            if let Expr::Verbatim(tokens) = expression {
                return self.tokens(tokens.clone(), 0);
            }
            visit::visit_expr(self, expression);
        } else {
            self.under(attributes, |scanner| visit::visit_expr(scanner, expression));
        }
    }

    fn visit_local(&mut self, local: &'ast syn::Local) {
        self.under(&local.attrs, |scanner| visit::visit_local(scanner, local));
    }

    fn visit_arm(&mut self, arm: &'ast syn::Arm) {
        self.under(&arm.attrs, |scanner| visit::visit_arm(scanner, arm));
    }

    fn visit_field_value(&mut self, field: &'ast syn::FieldValue) {
        self.under(&field.attrs, |scanner| visit::visit_field_value(scanner, field));
    }

    fn visit_field(&mut self, field: &'ast syn::Field) {
        self.under(&field.attrs, |scanner| visit::visit_field(scanner, field));
    }

    fn visit_variant(&mut self, variant: &'ast syn::Variant) {
        self.under(&variant.attrs, |scanner| visit::visit_variant(scanner, variant));
    }
}
