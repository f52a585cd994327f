//! Puts mutants behind a run-time switch: every file that they name is written again with each of
//! them as a branch of `crate::switch::on(number)`, so that one build has them all.
//!
//! ```text
//! mutants LIST.json ROOT NUMBER,…      # numbers of those that are left out
//! ```
//!
//! `LIST.json` is what `cargo mutants --list --json` writes, `ROOT` the folder of the copy that is
//! changed. A mutant is its place in the list. Printed are the numbers that found their place.

use anyhow::{Context, Result};
use proc_macro2::{LineColumn, Span};
use serde::Deserialize;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use syn::spanned::Spanned;
use syn::visit_mut::{self, VisitMut};
use syn::{Arm, BinOp, Block, Expr, Stmt, parse_quote};

#[derive(Deserialize)]
struct Listed {
    file: String,
    genre: String,
    replacement: String,
    span: Lines,
}

#[derive(Clone, Copy, Deserialize)]
struct Lines {
    start: Place,
}

/// A place in a file, both numbers from 1.
#[derive(Clone, Copy, Deserialize, PartialEq, Eq, PartialOrd, Ord)]
struct Place {
    line: usize,
    column: usize,
}

impl From<LineColumn> for Place {
    fn from(at: LineColumn) -> Self {
        Self {
            line: at.line,
            column: at.column + 1,
        }
    }
}

/// The mutants of one file by their place.
struct Switches<'a> {
    at: BTreeMap<Place, Vec<(usize, &'a Listed)>>,
    placed: BTreeSet<usize>,
}

impl<'a> Switches<'a> {
    /// Those of a genre at a place, as number and replacement.
    fn take(&mut self, span: Span, genre: &str) -> Vec<(usize, &'a str)> {
        let all = self.at.get(&span.start().into());
        let found = all.into_iter().flatten().filter(|(_, m)| m.genre == genre);
        let found: Vec<_> = found.map(|(n, m)| (*n, &m.replacement[..])).collect();
        self.placed.extend(found.iter().map(|(n, _)| *n));
        found
    }

