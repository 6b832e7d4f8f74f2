//! What a failure means to the process that asked, and how to tell it.

use anyhow::Error;
use neuronc::executor::events::FailureClass;
use neuronc::failure::{Class, Failure};
use tch::TchError;

/// How libtorch words that memory or disk ran out; its exceptions carry nothing else.
const EXHAUSTED: [&str; 3] = [
    "can't allocate memory",
    "not enough memory",
    "failed writing file",
];

/// The class of `error` by its causes.
pub fn class_of(error: &Error) -> FailureClass {
    let torch = error
        .chain()
        .find_map(|cause| cause.downcast_ref::<TchError>());
    match torch {
        Some(torch)
            if EXHAUSTED
                .iter()
                .any(|words| torch.to_string().contains(words)) =>
        {
            FailureClass::Resources
        }
        Some(_) => FailureClass::Framework,
        None if Failure::class_of(error) == Class::Resources => FailureClass::Resources,
        None => FailureClass::Input,
    }
}

/// The chain of causes in one text, without the C++ stack that libtorch appends.
pub fn message_of(error: &Error) -> String {
    let causes: Vec<String> = error
        .chain()
        .map(|cause| reason(&cause.to_string()).to_owned())
        .collect();
    causes.join(": ")
}

/// The sentence of an exception that says what is wrong.
fn reason(message: &str) -> &str {
    let message = message
        .strip_prefix("Internal torch error: ")
        .unwrap_or(message);
    // A graph that fails says where it was traced before it says why.
    let message = match message.rfind("\nRuntimeError: ") {
        Some(start) => &message[start + "\nRuntimeError: ".len()..],
        None => message,
    };
    let ends = ["\nException raised from", " Declaration: forward("];
    let end = ends.iter().filter_map(|end| message.find(end)).min();
    message[..end.unwrap_or(message.len())].trim()
}

#[cfg(test)]
mod tests {
    use super::*;
    use anyhow::Context as _;

    fn torch(message: &str) -> Error {
        Error::from(TchError::Torch(message.to_owned())).context("tracing bucket 1x8")
    }

    #[test]
    fn the_stack_of_an_exception_is_left_out() {
        let error = torch(
            "index out of range in self\nException raised from f at x.cpp:1 (most recent):\nframe #0",
        );
        assert_eq!(
            message_of(&error),
            "tracing bucket 1x8: index out of range in self"
        );
        let error = torch(
            "The following operation failed.\nTraceback of TorchScript:\n  ~~~ <--- HERE\nRuntimeError: no\n",
        );
        assert_eq!(message_of(&error), "tracing bucket 1x8: no");
    }

    #[test]
    fn what_ran_out_is_told_from_what_is_wrong() {
        assert_eq!(
            class_of(&torch("DefaultCPUAllocator: can't allocate memory")),
            FailureClass::Resources
        );
        assert_eq!(
            class_of(&torch("index out of range in self")),
            FailureClass::Framework
        );
        let full = Error::from(std::io::Error::from(std::io::ErrorKind::StorageFull))
            .context("writing `w`");
        assert_eq!(class_of(&full), FailureClass::Resources);
        let usage: anyhow::Result<()> = Err(Failure::usage("the job is odd").into());
        assert_eq!(
            class_of(&usage.context("tracing").unwrap_err()),
            FailureClass::Input
        );
    }
}
