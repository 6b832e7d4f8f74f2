//! TorchScript code as a tree: classes with methods, statements, expressions.

use std::collections::BTreeMap;

#[derive(Debug, Default)]
pub(super) struct File {
    pub(super) classes: BTreeMap<String, Class>,
    pub(super) functions: BTreeMap<String, Function>,
    /// The classes in the order of the text.
    pub(super) order: Vec<String>,
}

#[derive(Debug, Default)]
pub(super) struct Class {
    /// The dotted name of each field's type; empty where the type is not a name.
    pub(super) fields: BTreeMap<String, String>,
    pub(super) methods: BTreeMap<String, Function>,
}

#[derive(Debug)]
pub(super) struct Function {
    pub(super) parameters: Vec<String>,
    pub(super) body: Vec<Statement>,
}

#[derive(Debug)]
pub(super) enum Statement {
    /// Several names take the parts of one value.
    Assign(Vec<String>, Expression),
    Return(Expression),
    If(Expression, Vec<Statement>, Vec<Statement>),
    /// Names that change, what is looped over, body.
    Loop(Vec<String>, Expression, Vec<Statement>),
    Evaluate(Expression),
}

#[derive(Debug)]
pub(super) enum Expression {
    Int(i64),
    Float(f64),
    Bool(bool),
    Text(String),
    None,
    Name(String),
    Attribute(Box<Expression>, String),
    Index(Box<Expression>, Box<Expression>),
    Call(Box<Expression>, Vec<Expression>, Vec<(String, Expression)>),
    /// Also a tuple.
    List(Vec<Expression>),
    /// Anything made of other expressions that is neither of the above, such as `a + b`.
    Of(Vec<Expression>),
}

impl Expression {
    /// `a.b.c` for an expression of names only.
    pub(super) fn dotted(&self) -> Option<String> {
        match self {
            Expression::Name(name) => Some(name.clone()),
            Expression::Attribute(of, name) => Some(format!("{}.{name}", of.dotted()?)),
            _ => None,
        }
    }
}
