//! From tokens to the tree of [`super::syntax`]: classes, functions, statements.

use anyhow::{Result, bail};

use super::lexer::{Placed, Token, tokens};
use super::syntax::{Class, Expression, File, Function, Statement};

/// Expressions and blocks nest no deeper than this; torch breaks its lines long before.
pub(super) const DEPTH_MAX: usize = 100;

pub(super) fn parse(code: &str) -> Result<File> {
    let mut parser = Parser {
        tokens: tokens(code)?,
        at: 0,
        depth: 0,
    };
    let mut file = File::default();
    while *parser.peek() != Token::End {
        if parser.eat_word("class") {
            let (name, class) = parser.class()?;
            file.order.push(name.clone());
            file.classes.insert(name, class);
        } else if parser.eat_word("def") {
            let (name, function) = parser.function()?;
            file.functions.insert(name, function);
        } else if !parser.eat_line() {
            parser.statement()?;
        }
    }
    Ok(file)
}

pub(super) struct Parser {
    pub(super) tokens: Vec<Placed>,
    pub(super) at: usize,
    depth: usize,
}

impl Parser {
    pub(super) fn peek(&self) -> &Token {
        self.tokens
            .get(self.at)
            .map_or(&Token::End, |(token, _)| token)
    }

    pub(super) fn next(&mut self) -> Token {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    pub(super) fn unexpected<T>(&self, wanted: &str) -> Result<T> {
        let line = self.tokens.get(self.at).map_or(0, |(_, line)| *line);
        bail!("line {line}: {wanted} is missing before {:?}", self.peek())
    }

    pub(super) fn eat(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), Token::Symbol(found) if *found == symbol);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, symbol: &str) -> Result<()> {
        match self.eat(symbol) {
            true => Ok(()),
            false => self.unexpected(&format!("`{symbol}`")),
        }
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), Token::Name(found) if found == word);
        self.at += usize::from(found);
        found
    }

    fn eat_line(&mut self) -> bool {
        let found = matches!(self.peek(), Token::Line) || self.eat(";");
        self.at += usize::from(matches!(self.peek(), Token::Line));
        found
    }

    pub(super) fn name(&mut self) -> Result<String> {
        match self.next() {
            Token::Name(name) => Ok(name),
            _ => {
                self.at -= 1;
                self.unexpected("a name")
            }
        }
    }

    /// Runs `parse` one level deeper.
    pub(super) fn deeper<T>(&mut self, parse: impl FnOnce(&mut Self) -> Result<T>) -> Result<T> {
        self.depth += 1;
        if self.depth > DEPTH_MAX {
            return self.unexpected("an end of nesting");
        }
        let result = parse(self);
        self.depth -= 1;
        result
    }

    fn class(&mut self) -> Result<(String, Class)> {
        let name = self.name()?;
        if self.eat("(") {
            self.arguments(")")?;
        }
        self.expect(":")?;
        let mut class = Class::default();
        if !self.open_block()? {
            return Ok((name, class));
        }
        while !self.close_block() {
            if self.eat_word("def") {
                let (method, function) = self.function()?;
                class.methods.insert(method, function);
            } else if !self.eat_line() {
                self.field(&mut class)?;
            }
        }
        Ok((name, class))
    }

    /// `name : type`, `__annotations__["name"] = type`, or an assignment of no interest.
    fn field(&mut self, class: &mut Class) -> Result<()> {
        let target = self.expression()?;
        if self.eat(":") {
            let of = self.expression()?;
            if let Expression::Name(name) = target {
                class.fields.insert(name, of.dotted().unwrap_or_default());
            }
        } else if self.eat("=") {
            let of = self.expression()?;
            if let Expression::Index(_, name) = target
                && let Expression::Text(name) = *name
            {
                class.fields.insert(name, of.dotted().unwrap_or_default());
            }
        }
        if self.eat("=") {
            self.expression()?;
        }
        self.end_statement()
    }

    fn function(&mut self) -> Result<(String, Function)> {
        let name = self.name()?;
        self.expect("(")?;
        let mut parameters = Vec::new();
        while !self.eat(")") {
            let _ = self.eat("*") || self.eat("**");
            if !self.eat(",") {
                parameters.push(self.name()?);
                if self.eat(":") {
                    self.expression()?;
                }
                if self.eat("=") {
                    self.expression()?;
                }
                if !self.eat(",") && !matches!(self.peek(), Token::Symbol(")")) {
                    return self.unexpected("`,` or `)`");
                }
            }
        }
        if self.eat("->") {
            self.expression()?;
        }
        self.expect(":")?;
        let body = self.block()?;
        Ok((name, Function { parameters, body }))
    }

    /// True when a block follows, on lines of its own.
    fn open_block(&mut self) -> Result<bool> {
        if !self.eat_line() {
            return self.unexpected("the end of the line");
        }
        while self.eat_line() {}
        let opened = matches!(self.peek(), Token::Indent);
        self.at += usize::from(opened);
        Ok(opened)
    }

    fn close_block(&mut self) -> bool {
        let closed = matches!(self.peek(), Token::Dedent);
        self.at += usize::from(closed);
        closed || *self.peek() == Token::End
    }

    fn block(&mut self) -> Result<Vec<Statement>> {
        self.deeper(|parser| {
            let mut body = Vec::new();
            if !parser.open_block()? {
                return Ok(body);
            }
            while !parser.close_block() {
                if !parser.eat_line() {
                    body.push(parser.statement()?);
                }
            }
            Ok(body)
        })
    }

    fn statement(&mut self) -> Result<Statement> {
        if self.eat_word("if") {
            return self.conditional();
        }
        if self.eat_word("while") || self.eat_word("with") {
            let over = self.expression()?;
            while self.eat(",") || self.eat_word("as") {
                self.expression()?;
            }
            self.expect(":")?;
            return Ok(Statement::Loop(Vec::new(), over, self.block()?));
        }
        if self.eat_word("for") {
            let mut names = vec![self.name()?];
            while self.eat(",") {
                names.push(self.name()?);
            }
            if !self.eat_word("in") {
                return self.unexpected("`in`");
            }
            let over = self.expression()?;
            self.expect(":")?;
            return Ok(Statement::Loop(names, over, self.block()?));
        }
        let statement = self.simple_statement()?;
        self.end_statement()?;
        Ok(statement)
    }

    fn conditional(&mut self) -> Result<Statement> {
        let condition = self.expression()?;
        self.expect(":")?;
        let body = self.block()?;
        while self.eat_line() {}
        let otherwise = match () {
            () if self.eat_word("elif") => vec![self.deeper(Self::conditional)?],
            () if self.eat_word("else") => {
                self.expect(":")?;
                self.block()?
            }
            () => Vec::new(),
        };
        Ok(Statement::If(condition, body, otherwise))
    }

    fn simple_statement(&mut self) -> Result<Statement> {
        if self.eat_word("return") {
            return Ok(Statement::Return(match self.peek() {
                Token::Line | Token::End => Expression::None,
                _ => self.expressions()?,
            }));
        }
        for word in ["pass", "break", "continue"] {
            if self.eat_word(word) {
                return Ok(Statement::Evaluate(Expression::None));
            }
        }
        // What follows `assert`, `import` or `from` has no value that a graph would use.
        if self.eat_word("import") || self.eat_word("from") {
            while !matches!(self.peek(), Token::Line | Token::End) {
                self.at += 1;
            }
            return Ok(Statement::Evaluate(Expression::None));
        }
        let _ = self.eat_word("assert");
        let target = self.expressions()?;
        if self.eat(":") {
            self.expression()?;
        }
        if !self.eat("=") && !self.eat("+=") {
            return Ok(Statement::Evaluate(target));
        }
        let value = self.expressions()?;
        Ok(match target {
            Expression::Name(name) => Statement::Assign(vec![name], value),
            Expression::List(targets) => {
                let name = |target| match target {
                    Expression::Name(name) => name,
                    _ => String::new(),
                };
                // One name in a list takes the only part: the second name takes nothing.
                let mut names: Vec<String> = targets.into_iter().map(name).collect();
                if names.len() == 1 {
                    names.push(String::new());
                }
                Statement::Assign(names, value)
            }
            other => Statement::Evaluate(Expression::Of(vec![other, value])),
        })
    }

    fn end_statement(&mut self) -> Result<()> {
        match matches!(self.peek(), Token::End | Token::Dedent) || self.eat_line() {
            true => Ok(()),
            false => self.unexpected("the end of the line"),
        }
    }

    /// `a`, or `a, b` as a list.
    fn expressions(&mut self) -> Result<Expression> {
        let first = self.expression()?;
        if !matches!(self.peek(), Token::Symbol(",")) {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.eat(",") {
            if matches!(self.peek(), Token::Line | Token::End | Token::Symbol("=")) {
                break;
            }
            all.push(self.expression()?);
        }
        Ok(Expression::List(all))
    }
}
