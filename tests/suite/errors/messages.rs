//! No message of a failure is without a case: each has one below `tests/errors/`, or stands in
//! `tests/errors/without-a-case.md` under the reason why no file can provoke it.
//!
//! The messages are read from the sources: the text of every `Failure::usage(...)` and
//! `Failure::new(...)`, followed through variables, and through parameters to those who call.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

use regex::Regex;
use syn::visit::{self, Visit};
use syn::{Expr, ExprCall, Lit, Pat};

use crate::support::repository;
use crate::tidy::source::{self, is_test};

/// A function or a closure that is being read.
struct Reader {
    name: String,
    parameters: Vec<String>,
    /// Variables and what they were set to.
    variables: Vec<(String, Expr)>,
}

/// Finds the messages of one file.
#[derive(Default)]
struct Messages {
    readers: Vec<Reader>,
    found: BTreeSet<String>,
    /// Functions whose parameter, by its place, is the message.
    through: BTreeSet<(String, usize)>,
}

impl Messages {
    /// Adds the texts that `expression` may be.
    fn add(&mut self, expression: &Expr) {
        match expression {
            Expr::Lit(literal) => {
                if let Lit::Str(text) = &literal.lit {
                    self.found.insert(text.value());
                }
            }
            Expr::Macro(called) => {
                // The first token of `format!`.
                let first = called.mac.tokens.clone().into_iter().next();
                let text = first.and_then(|token| syn::parse_str(&token.to_string()).ok());
                if let Some(Lit::Str(text)) = text {
                    self.found.insert(text.value());
                }
            }
            Expr::MethodCall(call) => self.add(&call.receiver),
            Expr::Reference(reference) => self.add(&reference.expr),
            Expr::Paren(inner) => self.add(&inner.expr),
            Expr::Match(choice) => choice.arms.iter().for_each(|arm| self.add(&arm.body)),
            Expr::If(choice) => {
                self.add_last(&choice.then_branch);
                if let Some((_, other)) = &choice.else_branch {
                    self.add(other);
                }
            }
            Expr::Block(block) => self.add_last(&block.block),
            Expr::Path(path) => {
                if let Some(name) = path.path.get_ident() {
                    self.add_variable(&name.to_string());
                }
            }
            _ => {}
        }
    }

    fn add_last(&mut self, block: &syn::Block) {
        if let Some(syn::Stmt::Expr(expression, None)) = block.stmts.last() {
            self.add(expression);
        }
    }

    fn add_variable(&mut self, name: &str) {
        for reader in self.readers.iter().rev() {
            let mut variables = reader.variables.iter().rev();
            if let Some((_, value)) = variables.find(|(known, _)| known == name) {
                let value = value.clone();
                return self.add(&value);
            }
            if let Some(place) = reader.parameters.iter().position(|known| known == name) {
                self.through.insert((reader.name.clone(), place));
                return;
            }
        }
    }

    /// Reads the body of a function or a closure.
    fn read(&mut self, name: String, parameters: Vec<String>, body: impl FnOnce(&mut Self)) {
        let variables = Vec::new();
        self.readers.push(Reader {
            name,
            parameters,
            variables,
        });
        body(self);
        self.readers.pop();
    }
}

/// The name that a pattern gives to a value as a whole.
fn name_of(pattern: &Pat) -> String {
    match pattern {
        Pat::Ident(name) => name.ident.to_string(),
        Pat::Type(typed) => name_of(&typed.pat),
        _ => String::new(),
    }
}

/// The name of a called function, without its path.
fn called(call: &ExprCall) -> Option<String> {
    let Expr::Path(path) = &*call.func else {
        return None;
    };
    Some(path.path.segments.last()?.ident.to_string())
}

impl<'a> Visit<'a> for Messages {
    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_item_fn(&mut self, function: &'a syn::ItemFn) {
        let name = function.sig.ident.to_string();
        let parameters = parameters(&function.sig);
        self.read(name, parameters, |this| {
            visit::visit_item_fn(this, function)
        });
    }

    fn visit_impl_item_fn(&mut self, function: &'a syn::ImplItemFn) {
        let name = function.sig.ident.to_string();
        let parameters = parameters(&function.sig);
        self.read(name, parameters, |this| {
            visit::visit_impl_item_fn(this, function);
        });
    }

    fn visit_local(&mut self, local: &'a syn::Local) {
        let name = name_of(&local.pat);
        let Some(init) = &local.init else { return };
        if let Expr::Closure(closure) = &*init.expr {
            let parameters = closure.inputs.iter().map(name_of).collect();
            self.read(name, parameters, |this| this.visit_expr(&closure.body));
        } else {
            if let Some(reader) = self.readers.last_mut() {
                reader.variables.push((name, (*init.expr).clone()));
            }
            visit::visit_local(self, local);
        }
    }

