//! What runs the artifacts of a bundle: a program, what it loads ahead of them, and the environment
//! in which a chip is used.

use std::collections::BTreeMap;
use std::ffi::{OsStr, OsString};
use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use crate::command::Program;
use crate::executor::interpreter::Script;
use crate::executor::wire::Plugin;
use crate::files;
use crate::plan::LIBTORCH_VERSION;

/// How long the chip may take for one execution before the runtime gives it up. Our choice: the
/// documentation has 2, 30 and 600 seconds as the default. A batch of an encoder takes milliseconds, and
/// the runtime has to speak before the server kills the worker, or nobody learns what happened.
pub const EXEC_TIMEOUT: Duration = Duration::from_secs(8);

/// The longest tag that the runtime takes.
const TAG_BYTES_MAX: usize = 255;

/// Where the loader looks for libraries, as a list of folders.
const LIBRARY_PATH: &str = "LD_LIBRARY_PATH";

const CORES_COUNT: &str = "NEURON_RT_NUM_CORES";

/// What runs the artifacts of a bundle, ready to be started any number of times.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Backend {
    program: Program,
    preload: Preload,
    /// The Python executor on disk, which workers of an interpreter start from.
    script: Option<Arc<Script>>,
}

/// What a worker loads ahead of the artifacts, which registers their operators.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Preload {
    /// They have only libtorch's own operators, and run on the processor.
    Nothing,
    /// A library, opened by `neuronc-torch`.
    Plugin(Plugin),
    /// A module, imported by an interpreter.
    Module(String),
}

impl Backend {
    /// libtorch alone, on the processor.
    pub fn host(program: Program) -> Self {
        Self {
            program,
            preload: Preload::Nothing,
            script: None,
        }
    }

    /// A chip, through `preload`; `runtime_library` is libnrt where it does not lie beside the plugin.
    ///
    /// Until [`Self::on_cores`] says which, each process takes one core that is free.
    pub fn chip(mut program: Program, preload: Preload, runtime_library: Option<&Path>) -> Self {
        let plugin = match &preload {
            Preload::Plugin(plugin) => Some(plugin.file.as_path()),
            _ => None,
        };
        let environment = &mut program.environment;
        let given = environment.get(&OsString::from(LIBRARY_PATH)).cloned();
        let folders = [plugin, runtime_library].into_iter().flatten();
        let folders = folders.map(|library| files::parent(library).as_os_str().to_owned());
        let folders: Vec<OsString> = folders.chain(given).collect();
        if !folders.is_empty() {
            environment.insert(LIBRARY_PATH.into(), folders.join(OsStr::new(":")));
        }
        let settings = [
            (CORES_COUNT, "1".to_owned()),
            ("NEURON_RT_EXEC_TIMEOUT", EXEC_TIMEOUT.as_secs().to_string()),
            // What it says is where most failures have their cause; it reaches the worker's log.
            ("NEURON_RT_LOG_LEVEL", "ERROR".to_owned()),
            ("NEURON_RT_LOG_LOCATION", "console".to_owned()),
        ];
        set(environment, settings);
        Self {
            program,
            preload,
            script: None,
        }
    }

    /// The same, and `script` stays on disk for as long as it.
    #[must_use]
    pub fn with_script(mut self, script: Script) -> Self {
        self.script = Some(Arc::new(script));
        self
    }

    /// The same, of which a process sees its own cores and no other: those that `cores` has for the
    /// runtime, as a placement gives them. `tag` is what `neuron-monitor` and `neuron-ls` call it. On
    /// the processor nothing changes.
    #[must_use]
    pub fn on_cores(&self, cores: BTreeMap<&'static str, String>, tag: &str) -> Self {
        let mut backend = self.clone();
        if !backend.is_chip() {
            return backend;
        }
        let environment = &mut backend.program.environment;
        environment.remove(&OsString::from(CORES_COUNT));
        let mut end = tag.len().min(TAG_BYTES_MAX);
        while !tag.is_char_boundary(end) {
            end -= 1;
        }
        set(environment, cores);
        set(environment, [("NEURON_PROCESS_TAG", tag[..end].to_owned())]);
        backend
    }

