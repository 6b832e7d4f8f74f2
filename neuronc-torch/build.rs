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
