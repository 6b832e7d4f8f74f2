//! The form of a case: lines that prepare a folder, a command, and what the command says.

/// A case; what it is expected to say stands behind `head` in its file.
pub(crate) struct Case<'a> {
    pub(crate) steps: Vec<Step<'a>>,
    /// The command as it stands in the file, without `$ `.
    pub(crate) command: &'a str,
    /// The file up to and including the command.
    pub(crate) head: &'a str,
}

/// One line of the set-up.
pub(crate) struct Step<'a> {
    pub(crate) verb: &'a str,
    /// What follows the verb.
    pub(crate) rest: &'a str,
    /// The lines below it that begin with `| `, without that.
    pub(crate) block: String,
}

impl<'a> Case<'a> {
    /// Reads the text of a file; the error says what is wrong with it.
    pub(crate) fn parse(text: &'a str) -> Result<Self, String> {
        let mut steps: Vec<Step> = Vec::new();
        let mut bytes = 0;
        if !text.starts_with("# ") {
            return Err(
                "the first line does not say what is wrong, as in `# A model without weights.`"
                    .into(),
            );
        }
        for line in text.split_inclusive('\n') {
            bytes += line.len();
            let line = line.trim_end_matches('\n');
            if let Some(command) = line.strip_prefix("$ ") {
                let head = &text[..bytes];
                return Ok(Self {
                    steps,
                    command,
                    head,
                });
            }
            if let Some(more) = line.strip_prefix('|') {
                let step = steps.last_mut().ok_or("a `|` before any set-up")?;
                step.block.push_str(more.strip_prefix(' ').unwrap_or(more));
                step.block.push('\n');
            } else if !line.is_empty() && !line.starts_with('#') {
                let (verb, rest) = line.split_once(' ').unwrap_or((line, ""));
                let block = String::new();
                steps.push(Step { verb, rest, block });
            }
        }
        Err("no line begins with `$ `".into())
    }
}
