//! From tokens to expressions.

use anyhow::Result;

use super::lexer::ScriptToken;
use super::parser::{DEPTH_MAX, ScriptParser};
use super::syntax::Expression;

/// The arguments of a call: values in order, and values by name.
type CallArguments = (Vec<Expression>, Vec<(String, Expression)>);

impl ScriptParser {
    /// An expression. Operators have no precedence: only what they take is of interest, not what they
    /// compute.
    pub(super) fn expression(&mut self) -> Result<Expression> {
        self.deeper(|parser| {
            let first = parser.operand()?;
            if !parser.eat_operator() {
                return Ok(first);
            }
            let mut operands = vec![first, parser.operand()?];
            while parser.eat_operator() {
                operands.push(parser.operand()?);
            }
            Ok(Expression::Of(operands))
        })
    }

    fn eat_operator(&mut self) -> bool {
        const SYMBOLS: [&str; 18] = [
            "+", "-", "*", "/", "//", "%", "**", "@", "<", ">", "<=", ">=", "==", "!=", "&", "|",
            "^", "<<",
        ];
        const WORDS: [&str; 7] = ["and", "or", "is", "in", "not", "if", "else"];
        let found = match self.peek() {
            ScriptToken::Symbol(symbol) => SYMBOLS.contains(symbol),
            ScriptToken::Name(word) => WORDS.contains(&word.as_str()),
            _ => false,
        };
        self.at += usize::from(found);
        if found {
            // `not in` and `is not`.
            let _ = self.eat_word("in") || self.eat_word("not");
        }
        found
    }

    fn operand(&mut self) -> Result<Expression> {
        if self.eat("-") {
            return Ok(match self.deeper(Self::operand)? {
                Expression::Int(number) => Expression::Int(number.wrapping_neg()),
                Expression::Float(number) => Expression::Float(-number),
                other => Expression::Of(vec![other]),
            });
        }
        if self.eat("~") || self.eat("+") || self.eat_word("not") {
            return Ok(Expression::Of(vec![self.deeper(Self::operand)?]));
        }
        let mut value = self.atom()?;
        let mut links = 0;
        loop {
            value = match () {
                () if self.eat(".") => Expression::Attribute(Box::new(value), self.name()?),
                () if self.eat("[") => {
                    let (mut index, _) = self.arguments("]")?;
                    let index = match index.len() {
                        1 => index.swap_remove(0),
                        _ => Expression::List(index),
                    };
                    Expression::Index(Box::new(value), Box::new(index))
                }
                () if self.eat("(") => {
                    let (positional, named) = self.arguments(")")?;
                    Expression::Call(Box::new(value), positional, named)
                }
                () => return Ok(value),
            };
            links += 1;
            if links > DEPTH_MAX {
                return self.unexpected("an end of nesting");
            }
        }
    }

    fn atom(&mut self) -> Result<Expression> {
        Ok(match self.next() {
            ScriptToken::Int(number) => Expression::Int(number),
            ScriptToken::Float(number) => Expression::Float(number),
            ScriptToken::Text(text) => Expression::Text(text),
            ScriptToken::Name(name) => match name.as_str() {
                "None" => Expression::None,
                "True" => Expression::Bool(true),
                "False" => Expression::Bool(false),
                _ => Expression::Name(name),
            },
            ScriptToken::Symbol("(") => {
                let start = self.at;
                let (mut items, _) = self.arguments(")")?;
                let comma = self.tokens[start..self.at]
                    .iter()
                    .rev()
                    .nth(1)
                    .is_some_and(|(token, _)| *token == ScriptToken::Symbol(","));
                match items.len() {
                    1 if !comma => items.swap_remove(0),
                    _ => Expression::List(items),
                }
            }
            ScriptToken::Symbol("[") => Expression::List(self.arguments("]")?.0),
            ScriptToken::Symbol("{") => Expression::Of(self.arguments("}")?.0),
            _ => {
                self.at -= 1;
                return self.unexpected("a value");
            }
        })
    }

    /// Values up to the bracket `end`: `value`, `name=value`, and `a:b` as two values.
    pub(super) fn arguments(&mut self, end: &str) -> Result<CallArguments> {
        let (mut positional, mut named) = (Vec::new(), Vec::new());
        while !self.eat(end) {
            if self.eat(":") || self.eat("*") {
                continue;
            }
            let value = self.expression()?;
            match value {
                Expression::Name(name) if self.eat("=") => named.push((name, self.expression()?)),
                value => positional.push(value),
            }
            let at_end =
                matches!(self.peek(), ScriptToken::Symbol(found) if *found == end || *found == ":");
            if !at_end && !self.eat(",") {
                return self.unexpected(&format!("`,` or `{end}`"));
            }
        }
        Ok((positional, named))
    }
}
