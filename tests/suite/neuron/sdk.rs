//! Interpreters that are none, or have another SDK than the chip needs.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;

use super::{Bench, ONE, make_environment};
use crate::support::{Workplace, fixture};

/// Traces a fixture for `chip` with whatever is at `sdk` in the workplace.
fn trace(place: &Workplace, chip: &str) -> crate::support::Run {
    let model = fixture("feature-extraction").display().to_string();
    let fixed = ["trace", &model, "--chip", chip, "--sdk", "sdk", "-o", "b"];
    place.run(&[&fixed[..], &ONE].concat())
}

/// A workplace with an executable file `sdk`.
fn with_script(text: &str) -> Workplace {
    let place = Workplace::new();
    fs::write(place.path("sdk"), text).unwrap();
    fs::set_permissions(place.path("sdk"), fs::Permissions::from_mode(0o755)).unwrap();
    place
}

#[test]
fn nothing_is_at_the_path() {
    let place = Workplace::new();
    trace(&place, "inf2").fails(4, &["sdk`, from `--sdk`", "not there", "neuronc rehearse"]);
}

#[test]
fn a_folder_that_is_no_environment() {
    let place = Workplace::new();
    fs::create_dir(place.path("sdk")).unwrap();
    trace(&place, "inf2").fails(4, &["sdk/bin/python3", "not there"]);
}

#[test]
fn a_file_that_is_not_executable() {
    let place = Workplace::new();
    fs::write(place.path("sdk"), "#!/bin/sh\n").unwrap();
    trace(&place, "inf2").fails(4, &["sdk`, from `--sdk`", "Permission denied"]);
}

#[test]
fn programs_that_are_no_python() {
    let cases = [
        ("#!/bin/sh\necho hello\n", "did not answer"),
        (
            "#!/bin/sh\ncat /dev/zero | head -c 3000000\n",
            "did not answer",
        ),
        ("#!/bin/sh\nkill -SEGV $$\n", "signal 11"),
        ("#!/bin/sh\necho broken >&2\nexit 3\n", "status 3"),
        ("not a program at all", "Exec format error"),
    ];
    for (text, why) in cases {
        trace(&with_script(text), "inf1").fails(4, &["sdk`, from `--sdk`", why, "torch_neuron"]);
    }
}

/// No Python older than 3.8 can be had where this is built: a program that answers as one would.
#[test]
fn a_python_that_is_too_old() {
    let place = with_script(
        r#"#!/bin/sh
cat > /dev/null
echo '{"event": "probed", "python": "3.6.9", "executable": "/usr/bin/python3", "packages": {}, "torch": null,'\
    '"cxx11_abi": null, "missing": {}, "site_packages": []}'
echo '{"event": "done"}'
"#,
    );
    trace(&place, "inf1").fails(4, &["Python 3.6.9", "3.8"]);
}

#[test]
fn an_interpreter_that_crashes_while_it_imports() {
    let Some(bench) = Bench::new("inf1") else {
        return;
    };
    let package = "sdk/lib/python3.11/site-packages/torch_neuron/__init__.py";
    fs::write(bench.place.path(package), "import os\nos.abort()\n").unwrap();
    bench.trace(&ONE).fails(4, &["signal 6", "`--sdk`"]);
}

#[test]
fn a_package_that_cannot_be_imported() {
    let Some(bench) = Bench::with("inf2", &["--plugin", "needs-libnrt"]) else {
        return;
    };
    bench
        .trace(&ONE)
        .fails(4, &["cannot import `torch_neuronx`", "libnrt.so.1"]);
}

#[test]
fn the_sdk_of_other_chips() {
    for (chip, other, has) in [
        ("inf2", "inf1", "torch-neuron 1"),
        ("inf1", "inf2", "torch-neuronx 2"),
    ] {
        let Some(bench) = Bench::new(other) else {
            return;
        };
        trace(&bench.place, chip).fails(4, &[has, "SDK of other chips"]);
    }
}

#[test]
fn the_placeholder_of_the_public_index() {
    let place = Workplace::new();
    if make_environment("placeholder", &place.path("sdk"), &[]) {
        trace(&place, "inf1").fails(4, &["torch_neuron", "WRONG PACKAGE", "pip.repos.neuron"]);
    }
}

#[test]
fn an_environment_without_the_compiler() {
    for (chip, compiler) in [("inf2", "neuronx-cc"), ("inf1", "neuron-cc")] {
        let Some(bench) = Bench::with(chip, &["--without", compiler]) else {
            return;
        };
        bench
            .trace(&ONE)
            .fails(4, &["it has no package", compiler, "--sdk"]);
    }
}

#[test]
fn a_compiler_whose_program_is_missing() {
    for (chip, compiler) in [("inf2", "neuronx-cc"), ("inf1", "neuron-cc")] {
        let Some(bench) = Bench::new(chip) else {
            return;
        };
        fs::remove_file(bench.place.path("sdk/bin").join(compiler)).unwrap();
        bench.trace(&ONE).fails(4, &[compiler]);
    }
}

#[test]
fn the_python_of_path_is_the_last_resort() {
    let Some(mut bench) = Bench::new("inf1") else {
        return;
    };
    let model = fixture("feature-extraction").display().to_string();
    let arguments = [&["trace", &model, "--chip", "inf1", "-o", "b"], &ONE[..]].concat();
    let path = format!("{}:/usr/bin:/bin", bench.place.path("sdk/bin").display());
    bench.place.set("PATH", &path);
    bench.place.run(&arguments).succeeds();
}