    fn visit_expr_call(&mut self, call: &'a ExprCall) {
        if let Expr::Path(path) = &*call.func {
            let names: Vec<String> = path
                .path
                .segments
                .iter()
                .map(|s| s.ident.to_string())
                .collect();
            match names.iter().map(String::as_str).collect::<Vec<_>>()[..] {
                [.., "Failure", "usage"] => self.add(&call.args[0]),
                [.., "Failure", "new"] => self.add(&call.args[1]),
                _ => {}
            }
        }
        visit::visit_expr_call(self, call);
    }
}

fn parameters(signature: &syn::Signature) -> Vec<String> {
    let name = |input: &syn::FnArg| match input {
        syn::FnArg::Typed(typed) => Some(name_of(&typed.pat)),
        syn::FnArg::Receiver(_) => None,
    };
    signature.inputs.iter().filter_map(name).collect()
}

/// Reads what callers of the functions in `through` give for the parameter.
struct Callers<'a> {
    through: &'a BTreeSet<(String, usize)>,
    messages: Messages,
}

impl Callers<'_> {
    fn check<'a>(&mut self, name: &str, args: impl IntoIterator<Item = &'a Expr>) {
        for (place, arg) in args.into_iter().enumerate() {
            if self.through.contains(&(name.to_owned(), place)) {
                self.messages.add(arg);
            }
        }
    }
}

impl<'a> Visit<'a> for Callers<'_> {
    fn visit_item_mod(&mut self, module: &'a syn::ItemMod) {
        if !is_test(&module.attrs) {
            visit::visit_item_mod(self, module);
        }
    }

    fn visit_expr_call(&mut self, call: &'a ExprCall) {
        if let Some(name) = called(call) {
            self.check(&name, &call.args);
        }
        visit::visit_expr_call(self, call);
    }

    fn visit_expr_method_call(&mut self, call: &'a syn::ExprMethodCall) {
        self.check(&call.method.to_string(), &call.args);
        visit::visit_expr_method_call(self, call);
    }
}

/// Every message of a failure, as the text of its `format!`.
fn messages() -> BTreeSet<String> {
    let mut found = BTreeSet::new();
    for source in source::built() {
        let mut messages = Messages::default();
        messages.visit_file(&source.syntax);
        let mut callers = Callers {
            through: &messages.through,
            messages: Messages::default(),
        };
        callers.visit_file(&source.syntax);
        found.append(&mut messages.found);
        found.append(&mut callers.messages.found);
    }
    found
}

/// Matches what `format!` makes of `text`, as it stands in what a command says.
fn pattern(text: &str) -> Regex {
    let text = text.replace("{{", "\u{1}").replace("}}", "\u{2}");
    let hole = Regex::new(r"\{[^}]*\}").unwrap();
    let fixed: Vec<String> = hole
        .split(&text)
        .map(|part| regex::escape(&part.replace('\u{1}', "{").replace('\u{2}', "}")))
        .collect();
    Regex::new(&format!("(?m)(^|error: |why:  |: ){}$", fixed.join(".*"))).unwrap()
}

/// The text of every case below `folder`.
fn cases(folder: &Path) -> String {
    let texts = super::cases(folder)
        .into_iter()
        .map(|path| fs::read_to_string(path).unwrap());
    texts.collect()
}

#[test]
fn every_message_has_a_case_or_a_reason() {
    let folder = repository().join("tests/errors");
    let cases = cases(&folder);
    let page = fs::read_to_string(folder.join("without-a-case.md")).unwrap();
    let mut excused: BTreeSet<&str> = page
        .lines()
        .filter_map(|line| line.strip_prefix("- "))
        .collect();
    let mut missing = Vec::new();
    let messages = messages();
    assert!(messages.len() > 100, "the messages were not found");
    for message in &messages {
        let is_excused = excused.remove(message.as_str());
        match (pattern(message).is_match(&cases), is_excused) {
            (false, false) => missing.push(format!("- {message}")),
            (true, true) => {
                missing.push(format!("has a case, and a reason to have none: {message}"))
            }
            (true, false) | (false, true) => {}
        }
    }
    missing.extend(
        excused
            .iter()
            .map(|text| format!("no longer in the sources: {text}")),
    );
    assert!(
        missing.is_empty(),
        "messages without a case in tests/errors/ and without a reason in without-a-case.md:\n{}",
        missing.join("\n")
    );
}
