//! Lets the program and its tests find libtorch where it lay at build time, then beside the program.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo speaks to a build script by the environment"
)]

use std::path::Path;
use std::{env, fs};

fn main() {
    // The link arguments of a dependency's build script do not reach this package, so that those of
    // tch are repeated here.
    let lib = env::var("DEP_TCH_LIBTORCH_LIB").expect("torch-sys says where libtorch lies");
    for path in [&lib, "$ORIGIN/../lib"] {
        println!("cargo:rustc-link-arg=-Wl,-rpath,{path}");
    }
    // libtorch registers its operators when it is loaded; no symbol of it asks for that.
    println!("cargo:rustc-link-arg=-Wl,--no-as-needed,-ltorch");
    println!("cargo:rustc-env=LIBTORCH_VERSION={}", version(&lib));
    println!("cargo:rerun-if-changed=build.rs");
    compile("src/packed.cpp", &Path::new(&lib).join("../include"));
}

/// Compiles what only libtorch's own headers reach, with the settings of torch-sys.
fn compile(source: &str, include: &Path) {
    println!("cargo:rerun-if-changed={source}");
    println!("cargo:rerun-if-env-changed=LIBTORCH_CXX11_ABI");
    let abi = env::var("LIBTORCH_CXX11_ABI").unwrap_or_else(|_| "1".to_owned());
    cc::Build::new()
        .cpp(true)
        .std("c++17")
        .include(include)
        .include(include.join("torch/csrc/api/include"))
        .define("_GLIBCXX_USE_CXX11_ABI", abi.as_str())
        // libtorch's headers are not free of warnings.
        .warnings(false)
        .file(source)
        .compile("packed");
}

/// The version that libtorch's folder names, such as `2.9.0+cpu`.
fn version(lib: &str) -> String {
    let file = Path::new(lib).join("../build-version");
    println!("cargo:rerun-if-changed={}", file.display());
    match fs::read_to_string(&file) {
        Ok(version) => version.trim().to_owned(),
        Err(_) => "unknown".to_owned(),
    }
}
