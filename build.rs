//! Embeds profiles, operator lists, timings, recipes and the Python executor by listing their folders, so that
//! adding one needs no Rust.

#![expect(
    clippy::disallowed_methods,
    reason = "cargo tells build scripts by environment"
)]

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::{env, fs};

fn main() {
    let root = PathBuf::from(env::var_os("CARGO_MANIFEST_DIR").expect("set by cargo"));
    let out = PathBuf::from(env::var_os("OUT_DIR").expect("set by cargo"));
    let profiles = entries(&root.join("profiles"))
        .into_iter()
        .filter_map(|path| Some((name(&path).strip_suffix(".yaml")?.to_owned(), path)));
    write_table(&out.join("profiles.rs"), "PROFILES", profiles);
    let lists = entries(&root.join("profiles/operators"))
        .into_iter()
        .filter_map(|path| Some((name(&path).strip_suffix(".txt")?.to_owned(), path)));
    write_table(&out.join("operator_lists.rs"), "OPERATOR_LISTS", lists);
    let timings = entries(&root.join("profiles/timings"))
        .into_iter()
        .filter_map(|path| Some((name(&path).strip_suffix(".yaml")?.to_owned(), path)));
    write_table(&out.join("timings.rs"), "TIMINGS", timings);
    let recipes = entries(&root.join("models"))
        .into_iter()
        .map(|folder| (name(&folder), folder.join("recipe.yaml")))
        .filter(|(_, path)| path.exists());
    write_table(&out.join("models.rs"), "MODELS", recipes);
    let scripts = entries(&root.join("src/executor/sdk"))
        .into_iter()
        .filter(|path| path.extension().is_some_and(|extension| extension == "py"))
        .map(|path| (name(&path), path));
    write_table(&out.join("scripts.rs"), "SCRIPTS", scripts);
}

/// The paths in a folder, sorted; the build runs again when one is added.
fn entries(folder: &Path) -> Vec<PathBuf> {
    println!("cargo:rerun-if-changed={}", folder.display());
    let mut paths: Vec<PathBuf> = fs::read_dir(folder)
        .unwrap_or_else(|error| panic!("listing {}: {error}", folder.display()))
        .map(|entry| entry.expect("a readable entry").path())
        .collect();
    paths.sort();
    paths
}

fn name(path: &Path) -> String {
    path.file_name()
        .expect("a file name")
        .to_string_lossy()
        .into_owned()
}

fn write_table(out: &Path, table: &str, rows: impl Iterator<Item = (String, PathBuf)>) {
    let mut code = format!("static {table}: &[(&str, &str)] = &[\n");
    for (name, path) in rows {
        println!("cargo:rerun-if-changed={}", path.display());
        let _ = writeln!(
            code,
            "    ({name:?}, include_str!({:?})),",
            path.display().to_string()
        );
    }
    code.push_str("];\n");
    fs::write(out, code).expect("OUT_DIR is writable");
}
