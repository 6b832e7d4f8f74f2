//! The console blocks of the README and of `docs/` are run as they stand there.
//!
//! Each page runs in a folder of its own that holds `my-model`, a copy of a fixture,
//! `compile.log`, and `wrong.yaml`, which has a key that nobody knows.
//! `TRYCMD=overwrite cargo test` writes what the program says now into the pages.

use std::fs;
use std::path::{Path, PathBuf};

use crate::support::{copy_of, repository};

/// The pages that have console blocks with our program.
fn pages() -> Vec<PathBuf> {
    let docs = fs::read_dir(repository().join("docs")).unwrap();
    let mut pages: Vec<PathBuf> = docs.map(|entry| entry.unwrap().path()).collect();
    pages.push(repository().join("README.md"));
    pages.retain(|page| {
        page.extension().is_some_and(|extension| extension == "md")
            && fs::read_to_string(page)
                .unwrap()
                .contains("```console\n$ neuronc")
    });
    pages
}

#[test]
fn the_pages_show_what_the_program_says() {
    let pages = pages();
    assert!(pages.len() > 3, "the pages have lost their transcripts");
    let place = tempfile::tempdir().unwrap();
    let copy = |page: &Path| place.path().join(page.file_name().unwrap());
    for page in &pages {
        fs::copy(page, copy(page)).unwrap();
        copy_of(
            "feature-extraction",
            &copy(page).with_extension("in").join("my-model"),
        );
        fs::copy(
            repository().join("tests/fixtures/logs/bert.log"),
            copy(page).with_extension("in").join("compile.log"),
        )
        .unwrap();
        let wrong = copy(page).with_extension("in").join("wrong.yaml");
        fs::write(wrong, "cores: 2\nmodel_per_core: 2\n").unwrap();
        // A page with this folder runs on a copy of the other one.
        fs::create_dir(copy(page).with_extension("out")).unwrap();
    }
    let cases = trycmd::TestCases::new();
    cases
        .case(place.path().join("*.md"))
        .env("HOME", place.path().display().to_string());
    cases.run();
    for page in &pages {
        // Differs only after TRYCMD=overwrite.
        if fs::read(copy(page)).unwrap() != fs::read(page).unwrap() {
            fs::copy(copy(page), page).unwrap();
        }
    }
}
