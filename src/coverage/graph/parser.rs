//! From tokens to the tree of `syntax`: classes, functions, statements.

use anyhow::{Result, bail};

use super::lexer::{ScriptToken, TokenOnLine, tokens};
use super::syntax::{Expression, ScriptClass, ScriptFile, ScriptFunction, Statement};

/// The deepest nesting of expressions and blocks; torch breaks its lines long before.
pub(super) const DEPTH_MAX: usize = 100;

/// The tree of one file.
pub(super) fn parse(code: &str) -> Result<ScriptFile> {
    let mut parser = ScriptParser {
        tokens: tokens(code)?,
        at: 0,
        depth: 0,
    };
    let mut file = ScriptFile::default();
    while *parser.peek() != ScriptToken::End {
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

/// The tokens, and the place of the next one.
pub(super) struct ScriptParser {
    pub(super) tokens: Vec<TokenOnLine>,
    pub(super) at: usize,
    depth: usize,
}

impl ScriptParser {
    pub(super) fn peek(&self) -> &ScriptToken {
        self.tokens
            .get(self.at)
            .map_or(&ScriptToken::End, |(token, _)| token)
    }

    pub(super) fn next(&mut self) -> ScriptToken {
        let token = self.peek().clone();
        self.at += 1;
        token
    }

    pub(super) fn unexpected<T>(&self, wanted: &str) -> Result<T> {
        let line = self.tokens.get(self.at).map_or(0, |(_, line)| *line);
        bail!("line {line}: {wanted} is missing before {:?}", self.peek())
    }

    pub(super) fn eat(&mut self, symbol: &str) -> bool {
        let found = matches!(self.peek(), ScriptToken::Symbol(found) if *found == symbol);
        self.at += usize::from(found);
        found
    }

    pub(super) fn expect(&mut self, symbol: &str) -> Result<()> {
        if self.eat(symbol) {
            return Ok(());
        }
        self.unexpected(&format!("`{symbol}`"))
    }

    pub(super) fn eat_word(&mut self, word: &str) -> bool {
        let found = matches!(self.peek(), ScriptToken::Name(found) if found == word);
        self.at += usize::from(found);
        found
    }

    fn eat_line(&mut self) -> bool {
        let found = matches!(self.peek(), ScriptToken::Line) || self.eat(";");
        self.at += usize::from(matches!(self.peek(), ScriptToken::Line));
        found
    }

    pub(super) fn name(&mut self) -> Result<String> {
        match self.next() {
            ScriptToken::Name(name) => Ok(name),
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

    fn class(&mut self) -> Result<(String, ScriptClass)> {
        let name = self.name()?;
        if self.eat("(") {
            self.arguments(")")?;
        }
        self.expect(":")?;
        let mut class = ScriptClass::default();
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
    fn field(&mut self, class: &mut ScriptClass) -> Result<()> {
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

    fn function(&mut self) -> Result<(String, ScriptFunction)> {
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
                if !self.eat(",") && !matches!(self.peek(), ScriptToken::Symbol(")")) {
                    return self.unexpected("`,` or `)`");
                }
            }
        }
        if self.eat("->") {
            self.expression()?;
        }
        self.expect(":")?;
        let body = self.block()?;
        Ok((name, ScriptFunction { parameters, body }))
    }

    /// Takes the end of the line; true when a block follows.
    fn open_block(&mut self) -> Result<bool> {
        if !self.eat_line() {
            return self.unexpected("the end of the line");
        }
        while self.eat_line() {}
        let opened = matches!(self.peek(), ScriptToken::Indent);
        self.at += usize::from(opened);
        Ok(opened)
    }

    fn close_block(&mut self) -> bool {
        let closed = matches!(self.peek(), ScriptToken::Dedent);
        self.at += usize::from(closed);
        closed || *self.peek() == ScriptToken::End
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
                ScriptToken::Line | ScriptToken::End => Expression::None,
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
            while !matches!(self.peek(), ScriptToken::Line | ScriptToken::End) {
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
        let is_last = matches!(self.peek(), ScriptToken::End | ScriptToken::Dedent);
        if is_last || self.eat_line() {
            return Ok(());
        }
        self.unexpected("the end of the line")
    }

    /// `a`, or `a, b` as a list.
    fn expressions(&mut self) -> Result<Expression> {
        let first = self.expression()?;
        if !matches!(self.peek(), ScriptToken::Symbol(",")) {
            return Ok(first);
        }
        let mut all = vec![first];
        while self.eat(",") {
            if matches!(
                self.peek(),
                ScriptToken::Line | ScriptToken::End | ScriptToken::Symbol("=")
            ) {
                break;
            }
            all.push(self.expression()?);
        }
        Ok(Expression::List(all))
    }
}
