//! `neuronc key`: makes an API key, and the lines for the file of keys.

use anyhow::{Result, anyhow};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use clap::ValueEnum;
use serde::Serialize;

use crate::cli::terminal::print::{self, AnswerFormat};
use crate::failure::{Class, Failure};
use crate::files;
use crate::serve::check_key_name;

const EXAMPLES: &str = "\
Examples:
  neuronc key search-team
  neuronc key operator --role admin
  neuronc key search-team --format json

Exit codes: 0 made; 2 not a name.";

/// Prefix by which a key is recognised wherever it turns up.
const PREFIX: &str = "neuronc_";

/// Number of random bytes of a key; 256 bits cannot be guessed.
const RANDOM_BYTES: usize = 32;

/// Make an API key for `neuronc serve --api-keys`, and the lines for its file.
#[derive(Debug, clap::Args)]
#[command(after_help = EXAMPLES)]
pub(in crate::cli) struct KeyArgs {
    /// Whose key it is: letters, digits, `-`, `_` and `.`.
    #[arg(value_parser = name)]
    name: String,

    /// What it is for.
    #[arg(long, value_enum, default_value = "predict")]
    role: KeyRole,

    /// How the key is printed.
    #[arg(long, value_enum, default_value = "text")]
    format: AnswerFormat,
}

#[derive(Debug, Clone, Copy, ValueEnum, Serialize)]
#[serde(rename_all = "lowercase")]
enum KeyRole {
    /// May send requests to models.
    Predict,
    /// May do everything.
    Admin,
}

/// The answer as JSON; no other place has the key.
#[derive(Serialize)]
struct KeyAnswer<'a> {
    schema_version: u32,
    name: &'a str,
    key: String,
    sha256: String,
    role: KeyRole,
}

fn name(text: &str) -> Result<String, String> {
    check_key_name(text).map(|()| text.to_owned())
}

pub(in crate::cli) fn run(args: &KeyArgs) -> Result<()> {
    let mut bytes = [0; RANDOM_BYTES];
    getrandom::fill(&mut bytes).map_err(|error| {
        anyhow!(
            Failure::new(Class::Resources, "the system gives no random bytes")
                .why(error.to_string())
        )
    })?;
    let key = format!("{PREFIX}{}", URL_SAFE_NO_PAD.encode(bytes));
    let made = KeyAnswer {
        schema_version: 1,
        name: &args.name,
        sha256: files::sha256_of(key.as_bytes()),
        key,
        role: args.role,
    };
    if args.format == AnswerFormat::Json {
        return print::json(&made);
    }
    let KeyAnswer { key, sha256, .. } = &made;
    let role = match args.role {
        KeyRole::Predict => "",
        KeyRole::Admin => "\n  role: admin",
    };
    print::answer(&format!(
        "the key of {}, which is shown only now:\n\n{key}\n\n\
         the lines for the file of `--api-keys`:\n\n- name: {}\n  sha256: {sha256}{role}",
        args.name, args.name
    ))
}