    fn binary(&mut self, node: &mut Expr) -> Option<()> {
        let Expr::Binary(of) = node else { return None };
        if has_let(&of.left) || has_let(&of.right) {
            return None;
        }
        let found = self.take(of.op.span(), "BinaryOperator");
        if found.is_empty() {
            return None;
        }
        let (left, right, op) = (&of.left, &of.right, &of.op);
        let assigned = matches!(
            op,
            BinOp::AddAssign(_)
                | BinOp::SubAssign(_)
                | BinOp::MulAssign(_)
                | BinOp::DivAssign(_)
                | BinOp::RemAssign(_)
                | BinOp::BitXorAssign(_)
                | BinOp::BitAndAssign(_)
                | BinOp::BitOrAssign(_)
                | BinOp::ShlAssign(_)
                | BinOp::ShrAssign(_)
        );
        let lazy = matches!(op, BinOp::And(_) | BinOp::Or(_));
        let compared = matches!(
            op,
            BinOp::Eq(_) | BinOp::Ne(_) | BinOp::Lt(_) | BinOp::Le(_) | BinOp::Gt(_) | BinOp::Ge(_)
        );
        let mut all: Expr = match (assigned, lazy, compared) {
            (true, ..) => parse_quote! { { #left #op r_ } },
            (_, true, _) => parse_quote! { { l_ #op r_() } },
            (_, _, true) => parse_quote! { { *l_ #op *r_ } },
            _ => parse_quote! { { l_ #op r_ } },
        };
        for (number, replacement) in found {
            let other: BinOp = syn::parse_str(replacement).ok()?;
            all = match (assigned, lazy, compared) {
                (true, ..) => parse_quote! {
                    if crate::switch::on(#number) { #left #other r_ } else { #all }
                },
                (_, true, _) => parse_quote! {
                    if crate::switch::on(#number) { l_ #other r_() } else { #all }
                },
                (_, _, true) => parse_quote! {
                    if crate::switch::on(#number) { *l_ #other *r_ } else { #all }
                },
                _ => parse_quote! {
                    if crate::switch::on(#number) { l_ #other r_ } else { #all }
                },
            };
        }
        *node = match (assigned, lazy, compared) {
            (true, ..) => parse_quote! { (match #right { r_ => #all }) },
            (_, true, _) => {
                parse_quote! { (match (#left, || #right) { (l_, r_) => #all }) }
            }
            (_, _, true) => {
                parse_quote! { (match (&(#left), &(#right)) { (l_, r_) => #all }) }
            }
            _ => {
                parse_quote! { (match (#left, #right) { (l_, r_) => #all }) }
            }
        };
        Some(())
    }

    fn unary(&mut self, node: &mut Expr) {
        let Expr::Unary(of) = node else { return };
        let found = self.take(of.op.span(), "UnaryOperator");
        if let [(number, _)] = found[..] {
            let (op, inner) = (&of.op, &of.expr);
            *node = parse_quote! {
                (match #inner { v => if crate::switch::on(#number) { v } else { #op v } })
            };
        }
    }

    /// What a function returns at once, in the place of its body.
    fn early(&mut self, block: &Block) -> Vec<Stmt> {
        let first = block.stmts.first().map(Spanned::span);
        let found = first.map(|span| self.take(span, "FnValue"));
        let mut early = Vec::new();
        for (number, replacement) in found.into_iter().flatten() {
            match syn::parse_str::<Expr>(replacement) {
                Ok(value) => early.push(parse_quote! {
                    if crate::switch::on(#number) { return #value; }
                }),
                Err(_) => _ = self.placed.remove(&number),
            }
        }
        early
    }
}

/// Whether `let` stands in a condition, which then is no expression of its own.
fn has_let(of: &Expr) -> bool {
    match of {
        Expr::Let(_) => true,
        Expr::Binary(of) => has_let(&of.left) || has_let(&of.right),
        _ => false,
    }
}

impl VisitMut for Switches<'_> {
    fn visit_expr_mut(&mut self, node: &mut Expr) {
        visit_mut::visit_expr_mut(self, node);
        self.unary(node);
        let _ = self.binary(node);
    }

    fn visit_arm_mut(&mut self, arm: &mut Arm) {
        let whole = self.take(arm.span(), "MatchArm");
        let of_guard = arm.guard.as_ref().map(|(_, guard)| guard.span());
        let guards = of_guard.map(|span| self.take(span, "MatchArmGuard"));
        visit_mut::visit_arm_mut(self, arm);
        for (number, replacement) in guards.into_iter().flatten() {
            if let Some((_, guard)) = &mut arm.guard {
                **guard = match replacement {
                    "true" => parse_quote! { (crate::switch::on(#number) || #guard) },
                    _ => parse_quote! { (!crate::switch::on(#number) && #guard) },
                };
            }
        }
        for (number, _) in whole {
            let on: Expr = parse_quote! { !crate::switch::on(#number) };
            let guard = match arm.guard.take() {
                Some((_, guard)) => parse_quote! { (#on && #guard) },
                None => on,
            };
            arm.guard = Some((Default::default(), Box::new(guard)));
        }
    }

    fn visit_item_fn_mut(&mut self, node: &mut syn::ItemFn) {
        let early = self.early(&node.block);
        visit_mut::visit_item_fn_mut(self, node);
        node.block.stmts.splice(0..0, early);
    }

    fn visit_impl_item_fn_mut(&mut self, node: &mut syn::ImplItemFn) {
        let early = self.early(&node.block);
        visit_mut::visit_impl_item_fn_mut(self, node);
        node.block.stmts.splice(0..0, early);
    }

    fn visit_trait_item_fn_mut(&mut self, node: &mut syn::TraitItemFn) {
        let early = node.default.as_ref().map(|block| self.early(block));
        visit_mut::visit_trait_item_fn_mut(self, node);
        if let Some(block) = &mut node.default {
            block.stmts.splice(0..0, early.unwrap_or_default());
        }
    }
}

fn main() -> Result<()> {
    let words: Vec<String> = std::env::args().collect();
    let [_, list, root, left_out] = &words[..] else {
        anyhow::bail!("mutants LIST.json ROOT NUMBER,…");
    };
    let listed: Vec<Listed> = serde_json::from_str(&std::fs::read_to_string(list)?)?;
    let left_out: BTreeSet<usize> = left_out.split(',').filter_map(|n| n.parse().ok()).collect();
    let mut files: BTreeMap<&str, BTreeMap<Place, Vec<(usize, &Listed)>>> = BTreeMap::new();
    for (number, mutant) in listed.iter().enumerate() {
        if !left_out.contains(&number) {
            let of_file = files.entry(&mutant.file).or_default();
            let at = of_file.entry(mutant.span.start).or_default();
            at.push((number, mutant));
        }
    }
    let mut placed = BTreeSet::new();
    for (file, at) in files {
        let path = Path::new(root).join(file);
        let text = std::fs::read_to_string(&path).with_context(|| path.display().to_string())?;
        let mut parsed = syn::parse_file(&text).with_context(|| path.display().to_string())?;
        let mut switches = Switches {
            at,
            placed: BTreeSet::new(),
        };
        switches.visit_file_mut(&mut parsed);
        std::fs::write(&path, prettyplease::unparse(&parsed))?;
        placed.extend(switches.placed);
    }
    println!("{}", serde_json::to_string(&placed)?);
    Ok(())
}
