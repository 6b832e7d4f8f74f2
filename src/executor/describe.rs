//! What transformers knows of a model: asked of an interpreter that has it.

use std::path::Path;
use std::time::Duration;

use anyhow::Result;

use crate::bucket::Input;
use crate::command::ChildLog;
use crate::executor::events::{Event, FailureClass};
use crate::executor::interpreter::{self, Interpreter, Script};
use crate::executor::job::DescribeJob;
use crate::failure::{Class, Failure};

/// Only configurations are read; importing transformers takes most of it.
const DEADLINE: Duration = Duration::from_secs(180);

/// What transformers' forward for a model takes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Description {
    pub inputs: Vec<Input>,
    pub pad_id: i64,
    /// The longest input that the model's positions cover.
    pub max_tokens: usize,
}

/// Has `interpreter` do `job`.
pub fn describe(
    interpreter: &Interpreter,
    job: &DescribeJob,
    temporary: &Path,
) -> Result<Description> {
    let script = Script::write(temporary)?;
    let folder = script.folder();
    let program = interpreter::program(&interpreter.path, folder, folder, "describe");
    let log = folder.join("describe.log");
    let mut description = None;
    let mut failed = None;
    let ended = program.run(
        serde_json::to_vec(job)?,
        &ChildLog::file(&log),
        DEADLINE,
        &mut |line| {
            match serde_json::from_str(line) {
                Ok(Event::Described {
                    inputs,
                    pad_id,
                    max_tokens,
                }) => {
                    description = Some(Description {
                        inputs,
                        pad_id,
                        max_tokens,
                    });
                }
                Ok(Event::Failed { class, message }) => failed = Some((class, message)),
                _ => {}
            }
            Ok(())
        },
    );
    if let Some((class, message)) = failed {
        return Err(refused(interpreter, class, message).into());
    }
    ended?;
    description.ok_or_else(|| {
        Failure::new(
            Class::Executor,
            "the interpreter did not describe the model",
        )
        .why(crate::command::tail(&log, 20).join("\n"))
        .into()
    })
}

fn refused(interpreter: &Interpreter, class: FailureClass, message: String) -> Failure {
    let shown = interpreter.path.display();
    match class {
        FailureClass::Sdk => Failure::new(
            Class::Executor,
            format!("`{shown}` cannot describe the model"),
        )
        .why(message)
        .help("give an environment with transformers with `--sdk PATH`"),
        FailureClass::Resources => {
            Failure::new(Class::Resources, "memory or disk ran out").why(message)
        }
        _ => Failure::usage("transformers cannot trace the model").why(message),
    }
}