    /// True when the artifacts run on a chip and not on the processor.
    pub fn is_chip(&self) -> bool {
        self.preload != Preload::Nothing
    }

    pub fn preload(&self) -> &Preload {
        &self.preload
    }

    /// The process of a worker, not yet started.
    pub(super) fn worker(&self) -> Program {
        let mut program = self.program.clone();
        program.args.push("worker".into());
        program
    }
}

fn set(
    environment: &mut BTreeMap<OsString, OsString>,
    settings: impl IntoIterator<Item = (&'static str, String)>,
) {
    let settings = settings.into_iter();
    environment.extend(settings.map(|(name, value)| (name.into(), value.into())));
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match &self.preload {
            Preload::Nothing => write!(f, "libtorch {LIBTORCH_VERSION} on the processor"),
            Preload::Plugin(plugin) => {
                write!(
                    f,
                    "libtorch {LIBTORCH_VERSION} with {}",
                    plugin.file.display()
                )
            }
            Preload::Module(module) => {
                let interpreter = self.program.path.display();
                write!(f, "the SDK's interpreter {interpreter} with {module}")
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn program() -> Program {
        Program {
            path: "/p/neuronc-torch".into(),
            args: Vec::new(),
            environment: BTreeMap::from([
                ("OMP_WAIT_POLICY".into(), "PASSIVE".into()),
                ("LD_LIBRARY_PATH".into(), "/given".into()),
            ]),
        }
    }

    fn visible(cores: &str) -> BTreeMap<&'static str, String> {
        BTreeMap::from([("NEURON_RT_VISIBLE_CORES", cores.to_owned())])
    }

    fn plugin() -> Preload {
        Preload::Plugin(Plugin {
            file: "/v/torch_neuronx/lib/libtorchneuron.so".into(),
            torch: None,
        })
    }

    fn shown(backend: &Backend) -> String {
        let environment = &backend.program.environment;
        let lines = environment.iter().map(|(name, value)| {
            format!("{}={}\n", name.to_string_lossy(), value.to_string_lossy())
        });
        lines.collect()
    }

    #[test]
    fn a_worker_on_a_chip_gets_a_built_environment() {
        let library = Path::new("/opt/aws/neuron/lib/libnrt.so.1");
        let backend = Backend::chip(program(), plugin(), Some(library));
        let one = backend.on_cores(visible("3"), "neuronc m");
        insta::assert_snapshot!(shown(&one), @r"
        LD_LIBRARY_PATH=/v/torch_neuronx/lib:/opt/aws/neuron/lib:/given
        NEURON_PROCESS_TAG=neuronc m
        NEURON_RT_EXEC_TIMEOUT=8
        NEURON_RT_LOG_LEVEL=ERROR
        NEURON_RT_LOG_LOCATION=console
        NEURON_RT_VISIBLE_CORES=3
        OMP_WAIT_POLICY=PASSIVE
        ");
        let several = backend.on_cores(visible("4-7"), &"é".repeat(200));
        assert!(shown(&several).contains("NEURON_RT_VISIBLE_CORES=4-7\n"));
        let tag = &several.program.environment[&OsString::from("NEURON_PROCESS_TAG")];
        assert_eq!(tag.len(), 254, "the tag is cut between two characters");
        // Without cores of its own a process must not take all that there are.
        assert!(shown(&backend).contains("NEURON_RT_NUM_CORES=1\n"));
    }

    #[test]
    fn the_processor_needs_no_more_than_the_program() {
        let backend = Backend::host(program());
        assert_eq!(backend.on_cores(visible("0"), "t"), backend);
        assert_eq!(backend.program, program());
    }

    #[test]
    fn it_says_what_it_is() {
        let name = |preload| Backend::chip(program(), preload, None).to_string();
        assert_eq!(
            name(plugin()),
            "libtorch 2.9.0 with /v/torch_neuronx/lib/libtorchneuron.so"
        );
        assert_eq!(
            name(Preload::Module("torch_neuron".to_owned())),
            "the SDK's interpreter /p/neuronc-torch with torch_neuron"
        );
        assert_eq!(
            Backend::host(program()).to_string(),
            "libtorch 2.9.0 on the processor"
        );
    }
}
