//! TorchScript code as a tree: classes with methods, statements, expressions.

use std::collections::BTreeMap;

/// One file below `code/`.
#[derive(Debug, Default)]
pub(super) struct ScriptFile {
    pub(super) classes: BTreeMap<String, ScriptClass>,
    pub(super) functions: BTreeMap<String, ScriptFunction>,
    /// The classes in the order of the text.
    pub(super) order: Vec<String>,
}

/// The class of a module.
#[derive(Debug, Default)]
pub(super) struct ScriptClass {
    /// The dotted name of each field's type; empty where the type is not a name.
    pub(super) fields: BTreeMap<String, String>,
    pub(super) methods: BTreeMap<String, ScriptFunction>,
}

/// A function or a method.
#[derive(Debug)]
pub(super) struct ScriptFunction {
    pub(super) parameters: Vec<String>,
    pub(super) body: Vec<Statement>,
}

/// A statement. What a graph does not need is an [`Statement::Evaluate`] or left out.
#[derive(Debug)]
pub(super) enum Statement {
    /// A value, whose parts several names take.
    Assign(Vec<String>, Expression),
    Return(Expression),
    If(Expression, Vec<Statement>, Vec<Statement>),
    /// The names that change, the value that is looped over, the body.
    Loop(Vec<String>, Expression, Vec<Statement>),
    Evaluate(Expression),
}

/// An expression.
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
    /// Any other expression that is made of expressions, such as `a + b`.
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
