//! The walk over parsed source: items into scopes, each behind its conditions.

use std::path::PathBuf;

use proc_macro2::{Span, TokenStream};
use syn::punctuated::Punctuated;
use syn::spanned::Spanned as _;
use syn::visit::Visit as _;
use syn::{
    Attribute, Expr, ForeignItem, ImplItem, Item as Syntax, Lit, Meta, Token, TraitItem, Type, UseTree,
};

use super::tokens::name as plain;
use super::{Scanner, line_number};
use crate::limits::MODULE_DEPTH_MAX;
use crate::predicate::Predicate;
use crate::summary::{Impl, ItemKind, Owner, UnsafeSite};

pub(super) fn line(span: Span) -> usize {
    span.start().line
}

pub(super) fn segments(path: &syn::Path) -> Vec<String> {
    path.segments.iter().map(|segment| plain(&segment.ident.to_string())).collect()
}

/// The path of a type that is one, looking through references and brackets.
pub(super) fn type_path(of: &Type) -> Option<&syn::TypePath> {
    match of {
        Type::Path(path) if path.qself.is_none() => Some(path),
        Type::Reference(inner) => type_path(&inner.elem),
        Type::Paren(inner) => type_path(&inner.elem),
        Type::Group(inner) => type_path(&inner.elem),
        _ => None,
    }
}

/// A literal text among an argument list's first.
pub(super) fn first_literal<'e>(mut arguments: impl Iterator<Item = &'e Expr>) -> Option<String> {
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
            let doubted = off && self.doubts;
            self.condition.push(if doubted { predicate.doubted() } else { predicate });
            added += 1;
            if off && !doubted {
                self.pop_conditions(Some(added));
                return None;
            }
        }
        let is_test =
            |attribute: &Attribute| attribute.path().is_ident("test") || attribute.path().is_ident("bench");
        if !self.doubts && attributes.iter().any(is_test) {
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
    pub(super) fn under(&mut self, attributes: &[Attribute], run: impl FnOnce(&mut Self)) {
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

    /// The items of a file, module or block.
    pub(super) fn items(&mut self, items: &[Syntax]) {
        for item in items {
            self.one(item);
        }
    }

    /// Declares an item and walks what belongs to it.
    pub(super) fn declare(
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

    pub(super) fn one(&mut self, item: &Syntax) {
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

    pub(super) fn unknown_syntax(&mut self, at: usize) {
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

    pub(super) fn unsafe_site(&mut self, from: Span, to: Span) {
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
        let outer = self.scope;
        let modules_of = self.modules_of.take();
        self.scope = modules_of.unwrap_or(outer);
        self.scope = self.add_scope(&name, false);
        let self_path = self.self_path.take();
        self.attributes_of_module(&it.attrs);
        if let Some((_, items)) = &it.content {
            let place = self.place_of_body(&name, &it.attrs);
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
        self.modules_of = modules_of;
    }

    fn attributes_of_module(&mut self, attributes: &[Attribute]) {
        self.inner_attributes(attributes);
    }

    pub(super) fn use_tree(&mut self, tree: &UseTree, global: bool, prefix: &mut Vec<String>) {
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
        let at = line(of.span());
        let of = plain(&of.to_string());
        let name = plain(&name.to_string());
        // Under another name it would be a macro like any other, and the files that it reads would not be.
        if of == "include" && name != of {
            let file = PathBuf::from(self.summary.files[self.place.number as usize].clone());
            self.unknown(&file, at, "gives `include!` another name", false);
        }
        self.note_name(prefix, &of, &name);
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
}

/// `#[name = "..."]`, and the same in `cfg_attr`, with its conditions.
pub(super) fn named_values(attributes: &[Attribute], name: &str) -> Vec<(Vec<Predicate>, String)> {
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
